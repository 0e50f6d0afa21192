// One client exchange as the forwarders see it, and how it can end: types only.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Refusal } from '../refusals.ts'

/** Why the gate itself ended an exchange that was already under way. */
export type MidwayEnd = 'revoked_midway' | 'expired_midway'

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
  done(result: ForwardResult): void
  /** Bytes. */
  readonly bodyLimit: number
  /** Milliseconds without progress: of the upload, or of a client that has stopped reading the answer. */
  readonly bodyIdleMs: number
}

export interface ForwardHandle {
  /** Cuts the exchange: the backend request is aborted, the client's socket destroyed. Then a no-op. */
  end(reason: MidwayEnd): void
  /** Ends it with a refusal, or cuts an answer that has begun; for a message that broke midway. */
  refuse(refusal: Refusal, cause?: string): void
}
