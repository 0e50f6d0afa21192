// New W3C trace contexts, from a pool of random bytes so that a request costs no system call.
import { randomFillSync } from 'node:crypto'

const idBytes = 24
const pool = Buffer.allocUnsafe(idBytes * 256)
let used = pool.length

/** A new traceparent, not sampled: the gate starts no spans of its own (W3C Trace Context §3.2). */
export function newTraceparent(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const hex = pool.toString('hex', used, used + idBytes)
  used += idBytes
  const trace = hex.slice(0, 32)
  const span = hex.slice(32)
  // All-zero ids are invalid.
  return /^0+$/.test(trace) || /^0+$/.test(span) ? newTraceparent() : `00-${trace}-${span}-00`
}
