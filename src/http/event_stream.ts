// In: the bytes of a server-sent event stream, in whatever chunks. Out: whether it stands between two events, and
// the last event that says why the gate ends it. Never looks into an event, never keeps a byte of it but three.

const lf = 0x0a
const cr = 0x0d

/**
 * Follows an event stream (HTML Standard §9.2.5): lines end in LF, CR or CRLF, and an empty line ends an event.
 * Only there may another event be written; a line added to half an event would make the client take it for whole.
 */
export class EventStream {
  // Before the first byte as after an empty line.
  #third = lf
  #second = lf
  #last = lf

  push(chunk: Uint8Array): void {
    for (let at = Math.max(chunk.length - 3, 0); at < chunk.length; at++) {
      this.#third = this.#second
      this.#second = this.#last
      this.#last = chunk[at]!
    }
  }

  /** The last line is empty, so whatever has come is whole. */
  get betweenEvents(): boolean {
    if (this.#last === lf && this.#second === cr) return endsLine(this.#third)
    return endsLine(this.#last) && endsLine(this.#second)
  }
}

function endsLine(byte: number): boolean {
  return byte === lf || byte === cr
}

/** Whether a head announces an event stream whose bytes are not coded. `headers`: flat, lower-case names. */
export function isEventStream(headers: readonly string[]): boolean {
  let events = false
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]
    const value = headers[at + 1]!
    if (name === 'content-type') events = /^text\/event-stream[\t ]*(?:;|$)/i.test(value)
    else if (name === 'content-encoding' && value.toLowerCase() !== 'identity') return false
  }
  return events
}

/** The event for a problem document (RFC 9457), which JSON keeps on one line. */
export function lastEvent(problem: string): Buffer {
  return Buffer.from(`event: lease-refusal\ndata: ${problem}\n\n`)
}
