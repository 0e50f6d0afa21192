// In: limits, and what their counters hold. Out: what a call may take, what is left, how long to wait; the same
// arithmetic for both stores. A counter holds what was used of a total, or the microseconds until a rate is
// whole again. It never reads a clock and never lets a limit pass that it does not understand.
import { type Limit, largestTotal, longestRefillMs, type Rate, type Remaining, type Spent } from '../ports.ts'
import { keepSeconds } from './lifetimes.ts'

/** A limit in the terms of its counter. */
export interface Gauge {
  readonly limit: Limit
  /** The most that the counter may hold after this call. */
  readonly capacity: bigint
  /** The most that it can hold at all: a rate that owes more is wrong, and is cut to it. */
  readonly ceiling: bigint
  /** What this call adds to it. */
  readonly take: bigint
  /** What one of `left` adds to it. */
  readonly unit: bigint
}

/**
 * The limits of one call at `now`, seconds since 1970. A total that may be forgotten by now has nothing to spend:
 * its count could begin anew with every call. Throws `RangeError` for what no caller may ask: an empty key or the
 * same one twice, a number that is not one, is negative or too large.
 */
export function gaugesOf(limits: readonly Limit[], now: number): readonly Gauge[] {
  const keys = new Set<string>()
  return limits.map((limit) => {
    if (limit.key === '') throw new RangeError('a limit needs a key')
    const name = `${limit.kind}\n${limit.key}`
    if (keys.has(name)) throw new RangeError('a limit is named twice in one call')
    keys.add(name)
    return limit.kind === 'total' ? totalGauge(limit, now) : rateGauge(limit)
  })
}

function totalGauge(limit: Extract<Limit, { kind: 'total' }>, now: number): Gauge {
  const { max, take, expiresAt } = limit
  for (const amount of [max, take]) {
    if (amount < 0n || amount > largestTotal) throw new RangeError('a total is from 0 to 10^18')
  }
  if (!Number.isFinite(expiresAt)) throw new RangeError('a total expires at some time')
  const capacity = expiresAt + keepSeconds > now ? max : 0n
  return { limit, capacity, ceiling: largestTotal, take, unit: 1n }
}

/** One call is worth `periodMs / count`, rounded up to a microsecond: never more than the rate. */
function rateGauge(limit: Rate): Gauge {
  const { count, periodMs, burst } = limit
  for (const number of [count, periodMs, burst]) {
    if (!Number.isSafeInteger(number) || number < 1) throw new RangeError('a rate is made of whole numbers')
  }
  const interval = Math.ceil((periodMs * 1000) / count)
  const longest = longestRefillMs * 1000
  if (burst * interval > longest) throw new RangeError('a rate takes too long to refill')
  const unit = BigInt(interval)
  const capacity = BigInt(burst) * unit
  return { limit, capacity, ceiling: limit.shared === true ? BigInt(longest) : capacity, take: unit, unit }
}

/** Whether a counter that holds `held` has room for what this call takes. */
export function fits({ capacity, take }: Gauge, held: bigint): boolean {
  return take === 0n || held + take <= capacity
}

/** What the limits have left while their counters hold `held`. */
export function remainingOf(gauges: readonly Gauge[], held: readonly bigint[]): readonly Remaining[] {
  return gauges.map(({ limit, capacity, unit }, at) => {
    const room = capacity - held[at]!
    return {
      left: room > 0n ? room / unit : 0n,
      resetMs: limit.kind === 'rate' ? wholeMs(held[at]!) : undefined,
    }
  })
}

/**
 * The answer to a call that took nothing because of what the counters hold. A total that is short comes before
 * every rate: waiting does not help. Of several rates the longest wait counts.
 */
export function refusedOf(
  gauges: readonly Gauge[],
  held: readonly bigint[],
): Extract<Spent, { spent: false }> {
  const short = gauges.flatMap((gauge, at) => (fits(gauge, held[at]!) ? [] : [at]))
  const total = short.find((at) => gauges[at]!.limit.kind === 'total')
  const limit = total ?? short[0]
  if (limit === undefined) throw new Error('a call was refused though every limit has room for it')
  const waits = short.map((at) => wholeMs(held[at]! + gauges[at]!.take - gauges[at]!.capacity))
  const retryAfterMs = total === undefined ? Math.max(...waits) : undefined
  return { spent: false, remaining: remainingOf(gauges, held), limit, retryAfterMs }
}

function wholeMs(us: bigint): number {
  return Number((us + 999n) / 1000n)
}
