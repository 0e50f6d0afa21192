import { expect, test } from 'vitest'
import { type Ask, judge, type Observed } from './judge.ts'

const good = 'lse_good'
const revoked = 'lse_revoked'

let numbers = 0
const ask = (lease: string, sentMs: number, status: number | undefined = 200, gate = 'A'): Ask => ({
  number: numbers++,
  gate,
  lease,
  sentMs,
  answeredMs: sentMs + 5,
  status,
})

const judged = (asks: readonly Ask[], more: Partial<Observed> = {}) =>
  judge({
    asks,
    reached: new Set(asks.filter(({ status }) => status === 200).map(({ number }) => number)),
    acknowledged: new Map([[revoked, 1000]]),
    control: new Set([good]),
    boundMs: 2000,
    mendedMs: 0,
    ...more,
  })

test.each<[name: string, sentMs: number, figures: object]>([
  ['before the acknowledgement is nobody’s fault', 999, { tested: 0, accepted: [], latestMs: 0 }],
  ['within the bound is told', 2500, { tested: 0, accepted: [], latestMs: 1500 }],
  ['at the bound is within it', 3000, { tested: 0, accepted: [], latestMs: 2000 }],
  ['after the bound is a failure', 3001, { tested: 1, accepted: ['A lse_revoked +2001 ms'], latestMs: 2001 }],
])('a request under a revoked lease that passes %s', (_, sentMs, figures) => {
  expect(judged([ask(revoked, sentMs)])).toMatchObject(figures)
})

test('what reached the backend counts, whatever the agent was answered', () => {
  const cut = { ...ask(revoked, 5000), status: undefined }
  expect(judged([cut], { reached: new Set([cut.number]) }).accepted).toHaveLength(1)
  expect(judged([cut], { reached: new Set() })).toMatchObject({ tested: 1, accepted: [] })
})

test('a lease whose revocation nobody acknowledged is not judged', () => {
  expect(judged([ask('lse_asked', 9000)])).toMatchObject({ acknowledged: 1, tested: 0, accepted: [] })
})

test('an outage is the worst gate’s, from the first request not served to the last', () => {
  const asks = [
    ...[0, 100, 200].map((at) => ask(good, at)),
    ...[300, 400].map((at) => ask(good, at, 503)),
    ...[500, 600].map((at) => ask(good, at)),
    { ...ask(good, 700), status: undefined },
    ask(good, 800),
    ...[0, 450].map((at) => ask(good, at, at === 0 ? 200 : 503, 'B')),
    ask(good, 460, 200, 'B'),
  ]
  expect(judged(asks, { mendedMs: 380 })).toMatchObject({ unavailableMs: 105 + 5, healedMs: 705 - 380 })
})

test('refusals of revoked leases are no outage', () => {
  expect(judged([ask(good, 0), ask(revoked, 3500, 401), ask(good, 4000)])).toMatchObject({
    tested: 1,
    unavailableMs: 0,
    healedMs: 0,
  })
})
