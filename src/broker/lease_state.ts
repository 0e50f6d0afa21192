// What a recorded lease is worth now: the record, the revocations and the time together. Pure.
import { revocationKeys } from '../lease/lease.ts'
import type { LeaseRecord, Revocation, Revocations } from '../ports.ts'

/** `expired` is looked at first, as for tokens; only `active` permits anything. */
export interface LeaseState {
  readonly state: LeaseRecord['state'] | 'expired'
  /** What killed it, when something did. */
  readonly revocation?: Revocation
}

/** The state of `record` at `now` (seconds since 1970). */
export function leaseState(record: LeaseRecord, revocations: Revocations, now: number): LeaseState {
  if (now >= record.maxExpiresAt) return { state: 'expired' }
  const { agent, agentVersion } = record
  const keys = revocationKeys({ ...record, agent: { id: agent, version: agentVersion } })
  const revocation = revocations.find(keys, record.issuedAt)
  return revocation === undefined ? { state: record.state } : { state: 'revoked', revocation }
}
