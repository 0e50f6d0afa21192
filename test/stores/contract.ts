// In: a way to open one store's state several times, as several processes would. Out: the promises of
// ports.ts as tests, the same for every adapter.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type RevocationScope, revocationKey } from '../../src/lease/lease.ts'
import type { Revocation, Store } from '../../src/ports.ts'
import { keyOf } from '../../src/stores/entry.ts'
import { budgets } from './budgets_contract.ts'
import { deferrals, secrets } from './deferrals_contract.ts'
import { leases } from './leases_contract.ts'
import { records } from './records_contract.ts'
import { lease, nowSeconds, recordWrite, revocation } from './samples.ts'
import { policySets } from './sets_contract.ts'
import { suspensions } from './suspensions_contract.ts'

/** How to open a store; as in its options. */
export type Open = (options?: {
  readonly maxReplayIds?: number
  readonly now?: () => number
}) => Promise<Store>

/** One state, and the means to open it. */
export interface SharedState {
  readonly open: Open
  /** Ends and deletes the state; the stores have been closed. */
  end(): Promise<void>
}

/** What the gate asks for one lease; by default issued a minute ago. */
export function found(
  store: Store,
  value: string,
  {
    issuedAt = nowSeconds() - 60,
    scope = 'lease' as RevocationScope,
    issuer = 'https://broker.example',
  } = {},
): Revocation | undefined {
  const keys = [revocationKey(scope, value), revocationKey(scope, value, issuer)]
  return store.revocations.find(keys, issuedAt)
}

/** Waits, without a bound of its own on speed, until `probe` gives a value. */
export function eventually<T>(probe: () => T) {
  return expect.poll(probe, { timeout: 20_000, interval: 5 })
}

/** Runs the whole contract against one adapter. */
export function storeContract(kind: Store['kind'], setUp: () => Promise<SharedState>): void {
  describe(`the ${kind} store keeps the contract of the state ports:`, () => {
    let state: SharedState
    let stores: Store[] = []
    const open: Open = async (options) => {
      const store = await state.open(options)
      stores.push(store)
      return store
    }
    beforeEach(async () => {
      state = await setUp()
    })
    afterEach(async () => {
      await Promise.all(stores.map((store) => store.close()))
      stores = []
      await state.end()
    })
    itself(kind, open)
    revocations(open)
    suspensions(open)
    leases(open)
    deferrals(open)
    secrets(open)
    budgets(open)
    singleUse(open)
    bounded(open)
    policySets(open)
    records(open)
  })
}

function itself(kind: Store['kind'], open: Open): void {
  it('it says what it is, answers a ping, and its view is fresh when it opens', async () => {
    const store = await open()
    expect(store.kind).toBe(kind)
    await expect(store.ping()).resolves.toBeUndefined()
    expect(store.revocations.ageMs(Date.now())).toBeLessThan(Number.POSITIVE_INFINITY)
  })

  it.each(['issued', 'renewed'])(
    'its time is no earlier than the newest token was %s, for any process, whatever is done to clocks',
    async (how) => {
      let offMs = 0
      const store = await open({ now: () => Date.now() + offMs })
      const issuedAt = Math.floor(Date.now() / 1000) + 90
      await store.leases.put(lease('lse_1', how === 'issued' ? { issuedAt } : {}))
      await store.leases.renew('lse_1', {
        issuedAt: how === 'issued' ? 0 : issuedAt,
        expiresAt: issuedAt + 300,
      })
      offMs = -90_000
      expect(await store.now()).toBe(issuedAt)
      expect(await (await open()).now()).toBe(issuedAt)
    },
  )

  it('after close it answers nothing, and its view ages', async () => {
    const store = await open()
    await store.close()
    await expect(store.ping()).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.revocations.revoke(revocation('lse_1'))).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.leases.get('lse_1')).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.policySets.active()).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.policySets.get('sha256:00')).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.records.get('action', 'x')).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.records.write([recordWrite('x')])).rejects.toMatchObject({ name: 'Unavailable' })
    await eventually(() => store.revocations.ageMs(Date.now())).toBeGreaterThan(50)
  })

  it('closing twice is harmless', async () => {
    const store = await open()
    await store.close()
    await expect(store.close()).resolves.toBeUndefined()
  })
}

function revocations(open: Open): void {
  it('a revocation is in the view when revoke resolves, and there again after a restart', async () => {
    const store = await open()
    const entry = revocation('lse_1', { reason: 'naïve "quotes"\nand lines' })
    await store.revocations.revoke(entry)
    expect(found(store, 'lse_1')).toEqual(entry)
    expect(found(store, 'lse_2')).toBeUndefined()
    await store.close()
    expect(found(await open(), 'lse_1')).toEqual(entry)
  })

  it('two processes see and hear of each other’s revocations', async () => {
    const [a, b] = [await open(), await open()]
    const heard: string[] = []
    const unwatch = b.revocations.watch((entry) => heard.push(keyOf(entry)))
    await a.revocations.revoke(revocation('lse_a'))
    await b.revocations.revoke(revocation('lse_b'))
    await eventually(() => found(b, 'lse_a')).toBeDefined()
    await eventually(() => found(a, 'lse_b')).toBeDefined()
    expect(heard.toSorted()).toEqual(['lease\nlse_a', 'lease\nlse_b'])
    unwatch()
    await a.revocations.revoke(revocation('lse_c'))
    await eventually(() => found(b, 'lse_c')).toBeDefined()
    expect(heard).not.toContain('lease\nlse_c')
  })

  it('it kills what was issued up to its cutoff and nothing issued later', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('agent:x', { scope: 'agent', cutoff: 1000 }))
    const at = (issuedAt: number) => found(store, 'agent:x', { scope: 'agent', issuedAt })
    expect(at(999)).toBeDefined()
    expect(at(1000)).toBeDefined()
    expect(at(1001)).toBeUndefined()
    expect(at(Number.NaN)).toBeDefined()
  })

  it('an entry limited to an issuer spares the leases of others, one without spares none', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_1', { issuer: 'https://one.example' }))
    await store.revocations.revoke(revocation('lse_2'))
    expect(found(store, 'lse_1', { issuer: 'https://one.example' })).toBeDefined()
    expect(found(store, 'lse_1', { issuer: 'https://two.example' })).toBeUndefined()
    expect(found(store, 'lse_2', { issuer: 'https://one.example' })).toBeDefined()
    expect(found(store, 'lse_2', { issuer: 'https://two.example' })).toBeDefined()
  })

  it('whatever is written by whom in which order, the latest cutoff and the latest expiry stand', async () => {
    const [a, b] = [await open(), await open()]
    const base = nowSeconds() + 1000
    const times = fc.record({
      cutoff: fc.integer({ min: 0, max: 99 }),
      expiry: fc.integer({ min: 0, max: 99 }),
    })
    let run = 0
    const latestStands = fc.asyncProperty(fc.array(times, { minLength: 1, maxLength: 8 }), async (writes) => {
      const value = `lse_${run++}`
      const entries = writes.map(({ cutoff, expiry }) =>
        revocation(value, { cutoff: cutoff + 0.125, expiresAt: base + expiry }),
      )
      await Promise.all(entries.map((entry, i) => (i % 2 === 0 ? a : b).revocations.revoke(entry)))
      const wanted = {
        cutoff: Math.max(...entries.map((entry) => entry.cutoff)),
        expiresAt: Math.max(...entries.map((entry) => entry.expiresAt)),
      }
      await eventually(() => found(a, value, { issuedAt: 0 })).toMatchObject(wanted)
      await eventually(() => found(b, value, { issuedAt: 0 })).toMatchObject(wanted)
    })
    await fc.assert(latestStands, { numRuns: 25 })
    const reopened = await open()
    for (let i = 0; i < run; i++) {
      const [kept, seen] = [
        found(reopened, `lse_${i}`, { issuedAt: 0 }),
        found(a, `lse_${i}`, { issuedAt: 0 }),
      ]
      expect(kept).toMatchObject({ cutoff: seen?.cutoff, expiresAt: seen?.expiresAt })
    }
  })

  it('an entry among hundreds is found, and a restart brings all of them back', async () => {
    const store = await open()
    const values = Array.from({ length: 300 }, (_, i) => `lse_${i}`)
    await Promise.all(values.map((value) => store.revocations.revoke(revocation(value))))
    const reopened = await open()
    for (const each of [store, reopened]) {
      expect(each.revocations.size()).toBe(300)
      expect(values.every((value) => found(each, value) !== undefined)).toBe(true)
      expect(found(each, 'lse_300')).toBeUndefined()
    }
  })

  it('what has long expired is forgotten, what has not is kept', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_over', { expiresAt: nowSeconds() - 3600 }))
    await store.revocations.revoke(revocation('lse_just_over', { expiresAt: nowSeconds() - 1 }))
    await store.revocations.revoke(revocation('lse_live'))
    await store.close()
    const reopened = await open()
    await eventually(() => found(reopened, 'lse_over')).toBeUndefined()
    expect(found(reopened, 'lse_just_over')).toBeDefined()
    expect(found(reopened, 'lse_live')).toBeDefined()
  })

  it.each(['cutoff', 'expiresAt', 'at'] as const)(
    'an entry whose %s is not a number is refused',
    async (name) => {
      const store = await open()
      await expect(store.revocations.revoke(revocation('lse_1', { [name]: Number.NaN }))).rejects.toThrow(
        RangeError,
      )
      expect(store.revocations.size()).toBe(0)
    },
  )
}

function singleUse(open: Open): void {
  it('a single-use id passes once, however many try on whichever process', async () => {
    const stores = [await open(), await open()]
    const at = nowSeconds()
    const tries = Array.from({ length: 20 }, (_, i) => stores[i % 2]!.replay.use('jti_1', at + 60, at))
    expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1)
    expect(await stores[1]!.replay.use('jti_2', at + 60, at)).toBe(true)
  })

  it('a single-use id stays used after a restart, and an expired one never passes', async () => {
    const store = await open()
    const at = nowSeconds()
    expect(await store.replay.use('jti_1', at + 60, at)).toBe(true)
    expect(await store.replay.use('jti_2', at, at)).toBe(false)
    expect(await store.replay.use('jti_3', Number.NaN, at)).toBe(false)
    await store.close()
    expect(await (await open()).replay.use('jti_1', at + 60, at)).toBe(false)
  })
}

function bounded(open: Open): void {
  it('when no more single-use ids can be remembered, none passes, until one of them has expired', async () => {
    const at = nowSeconds()
    const [a, b] = [await open({ maxReplayIds: 3 }), await open({ maxReplayIds: 3 })]
    for (const id of ['1', '2', '3']) expect(await a.replay.use(id, at + 60, at)).toBe(true)
    for (const store of [a, b]) {
      await expect(store.replay.use('4', at + 60, at)).rejects.toMatchObject({ name: 'Unavailable' })
      expect(await store.replay.use('1', at + 60, at)).toBe(false)
    }
    const later = at + 3600
    expect(await b.replay.use('4', later + 60, later)).toBe(true)
    expect(await a.replay.use('4', later + 60, later)).toBe(false)
  })

  it('ids that come in for hours never fill what remembers those of a minute', async () => {
    const store = await open({ maxReplayIds: 300 })
    const at = nowSeconds()
    for (let second = 0; second < 1000; second++) {
      expect(await store.replay.use(`jti_${second}`, at + second + 60, at + second)).toBe(true)
    }
  })
}
