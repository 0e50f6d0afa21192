// The caller's credential in, a verified lease out. Reads the Authorization field only; never a query,
// a body or a cookie. What the token itself must satisfy is in lease/verify.ts.
import { fault } from '../lease/faults.ts'
import type { Lease } from '../lease/lease.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Authenticated, Routed } from './stages.ts'

/** Turns a compact token into a lease. A value for a known token, a promise where a signature is checked. */
export interface TokenVerifier {
  verify(token: string, now: number, audiences: readonly string[]): Lease | Refusal | Promise<Lease | Refusal>
}

const scheme = /^bearer +/i

/**
 * Verifies the lease token of `routed`. `audiences` are the identifiers this request may be addressed by:
 * the gate's origin, and the backend's own. `now` in seconds. Refuses with `lease_missing`,
 * `credential_ambiguous` or whatever the verifier says.
 */
export function authenticate(
  routed: Routed,
  verifier: TokenVerifier,
  audiences: readonly string[],
  now: number,
): Lease | Refusal | Promise<Lease | Refusal> {
  const credential = routed.request.authorization
  if (credential === undefined || credential === '') {
    return refuse('lease_missing', { detail: 'send the lease token as `Authorization: Bearer …`' })
  }
  if (credential.includes(',')) {
    return refuse('credential_ambiguous', { detail: 'Authorization holds more than one credential' })
  }
  const prefix = scheme.exec(credential)?.[0]
  if (prefix === undefined) {
    return refuse('lease_missing', { detail: 'only the Bearer scheme carries a lease token here' })
  }
  const token = credential.slice(prefix.length).trimEnd()
  if (token.includes(' ')) return refuse('lease_missing', { detail: 'send one lease token and nothing else' })
  // What else a token may not hold is the verifier's to say: a known one is found without looking into it.
  const lease = verifier.verify(token, now, audiences)
  return lease instanceof Promise ? lease.then(withoutProof) : withoutProof(lease)
}

/** A bound token passed as a plain bearer token would lose its binding (RFC 9449 §7.2). */
function withoutProof(lease: Lease | Refusal): Lease | Refusal {
  return isRefusal(lease) || lease.binding === undefined ? lease : fault('binding_not_proven')
}

/** Joins lease and route. Only now may the caller learn that nothing is mapped at the address. */
export function admit(routed: Routed, lease: Lease): Authenticated | Refusal {
  const { request, backend, mapped } = routed
  if (isRefusal(mapped)) return mapped
  if (backend === undefined) throw new Error('an operation without a backend')
  return { request, backend, mapped, lease }
}
