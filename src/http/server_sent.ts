// An answer that goes on: server-sent events (WHATWG HTML §9.2) on the control listener. In: a response whose head is
// not out yet, and who writes. Out: a writer that keeps nothing for a reader who does not read. Knows no event.
import type { ServerResponse } from 'node:http'

/** Writes one stream. */
export interface EventWriter {
  /**
   * Sends `data` as JSON under `event`, a word. False: the reader is too far behind or gone, and nothing was sent or
   * kept; what was left out is for the caller to count.
   */
  send(event: string, data: object): boolean
  /** Ends the stream: the reader sees its end and may begin anew. */
  end(): void
  /** Aborted when the stream is over, whoever ended it; at once where nobody reads any more. */
  readonly over: AbortSignal
}

/** What is called once the head is out. Must not throw. */
export type StreamBody = (writer: EventWriter) => void

export interface StreamTimes {
  /** A comment is sent this often, so that whoever is gone is noticed. */
  readonly heartbeatMs: number
  /** A reader that takes nothing for this long is cut off. */
  readonly stalledMs: number
}

export const streamHeaders = {
  'content-type': 'text/event-stream',
  // For a proxy that would hold events back (nginx).
  'x-accel-buffering': 'no',
}

const usualTimes: StreamTimes = { heartbeatMs: 15_000, stalledMs: 30_000 }
/** What may wait for a reader, beside what the kernel keeps. */
const maxWaitingBytes = 262_144

/** Writes the head and lets `body` write the rest. Never throws for a reader that is gone. */
export function beginStream(
  res: ServerResponse,
  { headers, body }: { readonly headers: Readonly<Record<string, string>>; readonly body: StreamBody },
  { heartbeatMs, stalledMs }: StreamTimes = usualTimes,
): void {
  const closing = new AbortController()
  res.on('error', () => res.destroy())
  if (!res.destroyed) res.writeHead(200, headers)
  // Two short lines at once: whoever waits for the head alone sees that the stream stands.
  if (!res.destroyed) res.write(': hello\n\n')
  let stalledSince: number | undefined
  const canWrite = () => !closing.signal.aborted && !res.destroyed && res.writableLength <= maxWaitingBytes
  const beat = setInterval(() => {
    if (canWrite()) res.write(':\n\n')
  }, heartbeatMs)
  const watch = setInterval(() => {
    if (res.writableLength === 0) stalledSince = undefined
    else if (stalledSince === undefined) stalledSince = performance.now()
    else if (performance.now() - stalledSince > stalledMs) res.destroy()
  }, 1_000)
  const over = () => {
    clearInterval(beat)
    clearInterval(watch)
    closing.abort()
  }
  res.once('close', over)
  res.on('drain', () => {
    stalledSince = undefined
  })
  if (res.destroyed) over()
  body({
    send(event, data) {
      if (!canWrite()) return false
      // JSON holds no line break, so nothing in the data can end a field or begin another.
      res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
      return true
    },
    end: () => void res.end(),
    over: closing.signal,
  })
}
