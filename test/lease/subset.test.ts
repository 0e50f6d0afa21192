// The order on authority: reflexive, transitive, never widening, and the same as what the gate lets through.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coveringGrant } from '../../src/enforce/checks.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import { areConstraints } from '../../src/lease/constraints.ts'
import { type Risk, risks, type Sensitivity, sensitivities } from '../../src/lease/lease.ts'
import { firstBeyond, inCommon, isWithin, withRiskCeiling } from '../../src/lease/subset.ts'
import { detail } from '../broker/world.ts'

const verbs = ['read', 'list', 'update']
const resources = ['crm:a', 'crm:a/1', 'crm:a/1/x', 'crm:a/10', 'crm:ab/1', 'hr:a/1']
const identifiers = [...resources, 'crm:a/*', 'crm:a/1/*', 'hr:a/*', 'crm:ab/*']

const constraints = fc.record(
  {
    max_calls: fc.nat({ max: 3 }),
    max_bytes: fc.nat({ max: 2 }),
    max_amount: fc.constantFrom('0.5', '0.50', '9', '10'),
    max_rate: fc.constantFrom('1/1s', '2/1s burst 1', '60/1m burst 2', '1/1m burst 3'),
    max_risk: fc.constantFrom(...risks),
  },
  { requiredKeys: [] },
)
const anyDetail: fc.Arbitrary<LeaseDetail> = fc.record(
  {
    type: fc.constant('lease' as const),
    actions: fc.subarray([...verbs, '*'], { minLength: 1 }),
    identifier: fc.constantFrom(...identifiers),
    sensitivity: fc.constantFrom(...sensitivities),
    constraints,
  },
  { requiredKeys: ['type', 'actions', 'identifier', 'sensitivity'] },
)
const anyDetails = fc.array(anyDetail, { maxLength: 4 })

interface Request {
  readonly verb: string
  readonly resource: string
  readonly sensitivity: Sensitivity
  readonly risk: Risk
}

const requests: Request[] = verbs.flatMap((verb) =>
  resources.flatMap((resource) =>
    sensitivities.flatMap((sensitivity) => risks.map((risk) => ({ verb, resource, sensitivity, risk }))),
  ),
)

/** What the gate lets through; the ceiling on risk is held here, whether or not the gate already does. */
function allowed(details: readonly LeaseDetail[]): Set<Request> {
  return new Set(
    requests.filter(({ verb, resource, sensitivity, risk }) => {
      const grants = details.flatMap(({ constraints: { max_risk: ceiling, ...rest } = {}, ...grant }) =>
        ceiling === undefined || risks.indexOf(risk) <= risks.indexOf(ceiling)
          ? [{ ...grant, constraints: rest }]
          : [],
      )
      const operation = { verb, sensitivity, risk }
      return coveringGrant({ grants }, { resource, operation }) !== undefined
    }),
  )
}

const subsetOf = (inner: Set<unknown>, outer: Set<unknown>) => [...inner].every((each) => outer.has(each))

describe('the order on authority', () => {
  test('is reflexive', () => {
    fc.assert(fc.property(anyDetails, (details) => isWithin(details, details)))
  })

  test('is transitive', () => {
    let held = 0
    fc.assert(
      fc.property(anyDetails, anyDetails, anyDetails, (a, b, c) => {
        const [ab, abc] = [inCommon(a, b) ?? [], inCommon(inCommon(a, b) ?? [], c) ?? []]
        if (abc.length > 0) held++
        expect(isWithin(abc, ab) && isWithin(ab, a) && isWithin(abc, a)).toBe(true)
        if (isWithin(a, b) && isWithin(b, c)) expect(isWithin(a, c)).toBe(true)
      }),
    )
    expect(held).toBeGreaterThan(0)
  })

  test('lets through at the gate what lies within, and nothing else', () => {
    let within = 0
    fc.assert(
      fc.property(anyDetails, anyDetails, (a, b) => {
        for (const [inner, outer] of [
          [a, b],
          [inCommon(a, b) ?? [], b],
        ] as const) {
          if (!isWithin(inner, outer)) continue
          if (inner.length > 0) within++
          expect(subsetOf(allowed(inner), allowed(outer))).toBe(true)
        }
      }),
    )
    expect(within).toBeGreaterThan(0)
  })

  test('has in common exactly what both let through', () => {
    fc.assert(
      fc.property(anyDetails, anyDetails, (a, b) => {
        const shared = inCommon(a, b) ?? []
        const byB = allowed(b)
        const both = new Set([...allowed(a)].filter((request) => byB.has(request)))
        expect(allowed(shared)).toEqual(both)
        expect(isWithin(shared, a) && isWithin(shared, b)).toBe(true)
      }),
    )
  })

  test('names an entry that lies beyond', () => {
    fc.assert(
      fc.property(anyDetails, anyDetails, (a, b) => {
        const beyond = firstBeyond(a, b)
        if (beyond !== undefined) expect(isWithin([beyond], b)).toBe(false)
        else expect(subsetOf(allowed(a), allowed(b))).toBe(true)
      }),
    )
  })

  test('a ceiling on risk only narrows, and stays where it is', () => {
    fc.assert(
      fc.property(anyDetails, (details) => {
        const stamped = withRiskCeiling(details)
        expect(isWithin(stamped, details)).toBe(true)
        expect(stamped.every(({ constraints: limits }) => limits?.max_risk !== undefined)).toBe(true)
        expect(withRiskCeiling(stamped)).toEqual(stamped)
      }),
    )
  })
})

describe('one entry', () => {
  const read = detail('read crm:customer/*')

  test.each<[string, LeaseDetail, LeaseDetail, boolean]>([
    ['another verb', detail('update crm:customer/1'), read, false],
    ['a resource below', detail('read crm:customer/1'), read, true],
    ['a resource that shares a prefix', detail('read crm:customers/1'), read, false],
    ['the collection itself', detail('read crm:customer'), read, false],
    ['a wider pattern', read, detail('read crm:customer/1'), false],
    ['another backend', detail('read hr:customer/1'), read, false],
    ['a higher sensitivity', detail('read crm:customer/1 restricted'), read, false],
    ['every action', detail('* crm:customer/1'), read, false],
    ['one of every action', read, detail('* crm:customer/*'), true],
    ['a dropped constraint', read, detail('read crm:customer/*', { max_calls: 3 }), false],
    [
      'a looser constraint',
      detail('read crm:customer/*', { max_calls: 4 }),
      detail('read crm:customer/*', { max_calls: 3 }),
      false,
    ],
    [
      'a tighter constraint',
      detail('read crm:customer/*', { max_calls: 2 }),
      detail('read crm:customer/*', { max_calls: 3 }),
      true,
    ],
    ...(
      [
        ['fewer bytes', { max_bytes: 1 }, { max_bytes: 2 }, true],
        ['more bytes', { max_bytes: 3 }, { max_bytes: 2 }, false],
        ['the same amount in other digits', { max_amount: '250.0' }, { max_amount: '250' }, true],
        [
          'a larger amount, though its text sorts lower',
          { max_amount: '1000' },
          { max_amount: '250' },
          false,
        ],
        ['no amount where there was one', { max_calls: 1 }, { max_amount: '250' }, false],
        ['the same rate over another time', { max_rate: '10/30s' }, { max_rate: '20/1m burst 10' }, true],
        ['a faster rate of a smaller burst', { max_rate: '21/1m burst 1' }, { max_rate: '20/1m' }, false],
        ['a slower rate of a larger burst', { max_rate: '1/1h burst 21' }, { max_rate: '20/1m' }, false],
      ] as const
    ).map(
      ([name, inner, outer, expected]) =>
        [
          name,
          detail('read crm:customer/*', inner),
          detail('read crm:customer/*', outer),
          expected,
        ] satisfies [string, LeaseDetail, LeaseDetail, boolean],
    ),
    [
      'more risk',
      detail('read crm:customer/*', { max_risk: 'high' }),
      detail('read crm:customer/*', { max_risk: 'low' }),
      false,
    ],
    ['an unknown constraint', { ...read, constraints: JSON.parse('{"tenant":"acme"}') }, read, false],
    [
      'the same unknown constraint',
      { ...read, constraints: JSON.parse('{"tenant":"acme"}') },
      { ...read, constraints: JSON.parse('{"tenant":"acme"}') },
      false,
    ],
  ])('%s', (_, inner, outer, expected) => {
    expect(isWithin([inner], [outer])).toBe(expected)
  })

  test('is covered action by action', () => {
    const both = [detail('read crm:customer/*'), detail('list crm:customer/*')]
    expect(isWithin([detail('read,list crm:customer/1')], both)).toBe(true)
    expect(firstBeyond([detail('read,update crm:customer/1')], both)).toEqual(detail('update crm:customer/1'))
  })

  test.each([
    [{}, true],
    [{ max_calls: 0 }, true],
    [{ max_calls: -1 }, false],
    [{ max_calls: 1.5 }, false],
    [{ max_calls: '3' }, false],
    [{ max_bytes: 0 }, true],
    [{ max_bytes: 2 ** 53 }, false],
    [{ max_bytes: '64KiB' }, false],
    [{ max_amount: '250.00' }, true],
    [{ max_amount: 250 }, false],
    [{ max_amount: '-1' }, false],
    [{ max_rate: '20/1m burst 5' }, true],
    [{ max_rate: 20 }, false],
    [{ max_rate: '20 per minute' }, false],
    [{ max_risk: 'extreme' }, false],
    [{ toString: 1 }, false],
    [{ other: 1 }, false],
  ])('constraints %j are known: %s', (value, expected) => {
    expect(areConstraints(value)).toBe(expected)
  })
})

test('what takes more entries than a lease can have is not cut short', () => {
  const one = Array.from({ length: 64 }, (_, n) => detail(`read,list crm:a/${n}/*`))
  const other = ['read', 'list'].map((verb) => detail(`${verb} crm:a/*`))
  expect(inCommon(one, other)).toBeUndefined()
  expect(inCommon(one.slice(0, 32), other)).toHaveLength(64)
})
