// One client exchange as the forwarders see it, and how it can end: types only.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { MidwayEnd } from '../enforce/gate.ts'
import type { ByteMeter } from '../enforce/meter.ts'
import type { Refusal } from '../refusals.ts'

export type { MidwayEnd }

/**
 * How an exchange ended. `completed`: the caller got a whole answer, be it the backend's or a refusal that
 * was not the backend's doing. `aborted_by_client`: it left, stalled, or broke its own upload midway.
 */
export type Ended = 'completed' | 'aborted_by_client' | 'backend_failed' | MidwayEnd

/** The outcome of one exchange, for the audit record. Bytes are body bytes; `status` 0: no answer at all. */
export interface ForwardResult {
  readonly status: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly ended: Ended
  /** Why the gate ended it midway. */
  readonly refusal?: Refusal | undefined
  /** No byte of the request has reached the backend; absent: some may have. */
  readonly unseen?: true
}

/** The head of the answer as the caller may see it. `headers` is flat: name, value, name, value. */
export interface ReplyHead {
  readonly status: number
  readonly headers: readonly string[]
}

/** One client exchange and what to do with it. `done` is called exactly once, after `fail` if that is. */
export interface ForwardExchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Filters the backend's final head (never a 1xx); a refusal ends the exchange. Pure. */
  replyHead(status: number, rawHeaders: readonly Buffer[], statusText: string): ReplyHead | Refusal
  /** Answers with a refusal: nothing has been written to `res`. `cause` holds error codes, never text. */
  fail(refusal: Refusal, cause: string): void
  /** The problem document of a refusal, as JSON, for an answer that has room for one at its end. */
  problem(refusal: Refusal): string
  done(result: ForwardResult): void
  /** Bytes. */
  readonly bodyLimit: number
  /** Milliseconds without progress: of the upload, or of a client that has stopped reading the answer. */
  readonly bodyIdleMs: number
  /** Both bodies pass through it; undefined: no byte budget. The caller ends it. */
  readonly meter?: ByteMeter | undefined
}

export interface ForwardHandle {
  /**
   * Ends the exchange: the backend request is aborted at once. Where nothing of the answer has been sent the
   * caller is left to answer with `refusal`; an answer that has begun is cut, and never looks whole, after a
   * last word where its protocol has room for one. Then a no-op.
   */
  end(ended: MidwayEnd, refusal: Refusal): void
  /** Ends it with a refusal, or cuts an answer that has begun; for a message that broke midway. */
  refuse(refusal: Refusal, cause?: string): void
}
