import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { timeOperations, timeRules } from '../../src/policy/bench.ts'
import { inputsOf, recordedInputs } from '../../src/policy/bench_inputs.ts'
import { loadPolicy } from '../../src/policy/evaluate.ts'
import { policyInput } from '../../src/policy/input_schema.ts'
import { readPolicy } from '../../src/policy/sources.ts'
import { buildWithRules } from '../../src/policy/toolchain.ts'
import { packageRoot } from '../../src/version.ts'
import { deleting, PolicyDir, reading, shippedDir } from './support.ts'

const { backends } = loadConfig(`${packageRoot}/config.example.yaml`, { CRM_TOKEN: 'secret' })
const quiet = () => undefined
const record = (input: object | null) => JSON.stringify({ decision: {}, policy: { effect: 'allow', input } })

describe('inputs made up for the operations of the configuration', () => {
  const { data } = { data: { users: { 'zoe@example.com': {} }, profiles: { worker: {} } } }
  const parsed = (groups: ReturnType<typeof inputsOf>) =>
    groups.map(({ inputs }) => policyInput.parse(JSON.parse(inputs[0]!)))

  it('are one per operation, in the shape that policy sees', () => {
    const groups = inputsOf(backends, data)
    expect(groups.map(({ operation }) => operation)).toEqual(
      backends[0]!.operations.map(({ match }) => `crm ${match}`),
    )
    for (const { lease, request } of parsed(groups)) {
      expect(lease.granted).toEqual([
        { actions: [request.verb], resource: request.resource, sensitivity: request.sensitivity },
      ])
    }
    expect(parsed(groups)[0]!.request).toMatchObject({ path: '/customers/1', params: { id: '1' } })
  })

  it.each([
    ['whoever is first in the data', data, {}, 'zoe@example.com', 'worker'],
    ['whoever is named', data, { user: 'amy', profile: 'p' }, 'amy', 'p'],
    ['the sample where the data has other things', { users: ['a'] }, {}, 'alice@example.com', 'support'],
    ['the sample without data', {}, {}, 'alice@example.com', 'support'],
  ])('are asked by %s', (_name, tree, caller, user, profile) => {
    const [input] = parsed(inputsOf(backends, tree, caller))
    expect([input!.lease.user, input!.lease.agent.profile]).toEqual([user, profile])
  })
})

describe('inputs from an audit file', () => {
  it('are grouped by operation; what has none is counted', async () => {
    const lines = [
      record(reading),
      record(deleting),
      record(reading),
      record(null),
      '{"decision":{}}',
      '{"event":"policy","policy":null}',
      '',
      '{"broken',
      '7',
    ]
    const { groups, without, unreadable } = await recordedInputs(lines, 10)
    expect(groups.map(({ operation, inputs }) => [operation, inputs.length])).toEqual([
      ['crm GET /customers/{id}', 2],
      ['crm DELETE /customers/{id}', 1],
    ])
    expect([without, unreadable]).toEqual([2, 2])
  })

  it.each([1, 2, 3])('are the last %i of each operation', async (most) => {
    const now = (n: number) => ({ ...reading, context: { ...reading.context, now: n } })
    const { groups } = await recordedInputs(
      [1, 2, 3, 4, 5].map((n) => record(now(n))),
      most,
    )
    const kept = groups[0]!.inputs.map((input) => JSON.parse(input).context.now).sort()
    expect(kept).toEqual([1, 2, 3, 4, 5].slice(-most))
  })
})

describe('the cost of a policy', () => {
  it('is told per operation, with the answer that was timed', async () => {
    const { wasm } = await buildWithRules(shippedDir)
    const { data } = await readPolicy(shippedDir)
    const groups = inputsOf(backends, data)
    const seen: number[] = []
    const costs = await timeOperations({ wasm: wasm!, data }, groups, 20, (done) => seen.push(done))
    expect(costs.map(({ effects }) => effects)).toEqual([['allow'], ['allow'], ['allow'], ['allow', 'hold']])
    expect(costs.every(({ p50, p99, fault }) => p50 > 0 && p99 >= p50 && fault === undefined)).toBe(true)
    expect(seen).toEqual([0, 1, 2, 3])
  })

  it('names every answer of one operation, and why the policy failed', async () => {
    using dir = PolicyDir.of({
      'authz.rego': `package leasegate.authz

decision := {"effect": "allow", "reasons": []} if input.context.now == 1

decision := {"effect": "deny", "reasons": []} if input.context.now < 3
`,
    })
    const { wasm } = await buildWithRules(dir.path)
    const at = (now: number) => JSON.stringify({ ...reading, context: { ...reading.context, now } })
    const groups = [{ operation: 'crm GET /', inputs: [at(1), at(2), at(3)] }]
    const [cost] = await timeOperations({ wasm: wasm!, data: {} }, groups, 5, quiet)
    expect(cost).toMatchObject({ effects: ['deny'], fault: expect.stringContaining('conflict') })
  })

  it('is told per rule, with file, line and title; functions and tests are no rules', async () => {
    using dir = PolicyDir.of({
      'authz.rego': `package leasegate.authz

import data.leasegate.more

# METADATA
# title: What comes out
decision := {"effect": "allow", "reasons": []} if more.slow

f(x) := x + 1
`,
      'more.rego': `package leasegate.more

slow if count([n | some n in numbers.range(1, 2000); n % 7 == 0]) > f(1)

f(x) := x

clash := 1 if input.version == 1

clash := 2 if input.version == 1

clash_too[x] := 1 if some x in ["a"]
`,
      'more_test.rego':
        'package leasegate.more_test\n\nimport data.leasegate.more\n\ntest_slow if more.slow\n',
    })
    const { wasm, rules, diagnostics } = await buildWithRules(dir.path)
    expect(diagnostics).toEqual([])
    const groups = inputsOf(backends, {})
    const module = { wasm: rules!.wasm, data: {} }
    const costs = await timeRules({ module, list: rules!.list }, groups, 10, quiet)
    const byName = new Map(costs.rules.map((cost) => [cost.rule, cost]))
    expect([...byName.keys()].toSorted()).toEqual([
      'data.leasegate.authz.decision',
      'data.leasegate.more.clash_too',
      'data.leasegate.more.slow',
    ])
    expect(byName.get('data.leasegate.authz.decision')).toMatchObject({
      file: 'authz.rego',
      line: 7,
      title: 'What comes out',
    })
    expect(byName.get('data.leasegate.more.slow')).not.toHaveProperty('title')
    // Two thousand steps against one: no clock is coarse enough to turn these around.
    expect(costs.rules.at(-1)!.rule).toBe('data.leasegate.more.clash_too')
    expect(costs.failed).toEqual(['data.leasegate.more.clash'])
    // What serves has none of the entry points that are only for timing.
    expect((await loadPolicy({ wasm: wasm!, data: {} })).evaluate(groups[0]!.inputs[0]!).effect).toBe('allow')
  })
})
