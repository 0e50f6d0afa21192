// In: an OutboundRequest and the client's message pair. Out: the request on a backend connection, the
// answer streamed back, one result. Only importer of undici. Never forwards what no decision made, never
// retries, follows a redirect, rewrites a path or a header, or holds a whole answer in memory.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Backend } from '../enforce/operation.ts'
import { isOutboundRequest, type OutboundRequest } from '../enforce/outbound.ts'
import { isRefusal, type Refusal, type RefusalCode, refuse } from '../refusals.ts'
import type { Ended, ForwardExchange, ForwardHandle, MidwayEnd } from './exchange.ts'
import { tooLarge, Upload } from './upload.ts'
import { closePool, connectTo, type Dispatcher, type Upstream, type UpstreamEvent } from './upstream.ts'

export interface Forwarder {
  /** Starts one exchange. Throws, as a bug, when `outbound` was not made by the pipeline. */
  forward(outbound: OutboundRequest, exchange: ForwardExchange): ForwardHandle
  /** Lets exchanges under way finish for at most `graceMs`, then cuts them. New ones are `overloaded`. */
  close(graceMs?: number): Promise<void>
}

/** A chunked body of operations limited to this is read whole, so that none of a too large one is sent. */
const readWholeBelow = 1_048_576
const lingerMs = 1_000
/** What a reason phrase may hold (RFC 9112 §4); any other is dropped, `writeHead` would throw on it. */
const reasonPhrase = /^[\t\x20-\x7e]*$/
const over = new Error('the exchange is over')

const faultsOfClients: ReadonlySet<RefusalCode> = new Set([
  'body_too_large',
  'malformed_framing',
  'request_timeout',
])

/** What undici's and Node's error codes, or else names, mean to the caller. Any other: unreachable. */
const codes: Readonly<Record<string, RefusalCode>> = {
  UND_ERR_CONNECT_TIMEOUT: 'backend_timeout',
  UND_ERR_HEADERS_TIMEOUT: 'backend_timeout',
  UND_ERR_BODY_TIMEOUT: 'backend_timeout',
  UND_ERR_HEADERS_OVERFLOW: 'backend_malformed',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'backend_malformed',
  HTTPParserError: 'backend_malformed',
  ERR_INVALID_CHAR: 'backend_malformed',
  UND_ERR_CLOSED: 'overloaded',
  UND_ERR_DESTROYED: 'overloaded',
  UND_ERR_INVALID_ARG: 'internal_error',
  UND_ERR_NOT_SUPPORTED: 'internal_error',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'internal_error',
}

/**
 * One bounded pool per backend. `onUpstream` is told of every connection made, lost and not made.
 */
export function createForwarder(
  backends: readonly Backend[],
  { onUpstream }: { onUpstream?: (backend: Backend, event: UpstreamEvent) => void } = {},
): Forwarder {
  const upstreams = new Map(backends.map((backend) => [backend.name, connectTo(backend, onUpstream)]))
  return {
    forward(outbound, exchange) {
      if (!isOutboundRequest(outbound)) throw new Error('only an OutboundRequest can be forwarded')
      const upstream = upstreams.get(outbound.backend.name)
      if (upstream === undefined) throw new Error('the backend of the request has no pool')
      const forward = new Forward(upstream, exchange)
      forward.start(outbound)
      return forward
    },
    async close(graceMs = 5_000) {
      await Promise.all([...upstreams.values()].map(({ pool }) => closePool(pool, graceMs)))
    },
  }
}

/**
 * Ends an answer. While the client is still uploading, what it sends is discarded for up to a second
 * first: closing a socket with unread bytes resets it, and the client would lose the answer (RFC 9112 §9.6).
 */
export function endAnswer(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete) {
    res.end()
    return
  }
  const end = () => {
    clearTimeout(timer)
    res.end()
  }
  const timer = setTimeout(end, lingerMs)
  req.once('end', end)
  res.once('close', () => clearTimeout(timer))
  req.resume()
}

/** One exchange: undici's handler, the client's listeners and the handle in one object, for speed. */
class Forward implements Dispatcher.DispatchHandler, ForwardHandle {
  readonly #upstream: Upstream
  readonly #exchange: ForwardExchange
  #controller: Dispatcher.DispatchController | undefined = undefined
  #waiting: NodeJS.Timeout | undefined = undefined
  #upload: Upload | undefined = undefined
  /** The backend has begun to answer: what goes wrong from here is in its answer. */
  #answering = false
  #over = false
  #status = 0
  #bytesIn = 0
  #bytesOut = 0

  constructor(upstream: Upstream, exchange: ForwardExchange) {
    this.#upstream = upstream
    this.#exchange = exchange
  }

  start(outbound: OutboundRequest): void {
    const { res } = this.#exchange
    if (res.closed) {
      this.#finish('aborted_by_client')
      return
    }
    res.once('close', () => this.#clientClosed())
    this.#send(outbound)
  }

  end(reason: MidwayEnd): void {
    this.#cut(reason)
  }

  /** An answer that has begun is cut, so that nobody takes it for whole. */
  refuse(refusal: Refusal, cause: string = refusal.code): void {
    if (this.#over) return
    if (this.#exchange.res.headersSent) {
      this.#cut(faultsOfClients.has(refusal.code) ? 'aborted_by_client' : 'backend_failed')
      return
    }
    this.#stop()
    this.#status = refusal.row.status
    this.#exchange.fail(refusal, cause)
    this.#finish(refusal.code.startsWith('backend_') ? 'backend_failed' : 'completed')
  }

  /** Chooses how the body travels. A length that belies the body is a bug, and would desync the backend. */
  #send(outbound: OutboundRequest): void {
    const { body } = outbound
    const { bodyLimit } = this.#exchange
    const length = declaredLength(outbound.headers)
    const known = body.kind === 'none' ? 0 : body.kind === 'bytes' ? body.bytes.byteLength : undefined
    if (known !== undefined && length !== undefined && length !== known) {
      this.refuse(refuse('internal_error'), 'content_length_mismatch')
    } else if ((known ?? length ?? 0) > bodyLimit) {
      this.refuse(tooLarge(bodyLimit), 'body_limit')
    } else if (body.kind === 'none') {
      this.#dispatch(outbound, null)
    } else if (body.kind === 'bytes') {
      this.#bytesIn = body.bytes.byteLength
      this.#dispatch(outbound, body.bytes)
    } else {
      const upload = new Upload(this.#exchange, (refusal) => this.refuse(refusal, 'upload'))
      this.#upload = upload
      if (length !== undefined || bodyLimit > readWholeBelow) this.#dispatch(outbound, upload)
      else upload.collect((bytes) => this.#dispatch(outbound, bytes))
    }
  }

  #dispatch(outbound: OutboundRequest, body: Uint8Array | Readable | null): void {
    const { backend, pool } = this.#upstream
    if (this.#upstream.inFlight >= backend.maxInFlight) {
      this.refuse(refuse('overloaded'), 'max_in_flight')
      return
    }
    this.#upstream.inFlight += 1
    // undici bounds the connect and the answer, but not the wait for a free connection.
    if (this.#upstream.inFlight > backend.connections) {
      this.#waiting = setTimeout(waitedTooLong, backend.connectTimeoutMs + backend.headersTimeoutMs, this)
    }
    const { path, method } = outbound
    // undici reads the list and keeps nothing of it; its type merely fails to say so.
    const headers = outbound.headers as string[]
    // Anything but an origin-form target would choose another host (undici takes `http://…` as a path).
    if (path.charCodeAt(0) === 47) pool.dispatch({ path, method, headers, body }, this)
    else this.onResponseError(null, new TypeError('the path is not in origin form'))
  }

  /** No connection came free in time. */
  waitedTooLong(): void {
    this.refuse(refuse('overloaded'), 'no_free_connection')
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    clearTimeout(this.#waiting)
    // The client left while this waited. A throw here costs nothing; an abort would cost the connection.
    if (this.#over) throw over
    this.#controller = controller
  }

  onResponseStarted(): void {
    this.#answering = true
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    statusText = '',
  ): void {
    // No status there is (RFC 9110 §15), or an upgrade that nobody asked for; undici fails an assertion on some.
    if (status < 100 || status > 599 || status === 101) {
      this.refuse(refuse('backend_malformed'), `backend_status_${status}`)
      return
    }
    if (status < 200) return
    const { req, res } = this.#exchange
    const head = this.#exchange.replyHead(status, controller.rawHeaders as Buffer[], statusText)
    if (isRefusal(head)) {
      this.refuse(head, `backend_status_${status}`)
      return
    }
    this.#status = head.status
    // Whether the rest of the upload will be read is now open, so the connection cannot be kept.
    const early = this.#upload !== undefined && !req.complete
    const headers = early ? [...head.headers, 'connection', 'close'] : [...head.headers]
    if (head.status === status && reasonPhrase.test(statusText)) res.writeHead(status, statusText, headers)
    else res.writeHead(head.status, headers)
    process.nextTick(flushHead, this)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { req, res, bodyIdleMs } = this.#exchange
    this.#bytesOut += chunk.length
    if (res.write(chunk) || controller.paused) return
    controller.pause()
    // Node's socket timer knows partial writes: only a client that takes nothing at all is cut.
    req.socket.setTimeout(bodyIdleMs)
    res.once('drain', () => {
      req.socket.setTimeout(0)
      // By now the connection may be serving another exchange.
      if (!res.writableEnded) controller.resume()
    })
  }

  onResponseEnd(): void {
    this.#release()
    const { req, res } = this.#exchange
    if (this.#upload === undefined) res.end()
    else endAnswer(req, res)
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#release()
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
    this.refuse(refuse(this.#classify(error, code)), code)
  }

  /** A stream's head does not wait for its first event; any other head leaves with the body. */
  flushHead(): void {
    if (this.#bytesOut === 0 && !this.#over && !this.#exchange.res.writableEnded)
      this.#exchange.res.flushHeaders()
  }

  #classify(error: Error, code: string): RefusalCode {
    if (!('code' in error)) return 'internal_error'
    if (code === 'UND_ERR_SOCKET' && this.#answering) return 'backend_malformed'
    return codes[code] ?? codes[error.name] ?? 'backend_unreachable'
  }

  #cut(ended: Ended): void {
    if (this.#over) return
    this.#stop()
    const { req, res } = this.#exchange
    // HTTP/1.0 has no chunks: there the end of the connection would be that of the answer (RFC 9112 §8).
    if (req.httpVersion === '1.0') req.socket.resetAndDestroy()
    res.destroy()
    this.#finish(ended)
  }

  #clientClosed(): void {
    if (this.#over) return
    const whole = this.#exchange.res.writableFinished
    this.#stop()
    this.#finish(whole ? 'completed' : 'aborted_by_client')
  }

  /** From here on every callback is a no-op. Aborting calls `onResponseError` before it returns. */
  #stop(): void {
    this.#over = true
    clearTimeout(this.#waiting)
    this.#controller?.abort(over)
    this.#upload?.destroy()
  }

  /** undici is through with the request: its place is free. */
  #release(): void {
    clearTimeout(this.#waiting)
    this.#upstream.inFlight -= 1
  }

  #finish(ended: Ended): void {
    this.#over = true
    const bytesIn = this.#upload?.bytes ?? this.#bytesIn
    this.#exchange.done({ status: this.#status, bytesIn, bytesOut: this.#bytesOut, ended })
  }
}

function declaredLength(headers: readonly string[]): number | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (name.length === 14 && name.toLowerCase() === 'content-length') return Number(headers[i + 1])
  }
  return undefined
}

// Shared functions, not a closure per request.
function waitedTooLong(forward: Forward): void {
  forward.waitedTooLong()
}

function flushHead(forward: Forward): void {
  forward.flushHead()
}
