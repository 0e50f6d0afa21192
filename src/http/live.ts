// What everybody who listens to `GET /events` is told, found out once for all of them: what waits for a human, by
// asking the store every second; decisions, by following the audit file of this machine; the state of the gates. In:
// listeners that come and go. While nobody listens, nothing is asked.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Actions } from '../approval/actions.ts'
import type { Deferrals } from '../ports.ts'
import { decisionRow, fits, needlesOf, type RowFilter } from '../telemetry/decision_row.ts'
import { type Following, followAudit } from '../telemetry/follow_audit.ts'
import { type Caller, hasRole, readers } from './caller.ts'
import type { EventWriter } from './server_sent.ts'
import { seen, type Waiting, whatWaits } from './visible.ts'

export interface LiveParts {
  readonly actions: Pick<Actions, 'list'>
  readonly deferrals: Pick<Deferrals, 'pending'>
  readonly auditFile: string
  /** What `GET /status` answers. */
  readonly status: () => Promise<object>
  /** Whether a caller may still listen: a session may have ended since. */
  readonly isSignedIn: (caller: Caller) => Promise<boolean>
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** Who listens, and to what. */
export interface Listening {
  readonly caller: Caller
  /** Undefined: no decisions. */
  readonly decisions: RowFilter | undefined
}

export interface Live {
  /** Told until the writer is over. */
  listen(listening: Listening, writer: EventWriter): void
  readonly size: number
  close(): void
}

interface Listener extends Listening {
  readonly writer: EventWriter
  /** What a line has to hold before it is worth reading. */
  readonly needles: readonly string[]
  /** What was sent of what waits; undefined: nothing yet. */
  sent: string | undefined
  /** Rows that may still be sent in this second, and those that were not. */
  room: number
  leftOut: number
}

const tickMs = 1_000
const ticksPerStatus = 5
/** Decisions that one listener is told of in one second. */
export const rowsPerSecond = 100
/** Ids that one event names: the count is of all. */
const maxIds = 500

/** Nothing happens before the first `listen`. */
export function createLive(parts: LiveParts): Live {
  const listeners = new Set<Listener>()
  let running: AbortController | undefined
  let following: Promise<Following> | undefined
  let ticks = 0
  let waiting: Waiting | undefined
  let status: object | undefined

  async function tick(): Promise<void> {
    for (const listener of listeners) tellLeftOut(listener)
    waiting = await whatWaits(parts, parts.clock() / 1000).catch(() => undefined)
    for (const listener of listeners) tellWaiting(listener, waiting)
    if (ticks++ % ticksPerStatus !== 0) return
    // A store that does not answer must not end streams: whoever listens sees that nothing comes.
    status = await parts.status().catch(() => undefined)
    for (const listener of listeners) tellStatus(listener, status)
    await Promise.all([...listeners].map((listener) => endUnlessSignedIn(listener, parts)))
  }

  /** One tick after the other, however long one takes, until nobody listens. */
  async function run({ signal }: AbortController): Promise<void> {
    while (!signal.aborted) {
      await tick()
      await sleep(tickMs, undefined, { ref: false, signal }).catch(() => undefined)
    }
  }

  function stopFollowing(): void {
    const followed = following
    following = undefined
    void followed?.then((each) => each.close()).catch(() => undefined)
  }

  function leave(listener: Listener): void {
    listeners.delete(listener)
    if (![...listeners].some(({ decisions }) => decisions !== undefined)) stopFollowing()
    if (listeners.size > 0) return
    running?.abort()
    running = undefined
    waiting = undefined
    status = undefined
    ticks = 0
  }

  return {
    listen(listening, writer) {
      const needles = needlesOf(listening.decisions ?? {})
      const listener = { ...listening, writer, needles, sent: undefined, room: rowsPerSecond, leftOut: 0 }
      if (writer.over.aborted) return
      listeners.add(listener)
      writer.over.addEventListener('abort', () => leave(listener), { once: true })
      if (listening.decisions !== undefined) {
        following ??= followAudit(parts.auditFile, { onLines: (lines) => tellLines(listeners, lines) })
        following.catch(() => undefined)
      }
      if (running === undefined) {
        running = new AbortController()
        void run(running)
      } else {
        tellWaiting(listener, waiting)
        tellStatus(listener, status)
      }
    },
    get size() {
      return listeners.size
    },
    close() {
      for (const { writer } of [...listeners]) writer.end()
    },
  }
}

async function endUnlessSignedIn({ caller, writer }: Listener, { isSignedIn }: LiveParts): Promise<void> {
  // A store that does not answer now is asked again.
  const signedIn = await isSignedIn(caller).catch(() => true)
  if (!signedIn) writer.end()
}

/** As for `GET /status`, for operators and auditors. */
function tellStatus({ caller, writer }: Listener, status: object | undefined): void {
  if (status !== undefined && hasRole(caller, readers)) writer.send('status', status)
}

/** Only where it has changed for this listener. */
function tellWaiting(listener: Listener, waiting: Waiting | undefined): void {
  if (waiting === undefined) return
  const found = seen(listener.caller, waiting)
  const state = found.map(({ id, version }) => `${id} ${version}`).join('\n')
  if (state === listener.sent) return
  const ids = found.slice(0, maxIds).map(({ id }) => id)
  if (listener.writer.send('actions', { pending: found.length, ids })) listener.sent = state
}

function tellLeftOut(listener: Listener): void {
  listener.room = rowsPerSecond
  if (listener.leftOut === 0) return
  if (listener.writer.send('left_out', { decisions: listener.leftOut })) listener.leftOut = 0
}

/** Parses a line at most once, and only where somebody has room for it. */
function tellLines(listeners: ReadonlySet<Listener>, lines: readonly string[]): void {
  for (const line of lines) {
    if (!line.startsWith('{"time":') || !line.includes('"outcome":{')) continue
    let row: ReturnType<typeof decisionRow> | 'unread' = 'unread'
    for (const listener of listeners) {
      const { decisions, needles, writer } = listener
      if (decisions === undefined || !needles.every((needle) => line.includes(needle))) continue
      if (listener.room > 0) {
        if (row === 'unread') row = decisionRow(line)
        if (row === undefined || !fits(row, decisions)) continue
        listener.room--
        if (writer.send('decision', row)) continue
      }
      listener.leftOut++
    }
  }
}
