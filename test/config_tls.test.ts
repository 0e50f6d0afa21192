// The `tls` section: files that cannot be used and URLs that do not fit are named, all at once, with their place.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../src/config/load.ts'
import { ConfigError } from '../src/config/problems.ts'
import { pairOf, writePair } from './support/certificates.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-config-tls-'))
const file = join(dir, 'config.yaml')

beforeAll(async () => {
  writePair(dir, 'gate', await pairOf({ name: 'gate.example' }))
  writePair(dir, 'other', await pairOf({ name: 'other.example' }))
  writeFileSync(join(dir, 'junk.pem'), 'SECRET-JUNK')
})
afterAll(() => rmSync(dir, { recursive: true }))

interface Lines {
  readonly proxy?: string
  readonly control?: string
  readonly origin?: string
  readonly broker?: string
}

function write({ proxy, control, origin = 'https://gate.example', broker }: Lines): void {
  const sections = [
    `public_origin: ${origin}`,
    'policy: { reload: on_activate }',
    ...(broker === undefined ? [] : [`broker: { issuer: ${broker} }`]),
    'tls:',
    ...(proxy === undefined ? [] : [`  proxy: ${proxy}`]),
    ...(control === undefined ? [] : [`  control: ${control}`]),
    'backends:',
    '  crm:',
    '    url: http://127.0.0.1:3000',
    '    path_prefix: /crm',
    '    operations: [{ match: "GET /a", verb: read, resource: a, sensitivity: internal }]',
  ]
  writeFileSync(file, `${sections.join('\n')}\n`)
}

function problemsOf(lines: Lines): string[] {
  write(lines)
  try {
    loadConfig(file, {})
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ line, path, message }) => `${line} ${path}: ${message}`)
  }
  return []
}

const good = '{ cert: gate.crt, key: gate.key, client_ca: other.crt }'

test('files that fit are taken, as paths from the directory of the file', () => {
  write({ proxy: good, control: '{ cert: other.crt, key: other.key }' })
  expect(loadConfig(file, {}).tls).toEqual({
    proxy: { cert: join(dir, 'gate.crt'), key: join(dir, 'gate.key'), clientCa: join(dir, 'other.crt') },
    control: { cert: join(dir, 'other.crt'), key: join(dir, 'other.key'), clientCa: undefined },
  })
})

test('the broker is found over https where the control listener speaks TLS', () => {
  write({ control: good })
  const { broker, issuers } = loadConfig(file, {})
  expect(broker.issuer).toBe('https://127.0.0.1:8081')
  expect(issuers.map(({ issuer }) => issuer)).toEqual(['https://127.0.0.1:8081'])
})

test('everything that is wrong is said at once', () => {
  const problems = problemsOf({
    proxy: '{ cert: missing.crt, key: junk.pem, client_ca: junk.pem }',
    control: '{ cert: gate.crt, key: other.key }',
    origin: 'http://gate.example',
    broker: 'http://broker.example',
  })
  expect(problems).toEqual([
    '1 public_origin: write https://…: tls.proxy is set',
    '3 broker.issuer: write https://…: tls.control is set',
    '5 tls.proxy.cert: name a file that can be read: ENOENT',
    '5 tls.proxy.key: name a private key in PEM form, without a passphrase',
    '5 tls.proxy.client_ca: name certificates in PEM form',
    '6 tls.control.key: name the private key of the certificate beside it',
  ])
  expect(problems.join()).not.toContain('SECRET')
})

test.each([
  [
    'a certificate that is none',
    { proxy: '{ cert: junk.pem, key: gate.key }' },
    'tls.proxy.cert: name a cert',
  ],
  ['a key without its certificate', { proxy: '{ key: gate.key }' }, 'tls.proxy.cert: '],
  [
    'a directory',
    { proxy: '{ cert: ., key: gate.key }' },
    'tls.proxy.cert: name a file that can be read: EISDIR',
  ],
])('%s is refused', (_, lines, message) => {
  expect(problemsOf(lines).join('\n')).toContain(message)
})

test('a command that serves nobody does not need the key', () => {
  write({ proxy: '{ cert: missing.crt, key: missing.key }' })
  expect(loadConfig(file, {}, { credentials: 'unused' }).tls.proxy?.cert).toBe(join(dir, 'missing.crt'))
})
