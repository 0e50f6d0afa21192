// A lease as people and programs read it: the six questions in one document, in the words of the API. In: the
// record, what it is worth now, the calls under it, its relatives. Out: plain data. Pure; holds no secret.
import { repeatView } from '../approval/repeat_view.ts'
import type { Repeat } from '../approval/repeats.ts'
import type { LeaseRecord, LeaseUsage } from '../ports.ts'
import type { BlastRadius } from './blast_radius.ts'
import type { BudgetRow } from './budget_left.ts'
import type { LeaseState } from './lease_state.ts'

/** Everything there is to tell about one lease. */
export interface KnownLease {
  readonly record: LeaseRecord
  readonly state: LeaseState
  /** Undefined: no gate has reported a call yet. */
  readonly usage: LeaseUsage | undefined
  /** What is left of its limits; undefined: they were not looked at. */
  readonly budget?: readonly BudgetRow[]
  /** Bounded repeats that were granted under it, and what they were worth then; undefined: they were not looked for. */
  readonly repeats?: { readonly granted: readonly Repeat[]; readonly at: number }
  /** Ids of leases that were handed on from it; undefined: they were not looked for. */
  readonly children?: readonly string[]
}

/**
 * The document: who, which agent, what, why, when, what happened; with `radius`, how much could still happen. Times
 * are seconds since 1970.
 */
export function leaseView(
  { record, state, usage, budget, repeats, children }: KnownLease,
  radius?: BlastRadius,
) {
  const { id, issuer, tenant, session, decision } = record
  return {
    id,
    state: state.state,
    who: whoOf(record),
    agent: agentOf(record),
    what: {
      audience: record.audience,
      stage: record.stage,
      authorization_details: record.details,
      binding: record.binding ?? null,
    },
    why: { system: record.task.system, id: record.task.id, purpose: record.task.purpose },
    when: {
      issued_at: record.issuedAt,
      token_expires_at: record.expiresAt,
      ends_at: record.maxExpiresAt,
      renewals: record.renewals,
      changed: record.changed ?? null,
    },
    what_happened: whatHappened(usage),
    ...(budget !== undefined && { budget }),
    ...(repeats !== undefined && { repeats: repeats.granted.map((each) => repeatView(each, repeats.at)) }),
    revoked: revokedBy(state),
    suspended: suspendedBy(state),
    decision: decision === undefined ? null : decisionOf(decision),
    session,
    issuer,
    tenant,
    parents: record.ancestors,
    ...(children !== undefined && { children }),
    ...(radius !== undefined && { blast_radius: radiusView(radius) }),
  }
}

/** A row of a long list: what changes while somebody looks, and what they look for. Times are seconds since 1970. */
export function leaseSummary({ record, state, usage }: KnownLease, radius?: BlastRadius) {
  const { id, user, agent, agentVersion, agentEnv, profile, task, stage, issuedAt, maxExpiresAt } = record
  return {
    id,
    state: state.state,
    user,
    agent,
    agent_version: agentVersion,
    agent_env: agentEnv,
    profile,
    task: `${task.system}:${task.id}`,
    purpose: task.purpose,
    stage,
    issued_at: issuedAt,
    ends_at: maxExpiresAt,
    calls: usage?.calls ?? 0,
    refusals: usage?.refusals ?? 0,
    last_used_at: usage?.lastUsedAt ?? null,
    points: radius?.points ?? 0,
  }
}

function whoOf({ user, login }: LeaseRecord) {
  return { user, login: login === undefined ? null : { issuer: login.issuer, subject: login.subject } }
}

function agentOf(record: LeaseRecord) {
  return {
    id: record.agent,
    version: record.agentVersion,
    env: record.agentEnv,
    client_id: record.clientId,
    profile: record.profile,
    profile_version: record.profileVersion,
    delegated_by: record.delegatedBy,
  }
}

function whatHappened(usage: LeaseUsage | undefined) {
  return {
    calls: usage?.calls ?? 0,
    verbs: usage?.verbs ?? {},
    refusals: usage?.refusals ?? 0,
    bytes_in: usage?.bytesIn ?? 0,
    bytes_out: usage?.bytesOut ?? 0,
    last_used_at: usage?.lastUsedAt ?? null,
  }
}

function revokedBy({ revocation }: LeaseState) {
  if (revocation === undefined) return null
  const { scope, value, by, reason, at } = revocation
  return { scope, value, by, reason, at }
}

function suspendedBy({ suspension }: LeaseState) {
  if (suspension === undefined) return null
  const { lease, by, reason, at } = suspension
  return { lease, by, reason, at }
}

function decisionOf({ id, reasons, policyDigest }: NonNullable<LeaseRecord['decision']>) {
  return { id, reasons, policy_digest: policyDigest }
}

/** A blast radius as documents write it. */
export function radiusView({ points, calls, windowSeconds, reach }: BlastRadius) {
  return {
    points,
    calls,
    window_seconds: Math.round(windowSeconds),
    reach: reach.map(({ backend, operation, identifier, points: each }) => ({
      backend,
      operation: operation.match,
      identifier,
      sensitivity: operation.sensitivity,
      risk: operation.risk,
      points: each,
    })),
  }
}
