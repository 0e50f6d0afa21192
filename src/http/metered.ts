// Bytes in, the same bytes out once they are paid for: while the store is asked for more they wait here, and whoever
// sends them is slowed down. What cannot be paid for never comes out.
import { Transform, type TransformCallback } from 'node:stream'
import type { ByteMeter } from '../enforce/meter.ts'
import { type Refusal, refuse } from '../refusals.ts'

/** One direction of an exchange under a byte budget. */
export class Metered extends Transform {
  /** Bytes that have been paid for. */
  bytes = 0
  readonly #meter: ByteMeter
  readonly #refused: (refusal: Refusal) => void
  readonly #passing: (chunk: Buffer) => void

  /** `passing` sees every chunk that has been paid for; `refused` is called once, for the first that cannot be. */
  constructor(
    meter: ByteMeter,
    refused: (refusal: Refusal) => void,
    passing: (chunk: Buffer) => void = () => undefined,
  ) {
    super()
    this.#meter = meter
    this.#refused = refused
    this.#passing = passing
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    if (this.#meter.take(chunk.length)) {
      this.bytes += chunk.length
      this.#passing(chunk)
      callback(null, chunk)
      return
    }
    const again = () => {
      if (!this.destroyed) this._transform(chunk, _encoding, callback)
    }
    reserve(this.#meter, chunk.length, again, this.#refused)
  }
}

/**
 * Calls `next` once `bytes` more can be taken, or else `refused`. One of the two, and never at once: what has been
 * paid for is out before a refusal.
 */
export function reserve(
  meter: ByteMeter,
  bytes: number,
  next: () => void,
  refused: (refusal: Refusal) => void,
): void {
  meter.more(bytes).then(
    (enough) => void (enough ? next() : setImmediate(refused, refuse('budget_exhausted', meter.short))),
    (error: unknown) => void setImmediate(refused, unreadable(error)),
  )
}

function unreadable(error: unknown): Refusal {
  const cause = error instanceof Error ? error.message : 'unknown'
  return refuse('evidence_unavailable', { detail: 'the budget cannot be read now', cause })
}
