// `policy.bundle` in the configuration: what it becomes, and how it is refused, with place and fix.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../src/config/load.ts'
import { ConfigError } from '../src/config/problems.ts'
import type { Config } from '../src/config.ts'

type Json = Readonly<Record<string, unknown>>

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
const ed = generateKeyPairSync('ed25519')
const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }) as string

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-config-bundle-'))
  writeFileSync(join(dir, 'ec.pem'), pem(ec.publicKey))
  writeFileSync(join(dir, 'rsa.pem'), pem(rsa.publicKey))
  writeFileSync(join(dir, 'weak.pem'), pem(weak.publicKey))
  writeFileSync(join(dir, 'ed.pem'), pem(ed.publicKey))
  writeFileSync(join(dir, 'private.pem'), ec.privateKey.export({ type: 'pkcs8', format: 'pem' }))
  writeFileSync(join(dir, 'text.pem'), 'no key')
})
afterAll(() => rmSync(dir, { recursive: true }))

const key = { id: '2026-11', algorithm: 'ES256', file: './ec.pem' }
const verification = { keys: [key] }
const url = 'https://bundles.example/leasegate.tar.gz'
const withKey = (change: Json) => ({ url, verification: { keys: [{ ...key, ...change }] } })

function load(bundle: Json, policy: Json = {}, env: Record<string, string> = {}): Config {
  const match = 'GET /customers/{id}'
  const operations = [{ match, verb: 'read', resource: 'customer/{id}', sensitivity: 'internal' }]
  const backends = { crm: { url: 'http://127.0.0.1:3000', path_prefix: '/crm', operations } }
  const file = join(dir, 'config.yaml')
  writeFileSync(
    file,
    stringify({ public_origin: 'https://gate.example', policy: { bundle, ...policy }, backends }),
  )
  return loadConfig(file, env)
}

function problemsOf(bundle: Json, policy: Json = {}): string[] {
  try {
    load(bundle, policy)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path, message }) => `${path}: ${message}`)
    throw error
  }
  return []
}

describe('policy.bundle', () => {
  it('needs a place and a key, and has defaults for the rest; the policy directory need not be there', () => {
    expect(load({ file: './bundle.tar.gz', verification }).policy.bundle).toEqual({
      place: { file: join(dir, 'bundle.tar.gz') },
      pollMs: 60_000,
      verification: { keys: [{ id: '2026-11', algorithm: 'ES256', pem: pem(ec.publicKey) }], scope: '' },
      cache: join(dir, 'data/bundle.tar.gz'),
    })
  })

  it('takes a URL with a credential; neither prints', () => {
    const credential = { header: 'Authorization', value: `Bearer \${env:TOKEN}` }
    const signed = `${url}?sig=url-secret`
    const config = load({ url: signed, verification, credential }, {}, { TOKEN: 'token-secret' })
    const { place, credential: held } = config.policy.bundle!
    expect([place, held?.header, held?.value]).toMatchObject([
      { url: signed },
      'authorization',
      'Bearer token-secret',
    ])
    expect(`${inspect(config, { depth: 9 })}${JSON.stringify(config)}`).not.toMatch(/secret/)
  })

  it('does without its credential where nothing is fetched', () => {
    const credential = { header: 'authorization', value: `Bearer \${env:TOKEN}` }
    expect(problemsOf({ url, verification, credential })).toEqual([
      'policy.bundle.credential.value: set the environment variable TOKEN: it is missing',
    ])
    expect(loadConfig(join(dir, 'config.yaml'), {}, { credentials: 'unused' }).policy.bundle).toBeDefined()
    // A broker forwards nothing, but needs its policy.
    expect(() => loadConfig(join(dir, 'config.yaml'), {}, { credentials: 'policy' })).toThrow(/TOKEN/)
  })

  it.each([
    ['RS256', 'rsa.pem'],
    ['PS512', 'rsa.pem'],
  ])('takes a key for %s', (algorithm, file) => {
    expect(problemsOf(withKey({ algorithm, file }))).toEqual([])
  })

  const refused: readonly (readonly [name: string, bundle: Json, problem: string])[] = [
    ['no place', { verification }, 'policy.bundle: write exactly one of url and file'],
    ['two places', { url, file: './b', verification }, 'policy.bundle: write exactly one of url and file'],
    ['http', { url: 'http://bundles.example/b', verification }, 'policy.bundle.url: write an https URL'],
    [
      'a user in the URL',
      { url: 'https://a:b@c.example/', verification },
      'policy.bundle.url: write an https',
    ],
    [
      'no keys',
      { url, verification: { keys: [] } },
      'policy.bundle.verification.keys: name at least one key',
    ],
    ['no verification', { url }, 'policy.bundle.verification: add this key'],
    ['a way around it', { url, verification, skip_verify: true }, 'policy.bundle.skip_verify: unknown key'],
    ['a shared secret', withKey({ algorithm: 'HS256' }), 'keys[0].algorithm: write one of ES256'],
    ['an algorithm OPA lacks', withKey({ algorithm: 'EdDSA' }), 'keys[0].algorithm: write one of ES256'],
    [
      'no such file',
      withKey({ file: './none.pem' }),
      'keys[0].file: name a key file that can be read: ENOENT',
    ],
    ['a private key', withKey({ file: './private.pem' }), 'keys[0].file: put the public key there'],
    [
      'no key in the file',
      withKey({ file: './text.pem' }),
      'keys[0].file: name a public key or a certificate',
    ],
    ['another curve', withKey({ algorithm: 'ES384' }), 'keys[0].file: name a key for ES384'],
    ['another kind', withKey({ file: './rsa.pem' }), 'keys[0].file: name a key for ES256'],
    ['Ed25519', withKey({ file: './ed.pem' }), 'keys[0].file: name a key for ES256'],
    ['short RSA', withKey({ algorithm: 'RS256', file: './weak.pem' }), 'keys[0].file: name a key for RS256'],
    ['one name twice', { url, verification: { keys: [key, key] } }, 'keys[1].id: name each key once'],
    [
      'a credential for a file',
      { file: './b', verification, credential: { header: 'x-key', value: 'v' } },
      'policy.bundle.credential: remove it',
    ],
    ['its own cache', { file: './b', cache: './b', verification }, 'policy.bundle.cache: name another file'],
    [
      'a hasty poll',
      { url, verification, poll: '10ms' },
      'policy.bundle.poll: write a duration from 1s to 24h',
    ],
  ]
  it.each(refused)('refuses %s', (_, bundle, problem) => {
    const problems = problemsOf(bundle)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(problem)
  })

  it('and policy.dir exclude each other', () => {
    expect(problemsOf({ url, verification }, { dir: '.' })).toEqual([
      'policy.dir: write one of dir and bundle: policy comes from one place',
    ])
  })

  it('and activations exclude each other', () => {
    expect(problemsOf({ url, verification }, { reload: 'on_activate' })).toEqual([
      'policy.reload: write on_change or never: bundles and activations cannot both decide',
    ])
  })

  it('takes http on the loopback interface', () => {
    expect(problemsOf({ url: 'http://127.0.0.1:8000/b.tar.gz', verification })).toEqual([])
  })
})
