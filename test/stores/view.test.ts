import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { revocationKey } from '../../src/lease/lease.ts'
import type { Suspension } from '../../src/ports.ts'
import { covers, decodeEntry, encodeEntry, keyOf, merge, rankOf } from '../../src/stores/entry.ts'
import { decodeValue, revokeArguments } from '../../src/stores/revocation_scripts.ts'
import { Freshness, RevocationView } from '../../src/stores/view.ts'
import { revocation, suspension } from './samples.ts'

const times = fc.record({
  cutoff: fc.double({ min: 0, max: 1e10, noNaN: true }),
  expiresAt: fc.double({ min: 0, max: 1e10, noNaN: true }),
})
const entries = fc.array(
  times.map((over) => revocation('lse_1', over)),
  { minLength: 1 },
)
const key = revocationKey('lease', 'lse_1')

describe('the view of revocations', () => {
  it('is never weakened, and ends the same in whatever order entries arrive', () => {
    const property = fc.property(entries, fc.infiniteStream(fc.nat()), (arriving, numbers) => {
      const view = new RevocationView()
      for (const entry of arriving) {
        const before = view.find([key], 0)
        view.put(entry)
        const after = view.find([key], 0)!
        expect(covers(after, entry)).toBe(true)
        expect(before === undefined || covers(after, before)).toBe(true)
      }
      const shuffled = new RevocationView()
      for (const entry of arriving.toSorted(() => (numbers.next().value % 3) - 1)) shuffled.put(entry)
      const { cutoff, expiresAt } = view.find([key], 0)!
      expect(shuffled.find([key], 0)).toMatchObject({ cutoff, expiresAt })
    })
    fc.assert(property)
  })

  it('ends with the latest version of a suspension, the stricter of two alike, in whatever order they arrive', () => {
    const version = fc.record({ version: fc.nat(3), suspended: fc.boolean(), expiresAt: fc.nat(99) })
    const arriving = fc.array(
      version.map((over) => suspension('lse_1', over)),
      { minLength: 1 },
    )
    const inForce = (all: readonly Suspension[]) => {
      const view = new RevocationView()
      for (const entry of all) view.put(entry)
      expect(view.size).toBe(1)
      const { version, expiresAt } = view.suspension({ id: 'lse_1', ancestors: [] }) ?? {}
      return { version, expiresAt }
    }
    const property = fc.property(arriving, (entries) => {
      const ranked = entries.toSorted((a, b) => rankOf(b) - rankOf(a))
      expect(inForce(entries)).toEqual(inForce(ranked))
      expect(inForce(entries)).toEqual(inForce(entries.toReversed()))
      const wanted = ranked[0]!.suspended ? ranked[0]!.version : undefined
      expect(inForce(entries).version).toBe(wanted)
    })
    fc.assert(property)
  })

  it('forgets a suspension when its time is over, and gives its key', () => {
    const view = new RevocationView()
    view.put(suspension('lse_1', { expiresAt: 99 }))
    view.put(suspension('lse_2', { expiresAt: 100 }))
    expect([...view.purge(100)].flat()).toEqual([keyOf(suspension('lse_1'))])
    expect(view.suspension({ id: 'lse_1', ancestors: [] })).toBeUndefined()
    expect(view.suspension({ id: 'lse_2', ancestors: [] })).toBeDefined()
  })

  it('merging twice changes nothing, and says so by identity', () => {
    const property = fc.property(times, times, (a, b) => {
      const merged = merge(revocation('lse_1', a), revocation('lse_1', b))
      expect(merge(merged, revocation('lse_1', b))).toBe(merged)
      expect(merge(merged, revocation('lse_1', a))).toBe(merged)
    })
    fc.assert(property)
  })

  it('keeps the reason of the later cutoff', () => {
    const early = revocation('lse_1', { cutoff: 1, expiresAt: 9, reason: 'early' })
    const late = revocation('lse_1', { cutoff: 2, expiresAt: 8, reason: 'late' })
    expect(merge(early, late)).toEqual({ ...late, expiresAt: 9 })
    expect(merge(late, early)).toEqual({ ...late, expiresAt: 9 })
  })

  it('finds one lease among ten thousand revoked ones', () => {
    const view = new RevocationView()
    for (let i = 0; i < 10_000; i++) view.put(revocation(`other_${i}`, { cutoff: 10 }))
    expect(view.find([key, revocationKey('lease', 'other_77')], 10)).toMatchObject({ value: 'other_77' })
    expect(view.find([key], 10)).toBeUndefined()
    expect(view.size).toBe(10_000)
  })

  it('forgets what expired before the given second and nothing else', () => {
    const view = new RevocationView()
    view.put(revocation('lse_1', { expiresAt: 99 }))
    view.put(revocation('lse_2', { expiresAt: 100 }))
    expect([...view.purge(100)].flat()).toEqual([key])
    expect(view.size).toBe(1)
  })

  it('calls each listener once per change, until it leaves', () => {
    const view = new RevocationView()
    const listener = vi.fn()
    const leave = view.watch(listener)
    const entry = revocation('lse_1')
    view.put(entry)
    view.put(entry)
    leave()
    view.put(revocation('lse_2'))
    expect(listener.mock.calls).toEqual([[entry]])
  })

  it('holds an entry and tells the others even when one listener throws; the error surfaces', async () => {
    const view = new RevocationView()
    const surfaced = vi.fn()
    const others = process.rawListeners('uncaughtException')
    process.removeAllListeners('uncaughtException').once('uncaughtException', surfaced)
    const listener = vi.fn()
    view.watch(() => {
      throw new Error('a bug')
    })
    view.watch(listener)
    view.put(revocation('lse_1'))
    await new Promise(setImmediate)
    for (const other of others) process.on('uncaughtException', other as NodeJS.UncaughtExceptionListener)
    expect(view.size).toBe(1)
    expect(listener).toHaveBeenCalledOnce()
    expect(surfaced.mock.calls[0]?.[0]).toMatchObject({ message: 'a bug' })
  })
})

describe('a stored entry', () => {
  it('comes back exactly as it was, from text and from what Redis keeps', () => {
    const property = fc.property(times, fc.string(), fc.string(), (over, value, issuer) => {
      const entry = revocation(value, { ...over, issuer })
      expect(decodeEntry(encodeEntry(entry))).toStrictEqual(JSON.parse(JSON.stringify(entry)))
      expect(decodeValue(revokeArguments(entry).join(' '))).toEqual(entry)
    })
    fc.assert(property)
  })

  const entry = JSON.stringify(revocation('lse_1'))
  it.each([
    ['no JSON', '{'],
    ['null', 'null'],
    ['a number', '7'],
    ['an unknown scope', entry.replace('"lease"', '"planet"')],
    ['no value', entry.replace('"value"', '"valeu"')],
    ['an issuer that is not text', entry.replace('{', '{"issuer":7,')],
    ['a cutoff that is text', entry.replace(/"cutoff":(\d+)/, '"cutoff":"$1"')],
  ])('that is %s is not guessed at', (_, text) => {
    expect(() => decodeEntry(text)).toThrow(expect.objectContaining({ name: 'Unavailable' }))
    expect(() => decodeValue(`1 2 ${text}`)).toThrow(expect.objectContaining({ name: 'Unavailable' }))
  })

  it.each([
    ['without its times', entry],
    ['with times that are no numbers', `one two ${entry}`],
    ['with an empty time', ` 2 ${entry}`],
    ['that is empty', ''],
  ])('of Redis %s is not guessed at', (_, value) => {
    expect(() => decodeValue(value)).toThrow(expect.objectContaining({ name: 'Unavailable' }))
  })
})

describe('the age of a view', () => {
  const steadyMs = () => performance.now()

  it('is without bound before the first proof', () => {
    expect(new Freshness().ageMs(Date.now())).toBe(Number.POSITIVE_INFINITY)
  })

  it('counts by the wall clock, so that a machine that slept wakes up stale', () => {
    const freshness = new Freshness()
    freshness.prove({ wallMs: 1_000_000, steadyMs: steadyMs() })
    expect(freshness.ageMs(1_090_000)).toBe(90_000)
  })

  it('counts by the steady clock when the wall clock is set back', () => {
    const freshness = new Freshness()
    freshness.prove({ wallMs: 1_000_000, steadyMs: steadyMs() - 5000 })
    expect(freshness.ageMs(1)).toBeGreaterThanOrEqual(5000)
  })

  it('goes back to the last moment that is not in doubt, by both clocks, and not to one after it', () => {
    const freshness = new Freshness()
    const now = steadyMs()
    freshness.prove({ wallMs: 1_000_000, steadyMs: now - 300 })
    freshness.distrust(now - 200)
    expect(freshness.ageMs(1_000_400)).toBe(400)
    freshness.distrust(now - 60_300)
    expect(freshness.ageMs(1_000_000)).toBeGreaterThanOrEqual(60_000)
    expect(freshness.ageMs(1_090_000)).toBe(150_000)
  })

  it('is not renewed by what was asked before the doubt', () => {
    const freshness = new Freshness()
    const before = { wallMs: 1_000_000, steadyMs: steadyMs() }
    freshness.distrust(before.steadyMs)
    freshness.prove(before)
    expect(freshness.ageMs(1_000_000)).toBe(Number.POSITIVE_INFINITY)
  })
})
