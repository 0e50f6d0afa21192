// In: the text of a credential, the time, the names this gate answers to here. Out: a frozen Lease, or the
// refusal. A token is proven once and then found by its digest; its times, audience, key and status are
// checked on every use. Never reads a clock, never lets a refusal repeat what an unproven token says.
import { hash } from 'node:crypto'
import { isRefusal, type Refusal } from '../refusals.ts'
import { readClaims, type StatusReference } from './claims.ts'
import { accessTokenTypes, maxTokenLength, readCompact } from './compact.ts'
import { fault } from './faults.ts'
import { signatureIsValid } from './jose.ts'
import type { Key, Keys } from './keys.ts'
import type { Lease } from './lease.ts'
import type { IssuerProfile } from './profile.ts'
import { keyOf } from './signature.ts'
import type { StatusLists } from './status_list.ts'

/** Proof of a signature is not older than this, seconds. */
const maxProofAge = 60
const failedSignatures = 256

export interface VerifierOptions {
  readonly issuers: readonly IssuerProfile[]
  readonly keys: Keys
  /** Absent: tokens that state a status list are refused. */
  readonly statusLists?: StatusLists
  /** Proven tokens kept at most. Default 10,000; 0 proves every token anew. */
  readonly cacheSize?: number
}

export interface Verifier {
  /**
   * The lease that a token carries. `audiences` are all names under which the routed backend may be
   * addressed; `aud` has to be one of them, and not what only another issuer calls the gate. Synchronous
   * when the token has been proven within the last minute and its status is known. Never rejects.
   */
  verify(
    token: string,
    nowSeconds: number,
    audiences: readonly string[],
  ): Lease | Refusal | Promise<Lease | Refusal>
}

/** A token whose signature and claims have been checked; what else it needs is checked per use. */
interface Proven {
  readonly lease: Lease
  readonly status: StatusReference | undefined
  readonly profile: IssuerProfile
  readonly key: Key
  /** The proof is good until then. */
  readonly until: number
}

export function createVerifier(options: VerifierOptions): Verifier {
  const { keys, statusLists, cacheSize = 10_000 } = options
  const profiles = new Map(options.issuers.map((profile) => [profile.issuer, profile]))
  const gateNames = new Set(options.issuers.map(({ audience }) => audience))
  const proven = new Map<string, Proven>()
  const failed = new Map<string, Key>()
  const proving = new Map<string, Promise<Proven | Refusal>>()

  function isCurrent(key: Key): boolean {
    return keys.find(key.issuer, key.kid, key.alg) === key
  }

  /** Signature first, claims after it: what is refused below `signatureIsValid` was said by the issuer. */
  async function prove(token: string, digest: string, now: number): Promise<Proven | Refusal> {
    const unproven = readCompact(token, accessTokenTypes, maxTokenLength)
    if (isRefusal(unproven)) return unproven
    const { iss } = unproven.claims
    const profile = typeof iss === 'string' ? profiles.get(iss) : undefined
    if (profile === undefined) return fault('issuer_unknown')
    const key = await keyOf(unproven, profile, keys)
    if (isRefusal(key)) return key
    if (!(await signatureIsValid(token, key.handle, key.alg))) {
      remember(failed, failedSignatures, digest, key)
      return fault('signature_invalid')
    }
    const claims = readClaims(unproven.claims, profile)
    if (isRefusal(claims)) return claims
    const { audience } = claims.lease
    if (audience !== profile.audience && gateNames.has(audience)) return fault('audience_not_allowed')
    const until = Math.min(claims.lease.expiresAt + profile.clockTolerance, now + maxProofAge)
    const entry: Proven = { ...claims, profile, key, until }
    remember(proven, cacheSize, digest, entry)
    return entry
  }

  /** Concurrent uses of one new token share one proof. */
  function proveOnce(token: string, digest: string, now: number): Promise<Proven | Refusal> {
    let proof = proving.get(digest)
    if (proof === undefined) {
      proof = prove(token, digest, now).finally(() => proving.delete(digest))
      proving.set(digest, proof)
    }
    return proof
  }

  /** The checks of every single use, on a hit exactly as after a proof. */
  function admit(
    { lease, status, profile }: Proven,
    now: number,
    audiences: readonly string[],
  ): Lease | Refusal | Promise<Lease | Refusal> {
    const tolerance = lease.clockTolerance
    // What has to hold is asked for, so that a time which is no number passes nothing.
    if (!(now < lease.expiresAt + tolerance)) return fault('expired')
    if (!(now >= lease.notBefore - tolerance)) return fault('not_yet_valid')
    if (!(now >= lease.issuedAt - tolerance)) return fault('issued_in_the_future')
    if (!audiences.includes(lease.audience)) return fault('audience_not_here')
    if (status === undefined || profile.statusFromStore === true) return lease
    if (statusLists === undefined) return fault('status_list_not_allowed')
    const answer = statusLists.check(profile, status, now)
    return answer instanceof Promise ? answer.then((refusal) => refusal ?? lease) : (answer ?? lease)
  }

  return {
    verify(token, now, audiences) {
      if (token.length > maxTokenLength) return fault('token_too_large')
      const digest = hash('sha256', token, 'binary')
      const known = proven.get(digest)
      if (known !== undefined) {
        if (now < known.until && isCurrent(known.key)) return admit(known, now, audiences)
        proven.delete(digest)
      }
      const failedKey = failed.get(digest)
      if (failedKey !== undefined && isCurrent(failedKey)) return fault('signature_invalid')
      return proveOnce(token, digest, now).then((proof) =>
        isRefusal(proof) ? proof : admit(proof, now, audiences),
      )
    },
  }
}

/** Adds to a bounded map; the oldest entry makes room. */
function remember<V>(map: Map<string, V>, size: number, key: string, value: V): void {
  if (size === 0) return
  map.delete(key)
  const [oldest] = map.keys()
  if (map.size >= size && oldest !== undefined) map.delete(oldest)
  map.set(key, value)
}
