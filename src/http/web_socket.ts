// A WebSocket offer as an Exchange: same pipeline, same decision, same record. What differs is the wire:
// a bare socket instead of a ServerResponse, and a tunnel instead of a message pair.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Exchange, Outcome, Replies } from '../enforce/gate.ts'
import type { OutboundRequest } from '../enforce/outbound.ts'
import type { LocalAnswer } from '../enforce/reply.ts'
import type { RawHead } from '../enforce/stages.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { ForwardHandle, ForwardResult, MidwayEnd } from './exchange.ts'
import type { Endable, InFlight } from './in_flight.ts'
import { rawHead } from './proxy.ts'
import { writeRawAnswer } from './raw_answer.ts'
import type { Upgrader } from './upgrade.ts'

export interface WebSocketParts {
  readonly upgrader: Upgrader
  readonly inFlight: InFlight
}

/** One WebSocket offer. It never carries a body. */
export class WebSocketExchange implements Exchange, Endable {
  readonly head: RawHead
  readonly upgrade = true
  readonly #socket: Socket
  readonly #early: Buffer
  readonly #parts: WebSocketParts
  /** Changes of the revocation view before anything was looked up in it for this offer. */
  readonly #changes: number
  #tunnel: ForwardHandle | undefined

  constructor(req: IncomingMessage, socket: Duplex, early: Buffer, parts: WebSocketParts) {
    this.head = rawHead(req)
    this.#socket = socket as Socket
    this.#early = early
    this.#parts = parts
    this.#changes = parts.inFlight.changes
  }

  read(): Promise<Refusal> {
    return Promise.resolve(refuse('malformed_request', { detail: 'a WebSocket offer carries no body' }))
  }

  answer(answer: LocalAnswer, ended: Outcome['ended']): Promise<Outcome> {
    writeRawAnswer(this.#socket, answer)
    const bytesOut = Buffer.byteLength(answer.body)
    return Promise.resolve({ status: answer.status, bytesIn: 0, bytesOut, ended })
  }

  abort(): void {
    this.#socket.destroy()
  }

  get left(): boolean {
    return this.#socket.destroyed
  }

  forward(request: OutboundRequest, replies: Replies): Promise<Outcome | Refusal> {
    const { upgrader, inFlight } = this.#parts
    const { permit, meter } = request.committed
    const { lease } = permit.evidence
    const late = inFlight.refusalSince(this.#changes, lease)
    if (late !== undefined) {
      request.committed.giveBack()
      return Promise.resolve(late)
    }
    return new Promise((resolve) => {
      let refusal: Refusal | undefined
      const open = inFlight.add(this, lease)
      this.#tunnel = upgrader.forwardUpgrade(request, this.#socket, this.#early, {
        handshakeMs: request.backend.connectTimeoutMs + request.backend.headersTimeoutMs,
        meter,
        fail: (reason, cause) => {
          refusal = refuse(reason.code, { ...reason.facts, cause: reason.facts.cause ?? cause })
        },
        onEnd: (result) => {
          inFlight.delete(open)
          if (result.unseen === true) request.committed.giveBack()
          resolve(refusal ?? this.#outcome(result, replies))
        },
      })
    })
  }

  end(ended: MidwayEnd, refusal: Refusal): void {
    this.#tunnel?.end(ended, refusal)
  }

  /** Ended before the backend had switched: the refusal is the answer. */
  #outcome(result: ForwardResult, replies: Replies): Outcome | Promise<Outcome> {
    const { refusal, ended, status } = result
    if (refusal === undefined || status === 101) return result
    return this.answer(replies.refusal(refusal), ended).then(({ bytesOut }) => ({ ...result, bytesOut }))
  }
}
