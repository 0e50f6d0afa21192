// In: an answer that is a stream of events. Out: the same answer, but where the gate has ended it the reading fails
// with its refusal instead of with a broken connection. Never fails a stream that ends well, whatever is in it.
import type { LeaseRefused } from './errors.ts'
import { refusalOf } from './refusal.ts'

/** What of a stream is remembered, characters: no problem document is longer. */
const remembered = 16_384

/**
 * `answer` as it is unless it is a stream of events. The gate says why it ends one in a last event, and then breaks
 * the connection off: only both together are its refusal. A backend can write such an event, but ends well after it.
 */
export function tellingWhyItEnds(answer: Response): Response {
  const { body, headers, status, statusText, url } = answer
  if (body === null || !/^text\/event-stream\s*(?:;|$)/i.test(headers.get('content-type') ?? ''))
    return answer
  const reader = body.getReader()
  const text = new TextDecoder()
  let tail = ''
  const told = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (done) {
          controller.close()
          return
        }
        tail = (tail + text.decode(value, { stream: true })).slice(-remembered)
        controller.enqueue(value)
      } catch (error) {
        controller.error(lastWords(tail) ?? error)
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
  const same = new Response(told, { status, statusText, headers })
  return Object.defineProperty(same, 'url', { value: url })
}

function lastWords(tail: string): LeaseRefused | undefined {
  const [, data] = /(?:^|\n|\r)event: lease-refusal\ndata: (.*)\n\n$/.exec(tail) ?? []
  if (data === undefined) return undefined
  try {
    return refusalOf(JSON.parse(data) as Record<string, unknown>)
  } catch {
    return undefined
  }
}
