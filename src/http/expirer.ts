// Ends what nobody decided in time (approval/expiry.ts), again and again. One per process with a control listener; which
// of them ends an action is settled in the store. Never while it cannot be recorded.
import { setTimeout as sleep } from 'node:timers/promises'
import { type ExpirySources, endExpired } from '../approval/expiry.ts'

export interface ExpirerParts extends ExpirySources {
  /** Why nothing can be recorded now; undefined while all is well. */
  readonly fault: () => string | undefined
  /** Milliseconds since 1970. */
  readonly clock: () => number
  /** Told when the store does not answer; what is over is ended later. */
  readonly onFault: (error: unknown) => void
}

const everyMs = 5_000

/** Looks until it is closed. */
export function startExpirer(parts: ExpirerParts): { close(): Promise<void> } {
  const stop = new AbortController()
  const run = async () => {
    while (!stop.signal.aborted) {
      if (parts.fault() === undefined) await endExpired(parts, parts.clock() / 1000).catch(parts.onFault)
      await sleep(everyMs, undefined, { ref: false, signal: stop.signal }).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async close() {
      stop.abort()
      await running
    },
  }
}
