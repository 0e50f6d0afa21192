// Where every attempt of a person to decide is seen: one audit record, one count, and how long an answer took. In: what
// deciding tells. Never: bytes of a call, an assertion of a passkey, a token. Never throws, never waits.
import type { Action } from '../approval/action.ts'
import type { DecisionObserver, DecisionTrail, Expired } from '../approval/observer.ts'
import { repeatView } from '../approval/repeat_view.ts'
import type { Repeat } from '../approval/repeats.ts'
import type { LeaseRequest } from '../approval/requests.ts'
import { newId } from '../lease/ids.ts'
import { agentName } from '../lease/lease.ts'
import { isObject } from '../lease/text.ts'
import type { AuditSink } from '../ports.ts'
import type { Refusal } from '../refusals.ts'
import { auditEvent } from './audit.ts'
import type { Metrics } from './metrics.ts'
import { shown, shownBody } from './order.ts'
import { pathOf, withoutTokens } from './shown.ts'

export interface DecisionObserverParts {
  readonly audit: Pick<AuditSink, 'append' | 'fault'>
  readonly metrics: Pick<Metrics, 'approvalDecision' | 'approvalWait'>
}

/** Ties audit and metrics together. */
export function createDecisionObserver({ audit, metrics }: DecisionObserverParts): DecisionObserver {
  return {
    decided(trail, refusal) {
      audit.append(auditEvent('approval', decisionFacts(trail, refusal)))
      metrics.approvalDecision(trail.verb, refusal?.code ?? (trail.changed ? 'done' : 'repeated'))
      const ended = trail.changed ? endOf(trail) : undefined
      if (ended !== undefined) metrics.approvalWait(ended.as, trail.startedAt / 1000 - ended.since)
    },
    expired(expired) {
      audit.append(auditEvent('approval', expiredFacts(expired)))
      const { about, was } = expired
      const { createdAt, expiresAt } = about.kind === 'lease' ? about.deferral : about
      if (was === 'pending') metrics.approvalWait('expired', expiresAt - createdAt)
    },
    fault: () => audit.fault(),
  }
}

/** What somebody waited for, where this attempt has ended the waiting. */
function endOf({ verb, about }: DecisionTrail) {
  if (about === undefined) return undefined
  const since = about.kind === 'lease' ? about.deferral.createdAt : about.createdAt
  const state = stateOf(about)
  if (verb === 'approve' && state === 'approved') return { as: 'approved', since } as const
  return verb === 'refuse' ? ({ as: 'refused', since } as const) : undefined
}

/** The members of the record, but for time and event: who decided, and in whose name it was asked. */
function decisionFacts(trail: DecisionTrail, refusal: Refusal | undefined): object {
  const { about, repeat, by } = trail
  return {
    decision_id: trail.decisionId,
    step: stepOf(trail, refusal),
    verb: trail.verb,
    action_id: about?.id ?? withoutTokens(trail.id),
    decided_by: by === undefined ? null : { ...by, shown_by: trail.shownBy ?? null },
    ...(about === undefined ? (repeat === undefined ? unknown : repeatFacts(repeat)) : aboutFacts(about)),
    asked: trail.body === undefined ? null : shownBody(withoutAssertion(trail.body)),
    repeat: repeat === undefined ? null : repeatView(repeat, trail.startedAt / 1000),
    decision: {
      effect: refusal === undefined ? 'allow' : 'deny',
      code: refusal?.code ?? null,
      reasons: refusal?.facts.reasons ?? [],
      cause: refusal === undefined ? null : shown(causeOf(refusal)),
    },
    repeated: refusal === undefined && !trail.changed,
    duration_ms: Math.max(0, Math.round(Date.now() - trail.startedAt)),
    peer: { ip: trail.peer },
  }
}

/** The same members for what no person has done. */
function expiredFacts({ about, was, at }: Expired): object {
  const cause = was === 'pending' ? 'nobody has decided in time' : 'the approval was not used in time'
  return {
    decision_id: newId('dec_', at * 1000),
    step: 'expired',
    verb: null,
    action_id: about.id,
    decided_by: null,
    ...aboutFacts(about),
    asked: null,
    repeat: null,
    decision: { effect: 'deny', code: 'approval_expired', reasons: [], cause },
    repeated: false,
    duration_ms: 0,
    peer: { ip: null },
  }
}

const steps = {
  approve: 'yes',
  refuse: 'refused',
  withdraw: 'withdrawn',
  revoke_repeat: 'repeat_revoked',
} as const

/** What has come about: null where nothing has. A yes that is not the last one approves nothing. */
function stepOf({ verb, about, changed }: DecisionTrail, refusal: Refusal | undefined): string | null {
  if (refusal !== undefined || !changed) return null
  return verb === 'approve' && about !== undefined && stateOf(about) === 'approved' ? 'approved' : steps[verb]
}

function stateOf(about: Action | LeaseRequest): string {
  return about.kind === 'lease' ? about.deferral.state : about.state
}

const unknown = {
  kind: null,
  state: null,
  fingerprint: null,
  yes: null,
  lease_id: null,
  who: null,
  agent: null,
}

function aboutFacts(about: Action | LeaseRequest): object {
  return about.kind === 'lease' ? requestFacts(about) : actionFacts(about)
}

function actionFacts({ kind, state, fingerprint, lease, what, yes, terms }: Action): object {
  const { backend, operation, verb, resource, sensitivity, risk, method, path } = what
  return {
    ...{ kind, state, fingerprint },
    yes: { from: yes.map(({ by }) => by), quorum: terms.quorum },
    lease_id: lease.id,
    who: { user: lease.user },
    agent: lease.agent,
    why: whyOf(lease.task),
    what: {
      ...{ backend, operation, verb, sensitivity, risk, method },
      resource: withoutTokens(resource),
      path: pathOf(path) ?? null,
    },
  }
}

function requestFacts({ kind, fingerprint, deferral, proposal }: LeaseRequest): object {
  const { user, login, clientId, task, audience, stage } = proposal
  return {
    ...{ kind, fingerprint },
    state: deferral.state,
    yes: { from: deferral.settled === undefined ? [] : [deferral.settled.by], quorum: 1 },
    lease_id: null,
    who: { user: user.id, login: login ?? null },
    agent: { id: agentName(clientId) },
    why: task === undefined ? null : whyOf(task),
    what: { audience, stage, backends: proposal.backends },
  }
}

function repeatFacts({ action, lease, user, agent }: Repeat): object {
  return { ...unknown, action_id: action, lease_id: lease, who: { user }, agent: { id: agent } }
}

function whyOf({ system, id, purpose }: Action['lease']['task']): object {
  return { system, id: withoutTokens(id), purpose: withoutTokens(purpose) }
}

function withoutAssertion(body: unknown): unknown {
  if (!isObject(body)) return body
  const { assertion: _, ...rest } = body
  return rest
}

function causeOf({ row, facts: { cause, detail } }: Refusal): string {
  return cause ?? detail ?? row.title
}
