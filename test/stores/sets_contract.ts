// The promises of `PolicySets` (ports.ts) as tests, part of the contract that every adapter keeps.
import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { historyLength, rollbackPath } from '../../src/policy/rollout.ts'
import type { ActivationRequest, PolicySet, Store } from '../../src/ports.ts'
import { keptSets } from '../../src/stores/kept_sets.ts'

/** A digest that begins with `start`. */
export const digestOf = (start: string) => `sha256:${start.padEnd(64, '0')}`

/** What stands in for a policy: a store never looks inside. */
export function policySet(start: string, over: Partial<PolicySet> = {}): PolicySet {
  const packed = Buffer.from(`content of ${start}`)
  return { digest: digestOf(start), packed, publishedAt: 1000, by: 'test', ...over }
}

const asked = (start: string, over: Partial<ActivationRequest> = {}): ActivationRequest => ({
  digest: digestOf(start),
  kind: 'activate',
  by: 'cli:dana',
  at: 1234.5,
  reason: 'naïve "quotes" %d',
  ...over,
})

/** Publishes and activates one after the other. */
async function rollOut({ policySets: sets }: Store, ...starts: string[]): Promise<void> {
  for (const start of starts) {
    await sets.put(policySet(start))
    expect(await sets.activate(asked(start))).toMatchObject({ outcome: 'activated' })
  }
}

/** Runs this part of the contract; `open` opens the same state once more. */
export function policySets(open: () => Promise<Store>): void {
  it('a policy set comes back byte for byte, in another process and after a restart', async () => {
    const [a, b] = [await open(), await open()]
    const packed = randomBytes(3 * 1024 * 1024)
    expect(await a.policySets.put(policySet('a', { packed, publishedAt: 7.25, by: 'cli:dana' }))).toBe(true)
    expect(Buffer.from((await b.policySets.get(digestOf('a')))!).equals(packed)).toBe(true)
    await a.close()
    const c = await open()
    expect(Buffer.from((await c.policySets.get(digestOf('a')))!).equals(packed)).toBe(true)
    expect(await c.policySets.list()).toEqual([{ digest: digestOf('a'), publishedAt: 7.25, by: 'cli:dana' }])
    expect(await c.policySets.get(digestOf('b'))).toBeUndefined()
  })

  it('publishing again replaces the content, so that a damaged set can be mended', async () => {
    const { policySets: sets } = await open()
    expect(await sets.put(policySet('a', { packed: Buffer.from('damaged') }))).toBe(true)
    expect(await sets.put(policySet('a'))).toBe(false)
    expect(Buffer.from((await sets.get(digestOf('a')))!).toString()).toBe('content of a')
    expect(await sets.list()).toHaveLength(1)
  })

  it('sets are listed newest first', async () => {
    const { policySets: sets } = await open()
    for (const [start, publishedAt] of Object.entries({ b: 2, a: 1, d: 3, c: 3 })) {
      await sets.put(policySet(start, { publishedAt }))
    }
    expect((await sets.list()).map(({ digest }) => digest)).toEqual(['c', 'd', 'b', 'a'].map(digestOf))
  })

  it('nothing is active until something is activated; then every process says the same', async () => {
    const [a, b] = [await open(), await open()]
    expect(await a.policySets.active()).toBeUndefined()
    expect(await a.policySets.history(10)).toEqual([])
    await a.policySets.put(policySet('a'))
    await a.policySets.put(policySet('b'))
    const first = { number: 1, ...asked('a') }
    expect(await a.policySets.activate(asked('a'))).toEqual({ outcome: 'activated', activation: first })
    expect(await b.policySets.active()).toEqual(first)
    const second = { number: 2, ...asked('b', { kind: 'rollback', reason: '' }) }
    expect(await b.policySets.activate(asked('b', { kind: 'rollback', reason: '' }))).toEqual({
      outcome: 'activated',
      activation: second,
    })
    await a.close()
    const c = await open()
    expect(await c.policySets.active()).toEqual(second)
    expect(await c.policySets.history(10)).toEqual([second, first])
    expect(await c.policySets.history(1)).toEqual([second])
    expect(await c.policySets.history(0)).toEqual([])
    expect(await c.policySets.history(-1)).toEqual([])
  })

  it('what is not stored is not activated, and nothing is written', async () => {
    const store = await open()
    await rollOut(store, 'a')
    expect(await store.policySets.activate(asked('b'))).toEqual({ outcome: 'not_stored' })
    expect(await store.policySets.history(10)).toHaveLength(1)
  })

  it('what is active already is not activated again', async () => {
    const store = await open()
    await rollOut(store, 'a')
    const again = await store.policySets.activate(asked('a', { reason: 'once more' }))
    expect(again).toEqual({ outcome: 'unchanged', activation: { number: 1, ...asked('a') } })
    expect(await store.policySets.history(10)).toHaveLength(1)
  })

  it('an activation that expects another policy to be active is refused, and says which one is', async () => {
    const store = await open()
    await store.policySets.put(policySet('a'))
    const early = await store.policySets.activate(asked('a', { expected: digestOf('b') }))
    expect(early).toEqual({ outcome: 'not_expected', active: undefined })
    await rollOut(store, 'a', 'b')
    const late = await store.policySets.activate(asked('a', { expected: digestOf('a') }))
    expect(late).toEqual({ outcome: 'not_expected', active: { number: 2, ...asked('b') } })
    const right = await store.policySets.activate(asked('a', { expected: digestOf('b') }))
    expect(right).toMatchObject({ outcome: 'activated', activation: { number: 3 } })
  })

  it('of activations from two processes at once none is lost, and both see one order', async () => {
    const [a, b] = [await open(), await open()]
    const starts = ['a', 'b', 'c', 'd', 'e', 'f', '1', '2']
    for (const start of starts) await a.policySets.put(policySet(start))
    const all = starts.map((start, i) => (i % 2 === 0 ? a : b).policySets.activate(asked(start)))
    const numbers = (await Promise.all(all)).map((each) =>
      each.outcome === 'activated' ? each.activation.number : each.outcome,
    )
    expect(numbers.toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    const history = await a.policySets.history(20)
    expect(history.map(({ number }) => number)).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
    expect(await b.policySets.history(20)).toEqual(history)
    expect(new Set(history.map(({ digest }) => digest)).size).toBe(8)
  })

  it('of two rollbacks at once that read the same history, one is done', async () => {
    const [a, b] = [await open(), await open()]
    await rollOut(a, 'a', 'b', 'c')
    const rollback = async ({ policySets: sets }: Store) => {
      const target = rollbackPath(await sets.history(historyLength))[0]
      expect(target).toBe(digestOf('b'))
      return { ...asked('b', { kind: 'rollback', expected: digestOf('c') }) }
    }
    const requests = await Promise.all([rollback(a), rollback(b)])
    const results = await Promise.all([
      a.policySets.activate(requests[0]!),
      b.policySets.activate(requests[1]!),
    ])
    expect(results.map(({ outcome }) => outcome).toSorted()).toEqual(['activated', 'not_expected'])
    expect(rollbackPath(await b.policySets.history(historyLength))[0]).toBe(digestOf('a'))
  })

  it('old sets are forgotten; never the active one, nor the one a rollback leads to', async () => {
    const store = await open()
    const { policySets: sets } = store
    await rollOut(store, 'aa', 'bb')
    for (let i = 0; i < keptSets + 5; i++) {
      await sets.put(policySet(`${10 + i}`, { publishedAt: 2000 + i }))
      await sets.activate(asked(`${10 + i}`))
      await sets.activate(asked('bb', { kind: 'rollback' }))
    }
    expect((await sets.active())?.digest).toBe(digestOf('bb'))
    expect(rollbackPath(await sets.history(historyLength))[0]).toBe(digestOf('aa'))
    const kept = (await sets.list()).map(({ digest }) => digest)
    expect(kept).toContain(digestOf('aa'))
    expect(kept).toContain(digestOf('bb'))
    expect(kept).toHaveLength(keptSets + 2)
    expect(await sets.get(digestOf('10'))).toBeUndefined()
    expect(await sets.activate(asked('10'))).toEqual({ outcome: 'not_stored' })
    expect(await sets.activate(asked('aa', { kind: 'rollback' }))).toMatchObject({ outcome: 'activated' })
  })

  it('sets that are only published are bounded too, and the newest put is there whatever its time', async () => {
    const { policySets: sets } = await open()
    for (let i = 0; i < keptSets; i++) await sets.put(policySet(`${10 + i}`, { publishedAt: 2000 + i }))
    await sets.put(policySet('01d', { publishedAt: 1 }))
    expect(await sets.list()).toHaveLength(keptSets + 1)
    expect(await sets.get(digestOf('01d'))).toBeDefined()
    await sets.put(policySet('ff', { publishedAt: 3000 }))
    const kept = (await sets.list()).map(({ digest }) => digest)
    expect(kept).toHaveLength(keptSets)
    expect(kept).not.toContain(digestOf('01d'))
    expect(kept[0]).toBe(digestOf('ff'))
  })
}
