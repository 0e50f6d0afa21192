// A request that no agent sends now: a released draft, or what an approver is shown. In: a call as it is stored and
// the lease that it stands on. Out: the answer, as an agent would get it. It walks the whole pipeline like any other
// request; the only file that makes an exchange without a token.

import type { HeldCall } from '../approval/actions.ts'
import { headOf } from '../approval/call_head.ts'
import type { Exchange, Gate, MidwayEnd, Outcome, Replies, Standing } from '../enforce/gate.ts'
import type { OutboundRequest } from '../enforce/outbound.ts'
import { handle } from '../enforce/pipeline.ts'
import type { LocalAnswer } from '../enforce/reply.ts'
import type { RawHead } from '../enforce/stages.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Collected } from './collecting.ts'
import type { Forwarder } from './forward.ts'
import type { Endable, InFlight } from './in_flight.ts'
import { tooLarge } from './upload.ts'

/** What requests are performed with; the same parts that serve agents. */
export interface PerformParts {
  readonly gate: Gate
  readonly forwarder: Pick<Forwarder, 'collect'>
  readonly inFlight: InFlight
}

/** A call to perform. */
export type PerformedCall = Omit<HeldCall, 'lease'>

/** What came of it. */
export interface Performed {
  /** Of its audit record. */
  readonly decisionId: string
  /** Of the backend's answer; undefined: no answer of the backend came. */
  readonly status: number | undefined
  /** Flat name, value list, as an agent may see it. */
  readonly headers: readonly string[]
  /** Undefined: there is no answer of the backend, it broke off, or it is larger than what is kept. */
  readonly body: Uint8Array | undefined
  /** Of the answer's body. */
  readonly bytes: number
  /** What ended it; undefined where the whole answer came. */
  readonly code: string | undefined
}

/**
 * Performs `call` once, under `standing`. Whatever becomes of it is in the answer and in one audit record; it does not
 * reject. `keepBytes`: of the answer's body.
 */
export async function perform(
  call: PerformedCall,
  standing: Standing,
  keepBytes: number,
  parts: PerformParts,
): Promise<Performed> {
  const exchange = new StandingExchange(call, standing, keepBytes, parts)
  await handle(exchange, parts.gate)
  return exchange.performed
}

/** Nobody reads the answer as it comes, so that one which never ends is of no use to anybody. */
const boundMs = 600_000

class StandingExchange implements Exchange, Endable {
  readonly head: RawHead
  readonly upgrade = false
  readonly standing: Standing
  /** Nobody waits on a socket, so nobody leaves. */
  readonly left = false
  readonly #body: Uint8Array
  readonly #keepBytes: number
  readonly #parts: PerformParts
  /** As in HttpExchange. */
  readonly #changes: number
  #collecting: Pick<ReturnType<Forwarder['collect']>, 'end'> | undefined
  #performed: Performed | undefined

  constructor(call: PerformedCall, standing: Standing, keepBytes: number, parts: PerformParts) {
    this.head = headOf(call)
    this.standing = standing
    this.#body = call.body
    this.#keepBytes = keepBytes
    this.#parts = parts
    this.#changes = parts.inFlight.changes
  }

  get performed(): Performed {
    if (this.#performed === undefined) throw new Error('a walk ended without an answer')
    return this.#performed
  }

  async read(limit: number): Promise<Uint8Array | Refusal> {
    return this.#body.byteLength > limit ? tooLarge(limit) : this.#body
  }

  answer({ status, headers, body }: LocalAnswer, ended: Outcome['ended']): Promise<Outcome> {
    const code = fieldOf(headers, 'lease-refusal')
    const decisionId = fieldOf(headers, 'decision-id') ?? ''
    this.#performed ??= { decisionId, status: undefined, headers, body: undefined, bytes: 0, code }
    return Promise.resolve({ status, bytesIn: 0, bytesOut: Buffer.byteLength(body), ended })
  }

  /** There is no connection to end. */
  abort(): void {}

  forward(request: OutboundRequest, replies: Replies): Promise<Outcome | Refusal> {
    const { forwarder, inFlight } = this.#parts
    const { permit, meter } = request.committed
    const { lease, mapped } = permit.evidence
    const late = inFlight.refusalSince(this.#changes, lease)
    if (late !== undefined) {
      request.committed.giveBack()
      return Promise.resolve(late)
    }
    return new Promise((resolve) => {
      const open = inFlight.add(this, lease)
      this.#collecting = forwarder.collect(request, {
        body: this.#body,
        bodyLimit: mapped.operation.bodyLimit,
        keepBytes: this.#keepBytes,
        boundMs,
        meter,
        replyHead: replies.head,
        done: (collected) => {
          inFlight.delete(open)
          if (collected.unseen) request.committed.giveBack()
          resolve(this.#ended(collected, replies))
        },
      })
    })
  }

  end(ended: MidwayEnd, refusal: Refusal): void {
    this.#collecting?.end(ended, refusal)
  }

  /** Without a head nothing is known but the refusal; with one, the backend has answered, whatever cut the rest. */
  #ended(collected: Collected, replies: Replies): Outcome | Refusal | Promise<Outcome> {
    const { head, body, bytes, refusal, midway } = collected
    const bytesIn = this.#body.byteLength
    if (head !== undefined) {
      const decisionId = fieldOf(head.headers, 'decision-id') ?? ''
      const { status, headers } = head
      this.#performed = { decisionId, status, headers, body, bytes, code: refusal?.code }
      const ended = midway ?? (refusal === undefined ? 'completed' : 'backend_failed')
      return { status, bytesIn, bytesOut: bytes, ended, refusal }
    }
    const why = refusal ?? refuse('backend_malformed', { cause: 'no head' })
    if (midway === undefined) return why
    return this.answer(replies.refusal(why), midway).then((outcome) => ({
      ...outcome,
      bytesIn,
      refusal: why,
    }))
  }
}

/** The value of a field in a flat list of lower-case names. */
export function fieldOf(headers: readonly string[], name: string): string | undefined {
  const at = headers.findIndex((each, index) => index % 2 === 0 && each === name)
  return at < 0 ? undefined : headers[at + 1]
}
