// What a recorded lease is worth now: the record, the revocations, the suspensions and the time together. Pure.
import { revocationKeys } from '../lease/lease.ts'
import type { LeaseRecord, Revocation, Revocations, StoredState, Suspension } from '../ports.ts'

/** What the store and the clock can make of a lease. */
export type LifeState = StoredState | 'expired'

/** `expired` is looked at first, as for tokens; only `active` permits anything. */
export interface LeaseState {
  readonly state: LifeState
  /** What killed it, when something did. */
  readonly revocation?: Revocation
  /** What holds it, when something does: it may be of a lease that it was handed on from. */
  readonly suspension?: Suspension
}

/**
 * The state of `record` at `now` (seconds since 1970). Record and view change one after the other, so each may be
 * ahead; whichever says no is right (test/broker/lifecycle.test.ts).
 */
export function leaseState(record: LeaseRecord, revocations: Revocations, now: number): LeaseState {
  // Negated, so that an end which is no number is over.
  if (!(now < record.maxExpiresAt)) return { state: 'expired' }
  // Its completion is a revocation at the gates; it has not been revoked for all that.
  if (record.state === 'completed') return { state: 'completed' }
  const { agent, agentVersion } = record
  const keys = revocationKeys({ ...record, agent: { id: agent, version: agentVersion } })
  const revocation = revocations.find(keys, record.issuedAt)
  if (revocation !== undefined) return { state: 'revoked', revocation }
  const suspension = revocations.suspension(record)
  if (suspension !== undefined && record.state !== 'revoked') return { state: 'suspended', suspension }
  return { state: record.state }
}
