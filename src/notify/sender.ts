// In: notices that wait. Out: each sent, again and again until the place has taken it or its time is over. Every
// process with a control listener runs one; who moves a notice on by compare-and-set sends it. A crash after sending
// sends again, under the same id. Never: on the path of a request, or a URL or secret in the log.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Records, StoredRecord } from '../ports.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import {
  type Destination,
  type Notice,
  noticeWrite,
  pageOf,
  placeOf,
  readNotice,
  waitingList,
  withoutNotice,
} from './notice.ts'
import { type Posted, post } from './post.ts'
import { slackBody } from './slack.ts'
import { type Sign, signer, standardBody } from './standard.ts'

export interface SenderParts {
  readonly records: Records
  readonly destinations: readonly Destination[]
  /** Scheme and authority under which people reach the console. */
  readonly consoleUrl: string
  /** Whether there is still something to decide about an action, or a token request. */
  readonly isPending: (action: string) => Promise<boolean>
  /** Milliseconds since 1970. */
  readonly clock: () => number
  readonly metrics: Pick<Metrics, 'notice' | 'noticesWaiting'>
  readonly log: Pick<Logger, 'warn'>
  readonly pace?: Partial<Pace>
}

/** How patient a sender is. */
export interface Pace {
  /** Of one attempt. */
  readonly timeoutMs: number
  /** After an attempt that failed; twice as long after each further one. */
  readonly backOffMs: number
  readonly maxBackOffMs: number
  /** Between two looks for what is due. */
  readonly pollMs: number
}

const usualPace: Pace = { timeoutMs: 10_000, backOffMs: 5_000, maxBackOffMs: 300_000, pollMs: 1_000 }

/** Sent to one place at a time: a place that hangs holds up itself alone. */
const atOnce = 4
/** Further ones are waiting as well, and not counted. */
const counted = 100

/** Sends until it is closed; `close` ends attempts under way, and another process makes them again. */
export function startSender(parts: SenderParts): { close(): Promise<void> } {
  const stop = new AbortController()
  const waiting = new Map<Destination, number>()
  parts.metrics.noticesWaiting(() => [...waiting.values()].reduce((sum, each) => sum + each, 0))
  const lines = parts.destinations.map((destination) =>
    new Line(destination, parts, stop.signal).serve((count) => waiting.set(destination, count)),
  )
  return {
    async close() {
      stop.abort()
      await Promise.all(lines)
    },
  }
}

/** What waits for one place. */
class Line {
  readonly #destination: Destination
  readonly #place: string
  /** Undefined: this place checks no signature. */
  readonly #sign: Sign | undefined
  readonly #parts: SenderParts
  readonly #pace: Pace
  readonly #stop: AbortSignal
  #isGone = false

  constructor(destination: Destination, parts: SenderParts, stop: AbortSignal) {
    this.#destination = destination
    this.#place = placeOf(destination)
    this.#sign = destination.format === 'standard' ? signer(destination.secret) : undefined
    this.#parts = parts
    this.#pace = { ...usualPace, ...parts.pace }
    this.#stop = stop
  }

  /** Until it is to stop, or the place is gone. At most `atOnce` in each pause, however much waits. */
  async serve(count: (waiting: number) => void): Promise<void> {
    while (!this.#stop.aborted && !this.#isGone) {
      await this.#work(count).catch((error: Error) => {
        this.#parts.log.warn({ err: error }, 'notices wait: they could not be looked through')
      })
      // Awaited as what it is: a pause, cut short at the end.
      await sleep(this.#pace.pollMs, undefined, { signal: this.#stop }).catch(() => {})
    }
    count(0)
  }

  async #work(count: (waiting: number) => void): Promise<void> {
    const { records, clock } = this.#parts
    const list = waitingList(this.#place)
    count((await records.list('notice', list, { limit: counted })).length)
    const due = await records.list('notice', list, { limit: atOnce, before: { at: clock() / 1000 } })
    await Promise.all(due.map((record) => this.#take(record)))
  }

  /** Moves it on and then sends it, unless another process was faster. */
  async #take(record: StoredRecord): Promise<void> {
    const { records, clock, consoleUrl } = this.#parts
    const read = readNotice(record)
    if (read === undefined || !(await this.#isOfUse(read))) {
      await records.write([withoutNotice(record)])
      return
    }
    const notice = { ...read, attempts: read.attempts + 1 }
    const { id, version: expect } = record
    // Due again once this attempt has ended, whatever became of it: a process that is killed has no say in it. Clocks
    // that are further apart than the back-off may send twice, under one id.
    const dueAt = (clock() + this.#pace.timeoutMs + this.#backOffMs(notice.attempts)) / 1000
    if (!(await records.write([noticeWrite({ id, expect, dueAt }, notice)]))) return
    const page = pageOf(notice, consoleUrl)
    const body = this.#sign === undefined ? slackBody(notice, page) : standardBody(notice, page)
    const headers = this.#sign?.(id, body, clock()) ?? {}
    const { url } = this.#destination
    const posted = await post({ url, headers, body }, { timeoutMs: this.#pace.timeoutMs, stop: this.#stop })
    // An attempt that this process ended itself says nothing about the place.
    if (posted !== 'sent' && this.#stop.aborted) return
    const isLast = dueAt >= notice.until
    this.#tell(posted, { id, attempt: notice.attempts, isLast })
    const isOver = posted === 'sent' || posted === 'gone' || isLast
    if (isOver) await records.write([withoutNotice({ id, version: expect + 1 })])
  }

  /** Nobody is asked for what has been decided or taken back: an agent cannot flood people with that. */
  async #isOfUse({ event, data }: Notice): Promise<boolean> {
    return event !== 'approval.requested' || this.#parts.isPending(data.action)
  }

  /** 5 s, 10 s, 20 s, … 5 min. */
  #backOffMs(attempts: number): number {
    const { backOffMs, maxBackOffMs } = this.#pace
    return Math.min(maxBackOffMs, backOffMs * 2 ** Math.min(attempts - 1, 30))
  }

  #tell(posted: Posted, { id, attempt, isLast }: { id: string; attempt: number; isLast: boolean }): void {
    const { metrics, log } = this.#parts
    const { host } = new URL(this.#destination.url)
    if (posted === 'sent') {
      metrics.notice('sent')
    } else if (posted === 'gone') {
      this.#isGone = true
      metrics.notice('gone')
      log.warn(
        { host, notice: id },
        'a place that is to be told is gone (410): not told until the next start',
      )
    } else {
      metrics.notice(isLast ? 'given_up' : 'failed')
      log.warn(
        { host, notice: id, attempt, reason: posted.reason },
        isLast ? 'nobody was told' : 'telling failed: tried again',
      )
    }
  }
}
