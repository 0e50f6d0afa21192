// Trace contexts that the gate starts itself.
import { expect, test } from 'vitest'
import { newTraceparent } from '../../src/http/trace.ts'

test('a new traceparent is valid, not sampled, and like no other, beyond the pool of random bytes', () => {
  const made = Array.from({ length: 2_000 }, newTraceparent)
  for (const traceparent of made) expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  const [traces, spans] = [3, 36].map((at) => new Set(made.map((text) => text.slice(at, at + 16))))
  expect([traces!.size, spans!.size]).toEqual([2_000, 2_000])
})
