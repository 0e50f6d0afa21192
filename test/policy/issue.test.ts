// Issue policy as the broker asks it: the module that ships, in the engine that decides, and what becomes of modules
// that say nothing about issuing. What its rules mean is in policies/issue_test.rego.
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { IssueQuestion } from '../../src/broker/issue_decision.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import { sensitivities, stages } from '../../src/lease/lease.ts'
import { type Engine, loadPolicy, openEngine } from '../../src/policy/evaluate.ts'
import { askIssue, issueEntrypoint, noIssueEntrypoint } from '../../src/policy/issue.ts'
import { sampleQuestion } from '../../src/policy/issue_sample.ts'
import { load } from '../../src/policy/live.ts'
import { parsePolicy, readPolicy } from '../../src/policy/sources.ts'
import { runToolchain } from '../../src/policy/toolchain.ts'
import { bundle, reading, shippedDir } from './support.ts'

const authz = 'package leasegate.authz\n\ndefault decision := {"effect": "deny", "reasons": []}\n'

let wasm: Uint8Array
let data: Readonly<Record<string, unknown>>
beforeAll(async () => {
  const sources = await readPolicy(shippedDir)
  const outcome = await runToolchain(sources, ['build'])
  expect(outcome.diagnostics).toEqual([])
  wasm = outcome.wasm!
  data = sources.data
})

describe('the policy that ships', () => {
  it('grants what was asked for, under the digest that decides requests too', async () => {
    const policy = await loadPolicy({ wasm, data })
    expect(policy.issue.digest).toBe(policy.digest)
    expect(policy.issue.decide(sampleQuestion)).toEqual({
      effect: 'grant',
      reasons: [],
      grant: {
        details: sampleQuestion.request.details,
        stage: 'observe',
        ttlSeconds: 300,
        leaseSeconds: 3600,
        profileVersion: '9',
      },
    })
    expect(policy.evaluate(JSON.stringify(reading))).toEqual({ effect: 'allow', reasons: [] })
  })

  it.each<[string, (question: IssueQuestion) => IssueQuestion, string, string]>([
    [
      'more than the user has',
      (question) => ({ ...question, user: { ...question.user, id: 'bob@example.com' } }),
      'invalid_authorization_details',
      'user_not_entitled',
    ],
    [
      'no task on a profile that requires one',
      (question) => ({ ...question, request: { ...question.request, task: undefined } }),
      'invalid_request',
      'task_required',
    ],
    [
      'a profile that nobody wrote',
      (question) => ({ ...question, agent: { ...question.agent, profile: 'root' } }),
      'unauthorized_client',
      'agent_profile_unknown',
    ],
    [
      'a clock that is none',
      (question) => ({
        ...question,
        agent: { ...question.agent, profile: 'support-trial' },
        now: Number.NaN,
      }),
      'access_denied',
      'outside_hours',
    ],
  ])('denies %s', async (_name, change, code, reason) => {
    const { issue } = await loadPolicy({ wasm, data })
    expect(issue.decide(change(sampleQuestion))).toMatchObject({
      effect: 'deny',
      code,
      reasons: expect.arrayContaining([reason]),
    })
  })
})

describe('a policy that says nothing about issuing', () => {
  it('loads and issues nothing', async () => {
    const older = parsePolicy(new Map([['bundle.tar.gz', bundle('portable')]]))
    const policy = await load({ wasm: older.wasm!, data: older.data })
    expect(policy.issue.decide(sampleQuestion)).toEqual({
      effect: 'deny',
      reasons: ['policy_failed'],
      code: 'access_denied',
      fault: noIssueEntrypoint,
    })
  })
})

describe('a policy whose answer about issuing', () => {
  let twice: Uint8Array
  beforeAll(async () => {
    const issue = 'package leasegate.issue\n\ndecision := data.one\n\ndecision := data.other\n'
    const files = { 'authz.rego': authz, 'issue.rego': issue }
    twice = (await runToolchain({ files, data: {} }, ['build'])).wasm!
  })

  it.each([
    ['is undefined', {}, 'the decision is undefined'],
    ['is two at once', { one: 1, other: 2 }, expect.stringContaining('conflict')],
    ['is none', { one: 7 }, 'the decision is not an object'],
  ])('%s denies, with the fault', async (_name, documents, fault) => {
    const engine = await openEngine({ wasm: twice, data: documents })
    expect(askIssue(engine, sampleQuestion)).toEqual({
      effect: 'deny',
      reasons: ['policy_failed'],
      code: 'access_denied',
      fault,
    })
  })

  it('cannot be read is not loaded', async () => {
    const module = { wasm: twice, data: { one: { effect: 'grant' } } }
    await expect(load(module)).rejects.toThrow(`asked ${issueEntrypoint} with a sample question`)
  })

  it('is nobody’s for the sample question is loaded', async () => {
    const policy = await load({ wasm: twice, data: {} })
    expect(policy.issue.decide(sampleQuestion)).toMatchObject({ fault: 'the decision is undefined' })
  })
})

describe('whatever the data says and an agent asks for', () => {
  const verbs = ['read', 'list', 'update', 'delete', '*'] as const
  const backends = ['crm', 'billing'] as const
  const names = ['p0', 'p1', 'p2', 'gone'] as const
  type Rights = Readonly<Record<string, { verbs: readonly string[]; ceiling: string }>>
  const rights = fc.dictionary(
    fc.constantFrom(...backends),
    fc.record({ verbs: fc.subarray([...verbs]), ceiling: fc.constantFrom(...sensitivities) }),
  )
  const detail = fc.record({
    type: fc.constant('lease' as const),
    actions: fc.subarray([...verbs], { minLength: 1 }),
    identifier: fc.constantFrom(...backends).map((backend) => `${backend}:customer/*`),
    sensitivity: fc.constantFrom(...sensitivities),
  })
  const profile = fc.record({
    version: fc.constant('1'),
    backends: rights,
    stages: fc.subarray([...stages], { minLength: 2 }),
    max_ttl_seconds: fc.integer({ min: 1, max: 400 }),
    max_lease_seconds: fc.integer({ min: 1, max: 4000 }),
    task_required: fc.boolean(),
    needs_binding: fc.boolean(),
    delegates: fc.boolean(),
    defaults: fc.array(detail, { maxLength: 3 }),
  })
  const world = fc.record({
    profiles: fc.record({ p0: profile, p1: profile, p2: profile }),
    own: rights,
    group: rights,
    asks: fc.constantFrom(...names),
    by: fc.array(fc.constantFrom(...names), { maxLength: 2 }),
    details: fc.option(fc.array(detail, { minLength: 1, maxLength: 3 }), { nil: undefined }),
    stage: fc.constantFrom(...stages),
    bound: fc.boolean(),
  })

  const order: readonly string[] = sensitivities
  const level = (word: string): number => order.indexOf(word)
  const allows = (
    entry: Rights | undefined,
    { identifier, sensitivity }: LeaseDetail,
    verb: string,
  ): boolean => {
    const right = entry?.[identifier.split(':', 1)[0]!]
    return right?.verbs.includes(verb) === true && level(sensitivity) <= level(right.ceiling)
  }
  let engine: Engine
  beforeAll(async () => {
    engine = await openEngine({ wasm, data })
  })

  it('a grant is within the user, every profile on the way, and the request', () => {
    let granted = 0
    fc.assert(
      fc.property(world, ({ profiles, own, group, asks, by, details, stage, bound }) => {
        const users = { alice: { groups: ['g'], backends: own } }
        engine.setData({ ...data, profiles, users, groups: { g: { backends: group } } })
        const answer = askIssue(engine, {
          ...sampleQuestion,
          user: { ...sampleQuestion.user, id: 'alice' },
          agent: { ...sampleQuestion.agent, profile: asks, bound },
          delegatedBy: by.map((name) => ({ id: `agent:${name}`, version: '1', profile: name })),
          request: { ...sampleQuestion.request, details, backends: [], stage },
        })
        if (answer.effect === 'deny') return
        granted++
        const { grant } = answer
        expect(grant.stage).toBe(stage)
        if (details !== undefined) expect(grant.details).toEqual(details)
        const way = [asks, ...by].map((name) => (name === 'gone' ? undefined : profiles[name]))
        for (const entry of way) {
          expect(entry?.stages).toContain(grant.stage)
          expect(grant.ttlSeconds).toBeLessThanOrEqual(entry!.max_ttl_seconds)
          expect(grant.leaseSeconds).toBeLessThanOrEqual(entry!.max_lease_seconds)
        }
        expect(way.slice(1).every((entry) => entry?.delegates)).toBe(true)
        for (const one of grant.details) {
          for (const verb of one.actions) {
            expect(allows(own, one, verb) || allows(group, one, verb)).toBe(true)
            expect(way.every((entry) => allows(entry?.backends, one, verb))).toBe(true)
            expect(stage !== 'observe' || ['read', 'list'].includes(verb)).toBe(true)
          }
        }
      }),
      { numRuns: 2000 },
    )
    // Otherwise nothing was shown.
    expect(granted).toBeGreaterThan(20)
  })
})
