// broker.identity_providers and broker.agents: what a section becomes, and what does not fit together.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { workloadIssuers } from '../../src/config/broker.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-providers-'))
  for (const name of ['policies', 'agents']) mkdirSync(join(dir, name))
  writeFileSync(join(dir, 'keys.json'), '{"keys":[]}')
})
afterAll(() => rmSync(dir, { recursive: true }))

function load(broker: string) {
  writeFileSync(
    join(dir, 'config.yaml'),
    `public_origin: https://gate.example
backends:
  crm:
    url: http://127.0.0.1:3000
    path_prefix: /crm
    operations:
      - { match: "GET /customers/{id}", verb: read, resource: "customer/{id}", sensitivity: internal }
broker:
${broker}`,
  )
  return loadConfig(join(dir, 'config.yaml'))
}

const providers = (...entries: string[]) =>
  `  identity_providers:\n${entries.map((entry) => `    - { ${entry} }\n`).join('')}`
const usual = 'issuer: https://login.example, audience: leasegate'

test('a provider is what its section says, and otherwise careful', () => {
  const { broker } = load(
    `  agents: ./agents\n${providers(
      usual,
      'issuer: "spiffe-issuer", audience: leasegate, subjects: agents, jwks: { file: ./keys.json }',
      'issuer: https://ci.example, audience: leasegate, subjects: workflows, accept: [jwt], max_age: 10m',
    )}`,
  )
  expect(broker.agents).toBe(join(dir, 'agents'))
  expect(broker.identityProviders).toMatchObject([
    {
      issuer: 'https://login.example',
      keys: { discovery: true },
      algorithms: ['ES256', 'RS256'],
      accept: ['id_token', 'logout'],
      subjects: 'users',
      userClaim: 'sub',
      maxAgeSeconds: 3600,
      clockTolerance: 5,
    },
    { keys: { file: join(dir, 'keys.json') }, subjects: 'agents' },
    { subjects: 'workflows', accept: ['jwt'], maxAgeSeconds: 600 },
  ])
  expect(workloadIssuers({ broker })).toEqual(['spiffe-issuer'])
})

const at = 'broker.identity_providers[0]'
test.each([
  [
    'two of one name',
    providers(usual, usual),
    '11:9  broker.identity_providers[1].issuer: name each identity provider once (also at line 10)',
  ],
  [
    'the broker itself',
    providers('issuer: http://127.0.0.1:8081, audience: a'),
    `10:9  ${at}.issuer: remove it: the broker speaks for nobody`,
  ],
  [
    'discovery of what is no URL',
    providers('issuer: accounts.example, audience: a'),
    `10:9  ${at}.issuer: add jwks: only an https issuer`,
  ],
  [
    'discovery over plain http elsewhere',
    providers('issuer: http://login.example, audience: a'),
    `10:9  ${at}.issuer: add jwks`,
  ],
  ['keys from nowhere', providers(`${usual}, jwks: {}`), `${at}.jwks: write exactly one of url and file`],
  [
    'keys from two places',
    providers(`${usual}, jwks: { url: https://login.example/jwks, file: ./keys.json }`),
    `${at}.jwks: write exactly one`,
  ],
  [
    'keys from a file that is not there',
    providers(`${usual}, jwks: { file: ./no.json }`),
    `${at}.jwks.file: name a file that can be read: ENOENT`,
  ],
  [
    'an id_jag about workflows',
    providers(`${usual}, subjects: workflows, accept: [jwt, id_jag]`),
    `${at}.accept[1]: remove it, or write subjects: users`,
  ],
  ['a shared key', providers(`${usual}, algorithms: [HS256]`), `${at}.algorithms[0]: write one of ES256`],
  [
    'an unknown kind of token',
    providers(`${usual}, accept: [saml]`),
    `${at}.accept[0]: write one of id_token`,
  ],
  [
    'agents in a directory that is not there',
    '  agents: ./nowhere\n',
    '9:3  broker.agents: name a directory that can be read: ENOENT',
  ],
  [
    'agents in a file',
    '  agents: ./keys.json\n',
    '9:3  broker.agents: name a directory: this is something else',
  ],
])('%s: refused with its place', (_, broker, problem) => {
  let message = ''
  try {
    load(broker)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    message = error.message.replaceAll(`${dir}/`, '')
  }
  expect(message).toContain(problem)
  expect(message.split('\n')).toHaveLength(1)
})
