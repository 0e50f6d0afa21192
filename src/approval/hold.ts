// What is kept of a call that policy holds: the action that people see, and the bytes that they decide on. In: the
// evidence and policy's answer. Out: a new action and its call. Pure.
import { passedFields } from '../enforce/outbound.ts'
import type { Evidence } from '../enforce/stages.ts'
import type { PolicyAnswer } from '../ports.ts'
import type { Action } from './action.ts'
import type { HeldCall } from './actions.ts'
import { digestOf, fingerprintOf } from './fingerprint.ts'
import type { Terms } from './terms.ts'

/** What policy said, where it waits for somebody. */
export interface WaitingAnswer extends PolicyAnswer {
  readonly effect: 'hold' | 'draft'
  readonly approval: Terms
}

/** Whether an answer waits for a human; one that names nobody never does (policy/evaluate.ts). */
export function isWaiting(answer: PolicyAnswer): answer is WaitingAnswer {
  return (answer.effect === 'hold' || answer.effect === 'draft') && answer.approval !== undefined
}

/** The fingerprint of what `evidence` asks for with `body`. */
export function fingerprintOfCall(evidence: Evidence, body: Uint8Array): string {
  return fingerprintOf(evidence, passedFields(evidence), body)
}

/** Of the decision that held it. */
export interface Holding {
  readonly id: string
  readonly decisionId: string
  readonly policyDigest: string
  /** Seconds since 1970, to the millisecond: its place in lists. */
  readonly at: number
}

/** The action as it begins to wait, and its call. */
export function actionOf(
  evidence: Evidence,
  body: Uint8Array,
  { effect, reasons, approval }: WaitingAnswer,
  { id, decisionId, policyDigest, at }: Holding,
): { readonly action: Action; readonly call: HeldCall } {
  const { request, backend, mapped, lease, now } = evidence
  const { operation } = mapped
  const target = request.queryText === undefined ? request.path : `${request.path}?${request.queryText}`
  const { agent, task, session, stage } = lease
  const action: Action = {
    id,
    kind: effect,
    state: 'pending',
    fingerprint: fingerprintOfCall(evidence, body),
    createdAt: at,
    expiresAt: now + approval.expiresIn,
    decisionId,
    what: {
      backend: backend.name,
      operation: operation.match,
      verb: operation.verb,
      resource: mapped.resource,
      sensitivity: operation.sensitivity,
      risk: operation.risk,
      method: request.method,
      path: request.path,
      contentType: request.contentType,
      bodyBytes: body.byteLength,
      bodyDigest: digestOf(body),
    },
    lease: {
      id: lease.id,
      issuer: lease.issuer,
      user: lease.user,
      agent: { id: agent.id, version: agent.version, env: agent.env, profile: agent.profile },
      task,
      session,
      stage,
    },
    said: { effect, reasons, policyDigest },
    terms: approval,
    yes: [],
  }
  const { method, authority, peer, provenance } = request
  return {
    action,
    call: { method, target, authority, headers: passedFields(evidence), body, peer, provenance, lease },
  }
}
