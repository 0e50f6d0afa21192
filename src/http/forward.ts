// In: OutboundRequests and the clients' message pairs. Out: requests on a bounded pool of connections per backend.
// Never forwards what no decision made.
import type { Backend } from '../enforce/operation.ts'
import { isOutboundRequest, type OutboundRequest } from '../enforce/outbound.ts'
import { Collecting, type Collection } from './collecting.ts'
import type { ForwardExchange, ForwardHandle } from './exchange.ts'
import { Forward } from './forwarding.ts'
import { closePool, connectTo, type UpstreamEvent } from './upstream.ts'

export interface Forwarder {
  /** Starts one exchange. Throws, as a bug, when `outbound` was not made by the pipeline. */
  forward(outbound: OutboundRequest, exchange: ForwardExchange): ForwardHandle
  /** The same for a request whose answer is collected: no client waits for it on a socket. */
  collect(outbound: OutboundRequest, collection: Collection): Pick<ForwardHandle, 'end'>
  /** Lets exchanges under way finish for at most `graceMs`, then cuts them. New ones are `overloaded`. */
  close(graceMs?: number): Promise<void>
}

/**
 * One bounded pool per backend. `onUpstream` is told of every connection made, lost and not made.
 */
export function createForwarder(
  backends: readonly Backend[],
  { onUpstream }: { onUpstream?: (backend: Backend, event: UpstreamEvent) => void } = {},
): Forwarder {
  const upstreams = new Map(backends.map((backend) => [backend.name, connectTo(backend, onUpstream)]))
  const upstreamOf = (outbound: OutboundRequest) => {
    if (!isOutboundRequest(outbound)) throw new Error('only an OutboundRequest can be forwarded')
    const upstream = upstreams.get(outbound.backend.name)
    if (upstream === undefined) throw new Error('the backend of the request has no pool')
    return upstream
  }
  return {
    forward(outbound, exchange) {
      const forward = new Forward(upstreamOf(outbound), exchange)
      forward.start(outbound)
      return forward
    },
    collect(outbound, collection) {
      const collecting = new Collecting(upstreamOf(outbound), collection)
      collecting.start(outbound)
      return collecting
    },
    async close(graceMs = 5_000) {
      await Promise.all([...upstreams.values()].map(({ pool }) => closePool(pool, graceMs)))
    },
  }
}
