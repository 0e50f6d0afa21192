// One issuer, one verifier of its tokens, and valid claims with one thing changed: what the tables of
// verify.test.ts and claims.test.ts are written in.
import type { Fault } from '../../src/lease/faults.ts'
import type { Lease } from '../../src/lease/lease.ts'
import type { IssuerProfile } from '../../src/lease/profile.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'
import { headerOf, type Json, testIssuer } from '../support/tokens.ts'

export const now = 1_795_300_000
export const broker = testIssuer({ now })
export const keys = await broker.keys()
export const header = headerOf(broker.key)
export const audiences = [broker.audience, `${broker.audience}/crm`]

export function verify(
  token: string,
  profile: Partial<IssuerProfile> = {},
  at = now,
): Promise<Lease | Refusal> {
  const verifier = createVerifier({ issuers: [broker.profile(profile)], keys })
  return Promise.resolve(verifier.verify(token, at, audiences))
}

export async function accepted(token: string, profile: Partial<IssuerProfile> = {}): Promise<Lease> {
  const lease = await verify(token, profile)
  if (isRefusal(lease)) throw new Error(`refused: ${lease.facts.cause}`)
  return lease
}

export async function refused(token: string, profile: Partial<IssuerProfile> = {}, at = now) {
  const refusal = await verify(token, profile, at)
  if (!isRefusal(refusal)) throw new Error('accepted')
  return { code: refusal.code, cause: refusal.facts.cause }
}

export const invalid = (cause: Fault) => ({ code: 'lease_invalid', cause })
export const claims = (overrides: Json = {}) => broker.claims(overrides)
export const lease = (overrides: Json) => claims({ lease: { ...(claims().lease as Json), ...overrides } })
export const detail = (overrides: Json) => {
  const [entry] = claims().authorization_details as Json[]
  return claims({ authorization_details: [{ ...entry, ...overrides }] })
}
export const act = (overrides: Json) => claims({ act: { ...(claims().act as Json), ...overrides } })
