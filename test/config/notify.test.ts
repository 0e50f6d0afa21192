// The `notify` section: whom it takes, what it refuses with its place, and what never prints.
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-notify-'))
  mkdirSync(join(dir, 'policies'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const keyOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 0xfb).toString('base64')}`

function load(entry: string, secret = keyOf(32)) {
  const file = join(dir, 'config.yaml')
  writeFileSync(
    file,
    `public_origin: https://gate.example
backends:
  crm:
    url: http://127.0.0.1:3000
    path_prefix: /crm
    operations:
      - { match: "GET /customers/{id}", verb: read, resource: "customer/{id}", sensitivity: internal }
notify:
  - { ${entry} }
`,
  )
  return loadConfig(file, { WEBHOOK_SECRET: secret })
}

const signed = `secret: "\${env:WEBHOOK_SECRET}"`

test('a place is told of requests alone, signed, unless it says otherwise', () => {
  const { notify } = load(`url: "https://hooks.example/x?token=1", ${signed}`)
  const [{ url, format, secret, events }] = notify as [(typeof notify)[number]]
  expect({ url, format, secret, events }).toEqual({
    url: 'https://hooks.example/x?token=1',
    format: 'standard',
    secret: keyOf(32),
    events: ['approval.requested'],
  })
})

test('neither the secret nor the URL prints: whoever has the URL of a Slack webhook may post there', () => {
  const config = load(`url: "https://hooks.example/services/T0/B0/x", ${signed}`)
  for (const shown of [inspect(config, { depth: 9 }), JSON.stringify(config)]) {
    expect(shown).not.toContain(keyOf(32).slice(6))
    expect(shown).not.toContain('services')
    expect(shown).toContain('approval.requested')
  }
})

test.each([24, 25, 26, 27, 63, 64])('a secret of %i bytes is taken', (bytes) => {
  expect(load(`url: "https://hooks.example/x", ${signed}`, keyOf(bytes)).notify[0]?.secret).toBe(keyOf(bytes))
})

test.each([
  ['23 bytes', keyOf(23)],
  ['no prefix', keyOf(32).slice(6)],
  ['a group that is cut', keyOf(30).slice(0, -1)],
  ['padding left out', keyOf(32).replace('=', '')],
  ['characters of another alphabet', keyOf(32).replaceAll('+', '-')],
  ['a line at the end', `${keyOf(32)}\n`],
])('a secret with %s is refused, and not repeated', (_, secret) => {
  const failing = () => load(`url: "https://hooks.example/x", ${signed}`, secret)
  expect(failing).toThrow(ConfigError)
  expect(failing).toThrow('write whsec_ and 24 to 64 random bytes as base64')
  try {
    failing()
  } catch (error) {
    expect(String(error)).not.toContain(secret.slice(10, 30))
  }
})

test.each([
  ['plain http to elsewhere', `url: "http://hooks.example/x", ${signed}`, 'write an https URL'],
  ['a user in it', `url: "https://me:x@hooks.example/x", ${signed}`, 'write an https URL'],
  ['no secret', 'url: "https://hooks.example/x"', 'add secret: standard webhooks are signed'],
  ['a secret for Slack', `url: "https://hooks.example/x", format: slack, ${signed}`, 'Slack checks none'],
  [
    'a place that is named twice',
    `url: "https://hooks.example/x", ${signed} }\n  - { url: "https://hooks.example/x", ${signed}`,
    'merge it with the one before',
  ],
  ['no event', `url: "https://hooks.example/x", ${signed}, events: []`, 'name at least one event'],
  [
    'an event that there is not',
    `url: "https://hooks.example/x", ${signed}, events: [all]`,
    'approval.decided',
  ],
])('%s is refused with its place', (_, entry, problem) => {
  expect(() => load(entry)).toThrow(problem)
  expect(() => load(entry)).toThrow(/config\.yaml:\d+:\d+/)
})

test('a command that tells nobody, such as revoke, needs neither its secrets nor that of the sign-in', () => {
  load(`url: "https://hooks.example/x", ${signed}`)
  const file = join(dir, 'config.yaml')
  appendFileSync(
    file,
    `console:
  url: https://leasegate.example
  sign_in: { issuer: https://login.example, client_id: leasegate, client_secret: "\${env:CONSOLE_SECRET}" }
`,
  )
  expect(() => loadConfig(file, {})).toThrow(/WEBHOOK_SECRET: it is missing.*CONSOLE_SECRET: it is missing/s)
  const { notify, console } = loadConfig(file, {}, { credentials: 'unused' })
  expect([notify, console.signIn?.clientId]).toEqual([[], 'leasegate'])
})
