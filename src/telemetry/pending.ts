// In: where actions and token requests wait. Out: how many do, for a metric, looked at again twice a minute. Never a
// look that holds up a scrape.
import { stateOf } from '../approval/action.ts'
import type { Actions } from '../approval/actions.ts'
import type { Deferrals } from '../ports.ts'
import type { Logger } from './log.ts'

export interface PendingWatchOptions {
  readonly actions: Pick<Actions, 'list'>
  readonly deferrals: Pick<Deferrals, 'pending'>
  readonly log: Pick<Logger, 'warn'>
  /** Milliseconds between two looks. */
  readonly everyMs?: number
}

/** What the newest look has found. */
export interface PendingWatch {
  readonly count: () => number
  /** Looks now; one that fails leaves what was found before. */
  look(): Promise<void>
  close(): void
}

/** More are not counted: nobody decides on so many. */
const most = 1_000

/** Looks once at the start, and then twice a minute. */
export function watchPending({
  actions,
  deferrals,
  log,
  everyMs = 30_000,
}: PendingWatchOptions): PendingWatch {
  let found = 0
  const look = async () => {
    try {
      const now = Date.now() / 1000
      const [held, asked] = await Promise.all([
        actions.list('pending', { limit: most }),
        deferrals.pending(now, most),
      ])
      found = held.filter(({ action }) => stateOf(action, now) === 'pending').length + asked.length
    } catch (error) {
      log.warn({ err: error }, 'how much waits for a human is not up to date')
    }
  }
  const timer = setInterval(() => void look(), everyMs).unref()
  void look()
  return { count: () => found, look, close: () => clearInterval(timer) }
}
