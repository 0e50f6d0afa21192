// What people have said about an action, and whether it counts. In: an action, and the call that policy holds now. Out:
// an approval, a refusal, or that nobody has said anything yet. Pure; an approval is evidence and no permit.
import { type Action, isSameMeaning, stateOf } from '../approval/action.ts'
import type { KeptAction } from '../approval/actions.ts'
import type { WaitingAnswer } from '../approval/hold.ts'
import { areEnough } from '../approval/rules.ts'
import type { Approval } from '../ports.ts'
import { type Refusal, type RefusalFacts, refuse } from '../refusals.ts'
import type { Standing } from './gate.ts'
import type { Evidence } from './stages.ts'

/** A call that policy wants a human for. */
export interface Held {
  readonly evidence: Evidence
  readonly answer: WaitingAnswer
  readonly refusal: Refusal
}

/** A draft that was captured instead of a call that is made. */
export interface Captured {
  readonly draft: Action
}

/** Whether it is for this very call under this very lease. */
export function isFor(kept: KeptAction | undefined, { lease }: Evidence, fingerprint: string): boolean {
  return (
    kept !== undefined &&
    kept.action.fingerprint === fingerprint &&
    kept.action.lease.id === lease.id &&
    kept.action.lease.issuer === lease.issuer
  )
}

/**
 * What has been said about an action: an approval that is enough under what policy asks for now, a refusal, that
 * nobody has said it yet, or undefined: nothing that counts, so that people are asked afresh.
 */
export function verdict(
  { action, version }: KeptAction,
  { answer, evidence: { mapped } }: Held,
  { now, named }: { readonly now: number; readonly named: boolean },
): Approval | Captured | Refusal | 'pending' | undefined {
  const state = stateOf(action, now)
  if (action.kind !== answer.effect) return named ? refuse('out_of_scope') : undefined
  const reason = action.ended?.reason
  switch (state) {
    case 'pending':
      return 'pending'
    case 'approved':
      if (action.kind === 'draft') return { draft: action }
      if (
        !areEnough(action.yes, answer.approval) ||
        !isSameMeaning(action.what, { ...mapped.operation, resource: mapped.resource })
      ) {
        return named ? refuse('out_of_scope', askedMore) : undefined
      }
      return { id: action.id, kind: 'exact', approvedBy: action.yes.map(({ by }) => by.user), version }
    case 'executing':
      return { draft: action }
    case 'refused':
      // Asked again at once it would only be asked for the same yes.
      return named || now < action.expiresAt ? refuse('approval_refused', told(reason)) : undefined
    case 'expired':
      return named ? refuse('approval_expired') : undefined
    case 'withdrawn':
      return named ? refuse('approval_withdrawn', told(reason)) : undefined
    default:
      return named ? refuse('approval_used', { detail: 'the approval was good for one call' }) : undefined
  }
}

/** What was said about a released draft, where that is enough for what policy asks for now. */
export function saidOf(
  { released, endedAt }: Standing,
  { answer, refusal, evidence }: Held,
): Approval | Refusal {
  if (released === undefined) return refuse('policy_denied', refusal.facts)
  const { action, version } = released
  if (!areEnough(action.yes, answer.approval)) return refuse('out_of_scope', askedMore)
  // What policy said when the draft was made has been looked at (release_lease.ts): the shorter time counts.
  if (endedAt !== undefined && !(evidence.now < endedAt + answer.approval.afterLease)) {
    return refuse('lease_expired', {
      detail: 'the lease has ended, and policy lets no draft outlive it so long',
    })
  }
  return { id: action.id, kind: 'exact', approvedBy: action.yes.map(({ by }) => by.user), version }
}

const askedMore = { detail: 'policy asks for more by now than was said: ask again' } as const

function told(reason: string | undefined): RefusalFacts {
  return reason === undefined || reason === '' ? {} : { detail: reason }
}
