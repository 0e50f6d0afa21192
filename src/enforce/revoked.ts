// The refusals of a dead lease and of one that is held: decide gives them, and commit once more after it had
// to wait.
import type { Lease } from '../lease/lease.ts'
import type { Revocation, Revocations, Suspension } from '../ports.ts'
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

/** The refusal of a lease that was stopped since it was last looked at; from memory. */
export function refuseStopped(lease: Lease, revocations: Revocations): Refusal | undefined {
  const revocation = revocations.find(lease.revocationKeys, lease.issuedAt - lease.clockTolerance)
  if (revocation !== undefined) return refuseRevoked(revocation)
  const suspension = revocations.suspension(lease)
  return suspension === undefined ? undefined : refuseSuspended(suspension)
}
