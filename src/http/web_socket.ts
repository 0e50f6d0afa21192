// A WebSocket offer as an Exchange: same pipeline, same decision, same record. What differs is the wire:
// a bare socket instead of a ServerResponse, and a tunnel instead of a message pair.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Exchange, Outcome } from '../enforce/gate.ts'
import type { OutboundRequest } from '../enforce/outbound.ts'
import type { OwnAnswer } from '../enforce/reply.ts'
import type { RawHead } from '../enforce/stages.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { ForwardHandle } from './exchange.ts'
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
  #tunnel: ForwardHandle | undefined

  constructor(req: IncomingMessage, socket: Duplex, early: Buffer, parts: WebSocketParts) {
    this.head = rawHead(req)
    this.#socket = socket as Socket
    this.#early = early
    this.#parts = parts
  }

  read(): Promise<Refusal> {
    return Promise.resolve(refuse('malformed_request', { detail: 'a WebSocket offer carries no body' }))
  }

  answer(answer: OwnAnswer, ended: 'refused' | 'answered_locally'): Promise<Outcome> {
    writeRawAnswer(this.#socket, answer)
    const bytesOut = Buffer.byteLength(answer.body)
    return Promise.resolve({ status: answer.status, bytesIn: 0, bytesOut, ended })
  }

  abort(): void {
    this.#socket.destroy()
  }

  forward(request: OutboundRequest): Promise<Outcome | Refusal> {
    const { evidence } = request.committed.permit
    return new Promise((resolve) => {
      let refusal: Refusal | undefined
      this.#parts.inFlight.add(this, evidence.lease)
      this.#tunnel = this.#parts.upgrader.forwardUpgrade(request, this.#socket, this.#early, {
        handshakeMs: request.backend.connectTimeoutMs + request.backend.headersTimeoutMs,
        fail: (reason, cause) => {
          refusal = refuse(reason.code, { ...reason.facts, cause: reason.facts.cause ?? cause })
        },
        onEnd: (result) => {
          this.#parts.inFlight.delete(this)
          resolve(refusal ?? result)
        },
      })
    })
  }

  end(reason: 'revoked_midway' | 'expired_midway'): void {
    this.#tunnel?.end(reason)
  }
}
