// What is read from a store is what was written there, or it is no answer at all.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeDeferral } from '../../src/stores/kept_deferrals.ts'
import { addUsage, decodeLease, decodeUsage, usageOf } from '../../src/stores/kept_leases.ts'
import { changed } from '../../src/stores/keyed.ts'
import { deferral, lease, oldLease, use } from './samples.ts'

const kept = {
  lease: { decode: decodeLease, value: lease('lse_1') },
  usage: { decode: decodeUsage, value: usageOf(use('lse_1')) },
  deferral: { decode: decodeDeferral, value: { ...deferral('d1'), polledAt: 1 } },
}

describe.each(Object.entries(kept))('the text of a %s', (what, { decode, value }) => {
  const unavailable = { name: 'Unavailable', message: `a stored ${what} is malformed` }

  it('is read back as it was', () => {
    expect(decode(JSON.stringify(value))).toEqual(value)
  })

  it('is no answer when it is anything else, and what it says is not repeated', () => {
    const garbage = fc.oneof(fc.json(), fc.string(), fc.constantFrom('null', '[]', '{}', '', 'hunter2'))
    const property = fc.property(garbage, (text) => {
      expect(() => decode(text)).toThrow(expect.objectContaining(unavailable))
    })
    fc.assert(property)
  })

  // The first version did not write the others: they have defaults.
  const first = what === 'lease' ? Object.keys(oldLease('lse_1')) : Object.keys(value)
  it.each(first)('is no answer without its %s, nor with one of another type', (name) => {
    for (const wrong of [undefined, null, true]) {
      const text = JSON.stringify({ ...value, [name]: wrong })
      expect(() => decode(text), text).toThrow(expect.objectContaining(unavailable))
    }
  })
})

it('usage adds up to the same in whatever order it is reported', () => {
  const verbs = fc.dictionary(fc.constantFrom('read', 'update', 'toString'), fc.nat(9))
  const uses = fc
    .record({ calls: fc.nat(9), verbs, refusals: fc.nat(9), bytesIn: fc.nat(9), bytesOut: fc.nat(9) })
    .chain((counts) => fc.nat(99).map((lastUsedAt) => usageOf(use('lse_1', { ...counts, lastUsedAt }))))
  const property = fc.property(uses, uses, uses, (a, b, c) => {
    expect(addUsage(addUsage(a, b), c)).toEqual(addUsage(b, addUsage(c, a)))
  })
  fc.assert(property)
})

it('a change of a record that others change all the time is given up, and not forced', async () => {
  let reads = 0
  const busy = { get: async () => `text ${reads++}`, run: async () => 0 }
  const change = changed(busy, 'key', (text) => ({ result: text, write: { text: 'mine' } }))
  await expect(change).rejects.toMatchObject({ name: 'Unavailable' })
  expect(reads).toBeLessThan(100)
})
