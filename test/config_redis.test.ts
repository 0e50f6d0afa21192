// The `state.redis` section: what is taken, what is refused with its place, and what never prints.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../src/config/load.ts'
import { ConfigError } from '../src/config/problems.ts'
import { failOverRisk } from '../src/config/redis.ts'
import { pairOf, writePair } from './support/certificates.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-config-redis-'))
const file = join(dir, 'config.yaml')

beforeAll(async () => {
  writePair(dir, 'gate', await pairOf({ name: 'gate' }))
  writePair(dir, 'other', await pairOf({ name: 'other' }))
})
afterAll(() => rmSync(dir, { recursive: true }))

function load(redis: string) {
  const text = `public_origin: https://gate.example
policy: { reload: on_activate }
state:
  store: redis
  redis:
${redis.replace(/^/gm, '    ')}
backends:
  crm:
    url: http://127.0.0.1:3000
    path_prefix: /crm
    operations: [{ match: "GET /a", verb: read, resource: a, sensitivity: internal }]
`
  writeFileSync(file, text)
  return loadConfig(file, { REDIS_PASSWORD: 'right-horse' })
}

function redisOf(text: string) {
  const { state } = load(text)
  if (state.store !== 'redis') throw new Error('not redis')
  return state.redis
}

function problemsOf(text: string): string[] {
  try {
    load(text)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`)
  }
  return []
}

const password = `password: "\${env:REDIS_PASSWORD}"`

describe('taken', () => {
  it('sentinels, with what they ask for, and what has to acknowledge', () => {
    const redis = redisOf(`sentinel:
  name: leasegate
  nodes: ["10.0.0.1:26379", "[::1]:26379"]
  username: watcher
  ${password}
  tls: { ca: gate.crt }
${password}
acknowledge: { replicas: 2, disk: true, timeout: 3s }`)
    expect(redis.sentinel).toMatchObject({
      name: 'leasegate',
      nodes: [
        { host: '10.0.0.1', port: 26379 },
        { host: '::1', port: 26379 },
      ],
      username: 'watcher',
      tls: { ca: join(dir, 'gate.crt') },
    })
    expect([redis.password, redis.sentinel?.password]).toEqual(['right-horse', 'right-horse'])
    expect(redis.acknowledge).toEqual({ replicas: 2, disk: true, timeoutMs: 3000 })
  })

  it('a Cluster over TLS, with a client certificate', () => {
    expect(
      redisOf(
        'cluster: { nodes: ["a:1"] }\ntls: { ca: other.crt, cert: gate.crt, key: gate.key, server_name: r }',
      ),
    ).toMatchObject({
      cluster: { nodes: [{ host: 'a', port: 1 }] },
      tls: {
        ca: join(dir, 'other.crt'),
        cert: join(dir, 'gate.crt'),
        key: join(dir, 'gate.key'),
        serverName: 'r',
      },
      prefix: 'leasegate:',
      acknowledge: { replicas: 0, disk: false, timeoutMs: 1000 },
    })
  })

  it('strict reading, here and for the embedded store', () => {
    expect(load('url: redis://h\nstrict: true').state.strict).toBe(true)
    expect(load('url: redis://h').state.strict).toBe(false)
  })
})

describe('warned about', () => {
  const sentinel = 'sentinel: { name: leasegate, nodes: ["10.0.0.1:26379"] }'
  const cluster = 'cluster: { nodes: ["10.0.0.1:6379"] }'
  const warning = expect.stringMatching(/^state\.redis\.acknowledge: write \{ replicas: 1 \}/)

  it.each([
    ['sentinels', sentinel, warning],
    ['a Cluster', cluster, warning],
    ['a Cluster with disks that acknowledge', `${cluster}\nacknowledge: { disk: true }`, warning],
    ['sentinels, when replicas acknowledge', `${sentinel}\nacknowledge: { replicas: 1 }`, undefined],
    ['one server, which nobody takes over from', 'url: redis://10.0.0.1', undefined],
  ])('%s', (_, redis, expected) => {
    const { state } = load(redis)
    expect(state.store === 'redis' && failOverRisk(state.redis)).toEqual(expected)
  })
})

describe('refused', () => {
  it.each([
    ['prefix: "a:"', '5:3 state.redis: write exactly one of url, sentinel and cluster'],
    [
      'url: redis://h\ncluster: { nodes: ["a:1"] }',
      '5:3 state.redis: write exactly one of url, sentinel and cluster',
    ],
    [
      'cluster: { nodes: [] }',
      '6:16 state.redis.cluster.nodes: name at least one node; three survive the loss of one',
    ],
    [
      'cluster: { nodes: ["a"] }',
      '6:24 state.redis.cluster.nodes[0]: write host:port, such as 10.0.0.1:6379 or "[::1]:6379"',
    ],
    [
      'cluster: { nodes: ["a:0"] }',
      '6:24 state.redis.cluster.nodes[0]: write host:port, such as 10.0.0.1:6379 or "[::1]:6379"',
    ],
    ['sentinel: { nodes: ["a:1"] }', '6:5 state.redis.sentinel.name: add this key: it has no default'],
    ['url: redis://h\nusername: u', '7:5 state.redis.username: add password beside it'],
    [`url: redis://:x@h\n${password}`, '7:5 state.redis.password: write it once, in the url or here'],
    [
      'url: redis://h?db=1',
      '6:5 state.redis.url: write redis://host:port or rediss://host:port, without a query',
    ],
    ['url: redis://h\ntls: { ca: gate.crt }', '6:5 state.redis.url: write rediss://…: tls is set'],
    ['url: rediss://h\ntls: { cert: gate.crt }', '7:5 state.redis.tls: write cert and key, or neither'],
    ['url: rediss://h\ntls: { ca: gate.key }', '7:12 state.redis.tls.ca: name certificates in PEM form'],
    [
      'url: rediss://h\ntls: { ca: none.crt }',
      '7:12 state.redis.tls.ca: name a file that can be read: ENOENT',
    ],
    [
      'url: rediss://h\ntls: { cert: gate.crt, key: other.key }',
      '7:28 state.redis.tls.key: name the private key of the certificate beside it',
    ],
    ['url: redis://h\nprefix: "{a}"', '7:5 state.redis.prefix: write letters, digits and : . _ - only'],
    [
      'url: redis://h\nacknowledge: { replicas: -1 }',
      '7:20 state.redis.acknowledge.replicas: write a whole number from 0 to 100',
    ],
    [
      'url: redis://h\nacknowledge: { disk: "yes" }',
      '7:20 state.redis.acknowledge.disk: write true or false, without quotes',
    ],
    [
      'url: redis://h\nacknowledge: { disk: true, timeout: 0s }',
      '7:32 state.redis.acknowledge.timeout: write a duration from 10ms to 60s',
    ],
    [
      'url: redis://h\nacknowledge: { timeout: 2s }',
      '7:5 state.redis.acknowledge: add replicas: 1, disk: true or both: without them nothing is waited for',
    ],
    ['url: redis://h\nstrict: 1', '7:5 state.redis.strict: write true or false, without quotes'],
    ['url: redis://h\npasword: x', '7:5 state.redis.pasword: unknown key; did you mean password?'],
  ])('%s', (text, problem) => {
    expect(problemsOf(text)).toEqual([problem])
  })
})

it('no password prints, wherever it stands', () => {
  const config = load(`sentinel: { name: l, nodes: ["a:1"], ${password} }\n${password}`)
  for (const printed of [
    inspect(config, { depth: 20 }),
    inspect(config, { depth: 20, showHidden: true }),
    JSON.stringify(config),
  ]) {
    expect(printed).toContain('[redacted]')
    expect(printed).not.toContain('right-horse')
  }
})
