// One order to end, hold or let go leases, told of once when it is over, whoever sent it. In: what serves the call.
// Out: the same, with its trail. A store that cannot answer becomes a refusal here; what else is thrown is told of
// and thrown on.

import type { LifecycleVerb } from '../broker/lifecycle.ts'
import type { BrokerObserver, OrderTrail } from '../broker/observer.ts'
import { newId } from '../lease/ids.ts'
import type { Store } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { ControlAnswer, ControlCall, Endpoint, RefusedCall } from './control.ts'
import { orUnavailable } from './store_answer.ts'

export interface OrderParts {
  readonly store: Pick<Store, 'leases' | 'now' | 'revocations'>
  readonly observer: Pick<BrokerObserver, 'ordered'>
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** One order under way. */
export interface OrderedCall extends ControlCall {
  readonly order: OrderTrail
  /** Seconds since 1970; the same for the whole call. */
  readonly now: number
}

/** Serves orders with `serve`, and tells the observer of each, unreadable ones and strangers' too. */
export function ordered(
  verb: LifecycleVerb,
  { observer, clock }: OrderParts,
  serve: (call: OrderedCall) => Promise<ControlAnswer | Refusal>,
): Required<Pick<Endpoint, 'serve' | 'refused'>> {
  const begin = ({ params, caller, peer }: RefusedCall, body: unknown): OrderTrail => ({
    decisionId: newId('dec_', clock()),
    startedAt: clock(),
    verb,
    peer,
    operator: caller?.by === 'token' ? caller.person.user : undefined,
    person: caller?.by === 'session' ? caller.person : undefined,
    agent: undefined,
    lease: params.id,
    body,
    scope: undefined,
    repeated: false,
  })
  return {
    refused: (refusal, call) => observer.ordered(begin(call, undefined), refusal),
    async serve(call) {
      const order = begin(call, call.json)
      let refusal: Refusal | undefined = refuse('internal_error')
      try {
        const answer = await orUnavailable(serve({ ...call, order, now: order.startedAt / 1000 }))
        refusal = isRefusal(answer) ? answer : undefined
        return answer
      } finally {
        observer.ordered(order, refusal)
      }
    },
  }
}
