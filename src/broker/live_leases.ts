// Every lease that could act now, the newest first, as far as anybody looks. In: the store ports, the time, an agent
// where one is meant. Out: the leases, read in steps, for requests are decided in the same process. Changes nothing.
import { setImmediate } from 'node:timers/promises'
import type { LeasePlace, LeaseRecord } from '../ports.ts'
import type { LeaseSources } from './lease_search.ts'
import { leaseState } from './lease_state.ts'

/** Live leases that are looked at, the newest. */
export const liveDepth = 20_000
/** Leases that are read in one go, before others run: about a millisecond. */
const step = 100

/** What was found. */
export interface LiveLeases {
  readonly live: readonly LeaseRecord[]
  /** There are more than were looked at: every figure is too low. */
  readonly truncated: boolean
}

/** Those that are active at `now`, seconds since 1970. Throws `Unavailable`. */
export async function liveLeases(
  { leases, revocations }: LeaseSources,
  now: number,
  filter: { readonly agent?: string } = {},
): Promise<LiveLeases> {
  const live: LeaseRecord[] = []
  let place: LeasePlace | undefined
  for (let looked = 0; looked < liveDepth; looked += step) {
    const records = await leases.list({
      ...filter,
      liveAt: now,
      limit: step,
      ...(place !== undefined && { before: place }),
    })
    live.push(...records.filter((record) => leaseState(record, revocations, now).state === 'active'))
    if (records.length < step) return { live, truncated: false }
    place = records.at(-1)
    await setImmediate()
  }
  const more = await leases.list({
    ...filter,
    liveAt: now,
    limit: 1,
    ...(place !== undefined && { before: place }),
  })
  return { live, truncated: more.length > 0 }
}
