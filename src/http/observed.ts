// One call to an endpoint of the broker, told of once when it is over. In: what serves the call. Out: the same,
// with its trail. A store that cannot answer becomes a refusal here; what else is thrown is told of and thrown on.
import { type BrokerObserver, type BrokerTrail, beginTrail } from '../broker/observer.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'
import { orUnavailable } from './store_answer.ts'

export interface ObservedParts {
  readonly observer: Pick<BrokerObserver, 'finished'>
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** One call under way. */
export interface ObservedCall extends ControlCall {
  readonly trail: BrokerTrail
  /** Seconds since 1970; the same for the whole call. */
  readonly now: number
}

/** Serves calls with `serve`, and tells the observer of each, unreadable ones too; `endpoint` as in `BrokerTrail`. */
export function observed(
  endpoint: string,
  { observer, clock }: ObservedParts,
  serve: (call: ObservedCall) => Promise<ControlAnswer | Refusal>,
): Required<Pick<Endpoint, 'serve' | 'refused'>> {
  const refused: Endpoint['refused'] = (refusal, { peer }) =>
    observer.finished(beginTrail(endpoint, peer, clock()), refusal)
  const serveObserved: Endpoint['serve'] = async (call) => {
    const startedAt = clock()
    const trail = beginTrail(endpoint, call.peer, startedAt)
    let refusal: Refusal | undefined = refuse('internal_error')
    try {
      const answer = await orUnavailable(serve({ ...call, trail, now: startedAt / 1000 }))
      refusal = isRefusal(answer) ? answer : undefined
      return answer
    } finally {
      observer.finished(trail, refusal)
    }
  }
  return { serve: serveObserved, refused }
}
