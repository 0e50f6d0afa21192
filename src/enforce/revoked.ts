// The refusals of a dead lease and of one that is held: decide gives them, and commit once more after it had
// to wait.
import type { Revocation, Suspension } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'

/** The refusal of a dead lease: what killed it goes to the caller, who and why to the audit record alone. */
export function refuseRevoked({ scope, at, by, reason }: Revocation): Refusal {
  return refuse('lease_revoked', {
    detail: `revoked by ${scope}`,
    reasons: ['lease_inactive', `revoked_by_${scope}`],
    cause: `${scope} revoked at ${at} by ${by}: ${reason}`,
  })
}

/** The refusal of a lease that is suspended, or that was handed on from one that is. */
export function refuseSuspended({ lease, at, by, reason }: Suspension): Refusal {
  return refuse('lease_revoked', {
    detail: 'the lease is suspended',
    reasons: ['lease_inactive', 'lease_suspended'],
    cause: `${lease} suspended at ${at} by ${by}: ${reason}`,
  })
}
