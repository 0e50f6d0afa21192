// One attempt to decide, told of once when it is over, whoever sent it. In: what serves the call. Out: the same, with
// its trail. A store that cannot answer becomes a refusal here; what else is thrown is told of and thrown on.
import type { DecisionObserver, DecisionTrail, DecisionVerb } from '../approval/observer.ts'
import { newId } from '../lease/ids.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Caller } from './caller.ts'
import type { ControlAnswer, ControlCall, Endpoint, RefusedCall } from './control.ts'
import { orUnavailable } from './store_answer.ts'

export interface DecidingParts {
  readonly observer: DecisionObserver
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** One attempt under way. */
export interface DecidingCall extends ControlCall {
  readonly trail: DecisionTrail
  /** Seconds since 1970; the same for the whole call. */
  readonly now: number
}

/** Serves attempts with `serve`, and tells the observer of each, unreadable ones and strangers' too. */
export function deciding(
  verb: DecisionVerb,
  { observer, clock }: DecidingParts,
  serve: (call: DecidingCall) => Promise<ControlAnswer | Refusal>,
): Required<Pick<Endpoint, 'serve' | 'refused'>> {
  const begin = (call: RefusedCall, body: unknown): DecisionTrail => ({
    decisionId: newId('dec_', clock()),
    startedAt: clock(),
    verb,
    peer: call.peer,
    by: call.caller && byOf(call.caller),
    id: call.params.id ?? '',
    body,
    about: undefined,
    repeat: undefined,
    shownBy: undefined,
    changed: false,
  })
  return {
    refused: (refusal, call) => observer.decided(begin(call, undefined), refusal),
    async serve(call) {
      const trail = begin(call, call.json)
      let refusal: Refusal | undefined = refuse('internal_error')
      try {
        const answer = await orUnavailable(serve({ ...call, trail, now: trail.startedAt / 1000 }))
        refusal = isRefusal(answer) ? answer : undefined
        return answer
      } finally {
        observer.decided(trail, refusal)
      }
    },
  }
}

function byOf({ by: how, person }: Caller): NonNullable<DecisionTrail['by']> {
  const { user, issuer, subject } = person
  return { user, issuer, subject, how }
}
