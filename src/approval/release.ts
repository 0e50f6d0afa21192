// What becomes of a released draft: a gate claims it, executes it, records what came of it. In: an action and the
// time. Out: the step that is due, and the action after it. Pure; each step is written with compare-and-set, so
// that of all gates exactly one ever executes a draft, whenever one of them is killed.
import type { Action, ActionOutcome } from './action.ts'

/** A gate that executes a draft says so this often, seconds; after the other time nobody believes it any more. */
export const aliveSeconds = 15
export const silentSeconds = 60

/** What came of an execution; as in ActionOutcome. */
export type Executed = Omit<ActionOutcome, 'at'>

/**
 * `execute`: nobody has begun. `expire`: nobody did in time. `interrupt`: the gate that had begun is gone, and nobody
 * knows whether the backend has seen the call, so that it is never executed again. Undefined: nothing is to be done.
 */
export type DueStep = 'execute' | 'expire' | 'interrupt'

/** What is due for a draft at `now`. */
export function dueStep({ kind, state, expiresAt, aliveAt = 0 }: Action, now: number): DueStep | undefined {
  if (kind !== 'draft') return undefined
  // Negated, so that a time which is no number is over.
  if (state === 'approved') return now < expiresAt ? 'execute' : 'expire'
  if (state === 'executing') return now < aliveAt + silentSeconds ? undefined : 'interrupt'
  return undefined
}

/** It is being executed: the first time a claim, then a sign of life. */
export function claimed(action: Action, now: number): Action {
  return { ...action, state: 'executing', aliveAt: now }
}

/** It has been executed, or it has failed and why. The backend's answer, whatever it says, is an execution. */
export function concluded({ aliveAt: _, ...action }: Action, came: Executed, now: number): Action {
  const state = came.status === undefined ? 'failed' : 'executed'
  return { ...action, state, outcome: { ...came, at: now } }
}

/** It fails without having been performed, under the decision that made it a draft. */
export function failed(action: Action, code: string, now: number): Action {
  const { decisionId } = action
  return concluded(action, { decisionId, status: undefined, code, bytes: 0, kept: false }, now)
}
