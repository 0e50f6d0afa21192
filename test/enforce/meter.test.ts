// The byte meter on a counter that is exact: what passes is never more than the budget, and what is left goes back.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ByteMeter, openMeter } from '../../src/enforce/meter.ts'
import type { Total } from '../../src/ports/budgets.ts'
import { Unavailable } from '../../src/ports.ts'
import { type CountedBudgets, countedBudgets } from '../support/budgets.ts'
import { eventually } from '../support/gate.ts'

const stretch = 262_144
const short = { detail: 'too few bytes' }

function total(max: number): Omit<Total, 'take'> {
  return { kind: 'total', key: 'bytes', max: BigInt(max), expiresAt: 2_000_000_000 }
}

/** A meter with `reserved` of `max` spent beforehand, as `commit` does it. */
async function open(budgets: CountedBudgets, max: number, reserved = 0): Promise<ByteMeter> {
  if (reserved > 0) await budgets.spend([{ ...total(max), take: BigInt(reserved) }])
  return openMeter({
    budgets,
    total: total(max),
    reserved: BigInt(reserved),
    short,
    onError: (error) => {
      throw error
    },
  })
}

describe('a meter', () => {
  test('takes what is reserved without asking, to the last byte and not beyond', async () => {
    const budgets = countedBudgets()
    const meter = await open(budgets, 1_000, 100)
    expect([meter.take(60), meter.take(41), meter.take(40), meter.take(1), meter.take(0)]).toEqual([
      true,
      false,
      true,
      false,
      true,
    ])
    expect(budgets.takes).toEqual([100n])
  })

  test('takes nothing that is not a number', async () => {
    const meter = await open(countedBudgets(), 1_000, 100)
    expect(meter.take(Number.NaN)).toBe(false)
  })

  test.each([-1n, 2n ** 60n])('cannot be opened with %d bytes reserved', (reserved) => {
    expect(() =>
      openMeter({ budgets: countedBudgets(), total: total(1), reserved, short, onError: () => {} }),
    ).toThrow(RangeError)
  })

  const asks: readonly (readonly [string, { max: number; needs: number; gets: boolean; takes: bigint[] }])[] =
    [
      ['a stretch', { max: 1e9, needs: 10, gets: true, takes: [BigInt(stretch)] }],
      ['what it needs, when that is more', { max: 1e9, needs: 1e6, gets: true, takes: [1_000_000n] }],
      ['all there is, when that is enough', { max: 50, needs: 10, gets: true, takes: [50n] }],
      ['exactly what is left', { max: 10, needs: 10, gets: true, takes: [10n] }],
      ['nothing, when there is too little', { max: 9, needs: 10, gets: false, takes: [] }],
      ['nothing, when there is none', { max: 0, needs: 1, gets: false, takes: [] }],
    ]
  test.each(asks)('reserves %s', async (_, { max, needs, gets, takes }) => {
    const budgets = countedBudgets()
    const meter = await open(budgets, max)
    expect(await meter.more(needs)).toBe(gets)
    expect(budgets.takes).toEqual(takes)
    expect(meter.take(needs)).toBe(gets)
  })

  test('counts what it has before it asks', async () => {
    const budgets = countedBudgets()
    const meter = await open(budgets, 100, 60)
    expect(await meter.more(100)).toBe(true)
    expect(await meter.more(100)).toBe(true)
    expect(budgets.takes).toEqual([60n, 40n])
  })

  test('asks for one direction after the other, and not for both what one needs', async () => {
    const budgets = countedBudgets()
    const meter = await open(budgets, 100)
    expect(await Promise.all([meter.more(80), meter.more(80)])).toEqual([true, true])
    expect([meter.take(80), meter.take(80)]).toEqual([true, false])
    expect(await meter.more(80)).toBe(false)
  })

  test('gets what is needed when another is faster at the rest', async () => {
    const budgets = countedBudgets()
    const [first, second] = [await open(budgets, 100), await open(budgets, 100)]
    // Both find 100 left and ask for all of it; who comes second still gets its 30.
    expect(await Promise.all([first.more(30), second.more(30)])).toEqual([true, false])
    first.end()
    await eventually(() => budgets.spent('bytes') === 0n, 'what was given back')
    expect(await second.more(30)).toBe(true)
  })

  test('gives back what is left at its end, once, and lets nothing pass after it', async () => {
    const budgets = countedBudgets()
    const meter = await open(budgets, 1_000, 100)
    meter.take(30)
    meter.end()
    meter.end()
    await eventually(() => budgets.spent('bytes') === 30n, 'what was given back')
    expect([meter.take(1), meter.take(0), await meter.more(1)]).toEqual([false, false, false])
    expect(budgets.takes).toEqual([100n, -70n])
  })

  test('gives back what comes after its end', async () => {
    const budgets = countedBudgets()
    const meter = await open(budgets, 1_000)
    const asked = meter.more(10)
    await Promise.resolve()
    meter.end()
    expect(await asked).toBe(false)
    await eventually(() => budgets.spent('bytes') === 0n, 'what was given back')
  })

  test('rejects when the store does, and can be asked again', async () => {
    const budgets = countedBudgets()
    const meter = await open(budgets, 100)
    budgets.broken = new Unavailable('the store is away')
    await expect(meter.more(10)).rejects.toThrow('the store is away')
    budgets.broken = undefined
    expect(await meter.more(10)).toBe(true)
  })

  test('tells of a rest that cannot be given back', async () => {
    const budgets = countedBudgets()
    const errors: Error[] = []
    const meter = openMeter({
      budgets,
      total: total(100),
      reserved: 100n,
      short,
      onError: (error) => errors.push(error),
    })
    budgets.broken = new Unavailable('the store is away')
    meter.end()
    await eventually(() => errors.length === 1, 'the error')
    expect(errors[0]?.message).toBe('the store is away')
  })
})

test('however many exchanges run at once, no more passes than the budget, and the rest comes back', async () => {
  const chunk = fc.integer({ min: 0, max: 400_000 })
  const exchanges = fc.array(fc.array(chunk, { maxLength: 8 }), { minLength: 1, maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2_000_000 }), exchanges, async (max, all) => {
      const budgets = countedBudgets()
      const run = async (chunks: readonly number[]): Promise<number> => {
        const meter = await open(budgets, max)
        let passed = 0
        for (const bytes of chunks) {
          while (!meter.take(bytes)) if (!(await meter.more(bytes))) return end(meter, passed)
          passed += bytes
        }
        return end(meter, passed)
      }
      const passed = (await Promise.all(all.map(run))).reduce((sum, each) => sum + each, 0)
      expect(passed).toBeLessThanOrEqual(max)
      await eventually(() => budgets.spent('bytes') === BigInt(passed), 'the rest')
    }),
    { numRuns: 100 },
  )
})

function end(meter: ByteMeter, passed: number): number {
  meter.end()
  return passed
}
