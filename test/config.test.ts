// The configuration: what a file becomes, and every way it is refused, with its place and its fix.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { loadConfig } from '../src/config/load.ts'
import { type Match, overlaps, parseMatch } from '../src/config/operations.ts'
import { ConfigError } from '../src/config/problems.ts'
import { configSchema } from '../src/config/schema.ts'
import type { Config } from '../src/config.ts'

const example = new URL('../config.example.yaml', import.meta.url).pathname
let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-config-'))
  mkdirSync(join(dir, 'policies'))
  writeFileSync(join(dir, 'empty'), '\n')
  writeFileSync(join(dir, 'secret'), 'file-secret\r\n')
})
afterAll(() => rmSync(dir, { recursive: true }))

const minimal = `public_origin: https://gate.example
backends:
  crm:
    url: http://127.0.0.1:3000
    path_prefix: /crm
    operations:
      - { match: "GET /customers/{id}", verb: read, resource: "customer/{id}", sensitivity: internal }
`

function load(text: string, env: Record<string, string> = {}): Config {
  const file = join(dir, 'config.yaml')
  writeFileSync(file, text)
  return loadConfig(file, env)
}

function problemsOf(text: string, env: Record<string, string> = {}): string[] {
  try {
    load(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n').map((l) => l.replace(`${dir}/`, ''))
    throw error
  }
  return []
}

/** The minimal file with one more line in `crm`, or with an operation of its own. */
const withBackend = (line: string) =>
  minimal.replace('    path_prefix: /crm\n', `    path_prefix: /crm\n    ${line}\n`)
const withOperation = (text: string) => `${minimal}      - ${text}\n`
const operation = (match: string, more = '') =>
  `{ match: "${match}", verb: read, resource: r, sensitivity: public${more} }`

describe('the example', () => {
  it('loads as it stands once its token is set', () => {
    const config = loadConfig(example, { CRM_TOKEN: 's3cret' })
    expect(config.backends[0]?.operations.map((o) => `${o.match} ${o.verb} ${o.risk}`)).toEqual([
      'GET /customers/{id} read low',
      'GET /customers list low',
      'PATCH /customers/{id} update medium',
      'DELETE /customers/{id} delete high',
    ])
    expect(config.backends[0]?.credential?.value).toBe('Bearer s3cret')
  })

  it('shows every key of the schema', () => {
    const text = readFileSync(example, 'utf8')
    const missing = keysOf(z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })).filter(
      (key) => !new RegExp(`(^|[\\s{])${key}:`, 'm').test(text),
    )
    expect(missing).toEqual([])
  })

  it('shows the defaults', () => {
    const config = loadConfig(example, { CRM_TOKEN: 's3cret' })
    const bare = load(`public_origin: ${config.publicOrigin}\n${minimal.slice(minimal.indexOf('backends'))}`)
    const shape = (c: Config) => {
      const { backends, dir: _dir, ...rest } = c
      const { credential: _credential, env: _env, operations, ...backend } = backends[0]!
      return JSON.parse(
        JSON.stringify({ ...rest, backend, operation: { ...operations[0], sensitivity: '' } }).replaceAll(
          `${c.dir}/`,
          '',
        ),
      )
    }
    expect(shape(config)).toEqual(shape(bare))
  })
})

function keysOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const own = 'properties' in schema ? Object.keys(schema.properties as object) : []
  return [...own, ...Object.values(schema).flatMap(keysOf)]
}

describe('a minimal file', () => {
  it.each([
    ['policy: { reload: on_activate }', true],
    ['policy: { reload: on_activate, dir: ./policies }', undefined],
    ['policy: { reload: on_change }', undefined],
  ])('starts with %s; it waits for an activation: %s', (policy, expected) => {
    expect(load(`${minimal}${policy}\n`).policy.needsActivation).toBe(expected)
  })

  it('needs no policy directory where only activations decide', () => {
    mkdirSync(join(dir, 'elsewhere'), { recursive: true })
    const file = join(dir, 'elsewhere', 'config.yaml')
    writeFileSync(file, `${minimal}policy: { reload: on_activate }\n`)
    expect(loadConfig(file, {}).policy.needsActivation).toBe(true)
  })

  it('gets safe defaults', () => {
    const config = load(minimal)
    expect(config.state).toEqual({
      store: 'embedded',
      path: join(dir, 'data/leasegate.db'),
      maxStalenessMs: 2000,
      strict: false,
    })
    expect(config.issuers).toEqual([
      {
        issuer: 'http://127.0.0.1:8081',
        audience: 'https://gate.example',
        jwks: { local: true },
        algorithms: ['ES256'],
        clockTolerance: 5,
        maxTokenSeconds: 300,
        allowAnyAction: false,
        workflows: [],
        maxActDepth: 3,
        statusLists: [],
        statusFromStore: true,
        claims: { user: 'sub', agent: 'act.sub', lease: 'lease', details: 'authorization_details' },
      },
    ])
    expect(config.backends[0]).toMatchObject({
      origin: 'http://127.0.0.1:3000',
      basePath: '',
      hosts: [],
      upgrade: false,
    })
  })

  it('is frozen to the last operation', () => {
    const config = load(minimal)
    expect(Object.isFrozen(config.backends[0]?.operations[0]?.segments[0])).toBe(true)
    expect(Object.isFrozen(config.issuers[0]?.claims)).toBe(true)
  })

  it.each([
    ['verb: read', 'low'],
    ['verb: list', 'low'],
    ['verb: update', 'medium'],
    ['verb: delete, risk: high', 'high'],
  ])('gives an operation with %s the risk %s', (verb, risk) => {
    expect(load(minimal.replace('verb: read', verb)).backends[0]?.operations[0]?.risk).toBe(risk)
  })

  it('limits an inspected body to what is held in memory', () => {
    const config = load(withOperation(operation('POST /x', ', body: json')))
    const held = config.limits.inspectedBodyBytes
    expect(config.backends[0]?.operations[1]?.bodyLimit).toBe(held)
    const above = withOperation(operation('POST /x', `, body: json, body_limit: ${held + 1}B`))
    expect(problemsOf(above)[0]).toContain('body_limit: lower it to limits.inspected_body')
    expect(config.backends[0]?.operations[0]?.bodyLimit).toBe(100 * 1024 ** 2)
  })

  it('reads redis nested and flat alike', () => {
    const nested = load(
      `${minimal}state: { store: redis, redis: { url: "redis://h:1", prefix: "a:", max_staleness: 1s } }\n`,
    )
    const flat = load(
      `${minimal}state: { store: redis, url: "redis://h:1", prefix: "a:", max_staleness: 1s }\n`,
    )
    for (const { state } of [nested, flat]) {
      expect(state).toMatchObject({ store: 'redis', redis: { prefix: 'a:' }, maxStalenessMs: 1000 })
      expect('redis' in state && state.redis.url).toBe('redis://h:1')
    }
  })
})

describe('secrets', () => {
  const file = withBackend(`credential: { header: X-Api-Key, value: "k-\${env:KEY}-\${file:secret}" }`)

  it('come from the environment and from files, without the trailing newline', () => {
    expect(load(file, { KEY: 'env-secret' }).backends[0]?.credential?.value).toBe('k-env-secret-file-secret')
    expect(load(file, { KEY: 'env-secret' }).backends[0]?.credential?.header).toBe('x-api-key')
  })

  it('are expanded once: what they contain stays as it is', () => {
    expect(load(file, { KEY: `\${env:HOME}` }).backends[0]?.credential?.value).toBe(
      `k-\${env:HOME}-file-secret`,
    )
  })

  it('never print', () => {
    const config = load(`${file}state: { store: redis, url: "redis://:env-secret@h:1" }\n`, {
      KEY: 'env-secret',
    })
    for (const printed of [
      inspect(config, { depth: 20 }),
      JSON.stringify(config),
      inspect(config, { depth: 20, showHidden: true, customInspect: true }),
    ]) {
      expect(printed).toContain('[redacted]')
      expect(printed).not.toContain('env-secret')
    }
  })

  it('do not print in problems either', () => {
    const text = `${file}via: "\${env:KEY}"\nlog: { level: "\${env:KEY}" }\naudit: { "\${env:KEY}": 1 }\n`
    const problems = problemsOf(text, { KEY: 'very secret' }).join('\n')
    expect(problems).toContain('log.level')
    expect(problems).toContain('via')
    expect(problems).not.toContain('very secret')
  })

  it.each([
    [`\${env:KEY}`, 'set the environment variable KEY: it is missing'],
    [`\${env:EMPTY}`, 'set the environment variable EMPTY: it is empty'],
    [`\${file:nowhere}`, 'make nowhere readable: ENOENT'],
    [`\${file:empty}`, 'put the value into empty: the file is empty'],
    [`\${KEY}`, `write a reference as \${env:NAME} or \${file:PATH}`],
    [`\${env:KEY`, `write a reference as \${env:NAME} or \${file:PATH}`],
  ])('that cannot be resolved are a problem: %s', (value, message) => {
    expect(
      problemsOf(withBackend(`credential: { header: x-api-key, value: "${value}" }`), { EMPTY: '' }),
    ).toEqual([`config.yaml:6:38  backends.crm.credential.value: ${message}`])
  })
})

describe('problems', () => {
  it('are listed all at once, in the order of the file, with line and column', () => {
    const text = minimal
      .replace('https://gate.example', 'https://gate.example/')
      .replace('path_prefix', 'path_prefx')
      .replace('verb: read', 'verb: Read')
      .replace('"customer/{id}"', '"customer/{key}"')
    expect(problemsOf(`${text}listen: { proxy: 127.0.0.1:8081 }\nvai: x\n`)).toEqual([
      'config.yaml:1:1  public_origin: write scheme and authority only, in lower case and without a default port: https://gate.example',
      'config.yaml:3:3  backends.crm: add path_prefix or hosts',
      'config.yaml:5:5  backends.crm.path_prefx: unknown key; did you mean path_prefix?',
      'config.yaml:7:41  backends.crm.operations[0].verb: write a lower-case word: letters, digits, - and _',
      'config.yaml:7:53  backends.crm.operations[0].resource: use a parameter of match: {key} is not one',
      'config.yaml:8:1  listen.control: choose another port: listen.proxy listens there',
      'config.yaml:9:1  vai: unknown key; did you mean via?',
    ])
  })

  it('name a field that policy never sees where a record should lose it', () => {
    const redact = (path: string) => problemsOf(`${minimal}audit: { policy_input: { redact: [${path}] } }\n`)
    expect(redact('request.body.card')).toEqual([])
    expect(redact('request.bdy')).toEqual([
      'config.yaml:8:35  audit.policy_input.redact[0]: not a field of the policy input; did you mean request.body?',
    ])
    expect(redact('secrets')).toEqual([
      'config.yaml:8:35  audit.policy_input.redact[0]: write a field of the policy input, such as request.body',
    ])
  })

  it('name a missing key at its parent', () => {
    expect(problemsOf(minimal.replace(', sensitivity: internal', ''))).toEqual([
      'config.yaml:7:9  backends.crm.operations[0].sensitivity: add this key: it has no default',
    ])
    expect(problemsOf('{}')).toEqual([
      'config.yaml:1:1  public_origin: add this key: it has no default',
      'config.yaml:1:1  backends: add this key: it has no default',
    ])
  })

  it.each([
    ['an empty file', '', 'config.yaml:1:1  write a mapping of keys here'],
    ['a list', '- a\n', 'config.yaml:1:1  write a mapping of keys here'],
    ['a duplicate key', `${minimal}via: a\nvia: b\n`, 'config.yaml:9:1  Map keys must be unique'],
    [
      'a merge key',
      `${minimal}log: { <<: { level: info } }\n`,
      'config.yaml:8:8  log["<<"]: unknown key; known here: level, requests',
    ],
    ['a custom tag', `${minimal}via: !secret a\n`, 'config.yaml:8:6  Unresolved tag: !secret'],
    [
      'a second document',
      `${minimal}---\nvia: a\n`,
      'config.yaml:8:1  Source contains multiple documents; please use YAML.parseAllDocuments()',
    ],
    [
      'a key that is not a string',
      `${minimal}? [a]\n: b\n`,
      'config.yaml:8:3  With stringKeys, all keys must be strings',
    ],
    [
      'the key of the prototype',
      `${minimal}log: { __proto__: { level: info } }\n`,
      'config.yaml:8:8  log.__proto__: unknown key; known here: level, requests',
    ],
  ])('report %s', (_name, text, message) => {
    expect(problemsOf(text)).toEqual([message])
  })

  it('report an alias bomb instead of expanding it', () => {
    const level = (name: string, of: string) => `${name}: &${name} [${Array(10).fill(of).join(', ')}]\n`
    const bomb = `${level('a', 'x')}${level('b', '*a')}${level('c', '*b')}${level('d', '*c')}${level('e', '*d')}`
    expect(problemsOf(bomb)).toEqual([
      'config.yaml:1:1  Excessive alias count indicates a resource exhaustion attack',
    ])
  })

  it('report a file that cannot be read', () => {
    expect(() => loadConfig(join(dir, 'nowhere.yaml'))).toThrow(
      /nowhere.yaml:1:1 {2}name a configuration file.*ENOENT/,
    )
  })
})

describe('refused at the top level', () => {
  it.each([
    ['workers: 0', 'workers: write a whole number from 1 to 256, or auto'],
    ['workers: 257', 'workers: write a whole number from 1 to 256, or auto'],
    ['workers: "2"', 'workers: write a whole number from 1 to 256, or auto'],
    ['workers: all', 'workers: write a whole number from 1 to 256, or auto'],
    ['listen: { proxy: "8080" }', 'listen.proxy: write host:port'],
    ['listen: { proxy: 127.0.0.1:70000 }', 'listen.proxy: write host:port'],
    ['listen: { control: 0.0.0.0:8080 }', 'listen.control: choose another port'],
    ['state: { store: redis }', 'state.store: add state.redis.url'],
    ['state: { store: redis, path: ./x, url: "redis://h" }', 'state.path: remove it'],
    ['state: { store: redis, url: "redis://h", redis: { url: "redis://h" } }', 'state.url: write it once'],
    ['state: { store: redis, url: "http://h" }', 'state.url: write redis://'],
    ['state: { redis: { url: "redis://h" } }', 'state.redis: remove it'],
    ['state: { max_staleness: 2 }', 'state.max_staleness: write a string, such as 2s'],
    ['state: { max_staleness: 2 s }', 'state.max_staleness: write a duration'],
    ['state: { max_staleness: 0s }', 'state.max_staleness: write a duration from 100ms to 60s'],
    ['policy: { dir: ./nowhere }', 'policy.dir: name a directory that can be read: ENOENT'],
    ['policy: { dir: ./secret }', 'policy.dir: name a directory: this is something else'],
    ['policy: { reload: yes }', 'policy.reload: write one of on_change, on_activate, never'],
    ['limits: { body: 1MB }', 'limits.body: write a size'],
    ['limits: { header_fields: 1.5 }', 'limits.header_fields: write a whole number'],
    ['limits: null', 'limits: write a mapping'],
    ['via: "a b"', 'via: write a token'],
    ['broker: { ttl: 10m }', 'broker.ttl: write 300s at most'],
    ['broker: { ttl: 1500ms }', 'broker.ttl: write whole seconds'],
  ])('%s', (line, message) => {
    const problems = problemsOf(`${minimal}${line}\n`)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(message)
  })

  it('a backend called none, or with a name that is not a word', () => {
    for (const name of ['none', 'leasegate']) {
      expect(problemsOf(minimal.replace('  crm:', `  ${name}:`))[0]).toContain(
        `backends.${name}: choose another name`,
      )
    }
    expect(problemsOf(minimal.replace('  crm:', '  "a:b":'))[0]).toContain('backends["a:b"]: rename it')
    expect(problemsOf(minimal.replace('  crm:', '  __proto__:'))[0]).toContain(
      'backends.__proto__: rename it',
    )
    expect(problemsOf('public_origin: https://gate.example\nbackends: {}\n')[0]).toContain(
      'add at least one backend',
    )
  })
})

describe('refused in an issuer', () => {
  const valid = { issuer: '"https://b.example"', jwks: '{ url: "https://b.example/jwks" }' }
  const issuers = (more: Record<string, string>) =>
    `${minimal}issuers: [{ ${Object.entries({ ...valid, ...more })
      .map(([k, v]) => `${k}: ${v}`)
      .join(', ')} }]\n`

  it('nothing, when it is complete', () => {
    expect(problemsOf(issuers({ algorithms: '[EdDSA, PS512]', clock_tolerance: '0s' }))).toEqual([])
  })

  it.each([
    ['algorithms', '[HS256]', 'algorithms[0]: write one of ES256'],
    ['algorithms', '[none]', 'algorithms[0]: write one of ES256'],
    ['algorithms', '[]', 'algorithms: name at least one'],
    ['jwks', '{ }', 'jwks: write exactly one'],
    ['jwks', '{ url: "https://b.example/jwks", local: true }', 'jwks: write exactly one'],
    ['jwks', '{ url: "http://b.example/jwks" }', 'jwks.url: write an https URL'],
    ['jwks', '{ url: "https://u:p@b.example/jwks" }', 'jwks.url: write an https URL'],
    ['jwks', '{ file: ./nowhere.json }', 'jwks.file: name a file that can be read: ENOENT'],
    ['jwks', '{ local: true }', 'issuer: write the same as broker.issuer'],
    ['clock_tolerance', '31s', 'clock_tolerance: write a duration from 0s to 30s'],
    ['allow_any_action', '"true"', 'allow_any_action: write true or false'],
    ['claims', '{ user: "a..b" }', 'claims.user: write a dotted path'],
    ['max_act_depth', '0', 'max_act_depth: write a whole number'],
    ['audience', '"https://gate.example/crm"', 'audience: name the whole gate'],
  ])('%s: %s', (key, value, message) => {
    expect(problemsOf(issuers({ [key]: value })).join('\n')).toContain(`issuers[0].${message}`)
  })

  it('an audience that is the name of a backend by one of its hosts', () => {
    const file = issuers({ audience: '"https://crm.example"' })
    expect(problemsOf(file)).toEqual([])
    expect(problemsOf(file.replace('    path_prefix', '    hosts: [crm.example]\n    path_prefix'))).toEqual([
      'config.yaml:9:83  issuers[0].audience: name the whole gate: this is the name of one backend, and would open them all',
    ])
  })

  it('the same issuer twice, and local tokens longer than it accepts', () => {
    const twice = issuers({}).replace(/\[(\{.*\})\]/, '[$1, $1]')
    expect(problemsOf(twice)).toEqual([
      'config.yaml:8:87  issuers[1].issuer: name each issuer once (also at line 8)',
    ])
    const local = issuers({
      issuer: '"http://127.0.0.1:8081"',
      jwks: '{ local: true }',
      max_token_lifetime: '60s',
    })
    expect(problemsOf(local)[0]).toContain('issuers[0].max_token_lifetime: raise it to broker.ttl')
  })
})

describe('refused in a backend', () => {
  it.each([
    'http://h/',
    'http://h/a/',
    'http://h//a',
    'http://h/a/../b',
    'http://h/%61',
    'http://h?x',
    'http://h#x',
    'http://u:p@h',
    'HTTP://h',
    'http://H',
    'http://h:80',
    'ftp://h',
    'h:3000',
    'http://127.0.0.1:8080',
  ])('the url %s', (url) => {
    expect(problemsOf(minimal.replace('http://127.0.0.1:3000', `"${url}"`)).join()).toContain(
      'backends.crm.url: write',
    )
  })

  it.each(['crm', '/', '/crm/', '//crm', '/a/../b', '/a%2fb', '/a;b', '/.', '/a..'])(
    'the path_prefix %s',
    (prefix) => {
      const problems = problemsOf(minimal.replace('path_prefix: /crm', `path_prefix: "${prefix}"`))
      expect(problems.join()).toContain('backends.crm.path_prefix: write /segment')
    },
  )

  it.each([
    ['hosts: [CRM.example]', 'hosts[0]: write the authority'],
    ['hosts: ["crm.example."]', 'hosts[0]: write the authority'],
    ['hosts: [gate.example]', 'hosts[0]: remove it: public_origin has this authority'],
    ['hosts: [a.example, a.example]', 'hosts[1]: name each host once'],
    ['credential: { header: Transfer-Encoding, value: x }', 'credential.header: choose another header'],
    ['credential: { header: connection, value: x }', 'credential.header: choose another header'],
    ['credential: { header: lease-id, value: x }', 'credential.header: choose another header'],
    ['credential: { header: "a b", value: x }', 'credential.header: write a header name'],
    ['credential: { header: x-key, value: "a\\r\\nb: c" }', 'credential.value: write printable ASCII'],
    ['credential: { header: x-key }', 'credential.value: add this key'],
    ['forward_headers: [Authorization]', 'forward_headers[0]: remove it'],
    ['forward_headers: [cookie]', 'forward_headers[0]: remove it'],
    ['forward_headers: [te]', 'forward_headers[0]: remove it'],
    ['forward_headers: [x-forwarded-for]', 'forward_headers[0]: remove it'],
    ['forward_headers: [lease-user]', 'forward_headers[0]: remove it'],
    ['forward_headers: [x_user]', 'forward_headers[0]: remove it'],
    ['timeouts: { conect: 1s }', 'timeouts.conect: unknown key; did you mean connect?'],
    ['upgrade: on', 'upgrade: write true or false'],
    ['connections: 0', 'connections: write a whole number from 1'],
  ])('%s', (line, message) => {
    expect(problemsOf(withBackend(line)).join('\n')).toContain(`backends.crm.${message}`)
  })

  it.each([
    ['/crm', true],
    ['/crm/v2', true],
    ['/crmx', false],
    ['/other', false],
  ])('a prefix that another one contains: /crm beside %s', (prefix, refused) => {
    const second = minimal
      .slice(minimal.indexOf('  crm:'))
      .replace('  crm:', '  two:')
      .replace('/crm', prefix)
    const problems = problemsOf(minimal + second)
    expect(problems).toEqual(
      refused
        ? [
            'config.yaml:10:5  backends.two.path_prefix: choose another prefix: one of the two contains the other (line 5)',
          ]
        : [],
    )
  })

  it('a prefix that the gate answers itself', () => {
    expect(problemsOf(minimal.replace('/crm', '/.well-known'))[0]).toContain('choose another prefix')
  })
})

describe('refused in an operation', () => {
  it.each([
    'get /a',
    'GET a',
    'GET  /a',
    'GET /a ',
    'TRACE /a',
    'CONNECT /a',
    'FETCH /a',
    'GET /a/',
    'GET //a',
    'GET /a?b',
    'GET /%61',
    'GET /a;b',
    'GET /a/..',
    'GET /a..',
    'GET /{a}/{a}',
    'GET /{a',
    'GET /x{a}',
    'GET /{1}',
    'GET /{}',
    'GET /é',
    '/a',
    'GET',
  ])('match: %s', (match) => {
    const problems = problemsOf(withOperation(operation(match)))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain('operations[1].match: ')
  })

  it.each([
    ['resource: r', 'resource: "crm:x"', 'resource: write plain segments'],
    ['resource: r', 'resource: "a//b"', 'resource: write plain segments'],
    ['resource: r', 'resource: "a/../b"', 'resource: write plain segments'],
    ['resource: r', 'resource: "a-{id}"', 'resource: write plain segments'],
    ['resource: r', 'resource: "*"', 'resource: write plain segments'],
    ['verb: read', 'verb: "*"', 'verb: write a lower-case word'],
    ['sensitivity: public', 'sensitivity: secret', 'sensitivity: write one of public, internal'],
    ['verb: read', 'verb: read, risk: none', 'risk: write one of low, medium, high'],
    ['verb: read', 'verb: read, body: xml', 'body: write one of stream, json, opaque'],
    [
      'verb: read',
      'verb: read, body: json, body_limit: 2MiB',
      'body_limit: lower it to limits.inspected_body',
    ],
    ['verb: read', 'verb: read, opaque_query: [access_token]', 'opaque_query[0]: write the name'],
    ['verb: read', 'verb: read, amount: body.total', 'amount: write body: json in this operation'],
    ['verb: read', 'verb: read, body: json, amount: body', 'amount: write body.NAME'],
    ['verb: read', 'verb: read, body: json, amount: body..total', 'amount: write body.NAME'],
    ['verb: read', 'verb: read, amount: query.a.b', 'amount: write body.NAME'],
    ['verb: read', 'verb: read, amount: header.total', 'amount: write body.NAME'],
    [
      'verb: read',
      'verb: read, amount: query.sum, opaque_query: [Sum]',
      'amount: remove the parameter from opaque_query',
    ],
    ['verb: read', 'verb: read, rate: 20', 'rate: write a string'],
    ['verb: read', 'verb: read, before: "GET /c"', 'before: name an operation of this backend'],
    [
      'verb: read',
      'verb: read, before: "GET /customers/{id}"',
      'before: use parameters of match alone: {id}',
    ],
    ['verb: read', 'verb: read, rate: 20 per minute', 'rate: write calls per time'],
  ])('%s written as %s', (from, to, message) => {
    const problems = problemsOf(withOperation(operation('GET /b').replace(from, to)))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(`operations[1].${message}`)
  })

  it.each(
    ['PUT', 'PATCH', 'DELETE'].flatMap((method) => [
      [method, 'read'],
      [method, 'list'],
    ]),
  )('%s called %s', (method, verb) => {
    const text = operation(`${method} /b`).replace('verb: read', `verb: ${verb}`)
    expect(problemsOf(withOperation(text))).toEqual([
      `config.yaml:8:${method.length + 25}  backends.crm.operations[1].verb: choose a verb that writes: ${method} is no ${verb}`,
    ])
  })

  it.each([
    ['a read with its parameters', 'PATCH /customers/{id}', 'GET /customers/{id}', undefined],
    ['a read of what it is in', 'PUT /customers/{id}/notes/{note}', 'GET /customers/{id}', undefined],
    ['itself', 'PATCH /b/{id}', 'PATCH /b/{id}', 'name an operation that reads with GET'],
  ])('before: %s', (_, match, before, problem) => {
    const text = operation(match, `, before: "${before}"`).replace('verb: read', 'verb: update')
    const found = problemsOf(withOperation(text))
    expect(found.map((each) => each.split('before: ')[1])).toEqual(problem === undefined ? [] : [problem])
  })

  it.each([
    ['a search', operation('POST /b')],
    ['a write by its own name', operation('DELETE /b').replace('verb: read', 'verb: purge')],
    ['a read that is not a GET', operation('HEAD /b')],
  ])('not %s', (_name, text) => {
    expect(problemsOf(withOperation(text))).toEqual([])
  })

  it.each([
    ['GET /a/{x}', 'GET /a/{y}', true],
    ['GET /a', 'GET /a', true],
    ['GET /a/{x}/c', 'GET /{y}/b/c', true],
    ['GET /{x}/b/{z}', 'GET /a/{y}/c', true],
    ['GET /a/{x}', 'GET /a/b', false],
    ['GET /a/{x}', 'GET /{x}/{y}', false],
    ['GET /a/{x}', 'HEAD /a/{x}', false],
    ['GET /a/{x}', 'GET /a/{x}/b', false],
    ['GET /a/{x}/c', 'GET /b/{x}/c', false],
    ['GET /', 'GET /{x}', false],
  ])('overlap of %s and %s: %s', (first, second, refused) => {
    const problems = problemsOf(withOperation(`${operation(first)}\n      - ${operation(second)}`))
    expect(problems).toEqual(
      refused
        ? [
            'config.yaml:9:11  backends.crm.operations[2].match: change or remove it: the operation at line 8 matches the same paths',
          ]
        : [],
    )
  })

  it('an overlap exactly where literal-first order leaves two readings of some path', () => {
    const segment = fc.constantFrom('a', 'b', '{x}')
    const pattern = fc.array(segment, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(pattern, pattern, (left, right) => {
        expect(overlaps(matchOf(left), matchOf(right))).toBe(ambiguous(left, right))
      }),
    )
  })
})

function matchOf(parts: string[]): Match {
  const outcome = parseMatch(`GET /${parts.map((part, index) => part.replace('x', `x${index}`)).join('/')}`)
  if ('fault' in outcome) throw new Error(outcome.fault)
  return outcome.value
}

/** By enumeration: both match a common path, and neither matches a strict subset of what the other does. */
function ambiguous(left: string[], right: string[]): boolean {
  const paths = (parts: string[]) =>
    new Set(
      parts.reduce(
        (found, part) =>
          found.flatMap((head) => (part === '{x}' ? ['a', 'b', 'c'] : [part]).map((s) => `${head}/${s}`)),
        [''],
      ),
    )
  const [l, r] = [paths(left), paths(right)]
  const within = (a: Set<string>, b: Set<string>) => [...a].every((path) => b.has(path))
  return [...l].some((path) => r.has(path)) && within(l, r) === within(r, l)
}
