// The promises of deferrals and shared secrets, the same for every adapter.
import { expect, it } from 'vitest'
import type { Open } from './contract.ts'
import { deferral, nowSeconds } from './samples.ts'

const settled = { by: 'carol@example.com', at: 1, reason: 'fine' }

export function deferrals(open: Open): void {
  it('a deferral comes back as it was put, from every process, and one that is unknown does not', async () => {
    const store = await open()
    const waiting = deferral('d1')
    await store.deferrals.put(waiting)
    expect(await (await open()).deferrals.get('d1')).toEqual(waiting)
    expect(await store.deferrals.get('d2')).toBeUndefined()
    expect(await store.deferrals.poll('d2', nowSeconds())).toBeUndefined()
    expect(await store.deferrals.settle('d2', 'approved', settled)).toBe(false)
    expect(await store.deferrals.redeem('d2')).toBe(false)
  })

  it('of twenty that settle it, on whichever process, exactly one does, and its word stands', async () => {
    const stores = [await open(), await open()]
    await stores[0]!.deferrals.put(deferral('d1'))
    const tries = Array.from({ length: 20 }, (_, i) =>
      stores[i % 2]!.deferrals.settle('d1', i % 3 === 0 ? 'approved' : 'denied', { ...settled, at: i }),
    )
    const won = (await Promise.all(tries)).flatMap((yes, i) => (yes ? [i] : []))
    expect(won).toHaveLength(1)
    const [at] = won
    const state = at! % 3 === 0 ? 'approved' : 'denied'
    expect(await stores[1]!.deferrals.get('d1')).toMatchObject({ state, settled: { at } })
  })

  it('of twenty that redeem it, on whichever process, exactly one does, and none after a restart', async () => {
    const stores = [await open(), await open()]
    await stores[0]!.deferrals.put(deferral('d1'))
    expect(await stores[0]!.deferrals.redeem('d1')).toBe(false)
    await stores[1]!.deferrals.settle('d1', 'approved', settled)
    const tries = Array.from({ length: 20 }, (_, i) => stores[i % 2]!.deferrals.redeem('d1'))
    expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1)
    await stores[0]!.close()
    expect(await (await open()).deferrals.redeem('d1')).toBe(false)
    expect(await stores[1]!.deferrals.settle('d1', 'approved', settled)).toBe(false)
  })

  it('one that was denied is not redeemed, and putting it again does not open it', async () => {
    const { deferrals: port } = await open()
    await port.put(deferral('d1'))
    await port.settle('d1', 'denied', settled)
    expect(await port.redeem('d1')).toBe(false)
    await port.put(deferral('d1'))
    await port.put(deferral('d1', { state: 'approved' }))
    expect(await port.get('d1')).toMatchObject({ state: 'denied' })
    expect(await port.redeem('d1')).toBe(false)
  })

  it('a poll sooner than the interval after the one before it is too fast, and makes the interval longer', async () => {
    const [a, b] = [await open(), await open()]
    const at = nowSeconds()
    await a.deferrals.put(deferral('d1', { createdAt: at, interval: 5 }))
    expect(await a.deferrals.poll('d1', at + 5)).toMatchObject({ tooFast: false, deferral: { interval: 5 } })
    expect(await b.deferrals.poll('d1', at + 9)).toMatchObject({ tooFast: true, deferral: { interval: 10 } })
    expect(await a.deferrals.poll('d1', at + 19)).toMatchObject({ tooFast: false })
    expect(await a.deferrals.poll('d1', at + 20)).toMatchObject({ tooFast: true, deferral: { interval: 15 } })
    expect(await b.deferrals.get('d1')).toEqual(
      deferral('d1', { createdAt: at, expiresAt: at + 600, interval: 15 }),
    )
  })

  it('of ten polls at once, on whichever process, one is in time', async () => {
    const stores = [await open(), await open()]
    const at = nowSeconds()
    await stores[0]!.deferrals.put(deferral('d1', { createdAt: at }))
    const polls = Array.from({ length: 10 }, (_, i) => stores[i % 2]!.deferrals.poll('d1', at + 60))
    const answers = await Promise.all(polls)
    expect(answers.filter((answer) => answer?.tooFast === false)).toHaveLength(1)
    expect(await stores[0]!.deferrals.get('d1')).toMatchObject({ interval: 5 + 9 * 5 })
  })

  it('those that still wait are listed oldest first, at most as many as asked for', async () => {
    const { deferrals: port } = await open()
    const at = nowSeconds()
    await port.put(deferral('d1', { createdAt: at - 3, expiresAt: at + 900 }))
    await port.put(deferral('d2', { createdAt: at - 1, expiresAt: at + 100 }))
    await port.put(deferral('d3', { createdAt: at - 2, expiresAt: at + 600 }))
    await port.put(deferral('d4', { createdAt: at - 4, expiresAt: at + 50 }))
    await port.put(deferral('d5', { createdAt: at - 5 }))
    await port.settle('d5', 'approved', settled)
    const ids = async (limit: number, when = at) => (await port.pending(when, limit)).map(({ id }) => id)
    expect(await ids(9)).toEqual(['d4', 'd1', 'd3', 'd2'])
    expect(await ids(2)).toEqual(['d4', 'd1'])
    expect(await ids(0)).toEqual([])
    expect(await ids(-1)).toEqual([])
    expect(await ids(9, at + 50)).toEqual(['d1', 'd3', 'd2'])
    expect(await ids(9, at + 900)).toEqual([])
    expect(await port.pending(at, 1)).toEqual([deferral('d4', { createdAt: at - 4, expiresAt: at + 50 })])
  })

  it('one that has just expired can still be asked about', async () => {
    const store = await open()
    await store.deferrals.put(deferral('d1', { expiresAt: nowSeconds() - 1 }))
    await store.close()
    expect(await (await open()).deferrals.get('d1')).toMatchObject({ state: 'pending' })
  })
}

export function secrets(open: Open): void {
  it('a secret is the same for all who ask for its name, also at once and after a restart', async () => {
    const stores = [await open(), await open()]
    const asked = await Promise.all(
      Array.from({ length: 10 }, (_, i) => stores[i % 2]!.secrets.shared('nonce')),
    )
    const [first] = asked.map((secret) => Buffer.from(secret).toString('hex'))
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    for (const secret of asked) expect(Buffer.from(secret).toString('hex')).toBe(first)
    await stores[0]!.close()
    expect(Buffer.from(await (await open()).secrets.shared('nonce')).toString('hex')).toBe(first)
  })

  it('two names have two secrets', async () => {
    const { secrets: port } = await open()
    const [one, other] = [await port.shared('one'), await port.shared('other')]
    expect(Buffer.from(one).equals(other)).toBe(false)
  })
}
