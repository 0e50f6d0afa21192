// In: the result set of issue policy. Out: what it means, for the broker. Anything not exactly understood is
// `deny` with its fault: an unknown effect, code or member, a detail that no lease could hold. Pure; repairs nothing.
import { type DenyCode, denyCodes, type GrantTerms, type IssueAnswer } from '../broker/issue_decision.ts'
import type { LeaseDetail } from '../lease/allow.ts'
import { areIssuable, type LeaseConstraints } from '../lease/constraints.ts'
import { isAction, isIdentifier, isSensitivity } from '../lease/details.ts'
import { type Stage, stages } from '../lease/lease.ts'
import { isPositive, isRecord, isTexts, readApproval, undefinedDecision } from './answer.ts'

const maxDetails = 64

/**
 * Reads a result set of either engine, in order: undefined, shape, unknown members, reasons, effect with what belongs
 * to it. A `deny` without a code is `access_denied`.
 */
export function readIssueAnswer(results: unknown): IssueAnswer {
  const row: unknown = Array.isArray(results) ? results[0] : undefined
  if (!isRecord(row)) return issueFailed(undefinedDecision)
  const decision = row.result
  if (!isRecord(decision)) return issueFailed('the decision is not an object')
  const { effect, reasons, grant, code, approval, ...others } = decision
  if (Object.keys(others).length > 0) return issueFailed('the decision has an unknown member')
  if (!isTexts(reasons)) return issueFailed('the reasons are not a list of strings')
  // Wasm lists a set in the order of its hash table.
  reasons.sort()
  if (effect === 'deny') return denied(reasons, { grant, code, approval })
  if (effect !== 'grant' && effect !== 'approve') return issueFailed('the decision has an unknown effect')
  if (code !== undefined) return issueFailed(`a ${effect} has no code`)
  const terms = readTerms(grant)
  if (typeof terms === 'string') return issueFailed(terms)
  if (effect === 'grant') {
    return approval === undefined ? { effect, reasons, grant: terms } : issueFailed('a grant has no approval')
  }
  const asked = readApproval(approval)
  if (typeof asked === 'string') return issueFailed(asked)
  // A request is settled by one person, once: terms that could not be kept must not look kept.
  if (asked.quorum !== 1 || asked.repeat !== undefined || asked.afterLease !== 0) {
    return issueFailed('the approval of a lease has no quorum above 1, no repeat and no after_lease')
  }
  return { effect, reasons, grant: terms, approval: asked }
}

/** A policy that failed: the fault is for the audit record, never for the caller. */
export function issueFailed(fault: string): IssueAnswer {
  return { effect: 'deny', reasons: ['policy_failed'], code: 'access_denied', fault }
}

function denied(
  reasons: readonly string[],
  { grant, code = 'access_denied', approval }: Readonly<Record<'grant' | 'code' | 'approval', unknown>>,
): IssueAnswer {
  if (grant !== undefined || approval !== undefined) return issueFailed('a deny has a grant or an approval')
  return isDenyCode(code)
    ? { effect: 'deny', reasons, code }
    : issueFailed('the decision has an unknown code')
}

/** The terms, or what is wrong with them. */
function readTerms(value: unknown): GrantTerms | string {
  if (!isRecord(value)) return 'the decision has no grant'
  const { details, stage, ttl_seconds, lease_seconds, profile_version, ...others } = value
  if (Object.keys(others).length > 0) return 'the grant has an unknown member'
  if (!isStage(stage)) return 'the stage of the grant is unknown'
  if (!isPositive(ttl_seconds) || !isPositive(lease_seconds)) return 'the times of the grant are not seconds'
  if (typeof profile_version !== 'string' || profile_version === '') return 'the grant has no profile version'
  const read = readDetails(details)
  if (read === undefined) return 'the details of the grant are not those of a lease'
  return {
    details: read,
    stage,
    ttlSeconds: ttl_seconds,
    leaseSeconds: lease_seconds,
    profileVersion: profile_version,
  }
}

function readDetails(value: unknown): LeaseDetail[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > maxDetails) return undefined
  const details: LeaseDetail[] = []
  for (const entry of value) {
    const detail = readDetail(entry)
    if (detail === undefined) return undefined
    details.push(detail)
  }
  return details
}

function readDetail(value: unknown): LeaseDetail | undefined {
  if (!isRecord(value)) return undefined
  const { type, actions, identifier, sensitivity, constraints, ...others } = value
  if (type !== 'lease' || Object.keys(others).length > 0) return undefined
  if (!isTexts(actions) || actions.length === 0 || actions.length > maxDetails) return undefined
  if (!actions.every(isAction) || !isIdentifier(identifier) || !isSensitivity(sensitivity)) return undefined
  const detail: LeaseDetail = { type, actions, identifier, sensitivity }
  if (constraints === undefined) return detail
  const limits = readConstraints(constraints)
  return limits === undefined ? undefined : { ...detail, constraints: limits }
}

function readConstraints(value: unknown): LeaseConstraints | undefined {
  return isRecord(value) && areIssuable(value) ? value : undefined
}

function isStage(value: unknown): value is Stage {
  return stages.some((known) => known === value)
}

function isDenyCode(value: unknown): value is DenyCode {
  return denyCodes.some((known) => known === value)
}
