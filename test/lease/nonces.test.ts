// Nonces that need no store: the same secret knows them, another does not, and they grow old.
import { expect, test } from 'vitest'
import { createNonces, nonceSeconds } from '../../src/lease/nonces.ts'

const now = 1_795_300_000 - (1_795_300_000 % nonceSeconds)
const secret = new Uint8Array(32).fill(7)
const nonces = createNonces(secret)
const nonce = nonces.current(now)

test.each([
  ['at once', 0, 'current'],
  ['in the last second of its minute', 59, 'current'],
  ['in the next minute', 60, 'stale'],
  ['in the last second of the next minute', 119, 'stale'],
  ['after it', 120, 'unknown'],
  ['a day later', 86_400, 'unknown'],
  ['at a machine whose clock is five seconds behind', -5, 'current'],
  ['at a machine whose clock is further behind', -6, 'unknown'],
])('a nonce is, %s, %s seconds on: %s', (_, seconds, state) => {
  expect(nonces.check(nonce, now + seconds)).toBe(state)
})

test('another process with the same secret hands out and knows the same', () => {
  const elsewhere = createNonces(Uint8Array.from(secret))
  expect(elsewhere.current(now + 59)).toBe(nonce)
  expect(elsewhere.check(nonce, now)).toBe('current')
})

test('another secret knows none of them', () => {
  expect(createNonces(new Uint8Array(32).fill(8)).check(nonce, now)).toBe('unknown')
})

test.each(['', 'x', nonce.slice(1), `${nonce}A`, nonce.toLowerCase(), 'ä'.repeat(43)])(
  '%j is none',
  (guess) => {
    expect(nonces.check(guess, now)).toBe('unknown')
  },
)

test('each minute has a nonce of its own', () => {
  const minutes = Array.from({ length: 100 }, (_, at) => nonces.current(now + at * nonceSeconds))
  expect(new Set(minutes).size).toBe(100)
  expect(nonces.current(now)).toBe(nonce)
})

test('a time that is no number knows nothing', () => {
  expect(nonces.check(nonce, Number.NaN)).toBe('unknown')
})
