// Budgets on the embedded store where the clock, the disk and other processes come in.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Limit, largestTotal, type Rate, type Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { left } from './budgets_contract.ts'
import { rate, total } from './samples.ts'

describe('budgets of the embedded store', () => {
  const start = 1_795_300_000_000
  let dir: string
  let path: string
  let nowMs = start
  const stores: Store[] = []
  const children: ChildProcess[] = []
  const open = async (now: () => number = Date.now) => {
    const store = await openEmbedded({ path, maxStalenessMs: 2000, now })
    stores.push(store)
    return store
  }
  const openAtOurTime = () => open(() => nowMs)

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'leasegate-state-'))
    path = join(dir, 'leasegate.db')
    nowMs = start
  })
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await Promise.all(stores.splice(0).map((store) => store.close()))
    rmSync(dir, { recursive: true })
  })

  it('are exact over processes that spend as fast as they can', async () => {
    const script = fileURLToPath(new URL('spend-child.ts', import.meta.url))
    const spending = Array.from({ length: 2 }, async () => {
      const args = [script, path, 'shared', '500']
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      children.push(child)
      const [spent] = await once(child.stdout, 'data')
      return Number(spent)
    })
    const { budgets } = await open()
    const calls = total('shared', { max: 500n })
    let own = 0
    const caller = async () => {
      for (let i = 0; i < 20; i++) if ((await budgets.spend([calls])).spent) own++
    }
    await Promise.all(Array.from({ length: 8 }, caller))
    const theirs = await Promise.all(spending)
    // Each of them asks 400 times: together more than there are.
    expect(theirs[0]! + theirs[1]! + own).toBe(500)
  })

  it('stay spent when the process that spent them is killed at once', async () => {
    const script = fileURLToPath(new URL('spend-child.ts', import.meta.url))
    const child = spawn(process.execPath, [script, path, 'a', '3'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await left(await open(), [total('a', { max: 3n })])).toEqual([0n])
  })

  it('wait for the disk where a total is spent, and nowhere else', async () => {
    const { budgets } = await open()
    await budgets.spend([total('used', { max: 1n }), rate('slow', { periodMs: 3_600_000, burst: 1 })])
    const handle = await openFile(path)
    const handles = Object.getPrototypeOf(handle) as { datasync: () => Promise<void> }
    await handle.close()
    const { datasync } = handles
    handles.datasync = () => Promise.reject(Object.assign(new Error('disk'), { code: 'EIO' }))
    try {
      const refused = { spent: false, limit: 0 }
      expect(await budgets.spend([total('used', { max: 1n }), rate('r')])).toMatchObject(refused)
      expect(await budgets.spend([rate('slow', { periodMs: 3_600_000, burst: 1 })])).toMatchObject(refused)
      expect(await budgets.spend([rate('r'), total('fresh', { take: 0n })])).toMatchObject({ spent: true })
      await expect(budgets.giveBack([total('used')])).resolves.toBeUndefined()
      await expect(budgets.spend([total('fresh'), rate('r')])).rejects.toMatchObject({ name: 'Unavailable' })
    } finally {
      handles.datasync = datasync
    }
    expect(await budgets.spend([total('used', { max: 1n })])).toMatchObject({ spent: true })
  })

  it('refuse while another process holds the file, and count again after', async () => {
    const store = await open()
    const other = new DatabaseSync(path)
    other.exec('BEGIN EXCLUSIVE')
    for (const limit of [total('a'), rate('a')]) {
      await expect(store.budgets.spend([limit])).rejects.toMatchObject({ name: 'Unavailable' })
    }
    await expect(store.budgets.giveBack([total('a')])).rejects.toMatchObject({ name: 'Unavailable' })
    other.exec('ROLLBACK')
    other.close()
    expect(await left(store, [total('a'), rate('a')])).toEqual([20n, 10n])
  })

  it('keep a total until its expiry and the skew of clocks are over, then begin anew', async () => {
    const store = await openAtOurTime()
    const calls = total('a', { max: 5n, expiresAt: start / 1000 + 60 })
    const renewed = { ...calls, expiresAt: calls.expiresAt + 3600 }
    await store.budgets.spend([{ ...calls, take: 4n }])
    nowMs += 170_000
    expect(await store.budgets.spend([{ ...calls, take: 2n }])).toMatchObject({ spent: false })
    nowMs += 20_000
    expect(await store.budgets.spend([calls])).toMatchObject({ spent: false, remaining: [{ left: 0n }] })
    await store.budgets.giveBack([renewed])
    expect(await left(store, [renewed])).toEqual([5n])
    expect(await store.budgets.spend([renewed])).toMatchObject({ remaining: [{ left: 4n }] })
    // A shorter expiry does not shorten what was promised.
    await store.budgets.spend([{ ...calls, expiresAt: nowMs / 1000 + 1 }])
    nowMs += 3_000_000
    expect(await left(store, [renewed])).toEqual([3n])
  })

  it('hand over what a file of 64 bits holds at most', async () => {
    const store = await open()
    await store.budgets.spend([total('a', { max: largestTotal, take: largestTotal })])
    const reopened = await open()
    expect(await left(reopened, [total('a', { max: largestTotal })])).toEqual([0n])
    await reopened.budgets.giveBack([total('a', { take: 1n })])
    expect(await left(store, [total('a', { max: largestTotal })])).toEqual([1n])
  })

  const anyRate = fc.record({
    count: fc.integer({ min: 1, max: 50 }),
    periodMs: fc.integer({ min: 1, max: 10_000 }),
    burst: fc.integer({ min: 1, max: 8 }),
  })

  it('let through what a bucket would that holds a burst and refills at the rate', async () => {
    const store = await openAtOurTime()
    let run = 0
    const waits = fc.array(fc.oneof(fc.constant(0), fc.integer({ max: 3000, min: 0 })), { maxLength: 25 })
    const asBucket = fc.asyncProperty(anyRate, waits, async (numbers, times) => {
      const limit = rate(`model${run++}`, numbers)
      const interval = Math.ceil((limit.periodMs * 1000) / limit.count)
      let [bucket, at] = [limit.burst * interval, nowMs]
      for (const wait of times) {
        nowMs += wait
        bucket = Math.min(limit.burst * interval, bucket + (nowMs - at) * 1000)
        at = nowMs
        const spent = bucket >= interval
        const retryAfterMs = Math.ceil((interval - bucket) / 1000)
        if (spent) bucket -= interval
        const resetMs = Math.ceil((limit.burst * interval - bucket) / 1000)
        const remaining = [{ left: BigInt(Math.floor(bucket / interval)), resetMs }]
        const answer = spent ? { spent, remaining } : { spent, limit: 0, retryAfterMs, remaining }
        expect(await store.budgets.spend([limit])).toEqual(answer)
        expect(await store.budgets.look([limit])).toEqual(remaining)
      }
    })
    await fc.assert(asBucket, { numRuns: 60 })
  })

  it('survive any steps of the clock: never more than it refilled, never shut for longer than a refill', async () => {
    const store = await openAtOurTime()
    let run = 0
    const step = fc.record({
      ms: fc.oneof(fc.integer({ min: -90_000, max: 90_000 }), fc.integer({ min: 0, max: 2000 })),
      calls: fc.integer({ min: 0, max: 4 }),
      look: fc.boolean(),
    })
    const survives = fc.asyncProperty(anyRate, fc.array(step, { maxLength: 12 }), async (numbers, steps) => {
      const limit = rate(`steps${run++}`, numbers)
      const interval = Math.ceil((limit.periodMs * 1000) / limit.count)
      let [refilled, granted] = [limit.burst * interval, 0]
      for (const { ms, calls, look } of steps) {
        nowMs += ms
        if (ms > 0) refilled += ms * 1000
        if (look) await store.budgets.look([limit])
        for (let call = 0; call < calls; call++) if ((await store.budgets.spend([limit])).spent) granted++
        expect(granted * interval).toBeLessThanOrEqual(refilled)
      }
      await isOpenInTime(limit, interval)
    })
    const isOpenInTime = async (limit: Rate, interval: number) => {
      const refused = await drained(limit)
      expect(refused.retryAfterMs).toBeLessThanOrEqual(Math.ceil(interval / 1000))
      nowMs += refused.retryAfterMs!
      expect(await store.budgets.spend([limit])).toMatchObject({ spent: true })
      const [remaining] = await store.budgets.look([limit])
      expect(remaining!.resetMs).toBeLessThanOrEqual(Math.ceil((limit.burst * interval) / 1000))
      nowMs += remaining!.resetMs!
      expect(await left(store, [limit])).toEqual([BigInt(limit.burst)])
    }
    const drained = async (limit: Limit) => {
      for (;;) {
        const answer = await store.budgets.spend([limit])
        if (!answer.spent) return answer
      }
    }
    await fc.assert(survives, { numRuns: 40 })
  })

  it('forget a rate once it is whole and the skew of clocks is over', async () => {
    const store = await openAtOurTime()
    await store.budgets.spend([rate('a'), rate('b', { periodMs: 3_600_000 })])
    await store.close()
    nowMs += 60_000 + 121_000
    stores.push(await openEmbedded({ path, maxStalenessMs: 2000, now: () => nowMs, purgeEveryMs: 5 }))
    const file = new DatabaseSync(path)
    await expect.poll(() => file.prepare('SELECT key FROM rates').all()).toEqual([{ key: 'b' }])
    file.close()
  })

  it('count one after the other the calls that waited for the file together', async () => {
    const store = await open()
    const limits = [total('a'), rate('a', { periodMs: 3_600_000, burst: 1 })]
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    const [first, second] = [store.budgets.spend(limits), store.budgets.spend(limits)]
    setImmediate(() => other.exec('COMMIT'))
    expect([await first, await second]).toMatchObject([
      { spent: true, remaining: [{ left: 19n }, { left: 0n }] },
      { spent: false, limit: 1, remaining: [{ left: 19n }, { left: 0n }] },
    ])
    other.close()
  })
})
