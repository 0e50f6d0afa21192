// How far the clock of this process may be from the store's, which is the same for all. In: the difference. Out: nothing,
// or the refusal. Pure.
import { type Refusal, refuse } from '../refusals.ts'

/** Seconds; what issuers are allowed by default (`clock_tolerance`), and less than the life of any token. */
export const maxClockOffset = 5

/** Whether an offset (`Store.clockOffset`) is within bounds; one that is no number is not. */
export function clockIsClose(offset: number): boolean {
  return Math.abs(offset) <= maxClockOffset
}

/** `90 s ahead of`, `90 s behind`: of which clock is up to the caller. */
export function tellOffset(offset: number): string {
  return `${Math.abs(offset).toFixed(1)} s ${offset < 0 ? 'behind' : 'ahead of'}`
}

/**
 * Refuses where this clock is too far from the store's: behind it, tokens that are over would pass; ahead of it, tokens
 * issued here would outlive a revocation that came after them.
 */
export function refuseOffClock(offset: number): Refusal | undefined {
  if (clockIsClose(offset)) return undefined
  return refuse('evidence_unavailable', {
    cause: `the clock of this machine is ${tellOffset(offset)} the state store's, bound ${maxClockOffset} s`,
  })
}
