// The one refusal of a dead lease: decide gives it, and commit once more after it had to wait.
import type { Revocation } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'

/** The refusal of a dead lease: what killed it goes to the caller, who and why to the audit record alone. */
export function refuseRevoked({ scope, at, by, reason }: Revocation): Refusal {
  return refuse('lease_revoked', {
    detail: `revoked by ${scope}`,
    reasons: ['lease_inactive', `revoked_by_${scope}`],
    cause: `${scope} revoked at ${at} by ${by}: ${reason}`,
  })
}
