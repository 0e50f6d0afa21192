// The promises of suspensions, the same for every adapter.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Store, Suspension } from '../../src/ports.ts'
import { eventually, type Open } from './contract.ts'
import { nowSeconds, suspension } from './samples.ts'

/** The suspension in force for a lease without ancestors. */
export function suspended(store: Store, id: string): Suspension | undefined {
  return store.revocations.suspension({ id, ancestors: [] })
}

export function suspensions(open: Open): void {
  it('a suspension is in force when suspend resolves, and again after a restart, until it is taken back', async () => {
    const store = await open()
    const entry = suspension('lse_1', { reason: 'naïve "quotes"\nand lines' })
    await store.revocations.suspend(entry)
    expect(suspended(store, 'lse_1')).toEqual(entry)
    expect(suspended(store, 'lse_2')).toBeUndefined()
    const reopened = await open()
    expect(suspended(reopened, 'lse_1')).toEqual(entry)
    await reopened.revocations.suspend(suspension('lse_1', { version: 2, suspended: false }))
    expect(suspended(reopened, 'lse_1')).toBeUndefined()
    await eventually(() => suspended(store, 'lse_1')).toBeUndefined()
    expect(suspended(await open(), 'lse_1')).toBeUndefined()
  })

  it('two processes see each other’s suspensions, and a revocation beside them is its own thing', async () => {
    const [a, b] = [await open(), await open()]
    await a.revocations.suspend(suspension('lse_a'))
    await b.revocations.suspend(suspension('lse_b'))
    await eventually(() => suspended(b, 'lse_a')).toBeDefined()
    await eventually(() => suspended(a, 'lse_b')).toBeDefined()
    expect(a.revocations.find(['lease\nlse_a', 'suspension\nlse_a'], 0)).toBeUndefined()
  })

  it('what suspends a lease suspends those that were handed on from it', async () => {
    const store = await open()
    await store.revocations.suspend(suspension('lse_parent'))
    const asked = (ancestors: string[]) => store.revocations.suspension({ id: 'lse_child', ancestors })
    expect(asked(['lse_parent', 'lse_root'])).toMatchObject({ lease: 'lse_parent' })
    expect(asked(['lse_other', 'lse_parent'])).toMatchObject({ lease: 'lse_parent' })
    expect(asked([])).toBeUndefined()
  })

  it('whatever is written by whom in which order, the latest version stands, the stricter of two alike', async () => {
    const [a, b] = [await open(), await open()]
    const entry = fc.record({
      version: fc.integer({ min: 0, max: 5 }),
      suspended: fc.boolean(),
      expiry: fc.integer({ min: 0, max: 99 }),
    })
    const base = nowSeconds() + 1000
    let run = 0
    const latestStands = fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 8 }), async (writes) => {
      const id = `lse_${run++}`
      const entries = writes.map(({ expiry, ...rest }) =>
        suspension(id, { ...rest, expiresAt: base + expiry }),
      )
      await Promise.all(entries.map((each, i) => (i % 2 === 0 ? a : b).revocations.suspend(each)))
      const version = Math.max(...entries.map((each) => each.version))
      const inForce = entries.some((each) => each.version === version && each.suspended)
      const expiresAt = Math.max(...entries.map((each) => each.expiresAt))
      const wanted = inForce ? expect.objectContaining({ version, expiresAt }) : undefined
      await eventually(() => suspended(a, id)).toEqual(wanted)
      await eventually(() => suspended(b, id)).toEqual(wanted)
    })
    await fc.assert(latestStands, { numRuns: 25 })
    const reopened = await open()
    for (let i = 0; i < run; i++) expect(suspended(reopened, `lse_${i}`)).toEqual(suspended(a, `lse_${i}`))
  })

  it('what has long expired is forgotten, what has not is kept', async () => {
    const store = await open()
    await store.revocations.suspend(suspension('lse_over', { expiresAt: nowSeconds() - 3600 }))
    await store.revocations.suspend(suspension('lse_just_over', { expiresAt: nowSeconds() - 1 }))
    await store.close()
    const reopened = await open()
    await eventually(() => suspended(reopened, 'lse_over')).toBeUndefined()
    expect(suspended(reopened, 'lse_just_over')).toBeDefined()
  })

  it.each([
    ['version', Number.NaN],
    ['version', -1],
    ['version', 0.5],
    ['version', 2 ** 53],
    ['expiresAt', Number.NaN],
    ['at', Number.POSITIVE_INFINITY],
  ])('an entry whose %s is %d is refused', async (name, value) => {
    const store = await open()
    await expect(store.revocations.suspend(suspension('lse_1', { [name]: value }))).rejects.toThrow(
      RangeError,
    )
    expect(store.revocations.size()).toBe(0)
  })
}
