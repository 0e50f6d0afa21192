// People are asked about a call. In: the call, what policy asks for now, the newest action of the same fingerprint. Out:
// the action that waits, or a refusal. One that waits under other terms, or was approved under them, is asked anew: what
// still counts of it stays.
import { type Action, isOver, isSameMeaning } from '../approval/action.ts'
import type { HeldCall, KeptAction } from '../approval/actions.ts'
import { actionOf } from '../approval/hold.ts'
import { areEnough, counting } from '../approval/rules.ts'
import type { Terms } from '../approval/terms.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { opensTunnel } from './checks.ts'
import type { Gate, Trail } from './gate.ts'
import type { Humans } from './seek.ts'
import type { Held } from './verdict.ts'

/** Where it is asked. `kept`: the newest action of the same fingerprint, whatever became of it. */
export interface Asking {
  readonly gate: Gate
  readonly trail: Trail
  readonly kept: KeptAction | undefined
}

/** Whether an action waits for those whom `terms` names, and for as many of them. */
export function asksTheSame({ terms }: Action, { approvers, quorum }: Terms): boolean {
  const names = (of: readonly string[]) => JSON.stringify(of.toSorted())
  return terms.quorum === quorum && names(terms.approvers) === names(approvers)
}

/** Lets the call wait; the one of the same fingerprint that waits already, where there is one. */
export async function ask(
  { evidence, answer }: Held,
  body: Uint8Array,
  { gate, trail, kept }: Asking,
): Promise<KeptAction | Refusal> {
  const { actions, maxPending, newActionId, notices } = gate.humans
  if (answer.effect === 'draft' && opensTunnel(evidence)) {
    return refuse('policy_denied', { detail: 'what goes through a WebSocket cannot be drafted' })
  }
  const nowMs = gate.evidence.clock()
  const { action, call } = actionOf(evidence, body, answer, {
    id: newActionId(nowMs),
    decisionId: trail.decisionId,
    policyDigest: trail.policyDigest ?? '',
    at: nowMs / 1000,
  })
  const { now } = evidence
  if (kept !== undefined && !isOver(kept.action, now) && kept.action.state !== 'executing') {
    return askAnew(kept, action, call, gate.humans)
  }
  const also = notices.writes('approval.requested', action)
  const opened = await actions.open(action, call, { also, most: maxPending })
  const detail = `no more than ${maxPending} actions of a lease wait for a human or are taken back within a minute`
  return opened ?? refuse('too_many_waiting', { detail })
}

/** The same action under the terms of now. Somebody who was faster is right: then as it was. */
async function askAnew(
  kept: KeptAction,
  asked: Action,
  call: HeldCall,
  { actions, notices }: Humans,
): Promise<KeptAction> {
  const { id, createdAt, kind, what, yes: said } = kept.action
  const isSame = kind === asked.kind && isSameMeaning(what, asked.what)
  const yes = isSame ? counting(said, asked.terms) : []
  const state = areEnough(yes, asked.terms) ? 'approved' : 'pending'
  const next: Action = { ...asked, id, createdAt, yes, state }
  const told = state === 'pending' ? notices.writes('approval.requested', next) : []
  const writes = [...(await actions.replacing(kept.action, next, call)), ...told]
  return (await actions.change(kept, next, writes)) ?? kept
}
