// The promises of records, the same for every adapter: compare-and-set, lists, expiry, and text as it was given.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Place, RecordKind, Records, RecordWrite } from '../../src/ports.ts'
import type { Open } from './contract.ts'
import { recordWrite as put } from './samples.ts'

export function records(open: Open): void {
  compareAndSet(open)
  lists(open)
  expiry(open)
  contents(open)
  it('records do as a map does that is read and written under a lock', async () => {
    const { records: port } = await open()
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const name = (text: string) => `${run}-${text}`
        run++
        const model = new Model()
        for (const writes of steps) {
          const asked = model.ask(writes, name)
          expect(await port.write(asked)).toBe(model.write(asked))
          for (const kind of kinds) {
            for (const id of ids.map(name)) {
              expect(await port.get(kind, id)).toEqual(model.get(kind, id))
            }
            for (const list of listNames.map(name)) {
              expect(await port.list(kind, list, { limit: 9 })).toEqual(model.list(kind, list))
            }
          }
        }
      }),
      { numRuns: 12 },
    )
  })
}

function compareAndSet(open: Open): void {
  it('a record is written where there was none, comes back from every process, and counts its changes', async () => {
    const [a, b] = [await open(), await open()]
    expect(await a.records.get('action', 'x')).toBeUndefined()
    expect(await a.records.write([put('x', { text: 'one' })])).toBe(true)
    expect(await b.records.get('action', 'x')).toEqual({ id: 'x', version: 1, text: 'one' })
    expect(await b.records.write([put('x', { expect: 1, text: 'two' })])).toBe(true)
    expect(await a.records.get('action', 'x')).toEqual({ id: 'x', version: 2, text: 'two' })
    await a.close()
    expect(await (await open()).records.get('action', 'x')).toEqual({ id: 'x', version: 2, text: 'two' })
  })

  it.each([
    ['none, where there is one', 0],
    ['the version before', 1],
    ['the version to come', 3],
  ])('a write that expects %s changes nothing', async (_, expected) => {
    const { records: port } = await open()
    await port.write([put('x')])
    await port.write([put('x', { expect: 1, text: 'stands', lists: ['l'] })])
    expect(await port.write([put('x', { expect: expected, text: 'new' })])).toBe(false)
    expect(await port.write([put('x', { expect: expected, text: undefined })])).toBe(false)
    expect(await port.get('action', 'x')).toEqual({ id: 'x', version: 2, text: 'stands' })
    expect(await port.list('action', 'l', { limit: 9 })).toHaveLength(1)
  })

  it('a record that is not there is neither changed nor taken away, but may be expected to be gone', async () => {
    const { records: port } = await open()
    expect(await port.write([put('x', { expect: 1 })])).toBe(false)
    expect(await port.write([put('x', { expect: 1, text: undefined })])).toBe(false)
    expect(await port.write([put('x', { text: undefined })])).toBe(true)
    expect(await port.get('action', 'x')).toBeUndefined()
    expect(await port.write([])).toBe(true)
  })

  it('several records change together or not at all, whichever expectation fails', async () => {
    const { records: port } = await open()
    await port.write([put('a', { lists: ['l'] }), put('b'), put('a', { kind: 'call', text: 'other kind' })])
    const changes = [
      put('a', { expect: 1, text: 'new', lists: ['m'] }),
      put('b', { expect: 1, text: undefined }),
      put('c', { text: 'new' }),
    ]
    for (const wrong of changes.keys()) {
      const writes = changes.map((write, at) => (at === wrong ? { ...write, expect: 7 } : write))
      expect(await port.write(writes)).toBe(false)
    }
    expect(await port.get('action', 'a')).toEqual({ id: 'a', version: 1, text: '{}' })
    expect(await port.get('action', 'b')).toBeDefined()
    expect(await port.get('action', 'c')).toBeUndefined()
    expect(await port.list('action', 'm', { limit: 9 })).toEqual([])
    expect(await port.write(changes)).toBe(true)
    expect(await port.get('action', 'a')).toEqual({ id: 'a', version: 2, text: 'new' })
    expect(await port.get('action', 'b')).toBeUndefined()
    expect(await port.get('action', 'c')).toMatchObject({ version: 1 })
    expect(await port.get('call', 'a')).toMatchObject({ version: 1, text: 'other kind' })
  })

  it('of twenty that change one record from the same version, on whichever process, exactly one does', async () => {
    const stores = [await open(), await open()]
    await stores[0]!.records.write([put('x')])
    const tries = Array.from({ length: 20 }, (_, i) =>
      stores[i % 2]!.records.write([put('x', { expect: 1, text: String(i) }), put(`won-${i}`)]),
    )
    const won = (await Promise.all(tries)).flatMap((yes, i) => (yes ? [i] : []))
    expect(won).toHaveLength(1)
    expect(await stores[1]!.records.get('action', 'x')).toEqual({ id: 'x', version: 2, text: String(won[0]) })
    for (let i = 0; i < 20; i++) {
      expect((await stores[0]!.records.get('action', `won-${i}`)) !== undefined).toBe(i === won[0])
    }
  })
}

function lists(open: Open): void {
  const of = async (port: Records, list: string, over: { limit?: number; before?: Place } = {}) =>
    (await port.list('action', list, { limit: 99, ...over })).map(({ id }) => id)

  it('a record is in the lists that its last write names, and in no other', async () => {
    const { records: port } = await open()
    await port.write([put('x', { lists: ['pending', 'lease:lse_1'] })])
    expect([await of(port, 'pending'), await of(port, 'lease:lse_1')]).toEqual([['x'], ['x']])
    await port.write([put('x', { expect: 1, lists: ['lease:lse_1', 'over'], text: 'two' })])
    expect([await of(port, 'pending'), await of(port, 'over')]).toEqual([[], ['x']])
    expect(await port.list('action', 'lease:lse_1', { limit: 9 })).toEqual([
      { id: 'x', version: 2, text: 'two' },
    ])
    expect(await port.list('call', 'over', { limit: 9 })).toEqual([])
    await port.write([put('x', { expect: 2 })])
    expect([await of(port, 'lease:lse_1'), await of(port, 'over')]).toEqual([[], []])
    await port.write([put('x', { expect: 3, lists: ['over'] })])
    await port.write([put('x', { expect: 4, text: undefined, lists: ['over'] })])
    expect(await of(port, 'over')).toEqual([])
  })

  it('a list is newest first, one place by id, within its limit and before a place', async () => {
    const { records: port } = await open()
    const places = { a: 10, b: 30.001, c: 30.002, d: 20, e: 20, 'd-1': 20, f: 1e-7 }
    for (const [id, at] of Object.entries(places)) await port.write([put(id, { at, lists: ['l'] })])
    const all = ['c', 'b', 'e', 'd-1', 'd', 'a', 'f']
    expect(await of(port, 'l')).toEqual(all)
    expect(await of(port, 'l', { limit: 3 })).toEqual(all.slice(0, 3))
    expect(await of(port, 'l', { before: { at: 30.002 } })).toEqual(all.slice(1))
    expect(await of(port, 'l', { before: { at: 20 }, limit: 1 })).toEqual(['a'])
    expect(await of(port, 'l', { before: { at: 1e-7 } })).toEqual([])
    expect(await of(port, 'l', { before: { at: 20, id: 'e' }, limit: 2 })).toEqual(['d-1', 'd'])
    expect(await of(port, 'l', { before: { at: 20, id: 'd' } })).toEqual(['a', 'f'])
    for (const limit of [0, -1, Number.NaN]) expect(await of(port, 'l', { limit })).toEqual([])
    expect(await of(port, 'l', { limit: Number.POSITIVE_INFINITY })).toEqual(all)
    expect(await of(port, 'l', { limit: 1.5 })).toEqual(['c'])
    await port.write([put('a', { at: 40, expect: 1, lists: ['l'] })])
    expect(await of(port, 'l', { limit: 2 })).toEqual(['a', 'c'])
  })

  it('a list of a thousand is read whole, and its newest without the rest', async () => {
    const { records: port } = await open()
    const ids = Array.from({ length: 1000 }, (_, at) => `r${String(at).padStart(4, '0')}`)
    for (let from = 0; from < 1000; from += 250) {
      const some = ids.slice(from, from + 250)
      await port.write(some.map((id, at) => put(id, { at: from + at, lists: ['l'] })))
    }
    expect(await of(port, 'l', { limit: 2000 })).toEqual(ids.toReversed())
    expect(await of(port, 'l', { limit: 2 })).toEqual(['r0999', 'r0998'])
    expect(await of(port, 'l', { limit: 2, before: { at: 500 } })).toEqual(['r0499', 'r0498'])
  })
}

function expiry(open: Open): void {
  const past = () => Date.now() / 1000 - 1

  it('a record whose time is over is as good as gone, and another may come in its place', async () => {
    const { records: port } = await open()
    const soon = Date.now() / 1000 + 0.3
    await port.write([put('x', { expiresAt: soon, lists: ['l', 'm'] }), put('y', { lists: ['l'], at: 1 })])
    await expect.poll(() => port.get('action', 'x'), { timeout: 20_000, interval: 20 }).toBeUndefined()
    expect((await port.list('action', 'l', { limit: 1 })).map(({ id }) => id)).toEqual(['y'])
    expect(await port.write([put('x', { expect: 1 })])).toBe(false)
    expect(await port.write([put('x', { lists: ['m'] })])).toBe(true)
    expect(await port.get('action', 'x')).toMatchObject({ version: 1 })
    expect((await port.list('action', 'l', { limit: 9 })).map(({ id }) => id)).toEqual(['y'])
    expect((await port.list('action', 'm', { limit: 9 })).map(({ id }) => id)).toEqual(['x'])
  })

  it('a record that is written when its time is over is gone at once', async () => {
    const { records: port } = await open()
    expect(await port.write([put('x', { expiresAt: past(), lists: ['l'] })])).toBe(true)
    expect(await port.get('action', 'x')).toBeUndefined()
    await port.write([put('x', { lists: ['l'] })])
    expect(await port.write([put('x', { expect: 1, expiresAt: past(), lists: ['l'] })])).toBe(true)
    expect(await port.get('action', 'x')).toBeUndefined()
    expect(await port.list('action', 'l', { limit: 9 })).toEqual([])
    expect(await port.write([put('x')])).toBe(true)
  })

  it('a change gives a record another end, earlier or later', async () => {
    const { records: port } = await open()
    const soon = Date.now() / 1000 + 0.3
    await port.write([put('longer', { expiresAt: soon }), put('shorter')])
    const changes = [put('longer', { expect: 1 }), put('shorter', { expect: 1, expiresAt: soon })]
    expect(await port.write(changes)).toBe(true)
    await expect.poll(() => port.get('action', 'shorter'), { timeout: 20_000, interval: 20 }).toBeUndefined()
    expect(await port.get('action', 'longer')).toMatchObject({ version: 2 })
  })

  it('a record may be for as good as ever', async () => {
    const { records: port } = await open()
    const ends = [9e9, Number.MAX_SAFE_INTEGER, Number.MAX_VALUE]
    for (const [at, expiresAt] of ends.entries()) {
      expect(await port.write([put(`x${at}`, { expiresAt, lists: ['l'] })])).toBe(true)
    }
    expect(await port.list('action', 'l', { limit: 9 })).toHaveLength(3)
  })
}

function contents(open: Open): void {
  it('text comes back as it was written: any Unicode, empty, and 400 KiB of it', async () => {
    const { records: port } = await open()
    const odd = '\0 "quotes" \\ \r\n\u2028\u202e\u0301 𝄞 ﷽ \uffff {leasegate} %s $1 \u{10ffff}'
    const texts = ['', odd, odd.repeat(Math.ceil((400 * 1024) / Buffer.byteLength(odd))), '0', 'null']
    const writes = texts.map((text, at) => put(`x${at}`, { text, at, lists: ['l'] }))
    expect(await port.write(writes)).toBe(true)
    const kept = await port.list('action', 'l', { limit: 9 })
    expect(kept.map(({ text }) => text).toReversed()).toEqual(texts)
    expect((await port.get('action', 'x2'))?.text.length).toBe(texts[2]!.length)
  })

  it('names of records and lists may hold what separates names', async () => {
    const { records: port } = await open()
    const names = ['a', 'a:b', 'a:b:c', '{a}', 'sha-256:x_-']
    for (const id of names) await port.write([put(id, { text: id, lists: [`lease:${id}`] })])
    for (const id of names) {
      expect(await port.get('action', id)).toMatchObject({ id, text: id })
      expect(await port.list('action', `lease:${id}`, { limit: 9 })).toMatchObject([{ id }])
    }
  })
}

const kinds = ['action', 'open'] as const satisfies readonly RecordKind[]
const ids = ['a', 'b', 'c']
const listNames = ['l', 'm']

/** What one write of the model's is to be; the version that it expects is right, or is not. */
const write = fc.record({
  kind: fc.constantFrom(...kinds),
  id: fc.constantFrom(...ids),
  off: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, 2) }),
  text: fc.option(fc.string({ unit: 'binary', maxLength: 20 }), { nil: undefined }),
  lists: fc.subarray(listNames),
  at: fc.integer({ min: 0, max: 3 }),
  isOver: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
})
const step = fc.uniqueArray(write, {
  minLength: 1,
  maxLength: 3,
  selector: ({ kind, id }) => `${kind} ${id}`,
})

class Model {
  readonly #kept = new Map<string, RecordWrite & { readonly text: string; readonly version: number }>()

  ask(
    writes: readonly (typeof write extends fc.Arbitrary<infer W> ? W : never)[],
    name: (text: string) => string,
  ): RecordWrite[] {
    return writes.map(({ kind, id, off, text, lists: named, at, isOver }) => ({
      kind,
      id: name(id),
      expect: (this.get(kind, name(id))?.version ?? 0) + off,
      text,
      lists: named.map(name),
      at,
      expiresAt: Date.now() / 1000 + (isOver ? -1 : 600),
    }))
  }

  write(writes: readonly RecordWrite[]): boolean {
    if (!writes.every(({ kind, id, expect: version }) => (this.get(kind, id)?.version ?? 0) === version))
      return false
    for (const each of writes) {
      const { kind, id, text, expiresAt } = each
      const isKept = text !== undefined && expiresAt > Date.now() / 1000
      if (isKept) this.#kept.set(`${kind} ${id}`, { ...each, text, version: each.expect + 1 })
      else this.#kept.delete(`${kind} ${id}`)
    }
    return true
  }

  get(kind: RecordKind, id: string) {
    const kept = this.#kept.get(`${kind} ${id}`)
    return kept && { id, version: kept.version, text: kept.text }
  }

  list(kind: RecordKind, list: string) {
    const within = [...this.#kept.values()].filter((each) => each.kind === kind && each.lists?.includes(list))
    const newest = within.toSorted((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1))
    return newest.map(({ id }) => this.get(kind, id))
  }
}
