// How an answer of issue policy is read: exactly, or not at all. Results in the form of OPA's engines in.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readIssueAnswer } from '../../src/policy/issue_answer.ts'

const detail = {
  type: 'lease',
  actions: ['read'],
  identifier: 'crm:customer/9821',
  sensitivity: 'confidential',
}
const grant = {
  details: [detail],
  stage: 'observe',
  ttl_seconds: 300,
  lease_seconds: 3600,
  profile_version: '9',
}
const terms = {
  details: [detail],
  stage: 'observe',
  ttlSeconds: 300,
  leaseSeconds: 3600,
  profileVersion: '9',
}
const granting = { effect: 'grant', reasons: [], grant }
const malformed = 'the approval is not { approvers, expires_in, … } as docs/policy.md has it'
const approval = { approvers: ['group:crm-owners'], expires_in: 600 }
const read = (result: unknown) => readIssueAnswer([{ result }])

describe('an answer', () => {
  it.each([
    ['a grant', granting, { effect: 'grant', reasons: [], grant: terms }],
    [
      'constraints of a grant',
      {
        ...granting,
        grant: { ...grant, details: [{ ...detail, constraints: { max_calls: 3, max_risk: 'low' } }] },
      },
      {
        effect: 'grant',
        reasons: [],
        grant: { ...terms, details: [{ ...detail, constraints: { max_calls: 3, max_risk: 'low' } }] },
      },
    ],
    [
      'a wait for a yes',
      { effect: 'approve', reasons: ['b', 'a'], grant, approval },
      {
        effect: 'approve',
        reasons: ['a', 'b'],
        grant: terms,
        approval: {
          approvers: ['group:crm-owners'],
          expiresIn: 600,
          quorum: 1,
          reasonRequired: false,
          afterLease: 0,
          repeat: undefined,
        },
      },
    ],
    [
      'a refusal',
      { effect: 'deny', reasons: ['user_not_entitled'], code: 'invalid_scope' },
      { effect: 'deny', reasons: ['user_not_entitled'], code: 'invalid_scope' },
    ],
    [
      'a refusal without a code',
      { effect: 'deny', reasons: [] },
      { effect: 'deny', reasons: [], code: 'access_denied' },
    ],
  ])('is %s', (_name, result, answer) => {
    expect(read(result)).toEqual(answer)
  })

  const withDetail = (changes: object) => ({
    ...granting,
    grant: { ...grant, details: [{ ...detail, ...changes }] },
  })
  const withGrant = (changes: object) => ({ ...granting, grant: { ...grant, ...changes } })
  it.each<[string, unknown, string]>([
    ['no object', true, 'the decision is not an object'],
    ['null', null, 'the decision is not an object'],
    ['an unknown member', { ...granting, note: 1 }, 'the decision has an unknown member'],
    ['no reasons', { effect: 'grant', grant }, 'the reasons are not a list of strings'],
    ['reasons that are no words', { ...granting, reasons: [1] }, 'the reasons are not a list of strings'],
    ['an effect of the gate', { ...granting, effect: 'allow' }, 'the decision has an unknown effect'],
    ['no grant', { effect: 'grant', reasons: [] }, 'the decision has no grant'],
    ['a grant with a code', { ...granting, code: 'invalid_scope' }, 'a grant has no code'],
    ['a grant with an approval', { ...granting, approval }, 'a grant has no approval'],
    ['a deny with a grant', { ...granting, effect: 'deny' }, 'a deny has a grant or an approval'],
    ['an unknown code', { effect: 'deny', reasons: [], code: 'no' }, 'the decision has an unknown code'],
    ['a code that is null', { effect: 'deny', reasons: [], code: null }, 'the decision has an unknown code'],
    ['nobody asked', { ...granting, effect: 'approve' }, malformed],
    [
      'terms we do not know of',
      { ...granting, effect: 'approve', approval: { ...approval, two_factor: true } },
      malformed,
    ],
    [
      'an approval by nobody',
      { ...granting, effect: 'approve', approval: { ...approval, approvers: [] } },
      'the approval names nobody',
    ],
    ...[{ quorum: 2 }, { repeat: { calls: 1, seconds: 1 } }, { after_lease: 1 }].map(
      (more): [string, object, string] => [
        `an approval with ${Object.keys(more)[0]}`,
        { ...granting, effect: 'approve', approval: { ...approval, ...more } },
        'the approval of a lease has no quorum above 1, no repeat and no after_lease',
      ],
    ),
    ['an unknown member of the grant', withGrant({ audience: 'x' }), 'the grant has an unknown member'],
    ['a stage of its own', withGrant({ stage: 'root' }), 'the stage of the grant is unknown'],
    ['no time', withGrant({ ttl_seconds: 0 }), 'the times of the grant are not seconds'],
    ['half a second', withGrant({ lease_seconds: 0.5 }), 'the times of the grant are not seconds'],
    ['a time as text', withGrant({ ttl_seconds: '300' }), 'the times of the grant are not seconds'],
    ['no version', withGrant({ profile_version: '' }), 'the grant has no profile version'],
    ['a version that is a number', withGrant({ profile_version: 9 }), 'the grant has no profile version'],
    ...[
      withGrant({ details: [] }),
      withGrant({ details: detail }),
      withGrant({ details: [null] }),
      withGrant({ details: Array(65).fill(detail) }),
      withDetail({ type: 'token' }),
      withDetail({ note: 'x' }),
      withDetail({ actions: [] }),
      withDetail({ actions: 'read' }),
      withDetail({ actions: ['read, delete'] }),
      withDetail({ identifier: 'crm:*' }),
      withDetail({ identifier: 'customer' }),
      withDetail({ sensitivity: 'secret' }),
      withDetail({ constraints: null }),
      withDetail({ constraints: { max_calls: 0 } }),
      withDetail({ constraints: { max_risk: 'none' } }),
      withDetail({ constraints: { min_calls: 1 } }),
    ].map((result): [string, unknown, string] => [
      JSON.stringify(result.grant.details).slice(0, 120),
      result,
      'the details of the grant are not those of a lease',
    ]),
  ])('that is %s denies, with the fault', (_name, result, fault) => {
    expect(read(result)).toEqual({ effect: 'deny', reasons: ['policy_failed'], code: 'access_denied', fault })
  })

  it.each([[[]], [undefined], [null], [{}], ['x']])('that is undefined denies: %j', (results) => {
    expect(readIssueAnswer(results)).toMatchObject({ effect: 'deny', fault: 'the decision is undefined' })
  })

  it('is a deny, a grant or a wait for a yes, whatever comes', () => {
    const member = fc.constantFrom('effect', 'reasons', 'grant', 'code', 'approval', 'details', 'other')
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('grant', 'deny', 'approve', [], grant, approval))
    fc.assert(
      fc.property(fc.dictionary(member, value), (result) => {
        const answer = read(structuredClone(result))
        expect(['deny', 'grant', 'approve']).toContain(answer.effect)
        if (answer.effect !== 'deny') expect(answer.grant).toEqual(terms)
      }),
    )
  })
})
