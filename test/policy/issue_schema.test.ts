import { describe, expect, it } from 'vitest'
import type { IssueQuestion } from '../../src/broker/issue_decision.ts'
import { issueInput } from '../../src/policy/issue.ts'
import { sampleQuestion as asking } from '../../src/policy/issue_sample.ts'
import { issueInputSchema, issueSchemaText } from '../../src/policy/issue_schema.ts'
import { shippedDir } from './support.ts'

const monday = asking.now
const [reads] = asking.request.details!
const requesting = (changes: Partial<IssueQuestion['request']>): IssueQuestion => ({
  ...asking,
  request: { ...asking.request, ...changes },
})
const seen = (question: IssueQuestion) => JSON.parse(issueInput(question))
const sample = seen(asking)

describe('the schema of what issue policy sees', () => {
  it('in policies/ is the one generated from the code (vitest -u writes it)', async () => {
    await expect(issueSchemaText()).toMatchFileSnapshot(`${shippedDir}/issue_input.schema.json`)
  })

  const parent = { id: 'lse_1', stage: 'draft', details: [reads!] } as const
  const planner = { id: 'agent:planner', version: '1.4.0', profile: 'planner' }
  it.each([
    ['a first request', asking],
    ['details left to policy', requesting({ details: undefined, task: undefined })],
    ['constraints', requesting({ details: [{ ...reads!, constraints: { max_calls: 3, max_risk: 'low' } }] })],
    ['a renewal', { ...asking, kind: 'renewal', parent }],
    ['a delegation', { ...asking, kind: 'delegation', parent, delegatedBy: [planner] }],
    ['a yes', { ...asking, approvedBy: ['carol@example.com'] }],
    [
      'a login of an unknown time and kind',
      { ...asking, user: { ...asking.user, authTime: undefined, acr: undefined } },
    ],
  ] satisfies [string, IssueQuestion][])('takes %s', (_name, question) => {
    expect(issueInputSchema.safeParse(seen(question)).error).toBeUndefined()
  })

  it.each([
    ['another version', { ...sample, version: 2 }],
    ['an unknown member', { ...sample, extra: 1 }],
    ['an unknown member deep inside', { ...sample, user: { ...sample.user, login: 'x' } }],
    ['a stage of its own', { ...sample, request: { ...sample.request, stage: 'root' } }],
    ['a missing task', { ...sample, request: { ...sample.request, task: undefined } }],
    ['a detail of another type', { ...sample, request: { ...sample.request, details: [{ type: 'x' }] } }],
  ])('refuses %s', (_name, input) => {
    expect(issueInputSchema.safeParse(input).success).toBe(false)
  })
})

describe('what issue policy sees', () => {
  it('is the question, with the clock in UTC', () => {
    expect(seen({ ...asking, approvedBy: ['carol@example.com'] })).toEqual({
      version: 1,
      user: {
        id: 'alice@example.com',
        kind: 'user',
        issuer: 'https://login.example.com',
        groups: ['support'],
        auth_time: monday - 3600,
        acr: 'mfa',
      },
      agent: {
        id: 'agent:support-triage',
        version: '3.2.1',
        env: 'prod',
        profile: 'support',
        tenant: '',
        authenticated_by: 'private_key_jwt',
        bound: true,
      },
      delegated_by: [],
      request: {
        kind: 'exchange',
        details: [reads],
        backends: ['crm'],
        stage: 'observe',
        ttl_seconds: 300,
        lease_seconds: 3600,
        task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
      },
      parent: null,
      context: { now: monday, weekday: 'mon', hour: 9, minute: 26, approved_by: ['carol@example.com'] },
    })
  })

  it.each([
    ['the last second of Saturday', 1_795_305_599, { weekday: 'sat', hour: 23, minute: 59 }],
    ['the first of Sunday', 1_795_305_600, { weekday: 'sun', hour: 0, minute: 0 }],
  ])('knows %s', (_name, now, clock) => {
    expect(seen({ ...asking, now }).context).toMatchObject(clock)
  })
})
