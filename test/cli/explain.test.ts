// `policy explain` as a child process: of records in an audit file, of input files, of questions.
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { packageRoot } from '../../src/version.ts'
import { deleting, reading } from '../policy/support.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  cpSync(join(packageRoot, 'policies'), place.path('policies'), { recursive: true })
  place.configure('http://127.0.0.1:1')
})
afterEach(() => place[Symbol.asyncDispose]())

const explain = (...args: string[]) => place.run(['policy', 'explain', ...args])

/** A record as the gate writes it. */
function record(decision_id: string, more: object, decision: object = {}): string {
  const entry = {
    time: '2026-11-22T00:00:12.000Z',
    decision_id,
    trace_id: null,
    who: { user: 'alice@example.com' },
    agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', instance: '', profile: 'support' },
    what: {
      backend: 'crm',
      operation: 'DELETE /customers/{id}',
      verb: 'delete',
      sensitivity: 'restricted',
      risk: 'high',
      resource: 'crm:customer/9821',
      method: 'DELETE',
      path: '/crm/customers/9821',
      query: [],
    },
    decision: { effect: 'deny', code: null, reasons: [], policy_digest: null, cause: null, ...decision },
    outcome: { status: 403, bytes_in: 0, bytes_out: 0, duration_ms: 1, ended: 'refused' },
    ...more,
  }
  return `${JSON.stringify(entry)}\n`
}

const policy = (more: object) => ({
  policy: {
    effect: 'hold',
    reasons: ['x'],
    fault: null,
    input: deleting,
    redacted: [],
    omitted: null,
    ...more,
  },
})

test('a record: what was decided, that the policy has changed since, and what would be enough', async () => {
  const decided = { effect: 'hold', code: 'approval_required', policy_digest: 'sha256:0' }
  place.write('data/audit.jsonl', record('dec_B', {}) + record('dec_A', policy({}), decided))
  const { code, stdout, stderr } = await explain('dec_A')
  expect([code, stderr]).toEqual([1, ''])
  expect(stdout).toContain('alice@example.com via agent:support-triage@3.2.1: delete crm:customer/9821')
  expect(stdout).toContain('approval_required: A human has to approve this')
  expect(stdout).toMatch(/The policy here is another one: it is sha256:[0-9a-f]{64}/)
  expect(stdout).toMatch(/^HOLD {2}high_risk_needs_approval, untrusted_provenance$/m)
  expect(stdout).toContain('waits for an approval by group:crm-owners within 10m, with a reason')
  expect(stdout).toMatch(/false {2}Approved {2}policies\/authz\.rego:\d+/)
  expect(stdout).toContain('approval: of exactly this request by group:crm-owners')
  expect(await explain('dec_missing')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no record'),
  })
})

test('a record without an input says why, and what can be said', async () => {
  place.write(
    'audit.jsonl',
    record('dec_check', { policy: null }, { code: 'outside_lease', reasons: ['verb_not_in_lease'] }) +
      record('dec_large', policy({ input: null, omitted: 'too_large' })) +
      record('dec_old', {}),
  )
  const of = (id: string) => explain(id, '--audit', 'audit.jsonl', '--dir', 'policies')
  const check = await of('dec_check')
  expect([check.code, check.stdout]).toEqual([1, expect.stringContaining('policy was not asked')])
  expect(check.stdout).toContain('outside_lease: The lease does not cover this')
  expect(check.stdout).toContain(
    'missing: [{"type":"lease","actions":["delete"],"identifier":"crm:customer/9821","sensitivity":"restricted"}]',
  )
  expect((await of('dec_large')).stdout).toContain('larger than audit.policy_input.max_size')
  expect((await of('dec_old')).stdout).toContain('older than the recording of policy inputs')
})

test('a record whose policy reads what is redacted is not explained away', async () => {
  const rule = 'decision := {"effect": "allow", "reasons": []} if input.request.body.amount < 100\n'
  place.write('other/authz.rego', `package leasegate.authz\n\n${rule}`)
  place.write(
    'audit.jsonl',
    record('dec_A', policy({ effect: 'deny', redacted: ['request.body', 'request.query'] })),
  )
  const hidden = await explain('dec_A', '--audit', 'audit.jsonl', '--dir', 'other')
  expect([hidden.code, hidden.stdout]).toEqual([1, expect.stringContaining('input.request.body.amount')])
  expect(hidden.stdout).toContain('other/authz.rego:3')
  expect(hidden.stdout).not.toMatch(/would make it pass/)
  const told = await explain('dec_A', '--audit', 'audit.jsonl', '--dir', 'policies', '--json')
  expect(JSON.parse(told.stdout)).toMatchObject({ explanations: [{ effect: 'hold' }] })
})

test('a record that lost to redaction what no input can do without says what', async () => {
  const input = { ...reading, lease: { ...reading.lease, user: null } }
  place.write('audit.jsonl', record('dec_A', policy({ input, redacted: ['lease.user'] })))
  const { stdout, stderr } = await explain('dec_A', '--audit', 'audit.jsonl')
  expect([stdout, stderr]).toEqual([expect.stringContaining('its input lost lease.user to redaction'), ''])
})

test('an input file: 0 when allowed, 2 with the path of what is wrong in it', async () => {
  place.write('input.json', JSON.stringify(reading))
  const allowed = await explain('input.json')
  expect([allowed.code, allowed.stdout]).toEqual([0, expect.stringMatching(/^ALLOW\n.*alice@example\.com/)])
  place.write('input.json', JSON.stringify({ ...reading, lease: { ...reading.lease, stage: 'root' } }))
  expect(await explain('input.json')).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringContaining('lease.stage'),
  })
  place.write('input.json', '{"version":1,"version":1}')
  expect(await explain('input.json')).toMatchObject({ code: 2, stdout: '' })
})

/** The rules that are told, in order, without their places. */
const told = (text: string) =>
  [...text.matchAll(/^ {2}(true|false) +(.+?) {2}policies/gm)].map(([, is, rule]) => `${is} ${rule}`)

test('a refusal is told from the decision down to its cause, and all the rest with --verbose', async () => {
  const lease = {
    ...reading.lease,
    stage: 'execute',
    agent: { ...reading.lease.agent, profile: 'support-trial' },
  }
  place.write('input.json', JSON.stringify({ ...reading, lease }))
  const short = (await explain('input.json')).stdout
  expect(told(short)).toEqual(['false Decision', 'false Permitted', 'false Profile permits stage'])
  expect(short).toMatch(
    /^Why$.*^Each of these would make it pass$.*^\d+ other rules took part; --verbose lists them$/ms,
  )
  const whole = (await explain('input.json', '--verbose')).stdout
  const { explanations } = JSON.parse((await explain('input.json', '--json')).stdout)
  expect(told(whole)).toHaveLength(explanations[0].rules.length)
  expect(whole).toContain('false  Needs confirmation')
})

test('what a hold comes from is found below a negated condition', async () => {
  place.write('input.json', JSON.stringify(deleting))
  const rules = told((await explain('input.json')).stdout)
  expect(rules.slice(0, 3)).toEqual(['false Decision', 'true Needs approval', 'false Harmless'])
  expect(rules).toContain('false Approved')
  expect(rules).not.toContain('true Permitted')
})

test('a question goes through the configured operations, and its answer is data for programs', async () => {
  const who = ['--user', 'bob@example.com', '--agent', 'support-triage@3', '--profile', 'support', '--json']
  const { code, stdout } = await explain(...who, 'read crm:customer/98%2A21')
  const { explanations } = JSON.parse(stdout)
  expect([code, explanations]).toMatchObject([
    1,
    [
      {
        effect: 'deny',
        reasons: ['user_not_entitled'],
        input: { request: { operation: 'GET /customers/{id}', params: { id: '98*21' } } },
        built_in: { holds: true },
      },
    ],
  ])
  expect(explanations[0].search.changes[0]).toMatchObject([
    {
      op: 'append',
      text: 'data: add "support" to data.users["bob@example.com"].groups (policies/data/users.json)',
    },
  ])
})

test.each([
  [
    'a verb that nothing means',
    ['frob crm:customer/1', '--user', 'u', '--agent', 'a'],
    "no operation means 'frob",
  ],
  ['a backend that is not there', ['read erp:x', '--user', 'u', '--agent', 'a'], "no backend 'erp'"],
  [
    'a resource the gate never maps',
    ['read crm:customer/a%2Fb', '--user', 'u', '--agent', 'a'],
    'malformed_request',
  ],
  ['nobody who asks', ['read crm:customer/1'], '--user and --agent'],
  ['half of who asks', ['read crm:customer/1', '--user', 'u'], '--user and --agent'],
  ['a stage that is none', ['read crm:customer/1', '--user', 'u', '--agent', 'a', '--stage', 'x'], '--stage'],
  ['a file that is not there', ['nowhere.json'], 'nowhere.json: no such file'],
  ['an audit file that is not there', ['dec_A'], 'no such file; name audit files with --audit'],
])('%s is a mistake', async (_, args, message) => {
  const { code, stdout, stderr } = await explain(...args)
  expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining(message)])
})

test('what could steer a terminal is escaped', async () => {
  const user = '\u001b[2J\u202eeve\nALLOW'
  place.write('input.json', JSON.stringify({ ...reading, lease: { ...reading.lease, user } }))
  const { stdout } = await explain('input.json')
  expect(stdout).toContain('\\u001b[2J\\u202eeve\\u000aALLOW')
  expect(stdout).not.toMatch(/^ALLOW/m)
  expect(stdout).not.toMatch(/[\u001b\u202e]/u)
})

test('a policy that does not compile is told with its place', async () => {
  place.write('policies/authz.rego', 'package leasegate.authz\n\ndecision := input.lease.usr\n')
  place.write('input.json', JSON.stringify(reading))
  const { code, stdout } = await explain('input.json')
  expect([code, stdout]).toEqual([2, expect.stringMatching(/policies\/authz\.rego:3:\d+.*usr/s)])
})
