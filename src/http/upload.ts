// A request body on its way from the client to the backend: counted, limited, watched for progress.
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { type Refusal, refuse } from '../refusals.ts'
import type { ForwardExchange } from './exchange.ts'

/**
 * A request body on its way: counted, limited, and watched for progress while the backend wants more.
 * Destroying it lets the client go on sending into nothing; the client's socket is never touched.
 */
export class Upload extends Readable {
  /** Bytes received, the one that broke the limit included. */
  bytes = 0
  readonly #req: IncomingMessage
  readonly #limit: number
  readonly #refused: (refusal: Refusal) => void
  readonly #idle: NodeJS.Timeout
  readonly #onData = (chunk: Buffer) => this.#received(chunk)
  readonly #onEnd = () => this.push(null)

  constructor({ req, bodyLimit, bodyIdleMs }: ForwardExchange, refused: (refusal: Refusal) => void) {
    super()
    this.#req = req
    this.#limit = bodyLimit
    this.#refused = refused
    this.#idle = setTimeout(() => this.#stalled(), bodyIdleMs)
    req.pause().on('data', this.#onData).on('end', this.#onEnd)
  }

  /** Reads the whole body; calls back once, unless it is refused or the client leaves. */
  collect(callback: (bytes: Uint8Array) => void): void {
    const chunks: Buffer[] = []
    this.on('data', (chunk: Buffer) => chunks.push(chunk))
    this.once('end', () => callback(Buffer.concat(chunks)))
  }

  override _read(): void {
    this.#idle.refresh()
    this.#req.resume()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#idle)
    this.#req.off('data', this.#onData).off('end', this.#onEnd).resume()
    callback(error)
  }

  #received(chunk: Buffer): void {
    this.bytes += chunk.length
    this.#idle.refresh()
    if (this.bytes > this.#limit) this.#refused(tooLarge(this.#limit))
    else if (!this.push(chunk)) this.#req.pause()
  }

  /** While paused it is the backend that is slow: its own timeouts apply, and `_read` starts this again. */
  #stalled(): void {
    if (!this.#req.isPaused()) this.#refused(refuse('request_timeout', { detail: 'the body stalled' }))
  }
}

/** The refusal of a body above `limit` bytes. */
export function tooLarge(limit: number): Refusal {
  return refuse('body_too_large', { detail: `the body is larger than ${limit} bytes` })
}
