import { expect, test } from 'vitest'
import { newId } from '../../src/lease/ids.ts'

test('an id is its prefix and a ULID', () => {
  expect(newId('lse_', Date.now())).toMatch(/^lse_[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
})

test('the time is encoded as ULID does it', () => {
  expect(newId('x_', 1_469_918_176_385).slice(2, 12)).toBe('01ARYZ6S41')
  expect(newId('x_', 2 ** 48 - 1).slice(2, 12)).toBe('7ZZZZZZZZZ')
  expect(newId('x_', 0).slice(2, 12)).toBe('0000000000')
  expect(newId('x_', 1_469_918_176_385.9).slice(2, 12)).toBe('01ARYZ6S41')
})

test('ids sort by time', () => {
  const times = [0, 1, 31, 32, 1_795_300_000_000, 1_795_300_000_001, 1_795_300_001_000]
  const ids = times.map((time) => newId('x_', time))
  expect([...ids].sort()).toEqual(ids)
})

test('ids of one moment do not repeat', () => {
  const ids = Array.from({ length: 100_000 }, () => newId('x_', 1))
  expect(new Set(ids).size).toBe(ids.length)
})

test('every character of the random part takes every value', () => {
  const seen = Array.from({ length: 16 }, () => new Set<string>())
  for (let n = 0; n < 5000; n++) {
    for (const [at, character] of [...newId('x_', 1).slice(12)].entries()) seen[at]?.add(character)
  }
  expect(seen.map((values) => values.size)).toEqual(Array(16).fill(32))
})
