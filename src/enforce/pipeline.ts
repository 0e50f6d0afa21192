// START HERE. One request from its raw head to its one audit record: receive → route → authenticate →
// gather → decide → commit → outbound → forward → reply. Each step takes the value of the one before it
// and returns the next, or the refusal that ends the walk. Nothing is forwarded without a Permit.

import { isWaiting } from '../approval/hold.ts'
import type { Consultation } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { admit, authenticate, stand, usesProof } from './authenticate.ts'
import { refuseOffClock } from './clock.ts'
import { commit } from './commit.ts'
import { decide, type Permit } from './decide.ts'
import type { Exchange, Gate, Outcome, Trail } from './gate.ts'
import { gather } from './gather.ts'
import { answerLocally, metadataUrl } from './local.ts'
import { outbound } from './outbound.ts'
import type { Quota } from './quota.ts'
import { receive } from './receive.ts'
import { refuseChanged } from './released.ts'
import {
  backendHead,
  type LocalAnswer,
  type OwnAnswer,
  ownAnswer,
  type ReplyFacts,
  refusalAnswer,
} from './reply.ts'
import { route } from './route.ts'
import { seek } from './seek.ts'
import type { Evidence, Routed } from './stages.ts'
import { document, isForTask, serveTask } from './tasks.ts'
import type { Held } from './verdict.ts'

/** Walks one request to its end. Never rejects: whatever happens ends in an answer and one record. */
export async function handle(exchange: Exchange, gate: Gate): Promise<void> {
  const trail = newTrail(exchange, gate)
  let outcome: Outcome = { status: 500, bytesIn: 0, bytesOut: 0, ended: 'refused' }
  try {
    const end = await walk(exchange, gate, trail)
    if (!isRefusal(end)) trail.refusal = end.refusal
    outcome = isRefusal(end) ? await answerRefusal(end, exchange, gate, trail) : end
  } catch (bug) {
    gate.observer.bug(trail, bug)
    try {
      outcome = await answerRefusal(refuse('internal_error'), exchange, gate, trail)
    } catch {
      exchange.abort()
    }
  } finally {
    gate.observer.finished(trail, outcome)
  }
}

/** The steps in order. Every `return` of a refusal is a "no" from the table in refusals.ts. */
async function walk(exchange: Exchange, gate: Gate, trail: Trail): Promise<Outcome | Refusal> {
  const { observer } = gate
  const request = receive(exchange.head, gate.rules)
  observer.step(trail, 'receive')
  if (isRefusal(request)) return request
  trail.request = request
  trail.traceparent = request.traceparent ?? gate.newTraceparent()

  const local = answerLocally(request, gate)
  if (local !== undefined) return exchange.answer(local, 'answered_locally')

  const routed = route(request, gate.router)
  observer.step(trail, 'route')
  trail.routed = routed

  // Before anything is said about a token: its times would be compared with the wrong one.
  const offClock = refuseOffClock(gate.evidence.clockOffset())
  if (offClock !== undefined) return offClock
  const now = Math.floor(trail.startedAt / 1000)
  const forTask = isForTask(routed)
  const presented = await present(routed, exchange, gate, { now, forTask })
  observer.step(trail, 'authenticate')
  if (isRefusal(presented)) return presented
  trail.lease = presented.lease
  trail.nonce = presented.nonce
  if (forTask) {
    const served = await serveTask(request, presented.lease, { exchange, gate, trail })
    return isRefusal(served) ? served : answerOwn(served, exchange, gate, trail)
  }
  const authenticated = admit(routed, presented.lease)
  if (isRefusal(authenticated)) return authenticated

  const evidence = await gather(authenticated, gate.evidence, exchange)
  observer.step(trail, 'gather')
  if (isRefusal(evidence)) return evidence
  const released = exchange.standing?.released
  const changed = released && (await refuseChanged(released.action, evidence, exchange))
  trail.action = released?.action.id
  if (changed !== undefined) return changed

  const policy = gate.policy()
  trail.policyDigest = policy.digest
  const decided = decide(evidence, policy)
  observer.step(trail, 'decide')
  trail.consultation = consultationOf(decided)
  const held = heldBy(decided, evidence)
  const permit = held === undefined ? decided : await seek(held, exchange, gate, trail)
  if ('draft' in permit) {
    return answerOwn(document(permit.draft, gate, evidence.now, 202), exchange, gate, trail)
  }
  trail.consultation = consultationOf(permit) ?? trail.consultation
  if (isRefusal(permit)) return permit
  trail.permit = permit

  const committed = await commit(permit, trail.decisionId, gate.commits)
  observer.step(trail, 'commit')
  if (isRefusal(committed)) return committed

  const goingOut = outbound(committed, {
    decisionId: trail.decisionId,
    traceparent: trail.traceparent,
    via: gate.rules.via,
    publicScheme: gate.publicScheme,
    upgrade: exchange.upgrade,
  })
  observer.step(trail, 'outbound')

  trail.forwardedAt = performance.now()
  const facts = replyFacts(gate, trail, committed.quota)
  const forwarded = exchange.forward(goingOut, {
    head: (status, raw) => backendHead(status, raw, goingOut, facts),
    refusal: (refusal) => refusalAnswer(refusal, facts),
  })
  const { meter } = committed
  return meter === undefined ? forwarded : forwarded.finally(() => meter.end())
}

/** The lease behind a request: of its token, or the one that stands behind it already. */
function present(
  routed: Routed,
  { standing }: Exchange,
  gate: Gate,
  { now, forTask }: { readonly now: number; readonly forTask: boolean },
): ReturnType<typeof authenticate> {
  if (standing !== undefined) return stand(routed, standing.lease, gate)
  const audiences = forTask ? new Map([[routed.backend, gate.everyAudience]]) : gate.audiences
  return authenticate(routed, forTask ? { ...gate, audiences } : gate, now)
}

function answerOwn(answer: LocalAnswer, exchange: Exchange, gate: Gate, trail: Trail): Promise<Outcome> {
  return exchange.answer(ownAnswer(answer, replyFacts(gate, trail)), 'answered_locally')
}

function consultationOf(decided: Permit | Refusal): Consultation | undefined {
  return isRefusal(decided) ? decided.facts.consultation : decided.decision.consultation
}

/** Undefined: nobody has to be asked. */
function heldBy(decided: Permit | Refusal, evidence: Evidence): Held | undefined {
  if (!isRefusal(decided) || decided.code !== 'approval_required') return undefined
  const answer = decided.facts.consultation?.answer
  return answer !== undefined && isWaiting(answer) ? { evidence, answer, refusal: decided } : undefined
}

function answerRefusal(refusal: Refusal, exchange: Exchange, gate: Gate, trail: Trail): Promise<Outcome> {
  trail.refusal = refusal
  return exchange.answer(refusalAnswer(refusal, replyFacts(gate, trail)), 'refused')
}

function replyFacts(gate: Gate, trail: Trail, quota?: Quota): ReplyFacts {
  return {
    decisionId: trail.decisionId,
    leaseId: trail.lease?.id,
    scheme: usesProof(trail.request) ? 'DPoP' : 'Bearer',
    nonce: trail.refusal?.facts.nonce ?? trail.nonce,
    metadataUrl: metadataUrl(trail.routed?.backend, gate),
    publicOrigin: gate.publicOrigin,
    via: gate.rules.via,
    quota,
    waited: trail.waited,
  }
}

/** An empty trail for a message from `head`. */
function newTrail({ head }: Pick<Exchange, 'head'>, gate: Gate): Trail {
  const startedAt = gate.evidence.clock()
  return {
    decisionId: gate.newDecisionId(startedAt),
    startedAt,
    began: performance.now(),
    mark: gate.observer.begin(),
    head,
    traceparent: undefined,
    request: undefined,
    routed: undefined,
    lease: undefined,
    nonce: undefined,
    permit: undefined,
    action: undefined,
    waited: false,
    policyDigest: undefined,
    consultation: undefined,
    forwardedAt: undefined,
    refusal: undefined,
  }
}

/** The answer and the one record of a message that the HTTP parser refused before it became a request. */
export function refuseUnparsed(peer: string, refusal: Refusal, gate: Gate): OwnAnswer {
  const head = { method: '', target: '', httpVersion: '', rawHeaders: [], peer }
  const trail = newTrail({ head }, gate)
  trail.refusal = refusal
  const answer = refusalAnswer(refusal, replyFacts(gate, trail))
  const bytesOut = Buffer.byteLength(answer.body)
  gate.observer.finished(trail, { status: answer.status, bytesIn: 0, bytesOut, ended: 'refused' })
  return answer
}
