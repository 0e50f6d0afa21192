// Between node:http and the pipeline: an IncomingMessage and its ServerResponse become an Exchange. Reads
// a body only when the pipeline asks for it, and sends 100 Continue no earlier than that.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Exchange, Outcome, Replies } from '../enforce/gate.ts'
import type { OutboundRequest } from '../enforce/outbound.ts'
import type { LocalAnswer } from '../enforce/reply.ts'
import type { RawHead } from '../enforce/stages.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { endAnswer } from './ending.ts'
import type { ForwardHandle, ForwardResult, MidwayEnd } from './exchange.ts'
import type { Forwarder } from './forward.ts'
import type { Endable, InFlight, Open } from './in_flight.ts'
import { certificateOf } from './tls.ts'

/** What every exchange of one listener shares. */
export interface ProxyParts {
  readonly forwarder: Forwarder
  readonly inFlight: InFlight
  readonly bodyIdleMs: number
}

/** The raw head of a message, before anything in it is believed. */
export function rawHead(req: IncomingMessage): RawHead {
  return {
    method: req.method ?? '',
    target: req.url ?? '',
    httpVersion: req.httpVersion,
    rawHeaders: req.rawHeaders,
    peer: peerOf(req.socket),
    certificate: certificateOf(req.socket)?.thumbprint,
  }
}

/**
 * Address of a connection's other end. An IPv4 address that came through an IPv6 listener is plain IPv4:
 * policy's `net.cidr_contains` would not find `::ffff:10.1.2.3` in 10.0.0.0/8.
 */
export function peerOf({ remoteAddress }: { readonly remoteAddress?: string | undefined }): string {
  if (remoteAddress === undefined) return 'unknown'
  return remoteAddress.startsWith('::ffff:') ? remoteAddress.slice('::ffff:'.length) : remoteAddress
}

/** One request over HTTP/1.1. */
export class HttpExchange implements Exchange, Endable {
  readonly head: RawHead
  readonly upgrade = false
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #parts: ProxyParts
  /** Changes of the revocation view before anything was looked up in it for this request. */
  readonly #changes: number
  #awaitsContinue: boolean
  #forwarding: ForwardHandle | undefined
  /** The parser gave up on the message after its head had been read. */
  #broken: Refusal | undefined

  constructor(req: IncomingMessage, res: ServerResponse, parts: ProxyParts, awaitsContinue = false) {
    this.head = rawHead(req)
    this.#req = req
    this.#res = res
    this.#parts = parts
    this.#changes = parts.inFlight.changes
    this.#awaitsContinue = awaitsContinue
  }

  async read(limit: number): Promise<Uint8Array | Refusal> {
    this.#continue()
    return this.#broken ?? readWhole(this.#req, limit, this.#parts.bodyIdleMs)
  }

  answer(answer: LocalAnswer, ended: Outcome['ended']): Promise<Outcome> {
    const { status, body } = answer
    const res = this.#res
    if (res.headersSent || res.destroyed) {
      res.destroy()
      return Promise.resolve({ status, bytesIn: 0, bytesOut: 0, ended: 'aborted_by_client' })
    }
    const headers = [...answer.headers]
    // A body that nobody will read must not hold the connection open.
    if (!this.#req.complete && !headers.includes('connection')) headers.push('connection', 'close')
    res.writeHead(status, headers)
    const bytesOut = this.#req.method === 'HEAD' ? 0 : Buffer.byteLength(body)
    if (bytesOut > 0) res.write(body)
    endAnswer(this.#req, res)
    return Promise.resolve({ status, bytesIn: 0, bytesOut, ended })
  }

  abort(): void {
    this.#res.destroy()
  }

  get left(): boolean {
    return this.#res.destroyed || this.#req.socket.destroyed
  }

  forward(request: OutboundRequest, replies: Replies): Promise<Outcome | Refusal> {
    const { forwarder, inFlight, bodyIdleMs } = this.#parts
    const { permit, meter } = request.committed
    const { lease, mapped } = permit.evidence
    const late = this.#broken ?? inFlight.refusalSince(this.#changes, lease)
    if (late !== undefined) {
      request.committed.giveBack()
      return Promise.resolve(late)
    }
    return new Promise((resolve) => {
      let refusal: Refusal | undefined
      let open: Open | undefined
      let over = false
      this.#forwarding = forwarder.forward(request, {
        req: this.#req,
        res: this.#res,
        bodyIdleMs,
        bodyLimit: mapped.operation.bodyLimit,
        meter,
        replyHead: replies.head,
        problem: (reason) => replies.refusal(reason).body,
        fail: (reason, cause) => {
          refusal = refuse(reason.code, { ...reason.facts, cause: reason.facts.cause ?? cause })
        },
        done: (result) => {
          over = true
          if (open !== undefined) inFlight.delete(open)
          if (result.unseen === true) request.committed.giveBack()
          resolve(refusal ?? this.#outcome(result, replies))
        },
      })
      if (over) return
      open = inFlight.add(this, lease)
      // Not earlier: a body that is refused by its announced length is never asked for.
      if (request.body.kind === 'stream') this.#continue()
    })
  }

  end(ended: MidwayEnd, refusal: Refusal): void {
    this.#forwarding?.end(ended, refusal)
  }

  /** Ended midway and before the answer began: the refusal is the answer. */
  #outcome(result: ForwardResult, replies: Replies): Outcome | Promise<Outcome> {
    const { refusal, ended } = result
    if (refusal === undefined || this.#res.headersSent) return result
    const closing = refuse(refusal.code, { ...refusal.facts, close: true })
    return this.answer(replies.refusal(closing), ended).then(({ bytesOut }) => ({ ...result, bytesOut }))
  }

  /** The whole message has been parsed. */
  get received(): boolean {
    return this.#req.complete
  }

  /** The whole answer is out. */
  get answered(): boolean {
    return this.#res.writableFinished
  }

  /** Calls back once the answer is out, at once when it is already; never when it ended the connection. */
  afterAnswer(callback: () => void): void {
    const { socket } = this.#req
    const next = () => {
      if (socket.writable) callback()
    }
    if (this.answered) next()
    else this.#res.once('finish', next)
  }

  /** The rest of the message cannot be parsed: whatever waits for it gets `refusal` instead. */
  breakOff(refusal: Refusal): void {
    this.#broken ??= refusal
    this.#req.emit(broken, refusal)
    this.#forwarding?.refuse(refusal)
  }

  #continue(): void {
    if (!this.#awaitsContinue) return
    this.#awaitsContinue = false
    this.#res.writeContinue()
  }
}

/** Event on an IncomingMessage whose body the parser gave up on. */
const broken = Symbol('broken')

/** Reads a body of at most `limit` bytes; `idleMs` without progress ends it. */
function readWhole(req: IncomingMessage, limit: number, idleMs: number): Promise<Uint8Array | Refusal> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    const settle = (value: Uint8Array | Refusal) => {
      clearTimeout(idle)
      req.off('data', onData).off('end', onEnd).off('close', onClose).off(broken, settle)
      if (size > limit) req.resume()
      resolve(value)
    }
    const idle = setTimeout(() => settle(refuse('request_timeout', { detail: 'the body stalled' })), idleMs)
    const onData = (chunk: Buffer) => {
      size += chunk.length
      idle.refresh()
      if (size > limit) settle(refuse('body_too_large', { detail: `the body is larger than ${limit} bytes` }))
      else chunks.push(chunk)
    }
    const onEnd = () => settle(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
    const onClose = () => settle(refuse('malformed_framing', { detail: 'the body broke off' }))
    req.on('data', onData).once('end', onEnd).once('close', onClose).once(broken, settle)
  })
}
