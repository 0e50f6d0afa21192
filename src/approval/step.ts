// One step in the life of an action, whoever takes it: read, look whether it may be, write it over what was read, and
// begin again where that has changed meanwhile. In: what to do. Out: the action as it is now, or the refusal. Decides
// about nobody.
import { type Records, type RecordWrite, Unavailable } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type Action, stateOf } from './action.ts'
import type { Actions, KeptAction } from './actions.ts'
import { getRepeat, type Repeat, repeatId, repeatState, writeRepeat } from './repeats.ts'

/** What became of a step. */
export interface Decided {
  readonly action: Action
  /** False: it was so already, and nothing was written. */
  readonly changed: boolean
  /** The bounded repeat that was granted, or ended, with it. */
  readonly repeat?: Repeat
}

/** One step as it is to be written: all of it or nothing; the same action: nothing. */
export interface Step {
  readonly next: Action
  readonly also?: readonly RecordWrite[]
  readonly repeat?: Repeat
}

/** The refusal of what nobody can decide on any more at `now`, seconds since 1970. */
export function refuseState(action: Action, now: number): Refusal | undefined {
  const state = stateOf(action, now)
  if (state === 'pending' || state === 'approved') return undefined
  if (state === 'expired') return refuse('action_expired')
  return refuse('action_state_conflict', { detail: `it is ${state} already`, reasons: [state] })
}

/** A step after which the repeat that was granted with the action, if one was and still is, is over too. */
export async function withoutRepeat(
  next: Action,
  also: readonly RecordWrite[],
  revoked: NonNullable<Repeat['revoked']>,
  records: Pick<Records, 'get'>,
): Promise<Step> {
  const kept = next.terms.repeat && (await getRepeat(records, repeatId(next.id)))
  if (kept === undefined || repeatState(kept.repeat, revoked.at) !== 'active') return { next, also }
  const repeat = { ...kept.repeat, revoked }
  return { next, also: [...also, writeRepeat(repeat, kept.version)], repeat }
}

/** Each time somebody else was faster; whoever is left out after that can try again. */
const attempts = 16

/** Whether people are told: it was decided, or a yes that had decided it was taken back. */
function isNews(before: Action['state'], after: Action['state']): boolean {
  return before !== after && (after !== 'pending' || before === 'approved')
}

/** Where steps are written. */
export interface StepSources {
  readonly actions: Actions
  readonly noticesOf: (action: Action) => readonly RecordWrite[]
}

/** Takes one step. Throws `Unavailable`; then it may have been written. */
export async function change(
  id: string,
  { actions, noticesOf }: StepSources,
  step: (kept: KeptAction) => Promise<Step | Refusal>,
): Promise<Decided | Refusal> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const kept = await actions.get(id)
    if (kept === undefined) return refuse('action_unknown')
    const made = await step(kept)
    if (isRefusal(made)) return made
    const { next, also = [], repeat } = made
    if (next === kept.action) return { action: next, changed: false }
    const notices = isNews(kept.action.state, next.state) ? noticesOf(next) : []
    const written = await actions.change(kept, next, [...also, ...notices])
    if (written !== undefined) return { action: written.action, changed: true, ...(repeat && { repeat }) }
  }
  throw new Unavailable('others keep changing the same action')
}
