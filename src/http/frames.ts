// In: the bytes that a backend sends over a WebSocket, in whatever chunks. Out: whether the stream stands between
// two frames, and the Close frame that says why the gate ends it. Never looks into a payload, never keeps one.
import type { Refusal } from '../refusals.ts'

const closeOpcode = 0x8

/** Follows frame headers (RFC 6455 §5.2). A control frame may stand between any two frames, fragments too (§5.4). */
export class Frames {
  /** Bytes of the current header that have come; 0: none of the next frame has. */
  #seen = 0
  /** Bytes of the extended length that are still to come. */
  #lengthBytes = 0
  #maskBytes = 0
  #length = 0
  /** Bytes of mask and payload that are still to come. */
  #rest = 0
  #closed = false

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#rest === 0) this.#header(chunk[at++]!)
      else {
        const passed = Math.min(this.#rest, chunk.length - at)
        this.#rest -= passed
        at += passed
      }
    }
  }

  /** Another frame may follow: no frame is half out, and none has closed the connection. */
  get betweenFrames(): boolean {
    return this.#seen === 0 && this.#rest === 0 && !this.#closed
  }

  #header(byte: number): void {
    this.#seen++
    if (this.#seen === 1) {
      if ((byte & 0xf) === closeOpcode) this.#closed = true
      return
    }
    if (this.#seen === 2) {
      const short = byte & 0x7f
      this.#maskBytes = byte & 0x80 ? 4 : 0
      this.#lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
      this.#length = this.#lengthBytes === 0 ? short : 0
    } else {
      this.#length = this.#length * 256 + byte
      this.#lengthBytes--
    }
    if (this.#lengthBytes > 0) return
    this.#rest = this.#maskBytes + this.#length
    this.#seen = 0
  }
}

/** 1013 where the caller may come back with the same lease, else 1008 (RFC 6455 §7.4); the reason is the code. */
export function closeFrame({ code, row }: Refusal): Buffer {
  const reason = Buffer.from(code)
  const status = row.nextAction === 'retry' ? 1013 : 1008
  const head = [0x80 | closeOpcode, reason.length + 2, status >> 8, status & 0xff]
  return Buffer.concat([Buffer.from(head), reason])
}
