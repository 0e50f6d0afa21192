// The bundle operation of the Rego toolchain: what of an archive from outside becomes policy, and every way it
// is refused. One compiler for all rows: each starts from nothing but its request.
import { gunzipSync, gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import type { BundleVerification } from '../../src/policy/signed_bundle.ts'
import { bundle as unsigned } from '../policy/support.ts'
import { files, pack, packEntries, signatures, signedBundle, signingKey } from '../support/bundles.ts'
import { type BundleReply, startRegoc } from '../support/regoc.ts'

const key = signingKey()
const other = signingKey('2025-02')
const ours: BundleVerification = { keys: [key.publicKey], scope: '' }
const both: BundleVerification = { keys: [key.publicKey, other.publicKey], scope: '' }

let run: (archive: Uint8Array, verification: BundleVerification) => Promise<BundleReply>
beforeAll(async () => {
  run = await startRegoc()
})

/** `opened`, or the one diagnostic with which a bundle is refused: its code and its message. */
async function refusal(archive: Uint8Array, verification = ours): Promise<string> {
  const { ok, errors } = await run(archive, verification)
  if (ok) return 'opened'
  expect(errors).toHaveLength(1)
  const { file, line, column, code, message } = errors[0]!
  return `${file === '' ? '' : `${file}:${line}:${column}: `}${code}: ${message}`
}

describe('a signature', () => {
  it('holds over white space and the order of keys in JSON, as OPA hashes it', async () => {
    const data = '{"numbers":[1,1000000,true,null,{}],"reason":"a <b> & é"}'
    const archive = signedBundle({ ...files, 'limits/data.json': data }, { key, covers: files })
    expect((await run(archive, ours)).bundle?.data).toMatchObject({
      limits: { reason: 'a <b> & é' },
    })
  })

  it('that names no key is checked with the only one there is, and with none of several', async () => {
    const archive = signedBundle(files, { key, header: { kid: undefined } })
    expect(await refusal(archive)).toBe('opened')
    expect(await refusal(archive, both)).toContain('verification key ID is empty')
  })

  it('covers files however the archive writes their paths', async () => {
    const all = Object.entries({ ...files, '.signatures.json': signatures(files, { key }) })
    for (const root of ['./', '/']) {
      const entries = all.map(([name, content]) => ({ name: root + name, content }))
      expect(await refusal(packEntries([{ name: './', type: '5' }, ...entries]))).toBe('opened')
    }
  })

  it('may be by any of several keys', async () => {
    expect(await refusal(signedBundle(files, { key: other }), both)).toBe('opened')
  })

  it.each(['ES256', 'ES512', 'RS256', 'PS256'] as const)(
    'by a key for %s is good, whatever algorithm it claims',
    async (algorithm) => {
      const one = signingKey('one', algorithm)
      const verification = { keys: [one.publicKey], scope: '' }
      expect(await refusal(signedBundle(files, { key: one }), verification)).toBe('opened')
      expect(await refusal(signedBundle(files, { key: one, header: { alg: 'HS256' } }), verification)).toBe(
        'opened',
      )
      const another = signingKey('one', algorithm)
      expect(await refusal(signedBundle(files, { key: another }), verification)).toContain('verify JWT')
    },
  )

  it('needs the scope that is configured, and no other', async () => {
    const archive = signedBundle(files, { key, claims: { scope: 'production' } })
    expect(await refusal(archive, { ...ours, scope: 'production' })).toBe('opened')
    expect(await refusal(archive)).toContain('scope mismatch')
    expect(await refusal(signedBundle(files, { key }), { ...ours, scope: 'production' })).toContain(
      'scope mismatch',
    )
  })
})

const signed = (content: unknown) => pack({ ...files, '.signatures.json': JSON.stringify(content) })
const token = (how: Parameters<typeof signatures>[1]) =>
  (JSON.parse(signatures(files, how)) as { signatures: [string] }).signatures[0]
const unsignedToken = `${Buffer.from('{"alg":"none","kid":"2026-11"}').toString('base64url')}.${token({ key }).split('.')[1]}.`

describe('is refused as bundle_signature_invalid:', () => {
  const bad: readonly (readonly [name: string, archive: () => Uint8Array, word: string])[] = [
    ['no signature at all', () => pack(files), 'not signed'],
    ['an unsigned bundle of OPA', () => unsigned('portable'), 'not signed'],
    ['an empty signatures file', () => signed({}), 'missing JWT'],
    ['a list without a signature', () => signed({ signatures: [] }), 'missing JWT'],
    ['signatures that are null', () => signed({ signatures: null }), 'missing JWT'],
    ['two signatures', () => signed({ signatures: [token({ key }), token({ key })] }), 'multiple JWTs'],
    ['a verifier we do not have', () => signed({ signatures: [token({ key })], plugin: 'x' }), 'no verifier'],
    ['no JSON', () => pack({ ...files, '.signatures.json': '{' }), '.signatures.json'],
    ['alg none', () => signed({ signatures: [unsignedToken] }), 'signature'],
    ['no JWT', () => signed({ signatures: ['a.b'] }), 'JWT'],
    ['a key we do not know', () => signedBundle(files, { key: other }), 'ID 2025-02 not found'],
    [
      'the name of our key on a signature of another',
      () => signedBundle(files, { key: other, header: { kid: '2026-11' } }),
      'verify JWT signature',
    ],
    [
      'a file that was changed',
      () => signedBundle({ ...files, 'authz.rego': 'package leasegate.authz\n' }, { key, covers: files }),
      'authz.rego: digest mismatch',
    ],
    [
      'data that was changed',
      () => signedBundle({ ...files, 'limits/data.json': '{}' }, { key, covers: files }),
      'limits/data.json: digest mismatch',
    ],
    [
      'a manifest that was changed',
      () => signedBundle({ ...files, '.manifest': '{ "roots": [""] }' }, { key, covers: files }),
      '.manifest: digest mismatch',
    ],
    [
      'a file that was added',
      () => signedBundle({ ...files, 'more.rego': 'package more\n' }, { key, covers: files }),
      'more.rego not included',
    ],
    [
      'a file that was taken away',
      () => signedBundle(files, { key, covers: { ...files, 'gone.rego': 'package gone\n' } }),
      'not in the bundle: gone.rego',
    ],
    ['a broken hash', () => signedBundle(files, { key, algorithm: 'MD5' }), 'MD5'],
  ]
  it.each(bad)('%s', async (_, archive, word) => {
    const message = await refusal(archive())
    expect(message).toMatch(/^bundle_signature_invalid: /)
    expect(message).toContain(word)
  })
})

/** A signed bundle with one more entry, which its signature covers when it is a file. */
function withEntry(name: string, entry: { type?: string; link?: string; content?: string } = {}): Buffer {
  const content = entry.content ?? 'package more\n'
  const covers = { ...files, [name.replace(/^\/+/, '')]: content }
  const all = { ...files, '.signatures.json': signatures(files, { key, covers }) }
  const entries = Object.entries(all).map(([path, text]) => ({ name: path, content: text }))
  return packEntries([...entries, { name, ...entry, content: entry.type === undefined ? content : '' }])
}

const zeros = Buffer.alloc(129 * 1024 * 1024)

describe('is refused as bundle_invalid:', () => {
  const whole = signedBundle(files, { key })
  const bad: readonly (readonly [name: string, archive: () => Uint8Array, word: string])[] = [
    ['what is no archive', () => Buffer.from('<html>'), 'no gzip archive'],
    ['nothing', () => Buffer.alloc(0), 'no gzip archive'],
    ['an archive cut off in the middle', () => whole.subarray(0, whole.length / 2), 'damaged'],
    ['an archive without its last byte', () => whole.subarray(0, -1), 'damaged'],
    ['a path that leads out', () => withEntry('../more.rego'), 'no path that belongs'],
    ['a path that leads out and in again', () => withEntry('rules/../more.rego'), 'no path that belongs'],
    ['a path with two slashes', () => withEntry('//more.rego'), 'no path that belongs'],
    ['a path with a backslash', () => withEntry('rules\\more.rego'), 'no path that belongs'],
    ['a symbolic link', () => withEntry('more.rego', { type: '2', link: '/etc/passwd' }), 'no regular file'],
    ['a hard link', () => withEntry('more.rego', { type: '1', link: 'authz.rego' }), 'no regular file'],
    ['a device', () => withEntry('more.rego', { type: '3' }), 'no regular file'],
    ['a file that is there twice', () => withEntry('authz.rego'), 'there twice'],
    ['a second file under a leading slash', () => withEntry('/authz.rego'), 'there twice'],
    ['signatures in another place', () => withEntry('rules/.signatures.json'), 'signatures belong'],
    ['a delta bundle', () => withEntry('patch.json', { content: '{"data":[]}' }), 'delta bundle'],
    ['a gzip bomb', () => gzipSync(zeros), 'larger than 128 MiB'],
    ['a file of 129 MiB', () => pack({ 'data.json': zeros }), 'larger than 128 MiB'],
    ['a sparse file of a terabyte', sparse, 'larger than 128 MiB'],
    ['zeros without end behind the archive', () => bombBehind(whole), 'larger than 128 MiB'],
    ['no policy', () => signedBundle({ 'data.json': '{}' }, { key }), 'neither Rego nor a policy.wasm'],
    ['a plan', () => signedBundle({ 'plan.json': '{}' }, { key }), 'built with -t plan'],
    [
      'Rego outside the roots of the manifest',
      () => signedBundle({ ...files, '.manifest': '{ "roots": ["elsewhere"] }' }, { key }),
      'do not permit',
    ],
    ['data that is no object', () => signedBundle({ ...files, 'data.json': '[1]' }, { key }), 'data.json'],
  ]
  it.each(bad)('%s', async (_, archive, word) => {
    const message = await refusal(archive())
    expect(message).toMatch(/^bundle_invalid: /)
    expect(message).toContain(word)
  })
})

/** Sparse as PAX has it (GNU format 1.0): no bytes, and a size all the same. */
function sparse(): Buffer {
  const facts = ['major=1', 'minor=0', 'name=more.rego', 'realsize=1000000000000']
  const records = facts.map((fact) => {
    const record = ` GNU.sparse.${fact}\n`
    return `${record.length + 2}${record}`
  })
  return packEntries([
    { name: 'facts', type: 'x', content: records.join('') },
    { name: 'more.rego', content: '0\n'.padEnd(512, '\0') },
  ])
}

function bombBehind(archive: Uint8Array): Buffer {
  return gzipSync(Buffer.concat([gunzipSync(archive), zeros]))
}

it('Rego that is no Rego v1 is refused with its place', async () => {
  const old = { ...files, 'authz.rego': 'package leasegate.authz\n\ndecision { input.x }\n' }
  expect(await refusal(signedBundle(old, { key }))).toMatch(/^authz\.rego:3:1: rego_parse_error: .*`if`/)
})

it('of two modules none is chosen', async () => {
  const two = { 'policy.wasm': 'one', 'more/policy.wasm': 'two' }
  expect(await refusal(signedBundle(two, { key }))).toContain('more than one policy.wasm')
})
