// Budgets on Redis where its clock, its lifetimes and what others put into it come in.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Limit, largestTotal, type Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import type { Commands } from '../../src/stores/keyed.ts'
import { keyedBudgets } from '../../src/stores/keyed_budgets.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { scripts } from '../../src/stores/scripts.ts'
import { sharedRedis } from '../support/redis.ts'
import { left } from './budgets_contract.ts'
import { nowSeconds, rate, total } from './samples.ts'

const server = await sharedRedis()
afterAll(() => server.stop())

describe('budgets of the Redis store', () => {
  let prefix: string
  let client: Redis
  const stores: Store[] = []
  const open = async (now: () => number = Date.now) => {
    const { url } = server
    const store = await openRedis({ url, prefix, maxStalenessMs: 2000, commandTimeoutMs: 5000, now })
    stores.push(store)
    return store
  }
  const key = (kind: 'budget' | 'rate', name: string) => `${prefix}{leasegate}:${kind}:${name}`
  const inMicroseconds = async (us: number) => {
    const [seconds, micro] = await client.time()
    return Number(seconds) * 1e6 + Number(micro) + us
  }
  const hourUs = 3600e6

  beforeEach(() => {
    prefix = server.prefix()
    client = new Redis(server.url, { protocol: 2 })
  })
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
    await client.del('none', ...(await client.keys(`${prefix}*`)))
    client.disconnect()
  })

  it('are the same for gates whose clocks are 90 seconds off', async () => {
    const gates = [await open(), await open(() => Date.now() + 90_000), await open(() => Date.now() - 90_000)]
    const limits = [total('a', { max: 6n }), rate('a', { burst: 4 })]
    const spent: boolean[] = []
    for (let i = 0; i < 6; i++) spent.push((await gates[i % 3]!.budgets.spend(limits)).spent)
    expect(spent).toEqual([true, true, true, true, false, false])
    for (const gate of gates) expect(await left(gate, limits)).toEqual([2n, 0n])
  })

  it('live as long as they are needed: a total until its latest expiry, a rate until it is whole', async () => {
    const { budgets } = await open()
    const at = nowSeconds()
    await budgets.spend([total('a', { expiresAt: at + 3600 }), rate('a', { periodMs: 600_000, burst: 2 })])
    await budgets.spend([total('a', { expiresAt: at + 60 }), rate('a', { periodMs: 600_000, burst: 2 })])
    const lifetime = await client.pttl(key('budget', 'a'))
    expect(lifetime).toBeGreaterThan(3_600_000)
    expect(lifetime).toBeLessThanOrEqual(3_722_000)
    const refill = await client.pttl(key('rate', 'a'))
    expect(refill).toBeGreaterThan(1_100_000)
    expect(refill).toBeLessThanOrEqual(1_200_000)
    await budgets.giveBack([total('a')])
    await budgets.giveBack([total('a', { take: 5n })])
    expect(await client.get(key('budget', 'a'))).toBe('0')
    expect(await client.pttl(key('budget', 'a'))).toBeGreaterThan(3_500_000)
  })

  it('leave nothing behind when they are only looked at, refused or given back to nobody', async () => {
    const { budgets } = await open()
    await budgets.look([total('a'), rate('a')])
    await budgets.spend([rate('a'), total('a', { max: 0n })])
    await budgets.spend([total('a', { take: 0n })])
    await budgets.giveBack([total('a')])
    expect(await client.exists(key('budget', 'a'), key('rate', 'a'))).toBe(0)
  })

  it.each([
    ['spending', (store: Store, limit: Limit) => store.budgets.spend([limit])],
    ['looking', (store: Store, limit: Limit) => store.budgets.look([limit])],
  ])('after a clock that was set back %s owes at most a whole refill from now on', async (_, ask) => {
    const store = await open()
    const limit = rate('a', { count: 1, periodMs: 3_600_000, burst: 3 })
    await client.set(key('rate', 'a'), await inMicroseconds(100 * hourUs))
    await ask(store, limit)
    expect(Number(await client.get(key('rate', 'a')))).toBeLessThanOrEqual(await inMicroseconds(3 * hourUs))
    const refused = await store.budgets.spend([limit])
    expect(refused).toMatchObject({ spent: false, remaining: [{ left: 0n }] })
    expect(refused).toHaveProperty('retryAfterMs', refused.remaining[0]!.resetMs! - 2 * 3_600_000)
  })

  it.each([
    [-1, 5n],
    [0.5, 4n],
    [1.5, 3n],
    [4.5, 0n],
    [99, 0n],
  ])('with %d intervals owed a burst of five has %d left', async (intervals, wanted) => {
    await client.set(key('rate', 'a'), await inMicroseconds(intervals * hourUs))
    const limits = [rate('a', { count: 1, periodMs: 3_600_000, burst: 5 })]
    expect(await left(await open(), limits)).toEqual([wanted])
  })

  it.each(['x', '', '-1', '007', '1.5', '1e3', ' 1', 'inf', 'nan', '0x10'])(
    'take nothing from anybody while one of them holds %j, which no gate wrote',
    async (value) => {
      const store = await open()
      const reason = { name: 'Unavailable', message: 'Redis: MALFORMED' }
      for (const kind of ['budget', 'rate'] as const) {
        await client.mset(key('budget', 'good'), '3', key(kind, 'bad'), value)
        const bad = kind === 'budget' ? total('bad') : rate('bad')
        const asked = [store.budgets.spend([total('good'), bad]), store.budgets.look([bad])]
        for (const answer of await Promise.allSettled(asked)) {
          expect(answer).toMatchObject({ status: 'rejected', reason })
        }
        expect(await client.get(key('budget', 'good'))).toBe('3')
      }
      await client.set(key('budget', 'bad'), value)
      const back = store.budgets.giveBack([total('good'), total('bad')])
      await expect(back).rejects.toMatchObject(reason)
      expect(await client.mget(key('budget', 'good'), key('budget', 'bad'))).toEqual(['3', value])
    },
  )

  it('take nothing from anybody while one of them is of another kind', async () => {
    const { budgets } = await open()
    await client.hset(key('rate', 'bad'), 'a', 'b')
    const spending = budgets.spend([total('good'), rate('bad')])
    await expect(spending).rejects.toMatchObject({ name: 'Unavailable', message: 'Redis: WRONGTYPE' })
    expect(await client.exists(key('budget', 'good'))).toBe(0)
  })

  it('have nothing left in a counter that holds more than 64 bits', async () => {
    const store = await open()
    await client.mset(key('budget', 'a'), '9'.repeat(40), key('rate', 'a'), '9'.repeat(40))
    expect(await left(store, [total('a', { max: largestTotal }), rate('a')])).toEqual([0n, 0n])
    expect(await store.budgets.spend([total('a', { max: largestTotal })])).toMatchObject({ spent: false })
  })

  it('count on where the version before left its calls', async () => {
    await client.set(key('budget', 'calls'), '4', 'PX', 60_000)
    const answer = await (await open()).budgets.spend([total('calls', { max: 5n })])
    expect(answer).toMatchObject({ spent: true, remaining: [{ left: 0n }] })
  })

  it('decide as the embedded store does, whatever its clock says', async () => {
    let nowMs = 1_795_300_000_000
    const dir = mkdtempSync(join(tmpdir(), 'leasegate-state-'))
    const options = { path: join(dir, 'leasegate.db'), maxStalenessMs: 2000, now: () => nowMs }
    const embedded = await openEmbedded(options)
    stores.push(embedded)
    // The very scripts, told the time: nobody can set the clock of a server.
    const told: Pick<Commands, 'run'> = {
      run(script, ...args) {
        const time = `{ ${Math.floor(nowMs / 1000)}, ${(nowMs % 1000) * 1000} }`
        const lua = scripts[script].lua.replace("redis.call('TIME')", time)
        return client.call('EVAL', lua, ...args)
      },
    }
    const redis = keyedBudgets(
      told,
      (...parts) => `${prefix}${parts.join(':')}`,
      () => nowMs,
    )
    // Long enough that no key expires by the clock of the server while the test runs.
    const anyRate = fc.record({
      count: fc.integer({ min: 1, max: 7 }),
      periodMs: fc.integer({ min: 3_600_000, max: 9_000_000 }),
      burst: fc.integer({ min: 1, max: 5 }),
    })
    const step = fc.record({
      ms: fc.oneof(fc.constant(0), fc.integer({ min: -9_000_000, max: 9_000_000 })),
      changed: fc.nat(1),
      asked: fc.subarray([0, 1, 2], { minLength: 1 }),
      look: fc.boolean(),
    })
    let turn = 0
    const property = fc.asyncProperty(
      fc.tuple(anyRate, anyRate),
      fc.array(step, { maxLength: 15 }),
      async (numbers, steps) => {
        const name = `r${turn++}`
        for (const { ms, changed, asked, look } of steps) {
          nowMs += ms
          const all = [
            rate(name, numbers[changed]),
            rate(`${name}b`, numbers[0]),
            total(name, { max: 9n, expiresAt: 9e9 }),
          ]
          const limits = asked.map((at) => all[at]!)
          const [wanted, given] = look
            ? [embedded.budgets.look(limits), redis.look(limits)]
            : [embedded.budgets.spend(limits), redis.spend(limits)]
          expect(await given).toEqual(await wanted)
        }
      },
    )
    await fc.assert(property, { numRuns: 150 })
    rmSync(dir, { recursive: true })
  })
})
