// The lease that a released draft stands on. In: the lease as it was verified when the draft was made, the terms of
// policy, the stored record of the lease. Out: the lease that the pipeline decides on, or the refusal. Pure; a lease
// that was revoked or is held never stands, however long policy lets drafts outlive their lease.
import { withHashes } from '../lease/key_hash.ts'
import { type Lease, revocationKey } from '../lease/lease.ts'
import type { LeaseRecord, Revocation } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'

/** What is known of a lease when its draft is released. */
export interface StandingFacts {
  readonly lease: Lease
  /** `after_lease` of the terms, seconds. */
  readonly afterLease: number
  /** Undefined: the store has none, for it is another issuer's. */
  readonly record: LeaseRecord | undefined
  /** What stands in the view of this gate under the name of the lease itself (`ownKeys`). */
  readonly ended: Revocation | undefined
  /** Whose leases this gate takes. */
  readonly issuers: readonly string[]
  /** Seconds since 1970. */
  readonly now: number
}

/** A lease that stands. */
export interface Stood {
  readonly lease: Lease
  /** When it ended itself, where the draft outlives it. */
  readonly endedAt?: number
}

/**
 * The lease with the end that counts for the draft: that of the lease and not of its token, later by `after_lease`.
 * A lease that its agent has completed has ended then. Refuses with `lease_invalid`, `lease_expired` or
 * `lease_revoked`; that nothing has been revoked since is for the pipeline to find.
 */
export function standingLease(facts: StandingFacts): Stood | Refusal {
  const { lease, afterLease, record, ended, issuers, now } = facts
  if (!issuers.includes(lease.issuer)) {
    return refuse('lease_invalid', { detail: 'leases of this issuer are not taken any more' })
  }
  const recorded = record?.issuer === lease.issuer ? record : undefined
  if (recorded?.state === 'revoked' || recorded?.state === 'suspended') return stopped()
  const completion = recorded?.state === 'completed' ? recorded.changed : undefined
  const end = Math.min(lease.maxExpiresAt, completion?.at ?? lease.maxExpiresAt)
  // Negated, so that an end which is no number is over.
  if (now < end) return { lease: { ...lease, expiresAt: end } }
  if (afterLease === 0) return over('policy lets no draft outlive it')
  if (recorded === undefined) return over('nobody can tell how')
  const isOwnEnd = ended === undefined || (ended.by === completion?.by && ended.reason === completion.reason)
  if (!isOwnEnd) return stopped()
  if (!(now < end + afterLease)) return over('the draft was released too long after it')
  const own = ownKeys(lease)
  // Gates hear of a completion as of a revocation under the name of the lease: that one has been looked at here.
  const revocationKeys = withHashes(lease.revocationKeys.filter((key) => !own.includes(key)))
  const renewed = {
    ...lease,
    expiresAt: end + afterLease,
    ...(completion !== undefined && { revocationKeys }),
  }
  return { lease: renewed, endedAt: end }
}

/** Keys under which the lease itself, and nothing that it is of, can be revoked. */
export function ownKeys({ id, issuer }: Pick<Lease, 'id' | 'issuer'>): string[] {
  return [revocationKey('lease', id), revocationKey('lease', id, issuer)]
}

function stopped(): Refusal {
  return refuse('lease_revoked', {
    detail: 'nothing is done any more under a lease that somebody has stopped',
  })
}

function over(detail: string): Refusal {
  return refuse('lease_expired', { detail: `the lease has ended, and ${detail}` })
}
