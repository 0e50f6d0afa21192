// In: the value of a DPoP field, from anybody. Out: the one reading of the proof in it, or what is wrong with
// it. Checks form only, in the order of RFC 9449 §4.3; believes nothing, imports no key. Pure.
import { parseStrictJson } from '../strict_json.ts'
import { decodeCanonical } from './compact.ts'
import type { ProofFault } from './proof_faults.ts'
import { isObject, own } from './text.ts'

/** Characters of a proof at most: ASCII, so also bytes. */
export const maxProofLength = 4096
const maxJtiLength = 256

/**
 * Signature algorithms of proofs, as challenges and metadata name them (RFC 9449 §5.1, §7.1). `Ed25519` is the
 * newer name of what `EdDSA` is here (RFC 9864 §2.2) and is taken as well.
 */
export const proofAlgorithms: readonly string[] = ['ES256', 'EdDSA']

/** The public key in a proof, rebuilt from the members we know. */
export type ProofJwk =
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
  | { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string }

/** A proof whose form is right; its signature has not been checked. */
export interface UnprovenProof {
  readonly text: string
  readonly alg: string
  readonly jwk: ProofJwk
  readonly jti: string
  readonly htm: string
  readonly htu: string
  readonly iat: number
  readonly ath: string | undefined
  readonly nonce: string | undefined
}

// Allow lists: nothing else in a header could change how a proof is verified, and nothing private, whatever it
// is called, passes for a member of a public key (RFC 7518 §6, RFC 8037 §2).
const headerMembers: ReadonlySet<string> = new Set(['typ', 'alg', 'jwk', 'kid'])
const keyMembers: ReadonlySet<string> = new Set([
  'kty',
  'crv',
  'x',
  'y',
  'alg',
  'use',
  'key_ops',
  'kid',
  'ext',
])
/** 32 bytes in base64url: a coordinate of either curve. */
const coordinate = /^[A-Za-z0-9_-]{43}$/

/** Reads a proof, or says what keeps it from being one. */
export function readProof(text: string): UnprovenProof | ProofFault {
  if (text.length > maxProofLength) return 'proof_too_large'
  const parts = text.split('.')
  const [head, body, signature] = parts
  if (parts.length !== 3 || head === undefined || body === undefined || signature === undefined) {
    return 'proof_not_compact_jws'
  }
  if (signature === '') return 'proof_not_compact_jws'
  const header = readPart(head)
  const claims = readPart(body)
  if (header === undefined || claims === undefined) return 'proof_not_canonical'
  if (decodeCanonical(signature) === undefined) return 'proof_not_canonical'
  const key = readHeader(header)
  if (typeof key === 'string') return key
  const said = readClaims(claims)
  return said === undefined ? 'proof_claims' : { text, ...key, ...said }
}

function readPart(part: string): Record<string, unknown> | undefined {
  const bytes = decodeCanonical(part)
  if (bytes === undefined) return undefined
  const json = parseStrictJson(bytes, { maxBytes: bytes.byteLength })
  return json.ok && isObject(json.value) ? json.value : undefined
}

function readHeader(header: Record<string, unknown>): Pick<UnprovenProof, 'alg' | 'jwk'> | ProofFault {
  const alg = own(header, 'alg')
  if (own(header, 'typ') !== 'dpop+jwt') return 'proof_typ'
  if (Object.keys(header).some((name) => !headerMembers.has(name))) return 'proof_header'
  if (alg !== 'ES256' && alg !== 'EdDSA' && alg !== 'Ed25519') return 'proof_alg'
  const jwk = readJwk(own(header, 'jwk'), alg)
  return jwk === undefined ? 'proof_key' : { alg, jwk }
}

function readJwk(jwk: unknown, alg: string): ProofJwk | undefined {
  if (!isObject(jwk) || Object.keys(jwk).some((name) => !keyMembers.has(name))) return undefined
  const { kty, crv, x, y, alg: keyAlg, use, key_ops: operations } = jwk
  if (use !== undefined && use !== 'sig') return undefined
  if (keyAlg !== undefined && keyAlg !== alg) return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return undefined
  if (!isCoordinate(x)) return undefined
  if (alg !== 'ES256') {
    return kty === 'OKP' && crv === 'Ed25519' && y === undefined ? { kty, crv, x } : undefined
  }
  return kty === 'EC' && crv === 'P-256' && isCoordinate(y) ? { kty, crv, x, y } : undefined
}

/** Canonical: a second text of one key would have a second thumbprint. */
function isCoordinate(value: unknown): value is string {
  return typeof value === 'string' && coordinate.test(value) && decodeCanonical(value) !== undefined
}

function readClaims(
  claims: Record<string, unknown>,
): Omit<UnprovenProof, 'text' | 'alg' | 'jwk'> | undefined {
  const jti = own(claims, 'jti')
  const htm = own(claims, 'htm')
  const htu = own(claims, 'htu')
  const iat = own(claims, 'iat')
  const ath = own(claims, 'ath')
  const nonce = own(claims, 'nonce')
  if (typeof jti !== 'string' || jti === '' || jti.length > maxJtiLength) return undefined
  if (typeof htm !== 'string' || typeof htu !== 'string') return undefined
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return undefined
  if (ath !== undefined && typeof ath !== 'string') return undefined
  if (nonce !== undefined && typeof nonce !== 'string') return undefined
  return { jti, htm, htu, iat, ath, nonce }
}
