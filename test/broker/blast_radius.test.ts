import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { blastRadius, type Harmful, type Surroundings } from '../../src/broker/blast_radius.ts'
import { narrowings } from '../../src/broker/narrowing.ts'
import { reachOf } from '../../src/broker/reach.ts'
import { parseMatch } from '../../src/config/operations.ts'
import type { Backend, Operation } from '../../src/enforce/operation.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import type { LeaseConstraints } from '../../src/lease/constraints.ts'
import { type Risk, risks, type Sensitivity, sensitivities } from '../../src/lease/lease.ts'
import type { LeaseUsage } from '../../src/ports.ts'

const now = 1_795_300_000

function operation(
  match: string,
  verb: string,
  resource: string,
  sensitivity: Sensitivity,
  risk: Risk = 'low',
) {
  const parsed = parseMatch(match)
  if ('fault' in parsed) throw new Error(parsed.fault)
  const rest = { body: 'stream', bodyLimit: 1024, allowEncodedSlash: false, opaqueQuery: [] } as const
  return { match, ...parsed.value, verb, resource, sensitivity, risk, ...rest } as unknown as Operation
}

const operations = [
  operation('GET /customers/{id}', 'read', 'customer/{id}', 'confidential'),
  operation('GET /customers', 'list', 'customer', 'internal'),
  operation('PATCH /customers/{id}', 'update', 'customer/{id}', 'confidential', 'medium'),
  operation('DELETE /customers/{id}', 'delete', 'customer/{id}', 'restricted', 'high'),
  operation('GET /status', 'read', 'status', 'public'),
]
const backends = [{ name: 'crm', operations }] as unknown as Backend[]

const tenAMinute = { count: 10, periodMs: 60_000, burst: 10 }
const around: Surroundings = {
  backends,
  rates: {},
  assumedRate: tenAMinute,
  detectionSeconds: 600,
  now,
}

function detail(actions: string, identifier: string, constraints?: LeaseConstraints): LeaseDetail {
  const limits = constraints === undefined ? {} : { constraints }
  return { type: 'lease', actions: actions.split(','), identifier, sensitivity: 'restricted', ...limits }
}

function lease(details: readonly LeaseDetail[], over: Partial<Harmful> = {}): Harmful {
  const who = { id: 'lse_1', agent: 'agent:support', user: 'alice@example.com', ancestors: [] }
  return { ...who, stage: 'execute', details, maxExpiresAt: now + 3600, ...over }
}

const reached = (stage: string, ...details: LeaseDetail[]) =>
  reachOf({ stage, details }, backends).map(({ operation: { match } }) => match)

describe('what a lease reaches', () => {
  test.each<[string, string, LeaseDetail, string[]]>([
    ['one object, by its verb', 'execute', detail('read', 'crm:customer/9821'), ['GET /customers/{id}']],
    [
      'everything below',
      'execute',
      detail('read,update', 'crm:customer/*'),
      ['GET /customers/{id}', 'PATCH /customers/{id}'],
    ],
    [
      'every verb',
      'execute',
      detail('*', 'crm:customer/1'),
      ['GET /customers/{id}', 'PATCH /customers/{id}', 'DELETE /customers/{id}'],
    ],
    [
      'a collection is not the objects in it',
      'execute',
      detail('read,list', 'crm:customer'),
      ['GET /customers'],
    ],
    ['nothing of another backend', 'execute', detail('read', 'billing:customer/*'), []],
    ['no prefix of a segment', 'execute', detail('read', 'crm:cust/*'), []],
    [
      'no writes while observing',
      'observe',
      detail('read,update', 'crm:customer/1'),
      ['GET /customers/{id}'],
    ],
    ['no writes without a human', 'draft', detail('update', 'crm:customer/1'), []],
    [
      'nothing above a risk',
      'execute',
      detail('*', 'crm:customer/1', { max_risk: 'low' }),
      ['GET /customers/{id}'],
    ],
  ])('%s', (_, stage, granted, expected) => {
    expect(reached(stage, granted)).toEqual(expected)
  })

  it('nothing above the ceiling', () => {
    expect(reached('execute', { ...detail('read', 'crm:customer/1'), sensitivity: 'internal' })).toEqual([])
  })

  it('an operation that two details cover is reached through each', () => {
    const details = [detail('read', 'crm:customer/1'), detail('read', 'crm:customer/*', { max_calls: 5 })]
    expect(reachOf({ stage: 'execute', details }, backends)).toMatchObject([
      { identifier: 'crm:customer/1', once: true, points: 10, maxCalls: undefined },
      { identifier: 'crm:customer/*', once: false, points: 10, maxCalls: 5 },
    ])
  })
})

describe('the blast radius', () => {
  const points = (leases: Harmful[], more: Partial<Surroundings> = {}) =>
    blastRadius(leases, { ...around, ...more }).points

  it('reading one object counts once, however often it is read', () => {
    expect(points([lease([detail('read', 'crm:customer/9821')])])).toBe(10)
  })

  it('reading many counts as often as rate and window allow', () => {
    // 10 at once and 10 a minute for ten minutes, each worth 10.
    expect(points([lease([detail('read', 'crm:customer/*')])])).toBe(110 * 10)
  })

  it('it ends with the lease when that is sooner than the detection', () => {
    const short = lease([detail('read', 'crm:customer/*')], { maxExpiresAt: now + 60 })
    expect(blastRadius([short], around)).toMatchObject({ points: 20 * 10, calls: 20, windowSeconds: 60 })
    expect(points([lease([detail('read', 'crm:customer/*')], { maxExpiresAt: now })])).toBe(0)
  })

  it('a budget bounds it, for a lease and all that was handed on from it together', () => {
    const budget = [detail('read', 'crm:customer/*', { max_calls: 5 })]
    const child = lease(budget, { id: 'lse_2', agent: 'agent:child', ancestors: ['lse_1'] })
    expect(points([lease(budget), child])).toBe(5 * 10)
  })

  it('the worst calls come first', () => {
    const wide = lease([detail('read,update', 'crm:customer/*'), detail('list', 'crm:customer')])
    expect(blastRadius([wide], around).reach.map(({ operation: { verb } }) => verb)).toEqual([
      'update',
      'read',
      'list',
    ])
    expect(points([wide])).toBe(110 * 30)
  })

  it('agents and users are no faster with many leases than they are allowed to be', () => {
    const leases = [1, 2, 3].map((n) => lease([detail('read', 'crm:customer/*')], { id: `lse_${n}` }))
    expect(points(leases)).toBe(3 * 110 * 10)
    expect(points(leases, { rates: { agent: tenAMinute } })).toBe(110 * 10)
    expect(points(leases, { rates: { user: tenAMinute } })).toBe(110 * 10)
    expect(points(leases, { rates: { lease: { count: 1, periodMs: 60_000, burst: 1 } } })).toBe(3 * 11 * 10)
  })

  it('the same object under two leases of an agent is one object', () => {
    const leases = [1, 2].map((n) => lease([detail('read', 'crm:customer/1')], { id: `lse_${n}` }))
    expect(points(leases)).toBe(10)
  })

  it('less scope, less time, fewer calls never make it greater', () => {
    const anyDetail = fc
      .record({
        actions: fc.subarray(['read', 'list', 'update', 'delete'], { minLength: 1 }),
        identifier: fc.constantFrom(
          'crm:customer/*',
          'crm:customer/1',
          'crm:customer',
          'crm:*',
          'crm:status',
        ),
        sensitivity: fc.constantFrom(...sensitivities),
        calls: fc.option(fc.nat(50), { nil: undefined }),
        risk: fc.option(fc.constantFrom(...risks), { nil: undefined }),
      })
      .map(({ actions, identifier, sensitivity, calls, risk }): LeaseDetail => {
        const constraints = {
          ...(calls !== undefined && { max_calls: calls }),
          ...(risk !== undefined && { max_risk: risk }),
        }
        return { type: 'lease', actions, identifier, sensitivity, constraints }
      })
    fc.assert(
      fc.property(
        fc.array(anyDetail, { minLength: 1, maxLength: 4 }),
        fc.nat(3),
        fc.nat(2000),
        (details, drop, left) => {
          const whole = lease(details, { maxExpiresAt: now + left })
          const before = points([whole])
          expect(
            points([
              lease(
                details.filter((_, at) => at !== drop),
                { maxExpiresAt: now + left },
              ),
            ]),
          ).toBeLessThanOrEqual(before)
          expect(points([{ ...whole, maxExpiresAt: now + left / 2 }])).toBeLessThanOrEqual(before)
          expect(points([{ ...whole, stage: 'observe' }])).toBeLessThanOrEqual(before)
        },
      ),
    )
  })
})

describe('what narrows it', () => {
  const usage = (calls: number, verbs: Record<string, number> = { read: calls }): LeaseUsage => ({
    ...{ calls, verbs, refusals: 0, bytesIn: 0, bytesOut: 0 },
    lastUsedAt: now,
  })
  const proposed = (leases: Harmful[], used: (LeaseUsage | undefined)[]) =>
    narrowings(
      leases.map((each, at) => ({ lease: each, usage: used[at] })),
      blastRadius(leases, around),
      around,
    )

  it('the most helpful change comes first, with what it would leave', () => {
    const wide = lease([detail('read,update', 'crm:customer/*')])
    const found = proposed([wide], [usage(3)])
    expect(found[0]).toEqual({ change: 'max_calls 20', points: 20 * 30 })
    expect(found.map(({ change }) => change)).toContain('stage observe')
    expect(found.map(({ points }) => points)).toEqual(
      found.map(({ points }) => points).toSorted((a, b) => a - b),
    )
  })

  it('nothing is proposed that would have stopped a call of the past', () => {
    const wide = lease([detail('read,update', 'crm:customer/*')])
    const found = proposed([wide], [usage(40, { read: 30, update: 10 })]).map(({ change }) => change)
    expect(found).toContain('max_calls 80')
    expect(found).not.toContain('stage observe')
  })

  it('leases that nobody used are the first to go', () => {
    const wide = detail('read', 'crm:customer/*')
    const leases = [lease([detail('read', 'crm:customer/1')]), lease([wide], { id: 'lse_2' })]
    expect(proposed(leases, [usage(1), undefined])[0]).toEqual({ change: 'end 1 unused lease', points: 10 })
  })

  it('a lease that reaches one public object has nothing to narrow', () => {
    expect(proposed([lease([detail('read', 'crm:status')])], [usage(1)])).toEqual([])
  })
})
