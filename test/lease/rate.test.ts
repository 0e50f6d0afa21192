// Rates as text, and their order: one is within another when it can never let more through.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CallRate, parseRate, rateIsWithin, rateText, slowerRate } from '../../src/lease/rate.ts'

const rates: fc.Arbitrary<CallRate> = fc.record({
  count: fc.integer({ min: 1, max: 12 }),
  periodMs: fc.constantFrom(1_000, 2_000, 7_000, 60_000),
  burst: fc.integer({ min: 1, max: 12 }),
})

/** The most calls within any time `t`, in milliseconds: all of the burst, and what is refilled meanwhile. */
function mostWithin({ count, periodMs, burst }: CallRate, t: bigint): bigint {
  return BigInt(burst) + (t * BigInt(count)) / BigInt(periodMs)
}

/** Times at which two rates could change places, and one far away. */
function times(a: CallRate, b: CallRate): bigint[] {
  const steps = [a, b].flatMap(({ count, periodMs }) =>
    Array.from({ length: 40 }, (_, n) => (BigInt(n) * BigInt(periodMs) + BigInt(count) - 1n) / BigInt(count)),
  )
  return [0n, ...steps, 10n ** 12n]
}

describe('a rate', () => {
  test.each([
    ['20/1m', { count: 20, periodMs: 60_000, burst: 20 }],
    ['20/1m burst 5', { count: 20, periodMs: 60_000, burst: 5 }],
    ['1/24h', { count: 1, periodMs: 86_400_000, burst: 1 }],
    ['9999999/1s burst 1', { count: 9_999_999, periodMs: 1_000, burst: 1 }],
  ])('%s is read', (text, rate) => {
    expect(parseRate(text)).toEqual(rate)
  })

  test.each([
    '',
    '20',
    '20/m',
    '0/1m',
    '20/0m',
    '-1/1m',
    '1.5/1m',
    '20/1d',
    '20/100ms',
    '25/25h',
    '20 / 1m',
    '20/1m burst',
    '20/1m burst 0',
    '20/1m burst 5 ',
    '20/1m  burst 5',
    '20/1m BURST 5',
    '020/1m',
    '10000000/1s',
    '20/1m burst 5\n',
    '1/24h burst 9999999',
  ])('%j is none', (text) => {
    expect(parseRate(text)).toBeUndefined()
  })

  test('comes back from its text', () => {
    fc.assert(
      fc.property(rates, (rate) => {
        expect(parseRate(rateText(rate))).toEqual(rate)
      }),
    )
  })

  test.each([
    ['20/60s', '20/1m'],
    ['20/60m', '20/1h'],
    ['20/90s burst 20', '20/90s'],
  ])('%s is written %s', (text, written) => {
    expect(rateText(parseRate(text)!)).toBe(written)
  })

  test('is within another exactly when no time lets it make more calls', () => {
    const seen = { within: 0, beyond: 0 }
    fc.assert(
      fc.property(rates, rates, (inner, outer) => {
        const within = rateIsWithin(inner, outer)
        seen[within ? 'within' : 'beyond']++
        const never = times(inner, outer).every((t) => mostWithin(inner, t) <= mostWithin(outer, t))
        expect(within).toBe(never)
      }),
      { numRuns: 500 },
    )
    expect(Math.min(seen.within, seen.beyond)).toBeGreaterThan(0)
  })

  test('shares with another the widest rate within both', () => {
    fc.assert(
      fc.property(rates, rates, rates, (a, b, other) => {
        const both = slowerRate(a, b)
        expect(rateIsWithin(both, a) && rateIsWithin(both, b)).toBe(true)
        if (rateIsWithin(other, a) && rateIsWithin(other, b)) expect(rateIsWithin(other, both)).toBe(true)
      }),
    )
  })
})
