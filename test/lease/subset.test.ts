// The order on authority: reflexive, transitive, never widening, and the same as what the gate lets through.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coveringGrant } from '../../src/enforce/checks.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import { type Risk, risks, type Sensitivity, sensitivities } from '../../src/lease/lease.ts'
import { areConstraints, firstBeyond, inCommon, isWithin, withRiskCeiling } from '../../src/lease/subset.ts'
import { detail } from '../broker/world.ts'

const verbs = ['read', 'list', 'update']
const resources = ['crm:a', 'crm:a/1', 'crm:a/1/x', 'crm:a/10', 'crm:ab/1', 'hr:a/1']
const identifiers = [...resources, 'crm:a/*', 'crm:a/1/*', 'hr:a/*', 'crm:ab/*']

const constraints = fc.record(
  { max_calls: fc.nat({ max: 3 }), max_risk: fc.constantFrom(...risks) },
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
    [{ max_risk: 'extreme' }, false],
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
