// One exchange with a backend for nobody who waits on a socket: a released draft, or what an approver is shown. In:
// an OutboundRequest and the bytes of its body. Out: the answer, kept up to a bound and read to its end beyond it.
// It never retries, follows a redirect, or keeps more than the bound.
import type { MidwayEnd } from '../enforce/gate.ts'
import type { ByteMeter } from '../enforce/meter.ts'
import type { OutboundRequest } from '../enforce/outbound.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { backendFault } from './backend_faults.ts'
import type { ReplyHead } from './exchange.ts'
import { reserve } from './metered.ts'
import { tooLarge } from './upload.ts'
import type { Dispatcher, Upstream } from './upstream.ts'

/** What an answer is collected for. */
export interface Collection {
  readonly body: Uint8Array
  /** Of the request. */
  readonly bodyLimit: number
  /** Bytes of the answer that are kept; a larger one is read to its end and not kept. */
  readonly keepBytes: number
  /** Milliseconds that the whole exchange may take: an answer without an end is cut there. */
  readonly boundMs: number
  /** As in ForwardExchange. */
  readonly meter: ByteMeter | undefined
  replyHead(status: number, rawHeaders: readonly Buffer[]): ReplyHead | Refusal
  /** Called exactly once. */
  done(collected: Collected): void
}

/** How it ended. */
export interface Collected {
  /** Undefined: no answer came, or none that may be seen. */
  readonly head: ReplyHead | undefined
  /** Undefined: it was larger than what is kept, or broke off. */
  readonly body: Uint8Array | undefined
  /** Of the answer's body, as far as it came. */
  readonly bytes: number
  /** What ended it before the answer was whole. */
  readonly refusal: Refusal | undefined
  /** Ended by the gate while it was under way. */
  readonly midway: MidwayEnd | undefined
  /** No byte of the request has reached the backend. */
  readonly unseen: boolean
}

/** Undici's handler of one such exchange. */
export class Collecting implements Dispatcher.DispatchHandler {
  readonly #upstream: Upstream
  readonly #collection: Collection
  #controller: Dispatcher.DispatchController | undefined
  #waiting: NodeJS.Timeout | undefined
  #bound: NodeJS.Timeout | undefined
  #answering = false
  #over = false
  #head: ReplyHead | undefined
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(upstream: Upstream, collection: Collection) {
    this.#upstream = upstream
    this.#collection = collection
  }

  start(outbound: OutboundRequest): void {
    const { body, bodyLimit, boundMs } = this.#collection
    this.#bound = setTimeout(
      () => this.#stop(refuse('backend_timeout', { cause: 'answer_without_end' })),
      boundMs,
    )
    const sent = outbound.body.kind === 'bytes' ? outbound.body.bytes : body
    if (sent.byteLength > bodyLimit) this.#finish(tooLarge(bodyLimit))
    else this.#paid(sent.byteLength, () => this.#dispatch(outbound, sent))
  }

  /** Ends it: the request to the backend is aborted at once. */
  end(midway: MidwayEnd, refusal: Refusal): void {
    this.#stop(refusal, midway)
  }

  #dispatch({ method, path, headers, body }: OutboundRequest, bytes: Uint8Array): void {
    const { backend, pool } = this.#upstream
    if (this.#upstream.inFlight >= backend.maxInFlight) {
      this.#finish(refuse('overloaded', { cause: 'max_in_flight' }))
      return
    }
    this.#upstream.inFlight += 1
    // undici bounds the connect and the answer, but not the wait for a free connection.
    if (this.#upstream.inFlight > backend.connections) {
      const late = () => this.#stop(refuse('overloaded', { cause: 'no_free_connection' }))
      this.#waiting = setTimeout(late, backend.connectTimeoutMs + backend.headersTimeoutMs)
    }
    // undici reads the list and keeps nothing of it; its type merely fails to say so.
    const fields = headers as string[]
    const sent = body.kind === 'none' ? null : bytes
    // Anything but an origin-form target would choose another host (undici takes `http://…` as a path).
    if (path.charCodeAt(0) === 47) pool.dispatch({ method, path, headers: fields, body: sent }, this)
    else this.onResponseError(null, new TypeError('the path is not in origin form'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    clearTimeout(this.#waiting)
    if (this.#over) throw over
    this.#controller = controller
  }

  onResponseStarted(): void {
    this.#answering = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#over) return
    if (status < 100 || status > 599 || status === 101) {
      this.#stop(refuse('backend_malformed', { cause: `backend_status_${status}` }))
      return
    }
    if (status < 200) return
    const head = this.#collection.replyHead(status, controller.rawHeaders as Buffer[])
    if (isRefusal(head)) this.#stop(head)
    else this.#head = head
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return
    this.#bytes += chunk.length
    if (this.#bytes <= this.#collection.keepBytes) this.#chunks.push(chunk)
    else this.#chunks = []
    const { meter } = this.#collection
    if (meter === undefined || meter.take(chunk.length)) return
    controller.pause()
    this.#paid(chunk.length, () => controller.resume())
  }

  onResponseEnd(): void {
    this.#release()
    this.#finish(undefined)
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#release()
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
    this.#finish(refuse(backendFault(error, code, this.#answering), { cause: code }))
  }

  /** Does `next` once `bytes` of the byte budget are paid for, at once where there is none. */
  #paid(bytes: number, next: () => void): void {
    const { meter } = this.#collection
    if (meter === undefined || meter.take(bytes)) {
      next()
      return
    }
    const again = () => this.#over || this.#paid(bytes, next)
    reserve(meter, bytes, again, (refusal) => this.#stop(refusal, 'budget_midway'))
  }

  /** Aborting calls `onResponseError` before it returns, which then finds that all is over. */
  #stop(refusal: Refusal, midway?: MidwayEnd): void {
    if (this.#over) return
    this.#finish(refusal, midway)
    this.#controller?.abort(over)
  }

  #release(): void {
    clearTimeout(this.#waiting)
    this.#upstream.inFlight -= 1
  }

  #finish(refusal: Refusal | undefined, midway?: MidwayEnd): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#waiting)
    clearTimeout(this.#bound)
    const whole = refusal === undefined && this.#bytes <= this.#collection.keepBytes
    this.#collection.done({
      head: this.#head,
      body: whole ? Buffer.concat(this.#chunks) : undefined,
      bytes: this.#bytes,
      refusal,
      midway,
      // undici hands over the controller before it writes the first byte.
      unseen: this.#controller === undefined,
    })
  }
}

const over = new Error('the exchange is over')
