// What the search proposes for each refusal of the policy that ships, and for policies that share no name with
// it; every proposal is then applied to a policy of its own and has to be allowed there.
import { beforeAll, describe, expect, it, test } from 'vitest'
import { applyEdits, pathName } from '../../src/policy/edit.ts'
import { loadPolicy } from '../../src/policy/evaluate.ts'
import { type Explanation, explain } from '../../src/policy/explain.ts'
import { type PolicyInput, policyInput } from '../../src/policy/input_schema.ts'
import type { Change } from '../../src/policy/smallest_change.ts'
import { type PolicySources, readPolicy } from '../../src/policy/sources.ts'
import { build } from '../../src/policy/toolchain.ts'
import { deleting, reading, shippedDir } from './support.ts'

type Parts = { [Part in 'lease' | 'request' | 'context']?: Partial<PolicyInput[Part]> }

/** A copy with members of its parts replaced. */
function input(base: PolicyInput, { lease, request, context }: Parts): PolicyInput {
  return policyInput.parse({
    version: 1,
    lease: { ...base.lease, ...lease },
    request: { ...base.request, ...request },
    context: { ...base.context, ...context },
  })
}

const trial = { ...reading.lease.agent, profile: 'support-trial' }
const grant: PolicyInput['lease']['granted'][number] = {
  actions: ['read'],
  resource: 'crm:customer/9821',
  sensitivity: 'confidential',
}
const updating = input(reading, {
  lease: { stage: 'execute', granted: [{ ...grant, actions: ['update'] }] },
  request: { verb: 'update', method: 'PATCH', operation: 'PATCH /customers/{id}' },
})
const asked = '{"actions":["read"],"resource":"crm:customer/9821","sensitivity":"confidential"}'

interface Row {
  readonly name: string
  readonly input: PolicyInput
  readonly effect: string
  readonly reasons: readonly string[]
  /** Each change on one line. */
  readonly changes: readonly string[]
}

const rows: readonly Row[] = [
  {
    name: 'a request that is allowed',
    input: reading,
    effect: 'allow',
    reasons: [],
    changes: [],
  },
  {
    name: 'a verb that no grant lists',
    input: input(reading, { lease: { granted: [{ ...grant, actions: ['list'] }] } }),
    effect: 'deny',
    reasons: ['verb_not_in_lease'],
    changes: ['append input.lease.granted[0].actions "read"', `append input.lease.granted ${asked}`],
  },
  {
    name: 'a resource that no grant names',
    input: input(reading, { lease: { granted: [{ ...grant, resource: 'crm:customer/1' }] } }),
    effect: 'deny',
    reasons: ['resource_not_in_lease'],
    changes: [`append input.lease.granted ${asked}`],
  },
  {
    name: 'a ceiling below the sensitivity',
    input: input(reading, { lease: { granted: [{ ...grant, sensitivity: 'internal' }] } }),
    effect: 'deny',
    reasons: ['sensitivity_above_ceiling'],
    changes: ['set input.lease.granted[0].sensitivity "confidential"', `append input.lease.granted ${asked}`],
  },
  {
    name: 'a write in stage observe',
    input: input(updating, { lease: { stage: 'observe' } }),
    effect: 'deny',
    reasons: ['stage_observe_is_read_only'],
    changes: ['set input.lease.stage "execute"'],
  },
  {
    name: 'a stage that the profile lacks',
    input: input(updating, { lease: { agent: trial } }),
    effect: 'deny',
    reasons: ['agent_profile_lacks_stage'],
    changes: [
      'set input.lease.agent.profile "support"',
      'append data.profiles["support-trial"].stages "execute"',
    ],
  },
  {
    name: 'a user whose ceiling is too low and who is in no group',
    input: input(reading, { lease: { user: 'bob@example.com' } }),
    effect: 'deny',
    reasons: ['user_not_entitled'],
    changes: [
      'append data.users["bob@example.com"].groups "support"',
      'set data.users["bob@example.com"].backends.crm.ceiling "confidential"',
    ],
  },
  {
    name: 'a user nobody has heard of',
    input: input(reading, { lease: { user: 'mallory@example.com' } }),
    effect: 'deny',
    reasons: ['user_not_entitled'],
    changes: [
      'set data.users["mallory@example.com"] {"groups":[],"backends":{"crm":{"verbs":["read"],"ceiling":"confidential"}}}',
    ],
  },
  {
    name: 'a user named like a member that every object has',
    input: input(reading, { lease: { user: '__proto__' } }),
    effect: 'deny',
    reasons: ['user_not_entitled'],
    changes: [
      'set data.users.__proto__ {"groups":[],"backends":{"crm":{"verbs":["read"],"ceiling":"confidential"}}}',
    ],
  },
  {
    name: 'a lease that called too often',
    input: input(reading, { context: { recent_calls: { lease_1m: 120, agent_1m: 120 } } }),
    effect: 'deny',
    reasons: ['rate_exceeded'],
    changes: ['set data.profiles.support.calls_per_minute.lease 121'],
  },
  {
    name: 'a write that waits for a human in stage draft',
    input: input(updating, { lease: { stage: 'draft' } }),
    effect: 'draft',
    reasons: ['stage_draft_writes_are_drafts'],
    changes: [
      'set input.lease.stage "execute"',
      'set input.context.approval {"id":"act_proposed","approved_by":["group:crm-owners"],"kind":"exact"}',
    ],
  },
  {
    name: 'a real risk that untrusted content asked for',
    input: input(updating, { request: { risk: 'medium' } }),
    effect: 'hold',
    reasons: ['untrusted_provenance'],
    changes: [
      'set input.context.approval {"id":"act_proposed","approved_by":["group:crm-owners"],"kind":"exact"}',
      'set input.context.provenance "trusted"',
    ],
  },
  {
    name: 'a high risk',
    input: deleting,
    effect: 'hold',
    reasons: ['high_risk_needs_approval', 'untrusted_provenance'],
    changes: [
      'set input.context.approval {"id":"act_proposed","approved_by":["group:crm-owners"],"kind":"exact"}',
    ],
  },
  {
    name: 'an agent on probation that deletes: three things at once',
    input: input(deleting, { lease: { agent: trial, granted: [grant] } }),
    effect: 'deny',
    reasons: ['agent_profile_lacks_stage', 'agent_profile_lacks_verb', 'verb_not_in_lease'],
    changes: [
      'append input.lease.granted {"actions":["delete"],"resource":"crm:customer/9821","sensitivity":"restricted"}' +
        ' and set input.lease.agent.profile "support"' +
        ' and set input.context.approval {"id":"act_proposed","approved_by":["somebody else"],"kind":"exact"}',
    ],
  },
  {
    name: 'a backend that nobody has been entitled to',
    input: input(reading, { request: { backend: 'billing' } }),
    effect: 'deny',
    reasons: ['agent_profile_lacks_verb', 'user_not_entitled'],
    changes: [
      'set data.profiles.support.backends.billing {"verbs":["read"],"ceiling":"confidential"}' +
        ' and set data.groups.support.backends.billing {"verbs":["read"],"ceiling":"confidential"}',
    ],
  },
]

function written(change: Change): string {
  return change.map(({ op, path, value }) => `${op} ${pathName(path)} ${JSON.stringify(value)}`).join(' and ')
}

/** Every change, applied to a copy of policy and input, asked of a module of its own. */
async function effectsOf(
  sources: PolicySources,
  wasm: Uint8Array,
  of: PolicyInput,
  changes: readonly Change[],
) {
  return Promise.all(
    changes.map(async (change) => {
      const data = applyEdits(
        sources.data,
        change.filter(({ path }) => path[0] === 'data'),
      )
      const edited = applyEdits(
        of,
        change.filter(({ path }) => path[0] === 'input'),
      )
      return (await loadPolicy({ wasm, data })).evaluate(JSON.stringify(edited)).effect
    }),
  )
}

describe('the policy that ships', () => {
  let sources: PolicySources
  let explanations: readonly Explanation[]
  let wasm: Uint8Array

  beforeAll(async () => {
    sources = await readPolicy(shippedDir)
    explanations = await explain(
      sources,
      rows.map((row) => row.input),
    )
    wasm = (await build(shippedDir)).wasm!
  }, 120_000)

  describe.each(rows.map((row, at) => ({ ...row, at })))('$name', (row) => {
    it('is answered as the gate would answer, in both engines', () => {
      const { answer, otherAnswer } = explanations[row.at]!
      expect([answer.effect, answer.reasons, otherAnswer]).toEqual([row.effect, row.reasons, undefined])
    })

    it('passes after the smallest changes', () => {
      const changes = explanations[row.at]!.search?.changes ?? []
      expect(changes.map(written)).toEqual(row.changes)
    })

    it('is allowed after every change that is proposed', async () => {
      const changes = explanations[row.at]!.search?.changes ?? []
      const effects = await effectsOf(sources, wasm, row.input, changes)
      expect(effects).toEqual(changes.map(() => 'allow'))
    })

    it('is never offered another request', () => {
      const changes = explanations[row.at]!.search?.changes ?? []
      const places = changes.flat().map(({ path }) => pathName(path))
      expect(
        places.filter((place) => /^input\.(request|lease\.user|context\.(now|source_ip))/.test(place)),
      ).toEqual([])
    })
  })

  it('proposes as many people as have to say yes, and never the user', async () => {
    const approvers = {
      crm: { approvers: ['alice@example.com', 'group:crm-owners'], expires_in: 600, quorum: 3 },
    }
    const data = { ...sources.data, approvers }
    const [explanation] = await explain({ ...sources, data }, [deleting])
    const changes = explanation!.search!.changes
    const people = ['group:crm-owners', 'person 2 of group:crm-owners', 'person 3 of group:crm-owners']
    const approval = { id: 'act_proposed', approved_by: people, kind: 'exact' }
    expect(changes.map(written)).toEqual([`set input.context.approval ${JSON.stringify(approval)}`])
    const effects = await effectsOf({ ...sources, data }, wasm, deleting, changes)
    expect(effects).toEqual(['allow'])
  }, 60_000)

  it('tells which conditions failed, where they stand and on what values', () => {
    const at = rows.findIndex(({ name }) => name.startsWith('an agent on probation'))
    const rule = explanations[at]!.trace!.rules.find(({ title }) => title === 'Profile permits verb')!
    expect(rule).toMatchObject({
      rule: 'data.leasegate.authz.profile_permits_verb',
      file: 'authz.rego',
      holds: false,
      conditions: [{ outcome: 'false', line: rule.line + 1 }],
    })
    const reads = rule.conditions[0]!.failures[0]!
    expect(Object.fromEntries(reads.map(({ name, value }) => [name, value]))).toEqual({
      'input.request.verb': 'delete',
      'input.request.backend': 'crm',
      'input.lease.agent.profile': 'support-trial',
      'data.profiles["support-trial"].backends.crm.verbs': ['read', 'list', 'update'],
    })
  })

  it('tries the conditions behind a failed one, too', () => {
    const at = rows.findIndex(({ name }) => name.startsWith('an agent on probation'))
    const rule = explanations[at]!.trace!.rules.find(({ title }) => title === 'Permitted')!
    expect(rule.conditions.filter(({ outcome }) => outcome === 'false').map(({ text }) => text)).toEqual([
      'lease_covers_request',
      'profile_permits_stage',
      'profile_permits_verb',
      'profile_permits_sensitivity',
    ])
  })
})

const other = `package leasegate.authz

import data.desk as office

default decision := {"effect": "deny", "reasons": ["no"]}
`
const allow = 'decision := {"effect": "allow", "reasons": []}'

describe('a search with bounds', () => {
  test('data too large to be tried in every way still leaves changes of the lease', async () => {
    const text = `${other.replace(/import .*\n/, '')}\n${allow} if {\n\tinput.lease.stage == "draft"\n\tdata.open\n}\n\n${allow} if {\n\tinput.lease.stage == "execute"\n\tinput.context.provenance == "trusted"\n}\n`
    const padding = Object.fromEntries(Array.from({ length: 400 }, (_, at) => [`k${at}`, 'x'.repeat(50_000)]))
    const [explanation] = await explain({ files: { 'authz.rego': text }, data: { open: false, padding } }, [
      reading,
    ])
    const { changes, complete } = explanation!.search!
    expect(changes.map(written)).toContain(
      'set input.lease.stage "execute" and set input.context.provenance "trusted"',
    )
    expect(complete).toBe(true)
  })
})

test('a policy that takes too long to follow is answered, and what is told is marked as incomplete', async () => {
  const loop = 'count([x | some x in numbers.range(1, 2000); some y in numbers.range(1, 2000); x * y < 0])'
  const text = `${other.replace(/import .*\n/, '')}\n${allow} if {\n\tinput.lease.stage == "draft"\n\t${loop} > 0\n}\n`
  const [explanation] = await explain({ files: { 'authz.rego': text }, data: {} }, [reading])
  expect(explanation!.answer.reasons).toEqual(['no'])
  expect(explanation!.trace!.incomplete).toBe(true)
  expect(explanation!.otherAnswer).toBeUndefined()
})

test('conditions inside an `every`, and values under `with`, are told as they were looked at', async () => {
  const text = `${other.replace(/import .*\n/, '')}\n${allow} if {\n\tevery word in ["read", "list"] {\n\t\tword == input.request.verb\n\t}\n\tinner with input.request.verb as "list"\n}\n\ninner if input.request.verb == "delete"\n`
  const [explanation] = await explain({ files: { 'authz.rego': text }, data: {} }, [reading])
  const told = explanation!.trace!.rules.flatMap(({ conditions }) =>
    conditions.map(({ text, outcome, failures }) => [
      text.split(' ', 1)[0],
      outcome,
      Object.fromEntries((failures[0] ?? []).map(({ name, value }) => [name, value])),
    ]),
  )
  expect(told).toContainEqual(['word', 'false', { word: 'list', 'input.request.verb': 'read' }])
  expect(told).toContainEqual(['input.request.verb', 'false', { 'input.request.verb': 'list' }])
})

describe('a policy of other names', () => {
  test.each([
    {
      name: 'a switch that is off',
      rego: `${allow} if office.open[input.request.backend]`,
      data: { desk: { open: { crm: false } } },
      changes: ['set data.desk.open.crm true'],
    },
    {
      name: 'a word that two lists lack: two edits',
      rego: `${allow} if {\n\tinput.request.verb in office.can\n\tinput.lease.stage in office.at\n}`,
      data: { desk: { can: ['list'], at: ['draft'] } },
      changes: [
        'set input.lease.stage "draft" and append data.desk.can "read"',
        'append data.desk.can "read" and append data.desk.at "observe"',
      ],
    },
    {
      name: 'a task of another system, named in the rule',
      rego: `${allow} if input.lease.task.system == "zendesk"`,
      data: {},
      changes: ['set input.lease.task.system "zendesk"'],
    },
    {
      name: 'a fact of the request that cannot be changed',
      rego: `${allow} if net.cidr_contains("192.168.0.0/16", input.context.source_ip)`,
      data: {},
      changes: [],
    },
    {
      name: 'four things at once: more than three edits',
      rego: `${allow} if {\n\toffice.a\n\toffice.b\n\toffice.c\n\toffice.d\n}`,
      data: { desk: { a: false, b: false, c: false, d: false } },
      changes: [],
    },
    {
      name: 'a policy that allows what no grant covers',
      rego: allow,
      data: {},
      of: input(reading, { lease: { granted: [] } }),
      changes: [`append input.lease.granted ${asked}`],
    },
  ])('$name', async ({ rego, data, changes, of = reading }) => {
    const text = rego === allow ? `package leasegate.authz\n\n${allow}\n` : `${other}\n${rego}\n`
    const files = { 'desk.rego': rego.includes('office') ? text : text.replace(/import .*\n/, '') }
    const [explanation] = await explain({ files, data }, [of])
    expect(explanation!.search?.changes.map(written)).toEqual(changes)
  })

  test('two rules that disagree: the fault of both engines, with the place', async () => {
    const text = `package leasegate.authz\n\n${allow} if input.version == 1\n\n${allow.replace('allow', 'deny')} if input.version < 2\n`
    const [explanation] = await explain({ files: { 'authz.rego': text }, data: {} }, [reading])
    expect(explanation!.answer).toMatchObject({ effect: 'deny', reasons: ['policy_failed'] })
    expect(explanation!.trace!.fault).toMatch(/authz\.rego:\d+.*eval_conflict_error/)
    expect(explanation!.otherAnswer).toBeUndefined()
  })

  test('a module compiled elsewhere: the effect and changes of the lease, no rules', async () => {
    const { wasm } = await build(shippedDir)
    const { data } = await readPolicy(shippedDir)
    const of = rows.find(({ name }) => name === 'a verb that no grant lists')!
    const [explanation] = await explain({ files: {}, data, wasm: wasm! }, [of.input])
    expect(explanation!.trace).toBeUndefined()
    expect(explanation!.search!.changes.map(written)).toEqual(of.changes)
  })
})
