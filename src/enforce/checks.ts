// The built-in checks, in order. Each can only refuse; policy runs after the last of them. ADD A CHECK
// HERE: a function named for what must hold, a row in `checks`, rows in test/enforce/checks.test.ts.
import { areConstraints, constraintsCover } from '../lease/constraints.ts'
import {
  type Grant,
  identifierCovers,
  type Lease,
  type Risk,
  risks,
  sensitivityCovers,
} from '../lease/lease.ts'
import { type MissingDetail, type Refusal, refuse } from '../refusals.ts'
import { refuseOffClock } from './clock.ts'
import { isLimited } from './limits.ts'
import type { Operation } from './operation.ts'
import { refuseRevoked, refuseSuspended } from './revoked.ts'
import type { Evidence, LeaseEvidence, Mapped } from './stages.ts'
import { mismatches } from './stated_task.ts'

/** Undefined when what it is named for holds. */
export type Check = (evidence: Evidence) => Refusal | undefined

/** What the grants of a lease are held against; any `Evidence` is one. */
export interface Asked {
  readonly lease: Pick<Lease, 'grants'>
  readonly mapped: Pick<Mapped, 'resource'> & {
    readonly operation: Pick<Operation, 'verb' | 'sensitivity' | 'risk' | 'amount'>
  }
}

function revocationViewIsFresh({ viewAgeMs, maxStalenessMs }: LeaseEvidence): Refusal | undefined {
  // Written so that a NaN age refuses too.
  if (viewAgeMs <= maxStalenessMs) return undefined
  return refuse('evidence_unavailable', {
    detail: 'the view of revocations is too old to decide on',
    cause: `revocation view is ${Math.round(viewAgeMs)} ms old, bound ${maxStalenessMs} ms`,
  })
}

function clockAgreesWithStore({ clockOffset }: LeaseEvidence): Refusal | undefined {
  return refuseOffClock(clockOffset)
}

function leaseIsNotRevoked({ revocation }: LeaseEvidence): Refusal | undefined {
  return revocation === undefined ? undefined : refuseRevoked(revocation)
}

function leaseIsNotSuspended({ suspension }: LeaseEvidence): Refusal | undefined {
  return suspension === undefined ? undefined : refuseSuspended(suspension)
}

function leaseHasNotExpired({ lease, now }: LeaseEvidence): Refusal | undefined {
  if (now < lease.expiresAt + lease.clockTolerance) return undefined
  return refuse('lease_expired', { detail: 'the lease token ended while the request was read' })
}

function leaseIsBoundWhereRequired(evidence: Evidence): Refusal | undefined {
  const { lease, backend, mapped } = evidence
  if (lease.binding !== undefined) return undefined
  const { requireBinding } = backend
  const tunnels = requireBinding === 'writes' && opensTunnel(evidence)
  if (!tunnels && !needsBinding(requireBinding, mapped.operation)) return undefined
  return refuse('binding_required', {
    detail: `${mapped.operation.verb} on this backend needs a token that is bound to a key (DPoP or mutual TLS)`,
    reasons: ['binding_required'],
  })
}

/** Whether an operation takes bound tokens only; each word asks for one wherever the one before it does. */
export function needsBinding(
  required: Evidence['backend']['requireBinding'],
  { verb, risk }: Pick<Operation, 'verb' | 'risk'>,
): boolean {
  switch (required) {
    case 'never':
      return false
    case 'high':
      return risk === 'high'
    case 'writes':
      return risk === 'high' || (verb !== 'read' && verb !== 'list')
    default:
      return true
  }
}

/** A WebSocket: whatever its operation is called, nobody looks at what the agent sends through it. */
export function opensTunnel({ request, backend }: Pick<Evidence, 'request' | 'backend'>): boolean {
  return request.offersWebSocket && backend.upgrade
}

function environmentMatches({ lease, backend }: Evidence): Refusal | undefined {
  if (backend.env === undefined || backend.env === lease.agent.env) return undefined
  return refuse('outside_lease', {
    detail: `this backend serves ${backend.env}; the lease is for another environment`,
    reasons: ['environment_mismatch'],
  })
}

/** Another task or session needs a lease of its own, however much this one would cover of it. */
function leaseIsForStatedTask({ request, lease, mapped }: Evidence): Refusal | undefined {
  const reasons = mismatches(request, lease)
  if (reasons.length === 0) return undefined
  const { statedTask: task, statedSession: session } = request
  return refuse('lease_mismatch', {
    detail: 'ask for a lease that is for the task and session of this request, or send the one you have',
    reasons,
    missing: [detailFor(mapped)],
    answer: { ...(task !== undefined && { task }), ...(session !== undefined && { session }) },
  })
}

/** Whether one grant of the lease covers verb, resource, sensitivity and risk, and can be enforced. */
export function grantCoversRequest({ lease, mapped }: Asked): Refusal | undefined {
  if (coveringGrant(lease, mapped) !== undefined) return undefined
  const { verb, sensitivity, risk } = mapped.operation
  const reason = whyNotCovered(lease, mapped)
  const tooRisky = reason === 'risk_above_ceiling'
  return refuse('outside_lease', {
    detail: `the lease does not grant ${verb} on ${mapped.resource} at ${tooRisky ? `${risk} risk` : sensitivity}`,
    reasons: [reason],
    missing: [{ ...detailFor(mapped), ...(tooRisky && { constraints: { max_risk: risk } }) }],
  })
}

/** The grant that would cover it. */
function detailFor({ operation: { verb, sensitivity }, resource }: Asked['mapped']): MissingDetail {
  return { type: 'lease', actions: [verb], identifier: resource, sensitivity }
}

/** What is limited has to be counted: an amount that cannot be read is not taken for none. */
function amountIsReadable({ lease, mapped, amount }: Evidence): Refusal | undefined {
  if (amount === undefined || 'value' in amount) return undefined
  if (coveringGrant(lease, mapped)?.constraints.max_amount === undefined) return undefined
  return refuse('malformed_request', { detail: amount.problem, reasons: ['amount_unreadable'] })
}

/** Whether the lease is good for anything: a dead one is refused before anything it grants is looked at. */
export const leaseChecks: readonly ((evidence: LeaseEvidence) => Refusal | undefined)[] = [
  revocationViewIsFresh,
  clockAgreesWithStore,
  leaseIsNotRevoked,
  leaseIsNotSuspended,
  leaseHasNotExpired,
]

/** In this order, first refusal wins. */
export const checks: readonly Check[] = [
  ...leaseChecks,
  leaseIsBoundWhereRequired,
  environmentMatches,
  leaseIsForStatedTask,
  grantCoversRequest,
  amountIsReadable,
]

/**
 * The alternative of the lease that covers verb, resource, sensitivity and risk and that can be enforced. Of several,
 * one without limits; else the first whose limits no other's contain: what the alternatives share is counted together,
 * so that the wider lets through whatever the narrower would.
 */
export function coveringGrant(lease: Asked['lease'], mapped: Asked['mapped']): Grant | undefined {
  let covering: Grant | undefined
  for (const grant of lease.grants) {
    if (!covers(grant, mapped)) continue
    if (!isLimited(grant)) return grant
    if (covering === undefined || isWider(grant, covering)) covering = grant
  }
  return covering
}

/** Whether what `grant` counts contains what `other` counts and is not the same. */
function isWider(grant: Grant, other: Grant): boolean {
  const { max_risk: _risk, ...wider } = grant.constraints
  const { max_risk: _otherRisk, ...narrower } = other.constraints
  return constraintsCover(wider, narrower) && !constraintsCover(narrower, wider)
}

function covers(grant: Grant, { operation, resource }: Asked['mapped']): boolean {
  return (
    actionCovers(grant, operation.verb) &&
    identifierCovers(grant.identifier, resource) &&
    sensitivityCovers(grant.sensitivity, operation.sensitivity) &&
    isEnforceable(grant, operation) &&
    riskCovers(grant, operation.risk)
  )
}

/** A grant with a constraint that is unknown, or cannot be counted here, covers nothing (fail closed). */
function isEnforceable({ constraints }: Grant, { verb, amount }: Asked['mapped']['operation']): boolean {
  if (!areConstraints(constraints)) return false
  return constraints.max_amount === undefined || amount !== undefined || verb === 'read' || verb === 'list'
}

/** A grant without `max_risk` has no ceiling of its own. */
function riskCovers({ constraints }: Grant, asked: Risk): boolean {
  const { max_risk: ceiling } = constraints
  return ceiling === undefined || risks.indexOf(ceiling as Risk) >= risks.indexOf(asked)
}

function actionCovers(grant: Grant, verb: string): boolean {
  return grant.actions.includes(verb) || grant.actions.includes('*')
}

function whyNotCovered(lease: Asked['lease'], { operation, resource }: Asked['mapped']): string {
  const named = lease.grants.filter((grant) => identifierCovers(grant.identifier, resource))
  if (named.length === 0) return 'resource_not_in_lease'
  const acting = named.filter((grant) => actionCovers(grant, operation.verb))
  if (acting.length === 0) return 'verb_not_in_lease'
  const cleared = acting.filter((grant) => sensitivityCovers(grant.sensitivity, operation.sensitivity))
  if (cleared.length === 0) return 'sensitivity_above_ceiling'
  return cleared.some((grant) => isEnforceable(grant, operation))
    ? 'risk_above_ceiling'
    : 'constraint_not_enforceable'
}
