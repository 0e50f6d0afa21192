// What may be asked of `GET /leases` and `lease list`: whatever is sent, it is a search within bounds or a refusal.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readLeaseQuery } from '../../src/broker/lease_query.ts'
import { isRefusal } from '../../src/refusals.ts'
import { accepted } from '../support/evidence.ts'

const names = [
  'agent',
  'user',
  'task',
  'session',
  'state',
  'limit',
  'unused',
  'older_than',
  'tenant',
  '__proto__',
]
const values = [
  '',
  '1',
  '0',
  '-1',
  '1e9',
  '999999999',
  'true',
  'active',
  '10m',
  '1d',
  'NaN',
  'a@b',
  'a:b',
  ' ',
]

test('anything is a search within bounds, or refused', () => {
  const pair = fc.tuple(
    fc.oneof(fc.constantFrom(...names), fc.string()),
    fc.oneof(fc.constantFrom(...values), fc.string({ unit: 'binary' })),
  )
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 6 }), (query) => {
      const search = readLeaseQuery(query)
      if (isRefusal(search)) return search.code === 'malformed_request'
      // Nothing that was asked for is left out, and nothing else comes in.
      expect(Object.keys(search)).not.toContain('tenant')
      expect(new Set(query.map(([name]) => name)).size).toBe(query.length)
      expect(search.limit).toBeGreaterThanOrEqual(1)
      expect(search.limit).toBeLessThanOrEqual(1_000)
      if (search.unusedSeconds !== undefined) expect(search.unusedSeconds).toBeGreaterThanOrEqual(1)
      return query.every(([name, value]) => name !== 'user' || search.user === value)
    }),
  )
})

test.each([
  ['', { limit: 100 }],
  ['agent=triage&task=OPS-1&limit=5', { agent: 'agent:triage', task: 'task:OPS-1', limit: 5 }],
  ['unused=true', { unusedSeconds: 600, limit: 100 }],
  ['unused=true&older_than=90', { unusedSeconds: 90, limit: 100 }],
  ['unused=true&older_than=2h&state=active', { unusedSeconds: 7_200, state: 'active', limit: 100 }],
])('%s', (query, search) => {
  expect(accepted(readLeaseQuery(new URLSearchParams(query)))).toEqual(search)
})
