// Bundles for tests, signed as OPA's documents say and with anything wrong that one could wish for. Hashes and
// signs with node:crypto and writes its own archives, so that what checks a bundle is not what made it.
import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { BundleKey } from '../../src/policy/signed_bundle.ts'

/** Content of a bundle by path. */
export type Files = Readonly<Record<string, string | Uint8Array>>

/** A bundle as pipelines make them. */
export const files: Files = {
  '.manifest': '{ "revision": "7", "roots": [""], "rego_version": 1 }',
  'authz.rego':
    'package leasegate.authz\n\ndecision := {"effect": "deny", "reasons": [data.limits.reason]}\n',
  'limits/data.json': '{ "reason": "a <b> & \\u00e9", "numbers": [1, 1000000, true, null, {}] }',
}

/** A key pair; `publicKey` is what a gate is configured with. */
export interface SigningKey {
  readonly privateKey: KeyObject
  readonly publicKey: BundleKey
}

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })
/** How each algorithm makes its keys, and what Node has to be told to sign with one (RFC 7518 §3.1). */
const kinds = {
  ES256: { pair: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }), hash: 'sha256', padding: {} },
  ES512: { pair: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }), hash: 'sha512', padding: {} },
  RS256: { pair: rsa, hash: 'sha256', padding: {} },
  PS256: {
    pair: rsa,
    hash: 'sha256',
    padding: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  },
} as const

export type SigningAlgorithm = keyof typeof kinds

export function signingKey(id = '2026-11', algorithm: SigningAlgorithm = 'ES256'): SigningKey {
  const { privateKey, publicKey } = kinds[algorithm].pair()
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  return { privateKey, publicKey: { id, algorithm, pem } }
}

export interface Signed {
  readonly key: SigningKey
  /** Header members in place of the usual ones. */
  readonly header?: Readonly<Record<string, unknown>>
  /** Claims beside `files`. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** What `files` says, in place of what there is. */
  readonly covers?: Files
  readonly algorithm?: 'SHA-256' | 'MD5' | 'SHA-512'
}

const hashes = { 'SHA-256': 'sha256', MD5: 'md5', 'SHA-512': 'sha512' } as const

/** `.signatures.json` over `files`. */
export function signatures(files: Files, how: Signed): string {
  const algorithm = how.algorithm ?? 'SHA-256'
  const covered = Object.entries(how.covers ?? files).map(([name, content]) => ({
    name,
    hash: createHash(hashes[algorithm]).update(hashed(name, content)).digest('hex'),
    algorithm,
  }))
  const { id: kid, algorithm: alg } = how.key.publicKey
  const header = { alg, kid, ...how.header }
  const signed = [header, { files: covered, ...how.claims }].map(base64url).join('.')
  const { hash, padding } = kinds[alg as SigningAlgorithm]
  const key = { key: how.key.privateKey, dsaEncoding: 'ieee-p1363', ...padding } as const
  const signature = sign(hash, Buffer.from(signed), key).toString('base64url')
  return JSON.stringify({ signatures: [`${signed}.${signature}`] })
}

/** A packed bundle with its signature. */
export function signedBundle(files: Files, how: Signed): Buffer {
  return pack({ ...files, '.signatures.json': signatures(files, how) })
}

export function pack(files: Files): Buffer {
  return packEntries(Object.entries(files).map(([name, content]) => ({ name, content })))
}

/** One entry of an archive; `type` as in ustar, '0' a regular file. */
export interface Entry {
  readonly name: string
  readonly content?: string | Uint8Array
  readonly type?: string
  readonly link?: string
}

export function packEntries(entries: readonly Entry[]): Buffer {
  return gzipSync(Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)]))
}

function tarEntry({ name, content = '', type = '0', link = '' }: Entry): Buffer {
  const bytes = Buffer.from(content)
  const header = Buffer.alloc(512)
  header.write(name, 0, 100)
  header.write('0000600\0', 100)
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0        ', 136)
  header.write(type, 156)
  header.write(link, 157, 100)
  header.write('ustar\0' + '00', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, bytes, Buffer.alloc(-bytes.length & 511)])
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** What is hashed of a file: JSON documents without white space and with sorted keys, all else as it is. */
function hashed(name: string, content: string | Uint8Array): string | Uint8Array {
  if (!/(^|\/)(data\.json|\.manifest)$/.test(name)) return content
  return canonical(JSON.parse(Buffer.from(content).toString()))
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`
}
