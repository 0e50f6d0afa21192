// A reader of server-sent events over a real connection, for tests.
import { eventually } from './gate.ts'

export interface ReadEvent {
  readonly event: string
  readonly data: Record<string, unknown>
}

export interface EventReader {
  readonly status: number
  readonly headers: Headers
  /** So far. */
  readonly events: readonly ReadEvent[]
  /** The first event of a kind that fits, once it has come. */
  next(event: string, fits?: (data: ReadEvent['data']) => boolean): Promise<ReadEvent['data']>
  /** Whether the other side has ended the stream. */
  readonly over: boolean
  close(): void
}

/** Opens a stream and reads it until it is closed. */
export async function readEvents(url: string, token: string): Promise<EventReader> {
  const closing = new AbortController()
  const headers = { authorization: `Bearer ${token}` }
  const response = await fetch(url, { headers, signal: closing.signal })
  const events: ReadEvent[] = []
  let over = false
  const read = async () => {
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true })
      const parts = text.split('\n\n')
      text = parts.pop()!
      events.push(...parts.flatMap((part) => readEvent(part) ?? []))
    }
  }
  void read()
    .catch(() => undefined)
    .finally(() => {
      over = true
    })
  return {
    status: response.status,
    headers: response.headers,
    events,
    get over() {
      return over
    },
    async next(event, fits = () => true) {
      const find = () => events.find((each) => each.event === event && fits(each.data))
      await eventually(() => find() !== undefined, `event ${event}`)
      return find()!.data
    },
    close: () => closing.abort(),
  }
}

function readEvent(text: string): ReadEvent | undefined {
  const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(text) ?? []
  return event === undefined || data === undefined ? undefined : { event, data: JSON.parse(data) }
}
