import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hashOf, withHashes } from '../../src/lease/key_hash.ts'
import { revocationKey, revocationScopes } from '../../src/lease/lease.ts'
import type { Revocation } from '../../src/ports.ts'
import { concernOf, doubtfulRevocation } from '../../src/stores/doubtful.ts'
import { covers, keyOf, merge } from '../../src/stores/entry.ts'
import { RevocationTable } from '../../src/stores/table.ts'
import { revocation } from './samples.ts'

/** The simplest thing that keeps the same promises. */
class Reference {
  readonly entries = new Map<string, { entry?: Revocation; doubtful: boolean; seen?: number | undefined }>()

  put(entry: Revocation, generation?: number): void {
    const known = this.entries.get(keyOf(entry))
    const merged = merge(known?.entry, entry)
    const seen = generation !== undefined && covers(entry, merged) ? generation : undefined
    // A replaced entry has to be seen anew; an extended one keeps the mark it had.
    const kept = known?.entry?.cutoff === merged.cutoff ? known.seen : undefined
    this.entries.set(keyOf(entry), { entry: merged, doubtful: false, seen: seen ?? kept })
  }

  doubt(key: string): void {
    this.entries.set(key, { ...this.entries.get(key), doubtful: true })
  }

  find(keys: readonly string[], issuedAt: number): Revocation | undefined {
    for (const key of keys) {
      const known = this.entries.get(key)
      if (known?.doubtful === true) return doubtfulRevocation(key)
      if (known?.entry !== undefined && known.entry.cutoff >= issuedAt) return known.entry
    }
    return undefined
  }

  purge(before: number): string[] {
    const gone = [...this.entries].filter(
      ([, { entry, doubtful }]) => !doubtful && entry !== undefined && entry.expiresAt < before,
    )
    for (const [key] of gone) this.entries.delete(key)
    return gone.map(([key]) => key)
  }

  unseen(generation: number, now: number): Revocation[] {
    return [...this.entries.values()].flatMap(({ entry, doubtful, seen }) =>
      doubtful || entry === undefined || seen === generation || entry.expiresAt <= now ? [] : [entry],
    )
  }
}

const text = fc.oneof(
  fc.string(),
  fc.constantFrom('a', 'b', 'über', '要', '\ud800', 'x'.repeat(600)),
  fc.string({ unit: 'binary' }),
)
const value = fc.constantFrom('lse_1', 'lse_2', 'alice@example.com', 'größe', '要', '\udc00', 'x'.repeat(700))
const time = fc.integer({ min: 0, max: 9 })
const entries = fc.record(
  {
    scope: fc.constantFrom(...revocationScopes),
    value,
    issuer: fc.constantFrom('https://one.example', 'https://zwei.example/ü'),
    cutoff: time,
    expiresAt: time,
    reason: text,
    by: text,
    at: time,
  },
  { requiredKeys: ['scope', 'value', 'cutoff', 'expiresAt', 'reason', 'by', 'at'] },
)
const steps = fc.oneof(
  { weight: 6, arbitrary: fc.record({ step: fc.constant('put' as const), entry: entries }) },
  { weight: 2, arbitrary: fc.record({ step: fc.constant('see' as const), entry: entries }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('doubt' as const), entry: entries }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('purge' as const), before: time }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('look' as const), now: time }) },
)
const inOrder = (all: Iterable<Revocation>) => [...all].toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))

describe('the table of revocations', () => {
  it('says what a Map of merged entries would, whatever is put, doubted, purged and looked for', () => {
    const property = fc.property(fc.array(steps, { maxLength: 60 }), (all) => {
      const [table, reference] = [new RevocationTable(), new Reference()]
      const keys = new Set<string>()
      let generation = 1
      for (const each of all) {
        if (each.step === 'purge') {
          const gone = [...table.purge(each.before)].flat()
          expect(gone.toSorted()).toEqual(reference.purge(each.before).toSorted())
        } else if (each.step === 'look') {
          const lost = reference.unseen(generation, each.now)
          expect(inOrder(table.unseen(generation, each.now))).toEqual(inOrder(lost))
          generation++
        } else {
          const key = keyOf(each.entry)
          keys.add(key)
          const before = table.get(key)
          const seen = each.step === 'see' ? generation : undefined
          const changed = each.step === 'doubt' ? table.doubt(key) : table.put(each.entry, seen)
          if (each.step === 'doubt') reference.doubt(key)
          else reference.put(each.entry, seen)
          expect(changed).toBe(JSON.stringify(table.get(key)) !== JSON.stringify(before))
        }
        expect(table.size).toBe(reference.entries.size)
      }
      expect(table.doubtful).toBe([...reference.entries.values()].filter((each) => each.doubtful).length)
      for (const key of keys) {
        for (let issuedAt = -1; issuedAt < 11; issuedAt++) {
          expect(table.find([key], issuedAt)).toEqual(reference.find([key], issuedAt))
        }
      }
    })
    fc.assert(property, { numRuns: 200 })
  })

  it('finds everything that lives after thousands were replaced and purged, long reasons and all', () => {
    const [table, reference] = [new RevocationTable(), new Reference()]
    const put = (entry: Revocation) => {
      table.put(entry)
      reference.put(entry)
    }
    const count = 4000
    const entry = (n: number, cutoff: number) =>
      revocation(`lse_${n}`, { cutoff, expiresAt: 1000 + n, at: 1, reason: `${n} ${'why '.repeat(200)}` })
    for (let cutoff = 1; cutoff <= 3; cutoff++) {
      for (let n = 0; n < count; n++) if (n % cutoff === 0) put(entry(n, cutoff))
    }
    const gone = [...table.purge(1000 + count / 2)].flat()
    expect(gone.toSorted()).toEqual(reference.purge(1000 + count / 2).toSorted())
    for (let n = 0; n < count; n += 5) put(entry(n, 9))
    expect(table.size).toBe(reference.entries.size)
    for (let n = 0; n < count; n++) {
      const key = revocationKey('lease', `lse_${n}`)
      expect(table.find([key], 0)).toEqual(reference.find([key], 0))
    }
    expect([...table.purge(Number.POSITIVE_INFINITY)].flat()).toHaveLength(reference.entries.size)
    expect(table.size).toBe(0)
    expect(table.find([revocationKey('lease', 'lse_3999')], 0)).toBeUndefined()
  })

  it('holds an entry longer than a slab', () => {
    const table = new RevocationTable()
    const long = revocation('v'.repeat(3_000_000), { reason: '要'.repeat(1_000_000) })
    table.put(long)
    table.put(revocation('lse_1'))
    expect(table.find([keyOf(long)], 0)).toEqual(long)
    expect(table.find([revocationKey('lease', 'lse_1')], 0)).toBeDefined()
  })

  it('does not take two keys with one hash for each other', () => {
    const table = new RevocationTable()
    const key = revocationKey('lease', 'lse_1')
    table.put(revocation('lse_1'))
    const other = Object.assign([revocationKey('lease', 'lse_2')], { hashes: [hashOf(key)] })
    expect(table.find(other, 0)).toBeUndefined()
  })

  it('finds the same with and without hashes, and revokes what was issued at no known time', () => {
    const table = new RevocationTable()
    table.put(revocation('lse_1', { cutoff: 10 }))
    const keys = ['x', revocationKey('lease', 'lse_1')]
    expect(table.find(withHashes(keys), 10)).toEqual(table.find(keys, 10))
    expect(table.find(keys, 11)).toBeUndefined()
    expect(table.find(keys, Number.NaN)).toBeDefined()
  })
})

describe('the key of an entry that cannot be read', () => {
  it.each([
    ['lease\nlse_1', 'lease'],
    ['agent_version\nagent:x@1\nhttps://one.example', 'agent_version'],
    ['suspension\nlse_1', 'suspension'],
    ['planet\nmars', undefined],
    ['lease', undefined],
    ['lease\n', undefined],
    ['Lease\nlse_1', undefined],
    ['constructor\nx', undefined],
    ['', undefined],
    ['lease\nlse_\ufffd', undefined],
  ])('%j concerns %s', (key, concern) => {
    expect(concernOf(key)).toBe(concern)
  })

  it('gives a revocation that stands under the same key again', () => {
    const property = fc.property(entries, (entry) => {
      expect(keyOf(doubtfulRevocation(keyOf(entry)))).toBe(keyOf(entry))
    })
    fc.assert(property)
  })
})
