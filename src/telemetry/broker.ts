// Where the end of every request to the broker is seen: one audit record, one count. In: what the broker tells.
// Never: a token, an assertion, a proof, a code. Never throws, never waits.
import type { BrokerObserver, BrokerTrail } from '../broker/observer.ts'
import { isObject } from '../lease/text.ts'
import type { AuditSink, LeaseRecord } from '../ports.ts'
import type { Refusal } from '../refusals.ts'
import { auditEvent } from './audit.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { orderFacts } from './order.ts'
import { withoutTokens } from './shown.ts'

export interface BrokerObserverParts {
  readonly audit: AuditSink
  readonly metrics: Pick<Metrics, 'brokerRequest' | 'leaseIssued' | 'policyFault' | 'revocationRequest'>
  readonly log: Pick<Logger, 'error'>
}

/** Ties audit, metrics and log together. */
export function createBrokerObserver({ audit, metrics, log }: BrokerObserverParts): BrokerObserver {
  return {
    finished(trail, refusal) {
      audit.append(auditEvent('lease', requestFacts(trail, refusal)))
      metrics.brokerRequest(trail.endpoint, trail.grant, refusal?.code)
      if (trail.fault !== undefined) metrics.policyFault()
      if (trail.lease !== undefined && trail.lease.renewals === 0) metrics.leaseIssued()
    },
    ordered(trail, refusal) {
      audit.append(auditEvent('revocation_request', orderFacts(trail, refusal)))
      metrics.revocationRequest(
        trail.verb,
        trail.scope,
        refusal?.code ?? (trail.repeated ? 'repeated' : 'done'),
      )
    },
    changed(record) {
      const { state, version, changed } = record
      audit.append(auditEvent('lease_state', { ...leaseFacts(record), state, version, changed }))
    },
    bug: (error) => log.error({ err: error }, 'a bug in the broker; answered 500'),
  }
}

/** What one request was and what became of it; what it did not get to know is null. */
function requestFacts(trail: BrokerTrail, refusal: Refusal | undefined): object {
  const { lease, user = null, agent = null, task } = trail
  const known = lease === undefined ? undefined : leaseFacts(lease)
  return {
    decision_id: trail.decisionId,
    endpoint: trail.endpoint,
    grant: trail.grant ?? null,
    lease_id: null,
    who: user === null ? null : { user },
    agent: agent === null ? null : { id: agent },
    why: task === undefined ? null : whyFacts(task),
    when: null,
    what: null,
    ...known,
    // Who asked: the agent that hands a lease on is not the one that gets it.
    asked_by: agent,
    decision: {
      effect: refusal === undefined ? 'allow' : refusal.code === 'authorization_pending' ? 'hold' : 'deny',
      code: refusal?.code ?? null,
      reasons: refusal?.facts.reasons ?? trail.reasons,
      policy_digest: trail.policyDigest ?? null,
      cause: refusal === undefined ? null : causeOf(refusal),
      fault: trail.fault ?? null,
    },
    duration_ms: Math.max(0, Math.round(Date.now() - trail.startedAt)),
    peer: { ip: trail.peer },
  }
}

/** Why not, in the words of the caller where there are no others; these may repeat what was sent. */
function causeOf({ row, facts: { cause, detail } }: Refusal): string {
  return cause ?? withoutTokens(detail ?? row.title)
}

function leaseFacts(lease: LeaseRecord): object {
  const { agent, agentVersion, agentEnv, profile, profileVersion, ancestors, delegatedBy } = lease
  return {
    lease_id: lease.id,
    who: { user: lease.user, login: lease.login ?? null },
    agent: { id: agent, version: agentVersion, env: agentEnv, profile, profile_version: profileVersion },
    why: whyFacts(lease.task),
    when: {
      issued_at: lease.issuedAt,
      expires_at: lease.expiresAt,
      max_expires_at: lease.maxExpiresAt,
      renewals: lease.renewals,
    },
    what: {
      audience: lease.audience,
      stage: lease.stage,
      details: lease.details.map(withoutTokensIn),
      bound_to: lease.binding?.method ?? null,
    },
    ancestors,
    delegated_by: delegatedBy,
  }
}

/** An agent may have asked for a resource under the name of a token. */
function withoutTokensIn(detail: unknown): unknown {
  if (!isObject(detail) || typeof detail.identifier !== 'string') return detail
  return { ...detail, identifier: withoutTokens(detail.identifier) }
}

/** People paste all kinds of things into a purpose. */
function whyFacts({ system, id, purpose }: LeaseRecord['task']): object {
  return { system, id: withoutTokens(id), purpose: withoutTokens(purpose) }
}
