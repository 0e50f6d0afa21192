// What the console section may not say: sessions in the clear, passkeys of an address.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-console-config-'))
  mkdirSync(join(dir, 'policies'))
})
afterAll(() => rmSync(dir, { recursive: true }))

function load(section: object, listen: object = {}) {
  const operation = { match: 'GET /a', verb: 'read', resource: 'a', sensitivity: 'internal' }
  const crm = { url: 'http://127.0.0.1:3000', path_prefix: '/crm', operations: [operation] }
  const file = join(dir, 'config.yaml')
  writeFileSync(
    file,
    stringify({ public_origin: 'http://gate.example', listen, console: section, backends: { crm } }),
  )
  return loadConfig(file, {}).console
}

const signIn = { issuer: 'https://login.example', client_id: 'console' }
const refused: readonly (readonly [string, object, object, RegExp])[] = [
  ['passkeys at an address', { passkeys: 'high' }, {}, /console\.passkeys.*passkeys are of names/],
  [
    'passkeys at a written address',
    { passkeys: 'always', url: 'https://10.0.0.1' },
    {},
    /console\.url.*of names/,
  ],
  [
    'passkeys at an IPv6 address',
    { passkeys: 'always', url: 'http://[::1]:8081' },
    {},
    /console\.url.*of names/,
  ],
  [
    'sign-in in the clear',
    { sign_in: signIn, url: 'http://console.example' },
    {},
    /console\.url.*sessions need https/,
  ],
  [
    'sign-in on every interface',
    { sign_in: signIn },
    { control: '0.0.0.0:8081' },
    /console\.sign_in.*sessions need https/,
  ],
]
test.each(refused)('%s is refused', (_, section, listen, text) => {
  expect(() => load(section, listen)).toThrow(text)
})

test.each([
  [{ passkeys: 'high', url: 'http://localhost:8081' }, 'http://localhost:8081'],
  [{ passkeys: 'always', url: 'https://console.example' }, 'https://console.example'],
  [{ passkeys: 'never' }, 'http://127.0.0.1:8081'],
  [{ sign_in: signIn }, 'http://127.0.0.1:8081'],
])('%j is taken', (section, url) => {
  expect(load(section).url).toBe(url)
})
