// In: `20/1m` or `20/1m burst 5` as somebody wrote it. Out: the rate it means, and which of two lets less
// through. Pure; counts nothing, that is the store's part (ports/budgets.ts).
import { longestRefillMs } from '../ports/budgets.ts'

/** By the generic cell rate algorithm: `burst` calls at once, and one more each `periodMs / count`. */
export interface CallRate {
  readonly count: number
  readonly periodMs: number
  readonly burst: number
}

const written = /^([1-9][0-9]{0,6})\/([1-9][0-9]{0,4})([smh])(?: burst ([1-9][0-9]{0,6}))?$/
const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000 }
const longestMs = 86_400_000

/**
 * Calls per duration, up to 9,999,999 in 1s to 24h. The burst is the count unless it is written. Undefined: it
 * is no rate.
 */
export function parseRate(text: string): CallRate | undefined {
  const [, count, duration, unit, burst = count] = written.exec(text) ?? []
  if (count === undefined || unit === undefined) return undefined
  const rate = { count: Number(count), periodMs: Number(duration) * units[unit]!, burst: Number(burst) }
  return rate.periodMs > longestMs || refillMs(rate) > longestRefillMs ? undefined : rate
}

/** From nothing to whole, as a store counts it: in whole microseconds for each call. */
function refillMs({ count, periodMs, burst }: CallRate): number {
  return (burst * Math.ceil((periodMs * 1_000) / count)) / 1_000
}

/** A rate as `parseRate` reads it, in the largest unit that fits. */
export function rateText({ count, periodMs, burst }: CallRate): string {
  const unit = Object.keys(units).find((each) => periodMs % units[each]! === 0)!
  return `${count}/${periodMs / units[unit]!}${unit}${burst === count ? '' : ` burst ${burst}`}`
}

/**
 * Whether `inner` can never let more through than `outer`. In any time t a rate lets at most
 * burst + floor(t · count / period) calls through: less for every t exactly when neither the burst is larger nor the
 * refill faster.
 */
export function rateIsWithin(inner: CallRate, outer: CallRate): boolean {
  return inner.burst <= outer.burst && inner.count * outer.periodMs <= outer.count * inner.periodMs
}

/** The widest rate within both. */
export function slowerRate(a: CallRate, b: CallRate): CallRate {
  const slower = a.count * b.periodMs <= b.count * a.periodMs ? a : b
  return { ...slower, burst: Math.min(a.burst, b.burst) }
}
