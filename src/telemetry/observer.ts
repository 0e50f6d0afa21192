// Where the end of every walk is seen: one audit record, one count, one line for people. Also writes what
// a consequential call intends before it is forwarded. Never throws, never waits but for an intent.
import type { IntentLog } from '../enforce/commit.ts'
import type { Permit } from '../enforce/decide.ts'
import type { Observer, Outcome, StepName, Trail } from '../enforce/gate.ts'
import type { CleanRequest } from '../enforce/stages.ts'
import type { Activation, Approval, AuditSink, Effect, Revocation } from '../ports.ts'
import { isRefusal } from '../refusals.ts'
import { type AuditFacts, auditEvent, auditRecord, type RecordedApproval } from './audit.ts'
import { requestLine } from './line.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { InputRecorder } from './policy_input.ts'
import type { Shadow } from './shadow.ts'
import type { UsageCounter } from './usage.ts'

/** The gate's eyes. */
export interface GateObserver extends Observer, IntentLog {
  /** A revocation entered the view of this process. */
  revoked(entry: Revocation): void
  /** The live policy changed, or a change of it was rejected. */
  policy(change: PolicyChange): void
}

/** What the audit file says about policy: what is live now and who made it so, or why its newest content is not. */
export type PolicyChange =
  | {
      readonly digest: string
      readonly activation?: Activation
      readonly shadow_rules?: readonly string[]
    }
  | { readonly rejected: readonly string[] }

export interface ObserverParts {
  readonly audit: AuditSink
  readonly metrics: Metrics
  readonly log: Logger
  /** `auto`: a line per request when standard output is a terminal. */
  readonly requests: 'auto' | 'line' | 'none'
  /** What of a policy input gets into its record. */
  readonly recordInput: InputRecorder
  /** Policies in shadow see what policy was asked. */
  readonly shadow?: Pick<Shadow, 'finished'>
  /** Adds up what was done under each lease. */
  readonly usage?: Pick<UsageCounter, 'seen'>
}

/** One request in so many is timed step by step; the rest pay nothing for it. */
const sampleEvery = 16

/** Ties audit, metrics and log together. */
export function createObserver({
  audit,
  metrics,
  log,
  requests,
  recordInput,
  shadow,
  usage,
}: ObserverParts): GateObserver {
  const terminal = process.stdout.isTTY === true
  const lines = requests === 'line' || (requests === 'auto' && terminal)
  let seen = 0
  return {
    begin: () => (seen++ % sampleEvery === 0 ? performance.now() : Number.NaN),
    step(trail: Trail, name: StepName) {
      if (Number.isNaN(trail.mark)) return
      const now = performance.now()
      metrics.step(name, (now - trail.mark) / 1000)
      trail.mark = now
    },
    finished(trail, outcome) {
      const facts = factsOf(trail, outcome, recordInput)
      audit.append(auditRecord(facts))
      const code = trail.refusal?.code
      metrics.decision({ backend: facts.backend, verb: facts.operation?.verb, effect: facts.effect, code })
      if (trail.consultation?.answer.fault !== undefined) metrics.policyFault()
      metrics.request(facts.backend, facts.durationMs / 1000)
      if (trail.forwardedAt !== undefined && facts.backend !== undefined) {
        metrics.upstream(facts.backend, (performance.now() - trail.forwardedAt) / 1000)
      }
      shadow?.finished(trail)
      usage?.seen(trail, outcome)
      if (lines) process.stdout.write(`${requestLine(facts, { colour: terminal })}\n`)
    },
    bug: (trail, error) => log.error({ err: error, decision_id: trail.decisionId }, 'a bug; answered 500'),
    fault: () => audit.fault(),
    intend: (permit, decisionId) => audit.appendDurably(auditRecord(intentOf(permit, decisionId))),
    revoked(entry) {
      const { scope, value, issuer, cutoff, reason, by, at } = entry
      // An agent that ends its own lease is the rule: thousands of such lines would bury the others.
      log[by.startsWith('agent:') ? 'debug' : 'warn']({ scope, value, reason, by }, 'revoked')
      audit.append(auditEvent('revocation', { scope, value, issuer, cutoff, reason, by, at }))
    },
    policy: (change) => audit.append(auditEvent('policy', change)),
  }
}

function factsOf(trail: Trail, outcome: Outcome, recordInput: InputRecorder): AuditFacts {
  const { lease, permit, refusal, routed, consultation } = trail
  const mapped = routed === undefined || isRefusal(routed.mapped) ? undefined : routed.mapped
  return {
    timeMs: trail.startedAt,
    decisionId: trail.decisionId,
    traceId: trail.traceparent?.slice(3, 35),
    lease,
    backend: routed?.backend?.name,
    operation: mapped?.operation,
    resource: mapped?.resource,
    method: trail.head.method,
    target: trail.request === undefined ? trail.head.target : targetOf(trail.request),
    effect: effectOf(trail),
    code: refusal?.code,
    reasons: refusal?.facts.reasons ?? permit?.decision.reasons ?? [],
    policyDigest: trail.policyDigest,
    cause: refusal?.facts.cause,
    status: outcome.status === 0 ? undefined : outcome.status,
    bytesIn: outcome.bytesIn,
    bytesOut: outcome.bytesOut,
    durationMs: performance.now() - trail.began,
    ended: failedAtBackend(trail) ? 'backend_failed' : outcome.ended,
    peerIp: trail.head.peer,
    consultation: consultation && { answer: consultation.answer, input: recordInput(consultation.input) },
    approval: approvalOf(trail),
  }
}

function approvalOf({ permit, action }: Trail): RecordedApproval | undefined {
  const approval = permit?.evidence.approval
  if (approval !== undefined) return recordedApproval(approval)
  return action === undefined ? undefined : { id: action, kind: null, approved_by: [] }
}

function recordedApproval({ id, kind, approvedBy }: Approval): RecordedApproval {
  return { id, kind, approved_by: approvedBy }
}

/** What was decided; a backend that fails afterwards does not change it. */
function effectOf({ forwardedAt, refusal, consultation, action }: Trail): Effect {
  if (forwardedAt !== undefined) return 'allow'
  // A captured draft is answered without a refusal.
  if (refusal === undefined) return action === undefined ? 'allow' : (consultation?.answer.effect ?? 'allow')
  if (refusal.code !== 'approval_required') return 'deny'
  return consultation?.answer.effect ?? 'hold'
}

/** The gate answers such a request with a refusal, but it was the backend that failed it. */
function failedAtBackend({ forwardedAt, refusal }: Trail): boolean {
  return forwardedAt !== undefined && refusal?.code.startsWith('backend_') === true
}

/** The target in origin form: the absolute form (RFC 9112 §3.2.2) has been read into path and query. */
function targetOf({ path, queryText }: CleanRequest): string {
  return queryText === undefined ? path : `${path}?${queryText}`
}

function intentOf(permit: Permit, decisionId: string): AuditFacts {
  const { request, backend, mapped, lease } = permit.evidence
  return {
    timeMs: Date.now(),
    decisionId,
    traceId: request.traceparent?.slice(3, 35),
    lease,
    backend: backend.name,
    operation: mapped.operation,
    resource: mapped.resource,
    method: request.method,
    target: targetOf(request),
    effect: 'allow',
    code: undefined,
    reasons: permit.decision.reasons,
    policyDigest: permit.decision.policyDigest,
    cause: undefined,
    status: undefined,
    bytesIn: 0,
    bytesOut: 0,
    durationMs: 0,
    ended: 'intent',
    peerIp: request.peer,
    consultation: undefined,
    approval: permit.evidence.approval && recordedApproval(permit.evidence.approval),
  }
}
