// A Committed in, the request for the backend out: exactly the bytes decided on, headers built from an
// allow list, the backend's credential in, the lease token out. ADD A REQUEST HEADER HERE. Pure.
import type { Lease } from '../lease/lease.ts'
import { opensTunnel } from './checks.ts'
import { type Committed, isCommitted } from './commit.ts'
import type { Backend } from './operation.ts'
import type { Authenticated, CleanRequest } from './stages.ts'
import { fieldValue, taskValue } from './stated_task.ts'

const mint = Symbol('mint')

/** What goes out as the body: nothing, the bytes that were inspected, or the client's stream. */
export type OutboundBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'stream' }

interface Parts {
  readonly backend: Backend
  readonly method: string
  /** Exact bytes, base path and query included. */
  readonly path: string
  /** Flat name, value list. */
  readonly headers: readonly string[]
  readonly body: OutboundBody
}

/**
 * A request that may be forwarded. Made by `outbound` alone; exported as a type only. Everything in it is
 * private behind getters: nobody changes it on its way, and printing it shows no credential.
 */
class OutboundRequest {
  readonly #committed: Committed
  readonly #parts: Parts

  constructor(key: symbol, committed: Committed, parts: Parts) {
    if (key !== mint) throw new Error('an outbound request is made by outbound() alone')
    this.#committed = committed
    this.#parts = parts
  }

  get backend(): Backend {
    return this.#parts.backend
  }

  get method(): string {
    return this.#parts.method
  }

  get path(): string {
    return this.#parts.path
  }

  get headers(): readonly string[] {
    return this.#parts.headers
  }

  get body(): OutboundBody {
    return this.#parts.body
  }

  get committed(): Committed {
    return this.#committed
  }

  static owns(value: unknown): value is OutboundRequest {
    return typeof value === 'object' && value !== null && #committed in value
  }
}

export type { OutboundRequest }

/** Whether `value` came out of `outbound`: the forwarders ask before the first byte leaves. */
export function isOutboundRequest(value: unknown): value is OutboundRequest {
  return OutboundRequest.owns(value)
}

/** Request fields that pass from agent to backend. Everything else stays here. */
const passing = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'pragma',
  'prefer',
  'range',
  'tracestate',
  'user-agent',
  'x-request-id',
])
const webSocketFields = new Set([
  'origin',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
])

/** What `outbound` adds that is not in the request. */
export interface OutboundFacts {
  readonly decisionId: string
  readonly traceparent: string
  readonly via: string
  readonly publicScheme: string
  /** An accepted WebSocket offer: the handshake fields pass as well. */
  readonly upgrade: boolean
}

/** Builds the request for the backend. Throws when `committed` was not made by `commit`. */
export function outbound(committed: Committed, facts: OutboundFacts): OutboundRequest {
  if (!isCommitted(committed)) throw new Error('only a committed permit can go out')
  const { evidence } = committed.permit
  const { request, backend, mapped } = evidence
  const headers = ['host', authorityOf(backend)]
  copyPassing(request, backend, facts.upgrade, headers)
  if (backend.credential !== undefined) headers.push(backend.credential.header, backend.credential.value)
  headers.push(...leaseHeaders(evidence.lease))
  headers.push('decision-id', facts.decisionId, 'traceparent', facts.traceparent)
  headers.push('via', viaOf(request, facts.via), 'forwarded', forwardedOf(request, facts.publicScheme))
  if (request.maxForwards !== undefined) headers.push('max-forwards', String(request.maxForwards - 1))
  if (facts.upgrade) headers.push('connection', 'Upgrade', 'upgrade', 'websocket')
  const body = bodyOf(request, evidence.bodyBytes)
  if (body.kind === 'stream' && request.contentLength !== undefined) {
    headers.push('content-length', String(request.contentLength))
  }
  const query = request.queryText === undefined ? '' : `?${request.queryText}`
  const path = `${backend.basePath}${mapped.backendPath}${query}`
  return new OutboundRequest(mint, committed, { backend, method: request.method, path, headers, body })
}

const origins = new WeakMap<Backend, string>()

function authorityOf(backend: Backend): string {
  let authority = origins.get(backend)
  if (authority === undefined) {
    authority = backend.origin.slice(backend.origin.indexOf('//') + 2)
    origins.set(backend, authority)
  }
  return authority
}

/**
 * The fields of a request that its backend gets, flat name, value list; none of ours, and no credential. That it opens
 * a tunnel is one of them.
 */
export function passedFields(asked: Pick<Authenticated, 'request' | 'backend'>): string[] {
  const { request, backend } = asked
  const tunnels = opensTunnel(asked)
  const headers = tunnels ? ['upgrade', 'websocket'] : []
  copyPassing(request, backend, tunnels, headers)
  return headers
}

function copyPassing(request: CleanRequest, backend: Backend, upgrade: boolean, headers: string[]): void {
  const credentialHeader = backend.credential?.header
  for (let at = 0; at < request.headers.length; at += 2) {
    const name = request.headers[at]!
    const passes =
      passing.has(name) || (upgrade && webSocketFields.has(name)) || backend.forwardHeaders.includes(name)
    if (!passes || name === credentialHeader || request.nominated.includes(name)) continue
    // The state of a trace that this request does not continue (W3C Trace Context §3.3).
    if (name === 'tracestate' && request.traceparent === undefined) continue
    headers.push(name, request.headers[at + 1]!)
  }
}

const leaseHeaderLists = new WeakMap<Lease, readonly string[]>()

/** Who acts, for the backend's own log. Percent-encoded where a value is not plain ASCII. */
function leaseHeaders(lease: Lease): readonly string[] {
  let list = leaseHeaderLists.get(lease)
  if (list === undefined) {
    list = [
      'lease-id',
      fieldValue(lease.id),
      'lease-user',
      fieldValue(lease.user),
      'lease-agent',
      fieldValue(`${lease.agent.id}@${lease.agent.version}`),
      'lease-task',
      taskValue(lease.task),
    ]
    leaseHeaderLists.set(lease, list)
  }
  return list
}

function viaOf(request: CleanRequest, via: string): string {
  const own = `1.1 ${via}`
  const before: string[] = []
  for (let at = 0; at < request.headers.length; at += 2) {
    if (request.headers[at] === 'via') before.push(request.headers[at + 1]!)
  }
  return before.length === 0 ? own : `${before.join(', ')}, ${own}`
}

function forwardedOf(request: CleanRequest, scheme: string): string {
  const peer = request.peer.includes(':') ? `"[${request.peer}]"` : request.peer
  return `for=${peer};host="${request.authority}";proto=${scheme}`
}

function bodyOf(request: CleanRequest, bytes: Uint8Array | undefined): OutboundBody {
  if (bytes !== undefined) return { kind: 'bytes', bytes }
  return request.chunked || (request.contentLength ?? 0) > 0 ? { kind: 'stream' } : { kind: 'none' }
}
