// Policy wants a human: look for what one has said about this very call, and let it wait where nobody has. In: the
// evidence of a call that is held. Out: a Permit of a second decision, a refusal that says where to look, or the
// draft that it became. An approval is evidence and nothing more: everything is read and decided again with it.

import type { Action } from '../approval/action.ts'
import type { Actions, KeptAction } from '../approval/actions.ts'
import { fingerprintOfCall } from '../approval/hold.ts'
import type { Notices } from '../approval/notices.ts'
import { accessRequest, pollSeconds } from '../approval/task.ts'
import type { Terms } from '../approval/terms.ts'
import type { Approval } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { ask, asksTheSame } from './ask.ts'
import { hasBody } from './body.ts'
import { opensTunnel } from './checks.ts'
import { orUnavailable, within } from './deadline.ts'
import { decide, type Permit } from './decide.ts'
import type { Exchange, Gate, Trail } from './gate.ts'
import { gather } from './gather.ts'
import { refuseStopped } from './revoked.ts'
import type { Evidence } from './stages.ts'
import { type Captured, type Held, isFor, saidOf, verdict } from './verdict.ts'
import type { WaitingRoom } from './waiting.ts'

/** Where people are asked. */
export interface Humans {
  readonly actions: Actions
  /** A repeat that somebody granted and that covers this call; undefined: none. */
  readonly findRepeat: (evidence: Evidence, terms: Terms) => Promise<Approval | undefined>
  /** What tells people, written with what they are told of. */
  readonly notices: Notices
  readonly newActionId: (nowMs: number) => string
  readonly waiting: WaitingRoom
  readonly maxBodyBytes: number
  readonly maxWaitSeconds: number
  /** Of one lease at a time. */
  readonly maxPending: number
}

/** Asks, waits where the caller wants to, and decides again. */
export async function seek(
  held: Held,
  exchange: Exchange,
  gate: Gate,
  trail: Trail,
): Promise<Permit | Captured | Refusal> {
  const body = await wholeBody(held.evidence, exchange, gate.humans)
  if (isRefusal(body)) return body
  const found =
    exchange.standing === undefined
      ? await orUnavailable(find(held, body, { exchange, gate, trail }))
      : saidOf(exchange.standing, held)
  if (isRefusal(found) || 'draft' in found) return found
  const bodyBytes = hasBody(held.evidence.request) ? body : undefined
  const again = await gather(held.evidence, gate.evidence, { read: async () => body })
  if (isRefusal(again)) return again
  const policy = gate.policy()
  trail.policyDigest = policy.digest
  return decide({ ...again, bodyBytes, approval: found }, policy)
}

/** The body that people see is the body that is sent, so it is read before anybody is asked. */
async function wholeBody(
  { request, mapped, bodyBytes }: Evidence,
  exchange: Exchange,
  { maxBodyBytes }: Humans,
): Promise<Uint8Array | Refusal> {
  const limit = Math.min(mapped.operation.bodyLimit, maxBodyBytes)
  if (!hasBody(request)) return new Uint8Array()
  if (bodyBytes === undefined) return exchange.read(limit)
  const detail = `a call that waits for a human has a body of ${limit} bytes at most`
  return bodyBytes.byteLength > limit ? refuse('body_too_large', { detail }) : bodyBytes
}

interface Surroundings {
  readonly exchange: Exchange
  readonly gate: Gate
  readonly trail: Trail
}

async function find(
  held: Held,
  body: Uint8Array,
  around: Surroundings,
): Promise<Approval | Captured | Refusal> {
  const { evidence, answer } = held
  const { gate, trail } = around
  const { humans } = gate
  const soon = <T>(asked: Promise<T>) => within(gate.evidence.deadlineMs, asked)
  const fingerprint = fingerprintOfCall(evidence, body)
  const { statedApproval } = evidence.request
  let kept = await soon(
    statedApproval === undefined ? humans.actions.latest(fingerprint) : humans.actions.get(statedApproval),
  )
  if (statedApproval !== undefined && !isFor(kept, evidence, fingerprint)) {
    return refuse('out_of_scope', { detail: 'that approval is not for this very action of this lease' })
  }
  const said = kept && verdict(kept, held, { now: evidence.now, named: statedApproval !== undefined })
  if (said !== undefined && said !== 'pending') return said
  if (said === undefined || kept === undefined || !asksTheSame(kept.action, answer.approval)) {
    const repeat = await soon(repeated(held, humans))
    if (repeat !== undefined) return repeat
    const asked = await soon(ask(held, body, { gate, trail, kept }))
    if (isRefusal(asked)) return asked
    kept = asked
    trail.action = kept.action.id
    // What was said of it may be enough by now.
    const still = verdict(kept, held, { now: evidence.now, named: false })
    if (still !== undefined && still !== 'pending') return still
  }
  trail.action = kept.action.id
  if (answer.effect === 'draft') return { draft: kept.action }
  return (await wait(kept, held, around)) ?? mustWait(kept.action, held, gate)
}

/** Drafts are released one by one, and nobody sees beforehand what goes through a tunnel. */
async function repeated({ evidence, answer }: Held, { findRepeat }: Humans): Promise<Approval | undefined> {
  const { effect, approval } = answer
  if (effect === 'draft' || approval.repeat === undefined || opensTunnel(evidence)) return undefined
  return findRepeat(evidence, approval)
}

/** `Prefer: wait` (RFC 7240 §4.3): stays until somebody has decided. Undefined: nobody has. */
async function wait(
  { action }: KeptAction,
  held: Held,
  { exchange, gate, trail }: Surroundings,
): Promise<Approval | Captured | Refusal | undefined> {
  const { humans, evidence, commits } = gate
  const { lease, request } = held.evidence
  const seconds = Math.min(request.waitSeconds ?? 0, humans.maxWaitSeconds)
  if (!(seconds > 0)) return undefined
  const seen = await humans.waiting.wait({ action: action.id, lease: lease.id }, seconds * 1000, async () => {
    // Under another policy it may take other people: the same call finds out.
    if (exchange.left || gate.policy().digest !== trail.policyDigest) return mustWait(action, held, gate)
    const stopped = refuseStopped(lease, commits.revocations)
    if (stopped !== undefined) return stopped
    const kept = await within(evidence.deadlineMs, humans.actions.get(action.id))
    const now = Math.floor(evidence.clock() / 1000)
    const said = kept === undefined ? undefined : verdict(kept, held, { now, named: true })
    return said === 'pending' ? undefined : said
  })
  if (seen !== undefined && !isRefusal(seen)) trail.waited = true
  return seen
}

function mustWait(action: Action, { refusal }: Held, { publicOrigin, evidence }: Gate): Refusal {
  const now = Math.floor(evidence.clock() / 1000)
  return refuse('approval_required', {
    ...refusal.facts,
    retryAfter: pollSeconds,
    answer: { access_request: accessRequest(action, publicOrigin, now) },
  })
}
