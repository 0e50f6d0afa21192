// A backend's connections: one bounded undici pool each. Only importer of undici; decides nothing.
import { Client, type Dispatcher, Pool } from 'undici'
import type { Backend } from '../enforce/operation.ts'

export type { Dispatcher }

/** A change of one backend connection, for metrics. */
export type UpstreamEvent = 'connect' | 'disconnect' | 'connectionError'

/** A backend's connections, and the requests that hold or await one. */
export interface Upstream {
  readonly backend: Backend
  readonly pool: Pool
  inFlight: number
}

const maxAnswerHeadBytes = 16_384

/** Opens the pool of `backend`; `onUpstream` hears of every connection made, lost and not made. */
export function connectTo(
  backend: Backend,
  onUpstream?: (backend: Backend, event: UpstreamEvent) => void,
): Upstream {
  const pool = new Pool(backend.origin, {
    factory: wedgeProof,
    connections: backend.connections,
    pipelining: 1,
    allowH2: false,
    connectTimeout: backend.connectTimeoutMs,
    headersTimeout: backend.headersTimeoutMs,
    bodyTimeout: backend.idleTimeoutMs,
    maxHeaderSize: maxAnswerHeadBytes,
    // Unlimited: answers are streamed, and nothing of them is kept.
    maxResponseSize: -1,
  })
  if (onUpstream !== undefined) {
    pool.on('connect', () => onUpstream(backend, 'connect'))
    pool.on('disconnect', () => onUpstream(backend, 'disconnect'))
    pool.on('connectionError', () => onUpstream(backend, 'connectionError'))
  }
  return { backend, pool, inFlight: 0 }
}

/**
 * A rejected request must not make its idle connection count as busy: the pool would wait for a drain
 * event that never comes, and stop for good after as many such requests as it has connections
 * (undici 8.12.4; test "a third of the requests invalid").
 */
function wedgeProof(origin: URL, options: object): Dispatcher {
  const client = new Client(origin, options)
  const dispatch = client.dispatch.bind(client)
  client.dispatch = (request, handler) => dispatch(request, handler) || client.stats.size === 0
  return client
}

/** Closes a pool; after `graceMs` its requests are cut. */
export async function closePool(pool: Pool, graceMs: number): Promise<void> {
  if (pool.destroyed) return
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, graceMs)
  await Promise.race([pool.close(), late])
  clearTimeout(timer)
  await pool.destroy()
}
