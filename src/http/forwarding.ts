// One exchange with a backend: the client's message pair, undici's handler and the handle in one object. In: an
// OutboundRequest. Out: the answer streamed back, one result. It never retries, follows a redirect, rewrites a path
// or a header, or holds a whole answer in memory.
import type { Readable } from 'node:stream'
import type { ByteMeter } from '../enforce/meter.ts'
import type { OutboundRequest } from '../enforce/outbound.ts'
import { isRefusal, type Refusal, type RefusalCode, refuse } from '../refusals.ts'
import { backendFault } from './backend_faults.ts'
import { cutAnswer, endAnswer, endBehind } from './ending.ts'
import { EventStream, isEventStream, lastEvent } from './event_stream.ts'
import type { Ended, ForwardExchange, ForwardHandle, MidwayEnd, ReplyHead } from './exchange.ts'
import { Metered, reserve } from './metered.ts'
import { tooLarge, Upload } from './upload.ts'
import type { Dispatcher, Upstream } from './upstream.ts'

/** A chunked body of operations limited to this is read whole, so that none of a too large one is sent. */
const readWholeBelow = 1_048_576
/** What a reason phrase may hold (RFC 9112 §4); any other is dropped, `writeHead` would throw on it. */
const reasonPhrase = /^[\t\x20-\x7e]*$/
const over = new Error('the exchange is over')

const faultsOfClients: ReadonlySet<RefusalCode> = new Set([
  'body_too_large',
  'malformed_framing',
  'request_timeout',
])

/** One exchange: undici's handler, the client's listeners and the handle in one object, for speed. */
export class Forward implements Dispatcher.DispatchHandler, ForwardHandle {
  readonly #upstream: Upstream
  readonly #exchange: ForwardExchange
  #controller: Dispatcher.DispatchController | undefined = undefined
  #waiting: NodeJS.Timeout | undefined = undefined
  #upload: Upload | undefined = undefined
  /** The bodies' ways under a byte budget. */
  #request: Metered | undefined = undefined
  #answer: Metered | undefined = undefined
  /** Where the answer is a stream of events. */
  #events: EventStream | undefined = undefined
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

  end(ended: MidwayEnd, refusal: Refusal): void {
    if (this.#over) return
    this.#stop()
    if (!this.#exchange.res.headersSent) this.#status = refusal.row.status
    else if (!this.#sayLast(refusal)) cutAnswer(this.#exchange.req, this.#exchange.res)
    this.#finish(ended, refusal)
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
      this.#sendBytes(outbound, body.bytes)
    } else {
      const upload = new Upload(this.#exchange, (refusal) => this.refuse(refusal, 'upload'))
      this.#upload = upload
      if (length !== undefined) this.#reserve(length, () => this.#sendStream(outbound, upload))
      else if (bodyLimit > readWholeBelow) this.#sendStream(outbound, upload)
      else upload.collect((bytes) => this.#sendBytes(outbound, bytes))
    }
  }

  #sendBytes(outbound: OutboundRequest, bytes: Uint8Array): void {
    const { meter } = this.#exchange
    if (meter === undefined || meter.take(bytes.byteLength)) this.#dispatch(outbound, bytes)
    else this.#reserve(bytes.byteLength, () => this.#sendBytes(outbound, bytes))
  }

  #sendStream(outbound: OutboundRequest, upload: Upload): void {
    const { meter } = this.#exchange
    if (meter !== undefined) this.#request = new Metered(meter, (refusal) => this.#overBudget(refusal))
    this.#dispatch(outbound, this.#request === undefined ? upload : upload.pipe(this.#request))
  }

  /** Does `next` once `bytes` of the byte budget can be taken, at once where there is none. */
  #reserve(bytes: number, next: () => void): void {
    const { meter } = this.#exchange
    if (meter === undefined) {
      next()
      return
    }
    const granted = () => this.#over || next()
    reserve(meter, bytes, granted, (refusal) => this.#overBudget(refusal))
  }

  #overBudget(refusal: Refusal): void {
    this.end('budget_midway', refusal)
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
    const head = this.#exchange.replyHead(status, controller.rawHeaders as Buffer[], statusText)
    if (isRefusal(head)) {
      this.refuse(head, `backend_status_${status}`)
      return
    }
    if (isEventStream(head.headers)) this.#events = new EventStream()
    const { meter } = this.#exchange
    if (meter === undefined) this.#begin(head, status, statusText)
    else this.#beginMetered(meter, controller, head, () => this.#begin(head, status, statusText))
  }

  /** Sends the head. */
  #begin(head: ReplyHead, status: number, statusText: string): void {
    const { req, res } = this.#exchange
    this.#status = head.status
    // Whether the rest of the upload will be read is now open, so the connection cannot be kept.
    const early = this.#upload !== undefined && !req.complete
    const headers = early ? [...head.headers, 'connection', 'close'] : [...head.headers]
    if (head.status === status && reasonPhrase.test(statusText)) res.writeHead(status, statusText, headers)
    else res.writeHead(head.status, headers)
    process.nextTick(flushHead, this)
  }

  /**
   * Under a byte budget: a length that the budget has not got is refused before the head is sent; without one the
   * head goes out with the first byte that is paid for, but for a stream of events. The head of what may have changed
   * something goes out in any case: were it refused, the caller would take it for undone, and do it again.
   */
  #beginMetered(
    meter: ByteMeter,
    controller: Dispatcher.DispatchController,
    head: ReplyHead,
    begin: () => void,
  ): void {
    const { req, res } = this.#exchange
    const begun = () => res.headersSent || begin()
    const answer = new Metered(
      meter,
      (refusal) => this.#overBudget(refusal),
      (chunk) => {
        begun()
        this.#passing(chunk)
      },
    )
    this.#answer = answer
    answer.once('end', () => {
      begun()
      this.#endAnswer()
    })
    answer.cork()
    answer.pipe(res, { end: false })
    controller.pause()
    const bodiless = req.method === 'HEAD' || head.status === 204 || head.status === 304
    const length = bodiless || !isSafe(req.method) ? 0 : declaredLength(head.headers)
    this.#reserve(length ?? 0, () => {
      if (length !== undefined || this.#events !== undefined) begun()
      answer.uncork()
      if (!answer.writableEnded) controller.resume()
    })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { req, res, bodyIdleMs } = this.#exchange
    const way = this.#answer ?? res
    if (way === res) this.#passing(chunk)
    if (way.write(chunk) || controller.paused) return
    controller.pause()
    // Node's socket timer knows partial writes: only a client that takes nothing at all is cut.
    req.socket.setTimeout(bodyIdleMs)
    way.once('drain', () => {
      req.socket.setTimeout(0)
      // By now the connection may be serving another exchange.
      if (!way.writableEnded) controller.resume()
    })
  }

  onResponseEnd(): void {
    this.#release()
    if (this.#answer === undefined) this.#endAnswer()
    else this.#answer.end()
  }

  /** Sees every chunk that passes to the client. */
  #passing(chunk: Buffer): void {
    this.#bytesOut += chunk.length
    this.#events?.push(chunk)
  }

  #endAnswer(): void {
    const { req, res } = this.#exchange
    if (this.#upload === undefined) res.end()
    else endAnswer(req, res)
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#release()
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
    this.refuse(refuse(backendFault(error, code, this.#answering)), code)
  }

  /** A stream's head does not wait for its first event; any other head leaves with the body. */
  flushHead(): void {
    if (this.#bytesOut === 0 && !this.#over && !this.#exchange.res.writableEnded)
      this.#exchange.res.flushHeaders()
  }

  #cut(ended: Ended): void {
    if (this.#over) return
    this.#stop()
    cutAnswer(this.#exchange.req, this.#exchange.res)
    this.#finish(ended)
  }

  /**
   * Between two events one more may say why the stream ends. Not to a client that is behind: it would get what
   * is buffered for it as well.
   */
  #sayLast(refusal: Refusal): boolean {
    const { req, res } = this.#exchange
    const room = this.#events?.betweenEvents === true && res.chunkedEncoding && !res.writableEnded
    const behind = res.writableLength + (this.#answer?.readableLength ?? 0)
    if (!room || behind > 0) return false
    const event = lastEvent(this.#exchange.problem(refusal))
    this.#bytesOut += event.length
    res.write(event)
    endBehind(req)
    return true
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
    this.#request?.destroy()
    this.#answer?.destroy()
  }

  /** undici is through with the request: its place is free. */
  #release(): void {
    clearTimeout(this.#waiting)
    this.#upstream.inFlight -= 1
  }

  #finish(ended: Ended, refusal?: Refusal): void {
    this.#over = true
    const bytesIn = this.#request?.bytes ?? this.#upload?.bytes ?? this.#bytesIn
    const result = { status: this.#status, bytesIn, bytesOut: this.#bytesOut, ended, refusal }
    // undici hands over the controller before it writes the first byte.
    this.#exchange.done(this.#controller === undefined ? { ...result, unseen: true } : result)
  }
}

/** RFC 9110 §9.2.1. */
function isSafe(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
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
