// The promises of budgets (ports/budgets.ts), the same for every adapter.
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Budgets, type Limit, largestTotal, type Store, type Total } from '../../src/ports.ts'
import type { Open } from './contract.ts'
import { nowSeconds, rate, total } from './samples.ts'

/** What is left of each limit. */
export async function left(store: Store, limits: readonly Limit[]): Promise<readonly bigint[]> {
  return (await store.budgets.look(limits)).map((remaining) => remaining.left)
}

export function budgets(open: Open): void {
  totals(open)
  rates(open)
  together(open)
  givenBack(open)
  nonsense(open)
}

function totals(open: Open): void {
  it('of forty parallel calls over two processes exactly the budget of twenty is spent', async () => {
    const stores = [await open(), await open()]
    const calls = total('calls', { max: 20n })
    const spends = Array.from({ length: 40 }, (_, i) => stores[i % 2]!.budgets.spend([calls]))
    const answers = await Promise.all(spends)
    const taken = answers.flatMap(({ spent, remaining }) => (spent ? [Number(remaining[0]!.left)] : []))
    expect(taken.toSorted((a, b) => b - a)).toEqual(Array.from({ length: 20 }, (_, i) => 19 - i))
    const none = { left: 0n, resetMs: undefined }
    const refused = { spent: false, limit: 0, retryAfterMs: undefined, remaining: [none] }
    expect(answers.filter(({ spent }) => !spent)).toEqual(Array(20).fill(refused))
    expect(await left(stores[0]!, [total('other', { max: 20n })])).toEqual([20n])
  })

  it('a spent budget stays spent after a restart', async () => {
    const store = await open()
    await store.budgets.spend([total('a', { max: 1n })])
    await store.close()
    const reopened = await open()
    expect(await reopened.budgets.spend([total('a', { max: 1n })])).toMatchObject({ spent: false })
  })

  it.each([
    ['a maximum of zero', { max: 0n }],
    ['less than what is taken', { max: 4n, take: 5n }],
    ['an expiry long past', { expiresAt: nowSeconds() - 3600 }],
  ])('%s has nothing to spend', async (_, over) => {
    const { budgets } = await open()
    expect(await budgets.spend([total('a', over)])).toMatchObject({ spent: false, limit: 0 })
    expect(await budgets.spend([total('a', { ...over, take: 0n })])).toMatchObject({ spent: true })
  })

  it('taking nothing tells what is left, also of more than the maximum', async () => {
    const store = await open()
    expect(await left(store, [total('a', { max: 9n })])).toEqual([9n])
    await store.budgets.spend([total('a', { max: 9n, take: 7n })])
    const look = { spent: true, remaining: [{ left: 2n, resetMs: undefined }] }
    expect(await store.budgets.spend([total('a', { max: 9n, take: 0n })])).toEqual(look)
    expect(await left(store, [total('a', { max: 9n })])).toEqual([2n])
    expect(await left(store, [total('a', { max: 3n })])).toEqual([0n])
    expect(await store.budgets.spend([total('a', { max: 3n, take: 0n })])).toMatchObject({ spent: true })
  })

  it('another maximum counts from the next call on', async () => {
    const { budgets } = await open()
    await budgets.spend([total('a', { max: 10n, take: 5n })])
    expect(await budgets.spend([total('a', { max: 5n })])).toMatchObject({ spent: false })
    expect(await budgets.spend([total('a', { max: 6n })])).toMatchObject({ remaining: [{ left: 0n }] })
    expect(await budgets.spend([total('a', { max: 20n })])).toMatchObject({ remaining: [{ left: 13n }] })
  })

  it('amounts are exact to the last unit, far above what a double can count', async () => {
    const { budgets } = await open()
    const beyond = 2n ** 53n
    const spend = async (key: string, max: bigint, take: bigint) => {
      const { spent, remaining } = await budgets.spend([total(key, { max, take })])
      return [spent, remaining[0]!.left]
    }
    expect(await spend('a', beyond + 2n, beyond)).toEqual([true, 2n])
    expect(await spend('a', beyond + 2n, 3n)).toEqual([false, 2n])
    expect(await spend('a', beyond + 2n, 1n)).toEqual([true, 1n])
    expect(await spend('a', beyond + 2n, 2n)).toEqual([false, 1n])
    expect(await spend('a', beyond + 2n, 1n)).toEqual([true, 0n])
    expect(await spend('b', largestTotal, largestTotal - 1n)).toEqual([true, 1n])
    expect(await spend('b', largestTotal, largestTotal)).toEqual([false, 1n])
    expect(await spend('b', largestTotal, 1n)).toEqual([true, 0n])
    expect(await spend('b', largestTotal, 1n)).toEqual([false, 0n])
    expect(await spend('c', 999n, 1000n)).toEqual([false, 999n])
  })
}

function rates(open: Open): void {
  it('a rate lets its burst through at once and then refuses, over all processes', async () => {
    const stores = [await open(), await open()]
    const slow = rate('a', { count: 1, periodMs: 3_600_000, burst: 5 })
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => stores[i % 2]!.budgets.spend([slow])),
    )
    expect(answers.filter(({ spent }) => spent)).toHaveLength(5)
    const refused = answers.find(({ spent }) => !spent)
    expect(refused).toMatchObject({ limit: 0, remaining: [{ left: 0n }] })
    const { retryAfterMs, remaining } = refused as Extract<typeof refused, { spent: false }>
    expect(retryAfterMs).toBeLessThanOrEqual(3_600_000)
    expect(retryAfterMs).toBeGreaterThan(3_500_000)
    // Four more intervals until all five are there again.
    expect(remaining[0]!.resetMs! - retryAfterMs!).toBe(4 * 3_600_000)
  })

  it('a call is let through after the time it was told to wait', async () => {
    const { budgets } = await open()
    const quick = rate('a', { count: 20, periodMs: 1000, burst: 1 })
    expect(await budgets.spend([quick])).toMatchObject({
      spent: true,
      remaining: [{ left: 0n, resetMs: 50 }],
    })
    const soon = await budgets.spend([quick])
    // A machine under load may have taken the whole interval to ask.
    if (!soon.spent) {
      await sleep(soon.retryAfterMs! + 2)
      expect(await budgets.spend([quick])).toMatchObject({ spent: true })
    }
  })

  it('a refused call takes nothing from a rate', async () => {
    const { budgets } = await open()
    const slow = rate('a', { periodMs: 3_600_000, burst: 1 })
    await budgets.spend([slow])
    const resets: number[] = []
    for (let i = 0; i < 3; i++) resets.push((await budgets.spend([slow])).remaining[0]!.resetMs!)
    expect(resets.toSorted((a, b) => b - a)).toEqual(resets)
    expect(resets[0]).toBeLessThanOrEqual(3_600_000)
  })

  it('another rate under the same key counts at once, and owes no more than it ever may', async () => {
    const store = await open()
    const hourly = { count: 1, periodMs: 3_600_000 }
    for (let i = 0; i < 4; i++) await store.budgets.spend([rate('a', { ...hourly, burst: 4 })])
    expect(await left(store, [rate('a', { ...hourly, burst: 6 })])).toEqual([2n])
    expect(await left(store, [rate('a', { ...hourly, burst: 2 })])).toEqual([0n])
    const faster = await store.budgets.spend([rate('a', { count: 1, periodMs: 60_000, burst: 1 })])
    expect(faster).toMatchObject({ spent: false, remaining: [{ left: 0n }] })
    expect(Math.max(...faster.remaining.map(({ resetMs }) => resetMs!))).toBeLessThanOrEqual(60_000)
  })

  it('a rate that shares its key with wider ones leaves what they owe', async () => {
    const store = await open()
    const hourly = { count: 1, periodMs: 3_600_000, shared: true } as const
    const [wide, narrow] = [rate('a', { ...hourly, burst: 4 }), rate('a', { ...hourly, burst: 1 })]
    for (let i = 0; i < 4; i++) await store.budgets.spend([wide])
    expect(await left(store, [narrow])).toEqual([0n])
    const refused = await store.budgets.spend([narrow])
    expect(refused).toMatchObject({ spent: false, remaining: [{ left: 0n }] })
    expect(refused.remaining[0]!.resetMs).toBeGreaterThan(3.9 * 3_600_000)
    expect(await store.budgets.spend([wide])).toMatchObject({ spent: false })
  })

  it('the slowest rate there is can be counted', async () => {
    const { budgets } = await open()
    const slowest = rate('a', { count: 1, periodMs: 1e11, burst: 10 })
    for (let i = 9n; i >= 0n; i--) {
      expect(await budgets.spend([slowest])).toMatchObject({ spent: true, remaining: [{ left: i }] })
    }
    expect(await budgets.spend([slowest])).toMatchObject({ spent: false })
  })
}

function together(open: Open): void {
  it('where one limit is short none is touched, whichever it is', async () => {
    const store = await open()
    const [calls, bytes, slow] = [
      total('calls', { max: 5n }),
      total('bytes', { max: 100n, take: 60n }),
      rate('rate', { periodMs: 3_600_000, burst: 2 }),
    ]
    const limits = [calls, bytes, slow]
    expect(await store.budgets.spend(limits)).toMatchObject({ spent: true })
    expect(await left(store, limits)).toEqual([4n, 40n, 1n])
    const short = { spent: false, limit: 1, retryAfterMs: undefined }
    expect(await store.budgets.spend(limits)).toMatchObject(short)
    expect(await left(store, limits)).toEqual([4n, 40n, 1n])
    expect(await store.budgets.spend([calls, slow])).toMatchObject({ spent: true })
    const tooSoon = await store.budgets.spend([calls, slow])
    expect(tooSoon).toMatchObject({ spent: false, limit: 1, retryAfterMs: expect.any(Number) })
    expect(await left(store, limits)).toEqual([3n, 40n, 0n])
  })

  it('a total that is short is named before a rate that is: waiting would not help', async () => {
    const { budgets } = await open()
    const slow = rate('rate', { periodMs: 3_600_000, burst: 1 })
    await budgets.spend([slow])
    expect(await budgets.spend([slow, total('a', { max: 0n })])).toMatchObject({
      limit: 1,
      retryAfterMs: undefined,
    })
  })

  it('of two rates that are short the longer wait is told', async () => {
    const { budgets } = await open()
    const slow = [rate('a', { periodMs: 60_000, burst: 1 }), rate('b', { periodMs: 3_600_000, burst: 1 })]
    await budgets.spend(slow)
    const refused = await budgets.spend(slow)
    expect(refused).toMatchObject({ spent: false, limit: 0 })
    const longest = Math.max(...refused.remaining.map(({ resetMs }) => resetMs!))
    expect(refused).toHaveProperty('retryAfterMs', longest)
  })

  it('a total and a rate of one name are two counters', async () => {
    const store = await open()
    const both = [total('a', { max: 3n }), rate('a', { periodMs: 3_600_000, burst: 2 })]
    expect(await store.budgets.spend(both)).toMatchObject({ spent: true })
    expect(await left(store, both)).toEqual([2n, 1n])
  })

  it('no limits take nothing and leave nothing', async () => {
    const { budgets } = await open()
    expect(await budgets.spend([])).toEqual({ spent: true, remaining: [] })
    expect(await budgets.look([])).toEqual([])
    await expect(budgets.giveBack([])).resolves.toBeUndefined()
  })

  it('whatever is spent, looked at and given back by whom, the counts are those of plain arithmetic', async () => {
    const stores = [await open(), await open()]
    const amount = fc.oneof(fc.bigInt(0n, 12n), fc.bigInt(2n ** 53n - 2n, 2n ** 53n + 2n))
    const step = fc.record({
      what: fc.constantFrom('spend', 'spend', 'spend', 'giveBack'),
      who: fc.nat(1),
      takes: fc.tuple(amount, amount),
      spare: fc.tuple(amount, amount),
    })
    let run = 0
    const asArithmetic = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const names = [`a${run}`, `b${run++}`]
      const used = [0n, 0n]
      for (const { what, who, takes, spare } of steps) {
        const limits = names.map((key, i) => total(key, { max: used[i]! + spare[i]!, take: takes[i]! }))
        const { budgets } = stores[who]!
        const fit = takes.map((take, i) => take === 0n || take <= spare[i]!)
        if (what === 'giveBack') {
          await budgets.giveBack(limits)
          for (const [i, take] of takes.entries()) used[i] = used[i]! > take ? used[i]! - take : 0n
        } else {
          const spent = fit.every(Boolean)
          if (spent) for (const [i, take] of takes.entries()) used[i] = used[i]! + take
          const remaining = limits.map(({ max }, i) => {
            const room = max - used[i]!
            return { left: room > 0n ? room : 0n, resetMs: undefined }
          })
          const wanted = spent ? { spent } : { spent, limit: fit.indexOf(false), retryAfterMs: undefined }
          expect(await budgets.spend(limits)).toEqual({ ...wanted, remaining })
        }
      }
      const all = names.map((key) => total(key, { max: largestTotal }))
      expect(await left(stores[0]!, all)).toEqual(used.map((each) => largestTotal - each))
    })
    await fc.assert(asArithmetic, { numRuns: 40 })
  })

  it('calls that spend and give back in parallel never have more under way than the budget', async () => {
    const stores = [await open(), await open()]
    const calls = total('calls', { max: 5n })
    let [underWay, most, served] = [0, 0, 0]
    const caller = async (budgets: Budgets) => {
      for (let i = 0; i < 10; i++) {
        if (!(await budgets.spend([calls])).spent) continue
        most = Math.max(most, ++underWay)
        served++
        await new Promise((resolve) => setImmediate(resolve))
        underWay--
        await budgets.giveBack([calls])
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, i) => caller(stores[i % 2]!.budgets)))
    expect(most).toBeLessThanOrEqual(5)
    expect(served).toBeGreaterThanOrEqual(5)
    expect(await left(stores[1]!, [calls])).toEqual([5n])
  })
}

function givenBack(open: Open): void {
  it('what is given back can be spent again, and never more than was spent', async () => {
    const store = await open()
    const two = [total('a', { max: 10n, take: 6n }), total('b', { max: 10n, take: 2n })]
    await store.budgets.spend(two)
    await store.budgets.giveBack([two[0]!])
    expect(await left(store, two)).toEqual([10n, 8n])
    await store.budgets.giveBack([total('a', { take: largestTotal }), total('b', { take: 3n })])
    expect(await left(store, two)).toEqual([10n, 10n])
    expect(await store.budgets.spend([total('a', { max: 10n, take: 11n })])).toMatchObject({ spent: false })
    await store.budgets.spend(two)
    await store.budgets.giveBack(two.map((limit) => ({ ...limit, take: 0n })))
    expect(await left(store, two)).toEqual([4n, 8n])
  })

  it('giving back to a counter that is not there makes none', async () => {
    const store = await open()
    await store.budgets.giveBack([total('a', { max: 10n, take: 6n })])
    expect(await left(store, [total('a', { max: 10n })])).toEqual([10n])
    expect(await store.budgets.spend([total('a', { max: 10n, take: 11n })])).toMatchObject({ spent: false })
  })
}

function nonsense(open: Open): void {
  const cases: [string, Limit[]][] = [
    ['an empty key', [total('')]],
    ['the same total twice', [total('a'), total('a')]],
    ['the same rate twice', [rate('a'), total('a'), rate('a')]],
    ['a negative take', [total('a', { take: -1n })]],
    ['a take above the largest', [total('a', { take: largestTotal + 1n })]],
    ['a negative maximum', [total('a', { max: -1n })]],
    ['a maximum above the largest', [total('a', { max: largestTotal + 1n })]],
    ['an expiry that is no number', [total('a', { expiresAt: Number.NaN })]],
    ['an expiry that never comes', [total('a', { expiresAt: Number.POSITIVE_INFINITY })]],
    ['a count of zero', [rate('a', { count: 0 })]],
    ['half a call', [rate('a', { count: 0.5 })]],
    ['a period of zero', [rate('a', { periodMs: 0 })]],
    ['a negative period', [rate('a', { periodMs: -1000 })]],
    ['a burst of zero', [rate('a', { burst: 0 })]],
    ['a burst that is no number', [rate('a', { burst: Number.NaN })]],
    ['a burst without end', [rate('a', { burst: Number.POSITIVE_INFINITY })]],
    ['a rate that refills in a lifetime', [rate('a', { count: 1, periodMs: 1e11, burst: 11 })]],
  ]
  it.each(cases)('%s is a bug of the caller, and nothing is spent', async (_, limits) => {
    const store = await open()
    const sound = [total('sound'), rate('sound')]
    await expect(store.budgets.spend([...sound, ...limits])).rejects.toThrow(RangeError)
    await expect(store.budgets.look(limits)).rejects.toThrow(RangeError)
    const given = limits.filter((limit): limit is Total => limit.kind === 'total')
    if (given.length === limits.length)
      await expect(store.budgets.giveBack(given)).rejects.toThrow(RangeError)
    expect(await left(store, sound)).toEqual([20n, 10n])
  })

  it('an expiry in the far future is kept as long as can be', async () => {
    const { budgets } = await open()
    const forEver = total('a', { max: 1n, expiresAt: 1e300 })
    expect(await budgets.spend([forEver])).toMatchObject({ spent: true })
    expect(await budgets.spend([forEver])).toMatchObject({ spent: false })
  })

  it('a store that is closed answers nothing about budgets', async () => {
    const { budgets, close } = await open()
    await close()
    for (const asked of [
      budgets.spend([total('a')]),
      budgets.look([rate('a')]),
      budgets.giveBack([total('a')]),
    ]) {
      await expect(asked).rejects.toMatchObject({ name: 'Unavailable' })
    }
  })
}
