// An agent puts another body in the place of its draft's. In: the draft as it waits, and the new body. Out: the draft
// with another fingerprint and without any yes, decided by policy like a call that comes now, or a refusal: then the
// draft stays as it was. Never forwards.
import { type Action, isOver, stateOf } from '../approval/action.ts'
import type { HeldCall, KeptAction } from '../approval/actions.ts'
import { headOf } from '../approval/call_head.ts'
import { actionOf, isWaiting } from '../approval/hold.ts'
import type { Lease } from '../lease/lease.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { admit } from './authenticate.ts'
import { within } from './deadline.ts'
import { decide, isPermit } from './decide.ts'
import type { Exchange, Gate, Trail } from './gate.ts'
import { gather } from './gather.ts'
import { receive } from './receive.ts'
import { route } from './route.ts'
import type { CleanRequest } from './stages.ts'

/** The request that replaces. */
export interface Replacing {
  readonly request: CleanRequest
  readonly lease: Lease
  readonly exchange: Exchange
  readonly gate: Gate
  readonly trail: Trail
  readonly kept: KeptAction
  readonly now: number
}

/** The draft as it waits from now on. Throws `Unavailable`. */
export async function replace(replacing: Replacing): Promise<Action | Refusal> {
  const { gate, kept, now, exchange } = replacing
  const state = stateOf(kept.action, now)
  if (kept.action.kind !== 'draft' || state !== 'pending') {
    return refuse('action_state_conflict', { detail: `only a draft that waits is replaced: it is ${state}` })
  }
  const { actions, maxBodyBytes } = gate.humans
  const before = await within(gate.evidence.deadlineMs, actions.call(kept.action))
  if (before === undefined) return refuse('evidence_unavailable', { detail: 'the draft cannot be read now' })
  const body = await exchange.read(maxBodyBytes)
  if (isRefusal(body)) return body
  const made = await remake(callOf(replacing, before, body), replacing)
  if (isRefusal(made)) return made
  return within(gate.evidence.deadlineMs, write(kept, made, replacing))
}

/** As it was sent, but for the body and the fields that say how that is to be read. */
function callOf({ request, lease }: Replacing, before: HeldCall, body: Uint8Array): HeldCall {
  const headers: string[] = []
  for (let at = 0; at < before.headers.length; at += 2) {
    const name = before.headers[at]!
    if (name !== 'content-type' && name !== 'content-encoding') headers.push(name, before.headers[at + 1]!)
  }
  const { contentType, contentEncoding, peer, provenance } = request
  if (contentType !== undefined) headers.push('content-type', contentType)
  if (contentEncoding !== undefined) headers.push('content-encoding', contentEncoding)
  return { ...before, headers, body, lease, peer, provenance }
}

/** Decides on it: what is not a draft any more is refused, even where it would be let through. */
async function remake(
  call: HeldCall,
  { lease, gate, trail, kept }: Replacing,
): Promise<ReturnType<typeof actionOf> | Refusal> {
  const { body } = call
  const request = receive(headOf(call), gate.rules)
  if (isRefusal(request)) return request
  const authenticated = admit(route(request, gate.router), lease)
  if (isRefusal(authenticated)) return authenticated
  const { bodyLimit } = authenticated.mapped.operation
  if (body.byteLength > bodyLimit) {
    return refuse('body_too_large', { detail: `the body is larger than ${bodyLimit} bytes` })
  }
  const evidence = await gather(authenticated, gate.evidence, { read: async () => body })
  if (isRefusal(evidence)) return evidence
  const policy = gate.policy()
  trail.policyDigest = policy.digest
  const decided = decide(evidence, policy)
  if (isPermit(decided)) {
    return refuse('action_state_conflict', {
      detail: 'this needs nobody any more: take the draft back and send it',
    })
  }
  trail.consultation = decided.facts.consultation
  const answer = decided.facts.consultation?.answer
  if (decided.code !== 'approval_required' || answer === undefined || !isWaiting(answer)) return decided
  if (answer.effect !== 'draft') {
    return refuse('action_state_conflict', {
      detail: 'this is held and no draft any more: send it as a call',
    })
  }
  const { id } = kept.action
  const { decisionId } = trail
  // In its old place of the lists.
  const at = kept.action.createdAt
  return actionOf(evidence, body, answer, { id, decisionId, policyDigest: policy.digest, at })
}

/** In one step, over the version that was looked at: somebody may just be deciding on it. */
async function write(
  kept: KeptAction,
  { action, call }: ReturnType<typeof actionOf>,
  { gate, now }: Replacing,
): Promise<Action | Refusal> {
  const { actions } = gate.humans
  const also = await actions.replacing(kept.action, action, call)
  const alike = await actions.latest(action.fingerprint)
  if (alike !== undefined && alike.action.id !== action.id && !isOver(alike.action, now)) {
    return refuse('action_state_conflict', { detail: 'another draft of exactly this waits already' })
  }
  const changed = await actions.change(kept, action, also)
  return (
    changed?.action ??
    refuse('action_state_conflict', { detail: 'it has changed meanwhile: look at it again' })
  )
}
