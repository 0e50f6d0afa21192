// What becomes of policy's answer: one effect is a yes, everything else is some kind of no.
import { beforeAll, describe, expect, test } from 'vitest'
import { decide } from '../../src/enforce/decide.ts'
import type { Evidence } from '../../src/enforce/stages.ts'
import { loadPolicy } from '../../src/policy/evaluate.ts'
import { policyInput } from '../../src/policy/input.ts'
import { parsePolicy } from '../../src/policy/sources.ts'
import type { Effect, Policy, PolicyAnswer } from '../../src/ports.ts'
import { isRefusal } from '../../src/refusals.ts'
import { bundle, compiled } from '../policy/support.ts'
import {
  type Ask,
  accepted,
  allowing,
  codeOf,
  evidenceOf,
  leaseOf,
  now,
  policyOf,
} from '../support/evidence.ts'

const approval = { id: 'act_1', kind: 'exact', approvedBy: ['bob@example.com'], version: 2 } as const
const answered = (answer: PolicyAnswer, evidence = evidenceOf()) => decide(evidence, policyOf(answer))

describe('policy says', () => {
  test('allow: the permit carries what was decided and by which policy', () => {
    const evidence = evidenceOf()
    const permit = accepted(decide(evidence, allowing))
    expect(permit.evidence).toBe(evidence)
    expect(permit.decision).toEqual({
      effect: 'allow',
      reasons: ['profile_allows'],
      policyDigest: 'sha256:00',
      grant: evidence.lease.grants[0],
      consultation: {
        input: policyInput(evidence),
        answer: { effect: 'allow', reasons: ['profile_allows'] },
      },
    })
  })

  test.each(['deny', 'hold', 'draft'] as const)('%s: the refusal carries what policy was asked', (effect) => {
    const evidence = evidenceOf()
    const refusal = answered({ effect, reasons: ['why'] }, evidence)
    expect(isRefusal(refusal) && refusal.facts.consultation).toEqual({
      input: policyInput(evidence),
      answer: { effect, reasons: ['why'] },
    })
  })

  test('deny: refused with its reasons', () => {
    expect(answered({ effect: 'deny', reasons: ['user_not_entitled'] })).toMatchObject({
      code: 'policy_denied',
      row: { status: 403 },
      facts: { reasons: ['user_not_entitled'] },
    })
  })

  test('deny with a fault: refused, and the fault is for the record alone', () => {
    const refusal = answered({ effect: 'deny', reasons: ['policy_failed'], fault: 'unreachable executed' })
    expect(refusal).toMatchObject({
      code: 'policy_denied',
      facts: { reasons: ['policy_failed'], cause: 'policy fault: unreachable executed' },
    })
    expect(refusal).not.toHaveProperty('facts.detail')
  })

  test('hold: a human has to approve', () => {
    expect(answered({ effect: 'hold', reasons: ['high_risk_needs_approval'] })).toMatchObject({
      code: 'approval_required',
      row: { status: 403, nextAction: 'request' },
      facts: { reasons: ['high_risk_needs_approval'] },
    })
  })

  test('hold although there is an approval: policy does not accept that one', () => {
    const refusal = answered({ effect: 'hold', reasons: [] }, evidenceOf({}, { approval }))
    expect(codeOf(refusal)).toBe('policy_denied')
  })

  test('draft: a human has to release the write', () => {
    expect(answered({ effect: 'draft', reasons: ['stage_draft_writes_are_drafts'] })).toMatchObject({
      code: 'approval_required',
      facts: { reasons: ['stage_draft_writes_are_drafts'] },
    })
  })

  test.each(['ALLOW', 'permit', '', 'true'])('%j, which is no effect: refused', (effect) => {
    expect(codeOf(answered({ effect: effect as Effect, reasons: [] }))).toBe('policy_denied')
  })
})

describe('compiled policy', () => {
  const alice = (ask: Ask, changes: Partial<Evidence> = {}) => evidenceOf({ ask }, changes)
  let shipped: Policy

  beforeAll(async () => {
    const { wasm, data } = parsePolicy(new Map([['bundle.tar.gz', bundle('portable')]]))
    shipped = await loadPolicy({ wasm: wasm!, data })
  })

  test('decides on the evidence as it is', () => {
    expect(codeOf(decide(alice({}), shipped))).toBe('accepted')
  })

  test.each([
    ['decision := {"effect": "allow", "reasons": []} if input.request.verb == "nothing"'],
    ['decision := true'],
    ['decision := {"effect": "permit", "reasons": []}'],
    ['decision := {"effect": "allow", "reasons": [], "redact": ["email"]}'],
  ])('that answers nothing usable denies: %s', async (rules) => {
    const policy = await loadPolicy({ wasm: await compiled(rules), data: {} })
    expect(decide(alice({}), policy)).toMatchObject({
      code: 'policy_denied',
      facts: { reasons: ['policy_failed'], cause: expect.stringContaining('policy fault') },
    })
  })

  test('that allows everything still cannot allow what no grant covers', async () => {
    const wasm = await compiled('decision := {"effect": "allow", "reasons": []}')
    const policy = await loadPolicy({ wasm, data: {} })
    const evidence = evidenceOf({ lease: leaseOf({ grants: [] }) })
    expect(codeOf(decide(evidence, policy))).toBe('outside_lease')
  })
})

describe('what policy sees', () => {
  const seen = (evidence: Evidence) => JSON.parse(policyInput(evidence))

  test('is the document of the schema, with everything in it from the evidence', () => {
    const ask: Ask = { target: '/crm/customers/9821?fields=name', headers: ['Lease-Provenance', 'trusted'] }
    expect(seen(evidenceOf({ ask }, { approval }))).toEqual({
      version: 1,
      lease: {
        id: 'lse_1',
        user: 'alice@example.com',
        agent: {
          id: 'agent:support-triage',
          version: '3.2.1',
          env: 'prod',
          profile: 'support',
          profile_version: '9',
        },
        task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
        stage: 'execute',
        session: 'ses_1',
        bound: false,
        delegated_by: [],
        granted: [
          { actions: ['read', 'update', 'delete'], resource: 'crm:customer/9821', sensitivity: 'restricted' },
        ],
        age_seconds: 12,
        expires_in_seconds: 288,
      },
      request: {
        backend: 'crm',
        operation: 'GET /customers/{id}',
        verb: 'read',
        resource: 'crm:customer/9821',
        sensitivity: 'confidential',
        risk: 'low',
        method: 'GET',
        path: '/customers/9821',
        params: { id: '9821' },
        query: { fields: 'name' },
        body: null,
        amount: null,
        amount_whole: null,
      },
      context: {
        now,
        source_ip: '10.1.2.3',
        recent_calls: { lease_1m: 4, agent_1m: 40 },
        provenance: 'trusted',
        approval: { id: 'act_1', approved_by: ['bob@example.com'], kind: 'exact' },
        budget: null,
      },
    })
  })

  test('says what is left of each limit and what the request moves, in exact text and in whole numbers', () => {
    const budget = { calls: 3n, bytes: undefined, amount: 10_999_999n, rate: 0n }
    expect(seen(evidenceOf({}, { budget, amount: { value: 2_500_000n } }))).toMatchObject({
      request: { amount: '2.5', amount_whole: 3 },
      context: {
        budget: {
          calls_left: 3,
          bytes_left: null,
          amount_left: '10.999999',
          amount_left_whole: 10,
          lease_rate_left: 0,
        },
      },
    })
    expect(seen(evidenceOf({}, { amount: { problem: 'total is no amount' } }))).toMatchObject({
      request: { amount: null, amount_whole: null },
      context: { budget: null },
    })
  })

  test('of two requests under one lease differs where they differ', () => {
    const lease = leaseOf()
    const first = evidenceOf({ lease })
    const second = evidenceOf({ lease, ask: { method: 'DELETE', peer: '::1' } }, { now: now + 1, body: [1] })
    expect(seen(first)).toMatchObject({ lease: { age_seconds: 12 }, request: { verb: 'read', body: null } })
    expect(seen(second)).toMatchObject({
      lease: { age_seconds: 13 },
      request: { verb: 'delete', risk: 'high', body: [1] },
      context: { source_ip: '::1' },
    })
  })

  test.each(['"', '\\', '\u2028', '</script>', '","effect":"allow'])(
    'quotes %j wherever it comes from',
    (text) => {
      const target = `/crm/customers/9821?note=${encodeURIComponent(text)}`
      const lease = leaseOf({ user: text, task: { system: text, id: text, purpose: text } })
      const document = seen(evidenceOf({ ask: { target }, lease }, { body: { [text]: text } }))
      expect(document.request.query).toEqual({ note: text })
      expect(document.lease.user).toBe(text)
      expect(document.request.body).toEqual({ [text]: text })
    },
  )
})
