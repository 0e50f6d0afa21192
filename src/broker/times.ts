// The times that leases are made and ended by. In: this process's clock and the store. Out: a time that holds on every
// machine. No lease is made later than the store's clock, no revocation reaches less far than the newest token.
import { refuseOffClock } from '../enforce/clock.ts'
import type { Store } from '../ports.ts'
import type { Refusal } from '../refusals.ts'

/** What a token that is made at `now` (seconds) may say it was issued at; refuses where this clock is off. */
export function issueTime(store: Pick<Store, 'clockOffset'>, now: number): number | Refusal {
  const offset = store.clockOffset()
  return refuseOffClock(offset) ?? Math.min(now, now - offset)
}

/** What "up to now" means for whoever ends leases at `now` (seconds). Throws `Unavailable`. */
export async function cutoffTime(store: Pick<Store, 'now'>, now: number): Promise<number> {
  return Math.max(now, await store.now())
}
