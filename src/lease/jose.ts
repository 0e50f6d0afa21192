// The only importer of jose. In: keys as JWK, compact tokens. Out: imported keys, signatures made and
// checked. It does cryptography and nothing else: what a token says is read and judged by our own code.
// Never sees a symmetric key, never lets the token choose an algorithm.
import {
  CompactSign,
  type CryptoKey,
  calculateJwkThumbprint,
  compactVerify,
  exportJWK,
  generateKeyPair,
  importJWK,
} from 'jose'

export type { CryptoKey }

/** Public members of an asymmetric JWK (RFC 7517), nothing else. */
export interface PublicJwk {
  readonly kty: 'EC' | 'RSA' | 'OKP'
  readonly kid: string
  readonly alg: string
  readonly use: 'sig'
  readonly crv?: string
  readonly x?: string
  readonly y?: string
  readonly n?: string
  readonly e?: string
}

/** The members that make a private P-256 key; only the key file ever holds them. */
export interface PrivateJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly d: string
}

/** What kind of key an algorithm is used with. */
interface KeyKind {
  readonly kty: PublicJwk['kty']
  readonly crv?: string
}

const rsa: KeyKind = { kty: 'RSA' }

/** Key type and curve that each accepted algorithm fixes (RFC 7518 §3.1, RFC 8037, RFC 9864). */
export const algorithms: ReadonlyMap<string, KeyKind> = new Map<string, KeyKind>([
  ['ES256', { kty: 'EC', crv: 'P-256' }],
  ['ES384', { kty: 'EC', crv: 'P-384' }],
  ['ES512', { kty: 'EC', crv: 'P-521' }],
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }],
  ['Ed25519', { kty: 'OKP', crv: 'Ed25519' }],
  ['RS256', rsa],
  ['RS384', rsa],
  ['RS512', rsa],
  ['PS256', rsa],
  ['PS384', rsa],
  ['PS512', rsa],
])

/** Imports a public key for one algorithm; rejects when the members do not make such a key. */
export async function importPublicKey(jwk: PublicJwk): Promise<CryptoKey> {
  return importJWK({ ...jwk }, jwk.alg)
}

/** RFC 7638 SHA-256 thumbprint, base64url. */
export async function thumbprint(jwk: PublicJwk | PrivateJwk): Promise<string> {
  return calculateJwkThumbprint({ ...jwk }, 'sha256')
}

/** Whether the signature of a compact JWS is one by this key under exactly this algorithm. */
export async function signatureIsValid(token: string, key: CryptoKey, alg: string): Promise<boolean> {
  try {
    await compactVerify(token, key, { algorithms: [alg], crit: {} })
    return true
  } catch {
    // Whatever kept jose from saying yes, the answer is no.
    return false
  }
}

const decoys = new Map<string, Promise<{ readonly handle: CryptoKey }>>()

/**
 * A key that nobody has signed with, of the kind that `alg` is used with: checking a signature takes as long
 * with it as with a real one. For an algorithm that is not accepted, one that fits no token of it.
 */
export function decoyKey(alg: string): Promise<{ readonly handle: CryptoKey }> {
  const name = algorithms.has(alg) ? alg : 'ES256'
  let decoy = decoys.get(name)
  if (decoy === undefined) {
    decoy = generateKeyPair(name).then(({ publicKey }) => ({ handle: publicKey }))
    decoys.set(name, decoy)
  }
  return decoy
}

/** Signs claims as a compact JWS under ES256. */
export async function signCompact(
  header: { readonly typ: string; readonly kid: string },
  claims: object,
  key: CryptoKey,
): Promise<string> {
  const payload = new TextEncoder().encode(JSON.stringify(claims))
  return new CompactSign(payload).setProtectedHeader({ ...header, alg: 'ES256' }).sign(key)
}

/** A fresh P-256 key as JWK. The caller keeps it secret. */
export async function generatePrivateJwk(): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const { x, y, d } = await exportJWK(privateKey)
  if (x === undefined || y === undefined || d === undefined) throw new Error('no P-256 key came out')
  return { kty: 'EC', crv: 'P-256', x, y, d }
}

/** Imports a P-256 private key for signing; it cannot be exported again. Rejects when it is no such key. */
export async function importPrivateKey(jwk: PrivateJwk): Promise<CryptoKey> {
  return importJWK({ ...jwk }, 'ES256', { extractable: false })
}
