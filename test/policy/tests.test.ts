// Tests of a policy, run by the real compiler in both engines: verdicts, tables, what a failure tells, coverage.
import { describe, expect, it } from 'vitest'
import { type TestResult, testName } from '../../src/policy/test_report.ts'
import { test } from '../../src/policy/toolchain.ts'
import { PolicyDir } from './support.ts'

const authz = `package leasegate.authz

decision := {"effect": "allow", "reasons": []} if {
	permitted
} else := {"effect": "deny", "reasons": reasons}

permitted if {
	some grant in input.lease.granted
	grants_verb(grant)
}

grants_verb(grant) if input.request.verb in grant.actions

grants_verb(grant) if "*" in grant.actions

reasons contains "verb_not_in_lease" if not permitted

reasons contains "off_hours" if data.closed[input.request.verb]
`

const fixture = `package leasegate.authz_test

import data.leasegate.authz

reading := {"lease": {"granted": [{"actions": ["read"]}]}, "request": {"verb": "read"}}

asks(request) := decision if decision := authz.decision with input as request with data.closed as closed

closed := {"audit": true}

`

interface Tested {
  readonly tests: readonly TestResult[]
  readonly diagnostics: readonly { readonly message: string }[]
  readonly named: ReadonlyMap<string, TestResult>
}

async function tested(rules: string, options: { run?: string } = {}): Promise<Tested> {
  using dir = PolicyDir.of({ 'authz.rego': authz, 'authz_test.rego': `${fixture}${rules}\n` })
  const { report, diagnostics } = await test(dir.path, { explain: true, ...options })
  const tests = report?.tests ?? []
  return { tests, diagnostics, named: new Map(tests.map((one) => [testName(one), one])) }
}

describe('a table of tests', () => {
  it('has one result per case, by variable or by a field of one, and names the failing ones', async () => {
    const { named } = await tested(`
test_verbs[verb] if {
	some verb, effect in {"read": "allow", "list": "deny", "audit": "allow"}
	asks(object.union(reading, {"request": {"verb": verb}})).effect == effect
}

test_rows[tc.note] if {
	some tc in [{"note": "one, two", "x": 1}, {"note": "three", "x": 2}]
	tc.x == 1
}

test_value[n] := ok if {
	some n in [1, 2]
	ok := n == 1
}`)
    expect([...named].map(([name, { failure }]) => [name, failure === undefined])).toEqual([
      ['test_rows["one, two"]', true],
      ['test_rows["three"]', false],
      ['test_value["1"]', true],
      ['test_value["2"]', false],
      ['test_verbs["audit"]', false],
      ['test_verbs["list"]', true],
      ['test_verbs["read"]', true],
    ])
    const { trace } = named.get('test_verbs["audit"]')!.failure!
    expect(trace!.asked).toEqual([
      expect.objectContaining({
        input: expect.objectContaining({ request: { verb: 'audit' } }),
        opa: { value: { effect: 'deny', reasons: ['off_hours', 'verb_not_in_lease'] } },
        same: true,
      }),
    ])
    expect(named.get('test_rows["three"]')!.failure!.trace!.failed).toEqual([
      expect.objectContaining({ text: 'tc.x == 1', values: { 'tc.x': '2' } }),
    ])
  })

  it('without a case fails, and so does one with a row that fails before it has a name', async () => {
    const { named } = await tested(`
test_empty[n] if {
	some n in []
	n == 1
}

test_late[n] if {
	some tc in [{"n": "a", "on": true}, {"n": "b", "on": false}]
	tc.on
	n := tc.n
}`)
    expect([...named].map(([name, { failure }]) => [name, failure?.message])).toEqual([
      ['test_empty', 'has no case'],
      ['test_late', expect.stringContaining('a row fails in line')],
    ])
  })

  it.each([
    ['a pair', 'test_x[[a, b]] if {\n\tsome a in [1]\n\tsome b in [2]\n}'],
    ['a call', 'test_x[concat("", [a])] if some a in ["x"]'],
    ['a constant', 'test_x["a"] if 1 == 1'],
    ['two keys', 'test_x[a][b] if {\n\tsome a in [1]\n\tsome b in [2]\n}'],
    ['an argument', 'test_x(a) if a == 1'],
  ])('whose cases are named by %s is refused, with what to write instead', async (_, rule) => {
    const { tests, diagnostics } = await tested(rule)
    expect(tests).toEqual([])
    expect(diagnostics.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^test_x .*write `test_x(\[name\])? if …` or `test_x\[(case|tc\.name)\] if …`$/),
    )
  })
})

describe('a test that fails tells', () => {
  it('the expression, the whole input, the answer, and each rule with the condition it failed', async () => {
    const { named } = await tested(
      'test_list_is_allowed if asks(object.union(reading, {"request": {"verb": "list"}})).effect == "allow"',
    )
    const { failed, asked, steps } = named.get('test_list_is_allowed')!.failure!.trace!
    expect(failed.map(({ file, line, column }) => [file, line, column])).toEqual([
      ['authz_test.rego', 11, 25],
    ])
    expect(asked).toEqual([
      {
        ref: 'data.leasegate.authz.decision',
        input: { lease: { granted: [{ actions: ['read'] }] }, request: { verb: 'list' } },
        opa: { value: { effect: 'deny', reasons: ['verb_not_in_lease'] } },
        wasm: { value: { effect: 'deny', reasons: ['verb_not_in_lease'] } },
        same: true,
      },
    ])
    const [asks] = steps
    const [allow, deny] = asks!.steps
    expect([asks!.held, allow!.held, deny!.held]).toEqual([true, false, true])
    expect(allow!.steps[0]).toMatchObject({
      rule: 'data.leasegate.authz.permitted',
      file: 'authz.rego',
      line: 7,
      held: false,
      failed: [{ line: 9, text: 'grants_verb(grant)' }],
    })
    expect(allow!.steps[0]!.steps.map(({ failed: [condition] }) => condition)).toContainEqual(
      expect.objectContaining({
        text: 'input.request.verb in grant.actions',
        values: { 'input.request.verb': '"list"', 'grant.actions': '["read"]' },
      }),
    )
  })

  it('what failed inside of an `every`, with the values it failed on', async () => {
    const { named } = await tested(`
some_verbs(verbs) if {
	every verb in verbs {
		verb != "audit"
	}
}

test_some if some_verbs(["read", "audit", "list"])

test_every if {
	every verb in ["read", "list"] {
		asks(object.union(reading, {"request": {"verb": verb}})).effect == "allow"
	}
}`)
    const { failed, asked } = named.get('test_every')!.failure!.trace!
    expect(failed[0]).toMatchObject({ line: 22, column: 3, values: { verb: '"list"' } })
    expect(asked.map(({ input }) => (input as { request: object }).request)).toEqual([{ verb: 'list' }])
    const [step] = named.get('test_some')!.failure!.trace!.steps
    expect(step!.failed[0]).toMatchObject({ text: 'verb != "audit"', values: { verb: '"audit"' } })
  })

  it.each([
    ['a function of the policy', 'authz.grants_verb({"actions": []}) with input as reading', reading(), {}],
    [
      'an input set in part',
      'authz.permitted with input.request.verb as "x"',
      { request: { verb: 'x' } },
      {},
    ],
    [
      'an input set in part within another',
      'nested with input as reading',
      { ...reading(), request: { verb: 'list' } },
      {},
    ],
    ['no input at all', 'authz.decision.effect == "allow"', undefined, { value: expect.anything() }],
  ])('what it asked of %s', async (_, rule, input, answer) => {
    const { named } = await tested(
      `nested if authz.permitted with input.request.verb as "list"\n\nno_verb(_) := false\n\ntest_x if ${rule}`,
      { run: 'test_x' },
    )
    const { asked } = named.get('test_x')!.failure!.trace!
    expect(asked).toHaveLength(1)
    expect(asked[0]!.input).toEqual(input)
    expect([asked[0]!.opa, asked[0]!.wasm, asked[0]!.same]).toEqual([answer, answer, true])
  })

  it('both verdicts and both answers, where the engines differ', async () => {
    // One of the few differences that are left (regoc/capabilities.go): an IPv4-mapped IPv6 address.
    using dir = PolicyDir.of({
      'authz.rego': `${authz}\nnear := net.cidr_contains("10.0.0.0/8", input.context.source_ip)\n`,
      'authz_test.rego': `${fixture}test_near if authz.near with input.context.source_ip as "::ffff:10.1.2.3"\n`,
    })
    const { report, diagnostics } = await test(dir.path, { explain: true })
    expect(diagnostics.filter(({ severity }) => severity === undefined)).toEqual([
      expect.objectContaining({
        code: 'engines_differ',
        message: 'test_near passes in OPA and fails in WebAssembly',
      }),
    ])
    expect(report!.tests).toMatchObject([
      {
        opa: { passed: true },
        wasm: { passed: false },
        failure: { trace: { asked: [{ opa: { value: true }, wasm: { value: false }, same: false }] } },
      },
    ])
  })

  it('that it never ended, and the others are reported all the same', { timeout: 60_000 }, async () => {
    const { named } = await tested(`
test_endless if {
	some i in numbers.range(1, 100000)
	some j in numbers.range(1, 100000)
	i + j == -1
}

test_good if 1 == 1`)
    expect(named.get('test_endless')!.failure).toEqual({
      code: 'test_timeout',
      message: 'did not end within 5 s in OPA',
    })
    expect(named.get('test_good')!.failure).toBeUndefined()
  })

  it('that it never came back from a builtin, by its name', { timeout: 60_000 }, async () => {
    const { tests } = await tested(
      'test_huge if count(numbers.range(1, 900000000)) == 1\n\ntest_good if 1 == 1',
    )
    expect(tests).toEqual([
      {
        package: 'leasegate.authz_test',
        name: 'test_huge',
        file: 'authz_test.rego',
        line: 11,
        column: 1,
        failure: { code: 'test_timeout', message: expect.stringContaining('did not end within') },
      },
    ])
  })
})

describe('a run', () => {
  it('keeps to the tests whose reference a pattern matches', async () => {
    const { tests } = await tested('test_a if 1 == 1\n\ntest_ab if 1 == 1\n\ntest_b if 1 == 1', {
      run: 'authz_test\\.test_a',
    })
    expect(tests.map(({ name }) => name)).toEqual(['test_a', 'test_ab'])
  })

  it('counts lines of policy files only, and names the uncovered ones', async () => {
    using dir = PolicyDir.of({
      'authz.rego': authz,
      'other.rego': 'package other\n\nlimit := 3\n',
      'authz_test.rego': `${fixture}test_read if asks(reading).effect == "allow"\n`,
    })
    const { report, coverage } = await test(dir.path)
    expect(report!.coverage).toEqual([
      {
        file: 'authz.rego',
        lines: 10,
        covered: 6,
        uncovered: [
          [5, 5],
          [14, 14],
          [16, 16],
          [18, 18],
        ],
      },
      { file: 'other.rego', lines: 1, covered: 0, uncovered: [[3, 3]] },
    ])
    expect(coverage).toBeCloseTo((100 * 6) / 11)
  })
})

function reading(): object {
  return { lease: { granted: [{ actions: ['read'] }] }, request: { verb: 'read' } }
}
