// Agents' files: what a file becomes, every way it is refused with its place and its fix, and what happens when
// files change under a running broker.
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import type { AgentRegistry } from '../../src/broker/parties.ts'
import { parseAgents, readAgentFiles } from '../../src/config/agent_files.ts'
import { type AgentsEvent, type LiveAgents, openAgents } from '../../src/config/agents.ts'
import { ConfigError } from '../../src/config/problems.ts'
import { type Json, testKey } from '../support/tokens.ts'

const cluster = 'https://cluster.example'
const rules = { workloadIssuers: [cluster] }
const key = testKey('2026-11')
const rsa = testKey('rsa', 'RS256')

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-agents-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const write = (name: string, content: Json | string) =>
  writeFileSync(join(dir, name), typeof content === 'string' ? content : stringify(content))

/** A whole file but for the overrides; `undefined` removes a key. */
const agent = (over: Json = {}): Json => ({
  client_id: 'triage',
  version: '3.2.1',
  env: 'prod',
  profile: 'support',
  credentials: [{ method: 'tls_client_auth', san: `DNS:${String(over.client_id ?? 'triage')}.example` }],
  ...over,
})
const withKey = (jwk: Json) => agent({ credentials: [{ method: 'private_key_jwt', jwks: { keys: [jwk] } }] })

async function read(): Promise<AgentRegistry> {
  return parseAgents(await readAgentFiles(dir), rules)
}

/** Problems as `file:line:column path: message`, without the directory. */
async function problems(): Promise<string[]> {
  try {
    await read()
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replaceAll(`${dir}/`, '').split('\n')
    throw error
  }
  return []
}

describe('an agent’s file', () => {
  test('says who the agent is and how it proves that', async () => {
    write('keys.json', JSON.stringify({ keys: [rsa.jwk] }))
    const thumbprint = 'A'.repeat(43)
    const subject = 'system:serviceaccount:agents:triage'
    write(
      'triage.yaml',
      agent({
        agent: 'spiffe://corp.example/triage',
        tenant: 'acme',
        delegates_to: ['lookup'],
        credentials: [
          { method: 'private_key_jwt', jwks: { keys: [key.jwk] } },
          { method: 'private_key_jwt', jwks_file: './keys.json' },
          { method: 'tls_client_auth', san: 'DNS:triage.example' },
          { method: 'self_signed_tls_client_auth', thumbprint },
          { method: 'workload_jwt', issuer: cluster, subject },
        ],
      }),
    )
    write('lookup.yaml', agent({ client_id: 'lookup' }))
    const registry = await read()
    const entry = registry.byClientId('triage')
    expect(entry).toEqual({
      clientId: 'triage',
      agent: 'spiffe://corp.example/triage',
      version: '3.2.1',
      env: 'prod',
      profile: 'support',
      tenant: 'acme',
      delegatesTo: ['agent:lookup'],
      credentials: [
        { method: 'private_key_jwt', jwks: [key.jwk] },
        { method: 'private_key_jwt', jwks: [rsa.jwk] },
        { method: 'tls_client_auth', san: 'DNS:triage.example' },
        { method: 'self_signed_tls_client_auth', thumbprint },
        { method: 'workload_jwt', issuer: cluster, subject },
      ],
    })
    expect(registry.byAgent('spiffe://corp.example/triage')).toBe(entry)
    expect(registry.byWorkload(cluster, subject)).toBe(entry)
    expect(registry.all()).toHaveLength(2)
  })

  test('leaves the agent’s name and tenant to their defaults', async () => {
    write('triage.yaml', agent())
    const registry = await read()
    expect(registry.byAgent('agent:triage')).toMatchObject({ tenant: '', delegatesTo: [] })
    for (const nobody of ['__proto__', 'constructor', 'Triage', '', 'triage ']) {
      expect(registry.byClientId(nobody)).toBeUndefined()
    }
    expect(registry.byWorkload(cluster, 'triage')).toBeUndefined()
  })

  test('is one of those that are called .yaml; what editors and volumes put beside them is not read', async () => {
    write('triage.yaml', agent())
    for (const name of ['.triage.yaml.swp', '..data', 'triage.yaml~', '#triage.yaml#', 'README.md']) {
      write(name, 'client_id: [')
    }
    expect((await read()).all()).toHaveLength(1)
  })
})

describe('a file is refused', () => {
  const rows: [name: string, content: Json | string, problem: string][] = [
    ['that is empty', '', 'a.yaml:1:1  write a mapping here, of client_id, agent, '],
    ['that is no YAML', 'client_id: [', 'a.yaml:1:13  '],
    ['that names a key twice', `${stringify(agent())}env: dev\n`, 'a.yaml:8:1  '],
    ['with an unknown key', agent({ polcy: 'x' }), 'a.yaml:8:1  polcy: unknown key'],
    ['with a misspelt key', agent({ delegate_to: [] }), 'did you mean delegates_to?'],
    ['without a profile', agent({ profile: undefined }), 'profile: add this key: it has no default'],
    ['without credentials', agent({ credentials: [] }), 'credentials: name at least one credential'],
    ['whose client_id has a space', { ...agent(), client_id: 'a b' }, 'a.yaml:1:1  client_id: write letters'],
    ['whose client_id has a version', agent({ client_id: 'a@1' }), 'client_id: write letters'],
    ['whose version is a number', agent({ version: 3.2 }), 'version: write a string'],
    ['with a reference to the environment', agent({ version: `\${env:V}` }), 'version: write letters'],
    [
      'with an unknown method',
      agent({ credentials: [{ method: 'client_secret' }] }),
      'credentials[0].method: write method: one of private_key_jwt',
    ],
    [
      'with a misspelt key in a credential',
      agent({ credentials: [{ method: 'tls_client_auth', san: 'DNS:a', sam: 'DNS:b' }] }),
      'a.yaml:8:5  credentials[0].sam: unknown key; did you mean san?',
    ],
    [
      'with a san of no kind',
      agent({ credentials: [{ method: 'tls_client_auth', san: 'a.example' }] }),
      'credentials[0].san: write the kind and the name',
    ],
    [
      'with a thumbprint in hex',
      agent({ credentials: [{ method: 'self_signed_tls_client_auth', thumbprint: 'ab'.repeat(32) }] }),
      'credentials[0].thumbprint: write the SHA-256',
    ],
    [
      'with a workload of an unknown issuer',
      agent({ credentials: [{ method: 'workload_jwt', issuer: 'https://clustre.example', subject: 's' }] }),
      `credentials[0].issuer: name the issuer of an identity provider with subjects: agents; did you mean ${cluster}?`,
    ],
    [
      'that hands on to an agent without a file',
      agent({ delegates_to: ['triag'] }),
      'delegates_to[0]: name an agent that has a file; did you mean agent:triage?',
    ],
    [
      'with keys twice',
      agent({
        credentials: [{ method: 'private_key_jwt', jwks: { keys: [key.jwk] }, jwks_file: './x.json' }],
      }),
      'credentials[0]: write exactly one of jwks and jwks_file',
    ],
    [
      'with no keys',
      agent({ credentials: [{ method: 'private_key_jwt' }] }),
      'credentials[0]: write exactly one of jwks and jwks_file',
    ],
    [
      'with an empty key set',
      agent({ credentials: [{ method: 'private_key_jwt', jwks: { keys: [] } }] }),
      'credentials[0].jwks.keys: name at least one key',
    ],
    [
      'with a key set that is not there',
      agent({ credentials: [{ method: 'private_key_jwt', jwks_file: './x.json' }] }),
      'credentials[0]: name a key set that is there',
    ],
    [
      'with a key set elsewhere',
      agent({ credentials: [{ method: 'private_key_jwt', jwks_file: '../../x.json' }] }),
      'credentials[0].jwks_file: name a .json file in the same directory',
    ],
    [
      'with one kid for two keys',
      agent({
        credentials: [
          { method: 'private_key_jwt', jwks: { keys: [key.jwk, { ...testKey('x').jwk, kid: key.kid }] } },
        ],
      }),
      'credentials: give every key of the agent a kid of its own',
    ],
  ]
  test.each(rows)('%s', async (_, content, problem) => {
    write('a.yaml', content)
    const [first, ...others] = await problems()
    expect(first).toContain(problem)
    expect(others).toEqual([])
  })

  test('whose name ends in .yml', async () => {
    write('a.yml', agent())
    expect(await problems()).toEqual(['a.yml:1:1  call it .yaml: no other name is read'])
  })

  test('that is larger than 256 KiB', async () => {
    write('a.yaml', `# ${'x'.repeat(1 << 18)}\n${stringify(agent())}`)
    expect(await problems()).toEqual(['a.yaml:1:1  keep it below 256 KiB'])
  })

  test('that cannot be read', async () => {
    symlinkSync(join(dir, 'gone'), join(dir, 'a.yaml'))
    expect(await problems()).toEqual(['a.yaml:1:1  make it readable: ENOENT'])
  })

  test('with every problem of every file at once, in order', async () => {
    write('b.yaml', agent({ client_id: 'b', env: 7, profil: 'x' }))
    write('a.yaml', agent({ version: '' }))
    write('c.json', '{"keys":[{}]}')
    expect((await problems()).map((each) => each.split('  ')[0])).toEqual([
      'a.yaml:2:1',
      'b.yaml:3:1',
      'b.yaml:8:1',
      'c.json:1:10',
      'c.json:1:10',
      'c.json:1:10',
    ])
  })
})

describe('a key is refused', () => {
  const without = (jwk: Json, name: string) =>
    Object.fromEntries(Object.entries(jwk).filter(([member]) => member !== name))
  const secret = 'c2VjcmV0LXZhbHVl'
  const at = 'credentials[0].jwks.keys[0]'
  const rows: [name: string, jwk: Json, problem: string][] = [
    [
      'that is private',
      { ...key.privateKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' },
      `${at}.d: remove`,
    ],
    ['with a part of a private RSA key', { ...rsa.jwk, dp: secret }, `${at}.dp: remove it`],
    [
      'that is symmetric',
      { kty: 'oct', k: secret, kid: 'k', alg: 'HS256' },
      `${at}.kty: write one of EC, RSA`,
    ],
    ['with a symmetric member', { ...key.jwk, k: secret }, `${at}.k: remove it`],
    ['without kid', without(key.jwk, 'kid'), `${at}.kid: add this key`],
    ['without alg', without(key.jwk, 'alg'), `${at}.alg: add this key`],
    ['for a symmetric algorithm', { ...key.jwk, alg: 'HS256' }, `${at}.alg: write one of ES256`],
    ['for none', { ...key.jwk, alg: 'none' }, `${at}.alg: write one of ES256`],
    [
      'for the algorithm of another curve',
      { ...key.jwk, alg: 'ES384' },
      `${at}.alg: write the alg of such a key`,
    ],
    ['for encryption', { ...key.jwk, use: 'enc' }, `${at}.use: write sig`],
    ['off its curve', { ...key.jwk, y: key.jwk.x }, `${at}: this is no usable public key`],
    ['without a coordinate', without(key.jwk, 'y'), `${at}: this is no usable public key`],
    [
      'of 1024 bits',
      { ...rsa.jwk, n: String(rsa.jwk.n).slice(0, 171) },
      `${at}: this is no usable public key`,
    ],
  ]
  test.each(rows)('%s', async (_, jwk, problem) => {
    write('a.yaml', withKey(jwk))
    const found = await problems()
    expect(found.some((each) => each.includes(problem))).toBe(true)
    expect(found.join()).not.toContain(secret)
    expect(found.join()).not.toContain(String(key.privateKey.export({ format: 'jwk' }).d))
  })

  test('in a key set beside the agent’s file, at its place there', async () => {
    write('a.yaml', agent({ credentials: [{ method: 'private_key_jwt', jwks_file: 'keys.json' }] }))
    write('keys.json', JSON.stringify({ keys: [{ ...key.jwk, d: secret }] }))
    expect(await problems()).toEqual([expect.stringMatching(/^keys\.json:1:\d+ {2}keys\[0\]\.d: remove it/)])
  })
})

describe('two agents', () => {
  const credential = (each: Json) => ({ credentials: [each] })
  const rows: [name: string, shared: (client: string) => Json, problem: string][] = [
    [
      'one client_id',
      () => ({ client_id: 'triage' }),
      'b.yaml:1:1  client_id: choose another: it is taken (client_id triage)',
    ],
    [
      'one name',
      () => ({ agent: 'agent:a' }),
      'agent: name each agent once: this one has a file (client_id a)',
    ],
    [
      'one workload',
      () => credential({ method: 'workload_jwt', issuer: cluster, subject: 's' }),
      'credentials[0]: give every agent a credential of its own: another has this one (client_id a)',
    ],
    [
      'one certificate name',
      () => credential({ method: 'tls_client_auth', san: 'DNS:x.example' }),
      'credentials[0]: give',
    ],
    [
      'one certificate',
      () => credential({ method: 'self_signed_tls_client_auth', thumbprint: 'A'.repeat(43) }),
      'credentials[0]: give',
    ],
    [
      'one key, under whatever kid',
      (client) => credential({ method: 'private_key_jwt', jwks: { keys: [{ ...key.jwk, kid: client }] } }),
      'credentials[0]: give',
    ],
  ]
  test.each(rows)('never share %s', async (_, shared, problem) => {
    write('a.yaml', agent({ client_id: 'a', ...shared('a') }))
    write('b.yaml', agent({ client_id: 'b', ...shared('b') }))
    expect((await problems()).some((each) => each.startsWith('b.yaml') && each.includes(problem))).toBe(true)
  })
})

describe('agents that are live', () => {
  let live: LiveAgents
  let events: AgentsEvent[]
  async function open() {
    events = []
    live = await openAgents(dir, { ...rules, onEvent: (event) => events.push(event) })
  }
  afterEach(() => live.close())
  const ids = () => live.all().map(({ clientId }) => clientId)

  test('follow the files: added, changed, removed', async () => {
    write('a.yaml', agent({ client_id: 'a' }))
    await open()
    write('b.yaml', agent({ client_id: 'b' }))
    await vi.waitFor(() => expect(ids()).toEqual(['a', 'b']), 5000)
    write('b.yaml', agent({ client_id: 'b', version: '9' }))
    await vi.waitFor(() => expect(live.byClientId('b')?.version).toBe('9'), 5000)
    rmSync(join(dir, 'a.yaml'))
    await vi.waitFor(() => expect(live.byClientId('a')).toBeUndefined(), 5000)
    expect(events.map(({ type }) => type)).toEqual(['reloaded', 'reloaded', 'reloaded'])
  })

  test('follow a key set beside them', async () => {
    write('keys.json', JSON.stringify({ keys: [key.jwk] }))
    write('a.yaml', agent({ credentials: [{ method: 'private_key_jwt', jwks_file: 'keys.json' }] }))
    await open()
    write('keys.json', JSON.stringify({ keys: [rsa.jwk] }))
    await vi.waitFor(
      () => expect(live.byClientId('triage')?.credentials).toMatchObject([{ jwks: [{ kid: 'rsa' }] }]),
      5000,
    )
  })

  test('stay as they are when a change is broken, whole, and say so once', async () => {
    write('a.yaml', agent({ client_id: 'a' }))
    await open()
    write('b.yaml', agent({ client_id: 'b' }).client_id as string)
    write('a.yaml', agent({ client_id: 'renamed' }))
    await vi.waitFor(() => expect(events.map(({ type }) => type)).toEqual(['rejected']), 5000)
    expect(ids()).toEqual(['a'])
    expect(events[0]).toMatchObject({ problems: [expect.stringContaining('b.yaml:1:1')] })
    rmSync(join(dir, 'b.yaml'))
    await vi.waitFor(() => expect(ids()).toEqual(['renamed']), 5000)
    expect(events.map(({ type }) => type)).toEqual(['rejected', 'reloaded'])
  })

  test('stay as they are when the directory is gone, and come back with it', async () => {
    write('a.yaml', agent({ client_id: 'a' }))
    await open()
    renameSync(dir, `${dir}-gone`)
    await vi.waitFor(() => expect(events.map(({ type }) => type)).toEqual(['rejected']), 5000)
    expect(ids()).toEqual(['a'])
    renameSync(`${dir}-gone`, dir)
    await vi.waitFor(() => expect(events.map(({ type }) => type)).toEqual(['rejected', 'reloaded']), 5000)
  })

  test('are read again when they are told to', async () => {
    write('a.yaml', agent({ client_id: 'a' }))
    await open()
    live.close()
    write('b.yaml', agent({ client_id: 'b' }))
    await live.reloadNow()
    expect(ids()).toEqual(['a', 'b'])
  })

  test('change no more once they are closed', async () => {
    write('a.yaml', agent({ client_id: 'a' }))
    await open()
    live.close()
    write('b.yaml', agent({ client_id: 'b' }))
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect([ids(), events]).toEqual([['a'], []])
  })

  test('may be none at all: then nobody may ask', async () => {
    await open()
    expect(ids()).toEqual([])
  })

  test('do not open on a directory that is not there, or on broken files', async () => {
    await open()
    const onEvent = () => undefined
    await expect(openAgents(join(dir, 'nowhere'), { ...rules, onEvent })).rejects.toThrow(ConfigError)
    mkdirSync(join(dir, 'a.yaml'))
    await expect(openAgents(dir, { ...rules, onEvent })).rejects.toThrow(
      'a.yaml:1:1  make it readable: EISDIR',
    )
  })
})
