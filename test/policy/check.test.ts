// What `policy check` says, word by word: Rego in; place, severity, code, message and hint out. A table of rows is
// one run of the compiler over all of them, each in a file and a package of its own: mistakes come all at once.
import { describe, expect, it } from 'vitest'
import { mappedOperations } from '../../src/policy/mapped.ts'
import { backendOf, operationOf } from '../support/evidence.ts'
import { diagnose, expectRows, type Row, told } from './check_rows.ts'

/** What is told about the decision of a policy of one file. */
async function toldOf(rules: string): Promise<string[]> {
  const diagnostics = await diagnose({ files: { 'authz.rego': `package leasegate.authz\n\n${rules}\n` } })
  return diagnostics.map(told)
}

const typed: readonly Row[] = [
  [
    'a misspelt member',
    'p if input.lease.user_id == "alice"',
    '3:18-25 error rego_type_error: undefined ref: input.lease.user_id -> did you mean input.lease.user?',
  ],
  [
    'a misspelt member after a character of two bytes',
    'p if { "é" != input.lease.user; input.lease.usr == "x" }',
    '3:45-48 error rego_type_error: undefined ref: input.lease.usr -> did you mean input.lease.user?',
  ],
  [
    'a misspelt member of a local name',
    'p if { t := input.lease.task; t.idd == "SUP-1" }',
    '3:33-36 error rego_type_error: undefined ref: t.idd -> did you mean t.id?',
  ],
  [
    'a misspelt member of each element',
    'p if { some g in input.lease.granted; g.action == [] }',
    '3:41-47 error rego_type_error: undefined ref: g.action -> did you mean g.actions?',
  ],
  [
    'a member with no near name',
    'p if input.context.zzzzzzzz == 3',
    '3:20-28 error rego_type_error: undefined ref: input.context.zzzzzzzz -> one of approval, budget, now, provenance, recent_calls, source_ip',
  ],
  [
    'a member of a string',
    'p if input.lease.user.name == "alice"',
    '3:23-27 error rego_type_error: undefined ref: input.lease.user.name -> input.lease.user is a string',
  ],
  [
    'a name in a list',
    'p if input.lease.granted.first',
    '3:26-31 error rego_type_error: undefined ref: input.lease.granted.first -> what is in input.lease.granted is named by a number',
  ],
  [
    'a comparison of two types',
    'p if input.lease.user == 1',
    '3:6-27 error rego_type_error: match error: a string is never a number',
  ],
]

const called: readonly Row[] = [
  [
    'a misspelt function',
    `p if witin(1)

within(x) if x == 1`,
    '3:6-11 error rego_type_error: undefined function witin -> did you mean within?',
  ],
  [
    'a misspelt function of another package',
    `import data.rows.row_0

p if row_0.witin(1)`,
    '5:6-17 error rego_type_error: undefined function data.rows.row_0.witin -> did you mean data.rows.row_0.within?',
  ],
  [
    'a misspelt builtin',
    'p if cont([1]) == 1',
    '3:6-10 error rego_type_error: undefined function cont -> did you mean count?',
  ],
  [
    'the clock',
    'p if time.now_ns() > 1',
    '3:6-17 error rego_type_error: undefined function time.now_ns: not a builtin that policies can call -> policy has no clock: input.context.now is the time in seconds',
  ],
  [
    'text from values',
    'p := sprintf("%v", [input.lease.user])',
    '3:6-13 error rego_type_error: undefined function sprintf: not a builtin that policies can call -> write a template string, $"limit {n}", or concat(" ", [...])',
  ],
  [
    'the network',
    'p if http.send({"method": "GET", "url": "x"}).status_code == 200',
    '3:6-15 error rego_type_error: undefined function http.send: not a builtin that policies can call -> policy has no network: put what it needs into data/',
  ],
  [
    'text to a number',
    'p if to_number(input.request.params.id) > 1',
    '3:6-15 error rego_type_error: undefined function to_number: not a builtin that policies can call -> the engines read numbers differently: put numbers into data/ as numbers',
  ],
  [
    'a builtin that has been renamed',
    'p if any([true])',
    '3:6-9 error rego_type_error: undefined function any: not a builtin that policies can call -> write true in xs',
  ],
  [
    'a builtin of a family',
    'p if crypto.sha256(input.lease.id) == "x"',
    '3:6-19 error rego_type_error: undefined function crypto.sha256: not a builtin that policies can call -> compare values: data/ may hold them as they are',
  ],
  [
    'a builtin that nobody asked for yet',
    'p := yaml.marshal({})',
    '3:6-18 error rego_type_error: undefined function yaml.marshal: not a builtin that policies can call -> the builtins that mean the same in both engines are listed in docs/policy.md',
  ],
]

const named: readonly Row[] = [
  [
    'a misspelt rule',
    `p if permited

permitted if input.version == 1`,
    '3:6-14 error rego_unsafe_var_error: var permited is unsafe -> did you mean permitted?',
  ],
  [
    'a variable that nothing sets',
    'p if x > 1',
    '3:6-7 error rego_unsafe_var_error: var x is unsafe -> nothing here gives it a value: write := or some … in …',
  ],
]

const compiled: readonly Row[] = [
  [
    'a word that a field never has',
    'p if input.lease.stage == "exec"',
    '3:27-33 error value_never: input.lease.stage is never "exec" -> did you mean "execute"?',
  ],
  [
    'a word on the left',
    'p if "exec" == input.lease.stage',
    '3:6-12 error value_never: input.lease.stage is never "exec" -> did you mean "execute"?',
  ],
  [
    'a word that is always another',
    'p if input.request.risk != "hihg"',
    '3:28-34 error value_never: input.request.risk is never "hihg" -> did you mean "high"?',
  ],
  [
    'a word in a set',
    'p if input.lease.stage in {"draft", "exekute"}',
    '3:37-46 error value_never: input.lease.stage is never "exekute" -> did you mean "execute"?',
  ],
  [
    'a word behind names',
    'p if { l := input.lease; s := "exec"; l.stage == s }',
    '3:31-37 error value_never: input.lease.stage is never "exec" -> did you mean "execute"?',
  ],
  [
    'a word behind a rule',
    `words := ["draft", "exekute"]

p if input.lease.stage in words`,
    '3:20-29 error value_never: input.lease.stage is never "exekute" -> did you mean "execute"?',
  ],
  [
    'a word of each element',
    'p if { some g in input.lease.granted; g.sensitivity == "secret" }',
    '3:56-64 error value_never: input.lease.granted[_].sensitivity is never "secret" -> one of "confidential", "internal", "public", "restricted"',
  ],
  [
    'a number that a field never is',
    'p if input.version == 2',
    '3:23-24 error value_never: input.version is never 2 -> one of 1',
  ],
  [
    'a member of what may be null',
    'p if count(input.context.approval.approver) > 0',
    '3:35-43 error rego_type_error: undefined ref: input.context.approval.approver -> did you mean input.context.approval.approved_by?',
  ],
  [
    'data that is not there',
    'p if data.profils[input.lease.agent.profile]',
    '3:11-18 warning data_unknown: data.profils is neither a rule nor a document -> did you mean data.profiles?',
  ],
  [
    'a rule that its package does not have',
    'p if data.rows.row_0.q',
    '3:22-23 error data_unknown: data.rows.row_0.q is neither a rule nor a document -> one of p',
  ],
  [
    'a package that is not there',
    'p if not data.rows.row_zero',
    '3:20-28 error data_unknown: data.rows.row_zero is neither a rule nor a document -> did you mean data.rows.row_0?',
  ],
  ['data below a document, which may come later', 'p if data.profiles.support.verbs.read'],
  ['words that are right', 'p if { input.lease.stage in {"draft", "execute"}; input.request.risk == "low" }'],
]

/** GET /customers/{id} hides `cursor`; PUT /customers/{id}/notes/{note} shows its body. */
const mapped = mappedOperations([
  backendOf({
    operations: [
      operationOf('GET /customers/{id}', { verb: 'read', body: 'stream', opaqueQuery: ['cursor'] }),
      operationOf('PUT /customers/{id}/notes/{note}', { verb: 'update', body: 'json' }),
    ],
  }),
])

const mappedRows: readonly Row[] = [
  [
    'a misspelt verb',
    'p if input.request.verb == "raed"',
    '3:28-34 error operation_never: no operation has the verb "raed" -> did you mean "read"?',
  ],
  [
    'a verb like no other',
    'p if input.request.verb == "purge"',
    '3:28-35 error operation_never: no operation has the verb "purge" -> one of "read", "update"',
  ],
  [
    'a misspelt operation',
    'p if input.request.operation == "GET /customer/{id}"',
    '3:33-53 error operation_never: no operation has the operation "GET /customer/{id}" -> did you mean "GET /customers/{id}"?',
  ],
  [
    'a misspelt verb among others',
    'p if input.request.verb in {"read", "udpate", "purge"}',
    '3:37-45 error operation_never: no operation has the verb "udpate" -> did you mean "update"?',
  ],
  [
    'two conditions that no operation meets',
    'p if { input.request.verb == "read"; input.request.method == "PUT" }',
    '3:62-67 error operation_never: no operation has the method "PUT" and all else that this rule wants',
  ],
  [
    'a parameter of no operation',
    'p if input.request.params.idd == "1"',
    '3:27-30 error operation_never: no operation of this rule has a parameter "idd" -> did you mean input.request.params.id?',
  ],
  [
    'the same under not',
    'p if not input.request.params.idd',
    '3:31-34 error operation_never: no operation of this rule has a parameter "idd" -> did you mean input.request.params.id?',
  ],
  [
    'the same in every',
    'p if every g in input.lease.granted { g.resource == input.request.params.idd }',
    '3:74-77 error operation_never: no operation of this rule has a parameter "idd" -> did you mean input.request.params.id?',
  ],
  [
    'a parameter of another operation',
    'p if { input.request.verb == "read"; input.request.params.note == "1" }',
    '3:59-63 error operation_never: no operation of this rule has a parameter "note" -> one of id',
  ],
  [
    'a parameter of the right one',
    'p if { input.request.verb in {"update"}; input.request.params.note == "1" }',
  ],
  [
    'a body where none is read',
    'p if { input.request.method == "GET"; input.request.body.total > 3 }',
    '3:53-57 error operation_never: no operation of this rule has a body that policy sees -> write `body: json` for it in the configuration',
  ],
  [
    'the same behind names and in a comprehension',
    'p := [x | r := input.request; r.verb == "read"; x := r.body.x]',
    '3:56-60 error operation_never: no operation of this rule has a body that policy sees -> write `body: json` for it in the configuration',
  ],
  ['a body where some are read', 'p if input.request.body.total > 3'],
  [
    'a query parameter that policy does not see',
    'p if { input.request.verb == "read"; input.request.query.cursor == "1" }',
    '3:58-64 error operation_never: no operation of this rule has a query parameter "cursor" that policy sees -> opaque_query in the configuration hides it',
  ],
  ['HEAD, which GET serves', 'p if input.request.method == "HEAD"'],
  ['a risk that no operation has yet', 'p if input.request.risk == "high"'],
  ['a parameter with a default', 'p := object.get(input.request.params, "idd", "")'],
  [
    'a request that a test makes up',
    `p if q with input.request.verb as "raed"

q if input.request.verb == "read"`,
  ],
]

/** Each in a rule that the decision stands for. */
const shapes: readonly Row[] = [
  [
    'a number',
    'decision := 42',
    '3:13-15 error decision_invalid: the decision is a number, not an object with effect and reasons',
  ],
  [
    'a set',
    'decision contains "allow" if input.version == 1',
    '3:1-9 error decision_invalid: the decision is one object: write decision := {…}',
  ],
  [
    'another word, behind a rule',
    `decision := answer

answer := {"effect": "permit", "reasons": []}`,
    '5:22-30 error decision_invalid: the effect is never "permit" -> one of "allow", "deny", "draft", "hold"',
  ],
  [
    'a misspelt word and a misspelt member',
    'decision := {"effect": "alow", "reason": []}',
    '3:13-45 error decision_invalid: the decision has no reasons',
    '3:24-30 error decision_invalid: the effect is never "alow" -> did you mean "allow"?',
    '3:32-40 error decision_invalid: the decision has no member "reason" -> did you mean reasons?',
  ],
  [
    'reasons and approval of another shape',
    'decision := {"effect": "hold", "reasons": "x", "approval": {"approver": ["a"], "expires_in": 1}}',
    '3:43-46 error decision_invalid: the reasons are a list of strings',
    '3:60-96 error decision_invalid: the approval has no approvers',
    '3:61-71 error decision_invalid: the approval has no member "approver" -> did you mean approvers?',
  ],
  [
    'somebody to ask about a no, and nobody about what waits',
    'decision := {"effect": "deny", "reasons": [], "approval": {"approvers": ["a"], "expires_in": 1}} if input.lease.bound\n\nelse := {"effect": "draft", "reasons": []}',
    '3:13-97 error decision_invalid: the effect "deny" has no approval: nobody would be asked',
    '5:9-43 error decision_invalid: the effect "draft" needs an approval, with approvers and expires_in',
  ],
  [
    'every member that an approval may have',
    'decision := {"effect": "hold", "reasons": [], "approval": {"approvers": ["a"], "expires_in": 1, "quorum": 2, "reason_required": true, "after_lease": 0, "repeat": {"calls": 5, "seconds": 600}, "after_leese": 1}}',
    '3:193-206 error decision_invalid: the approval has no member "after_leese" -> did you mean after_lease?',
  ],
  [
    'no reasons',
    'decision := {"effect": "deny"}',
    '3:13-31 error decision_invalid: the decision has no reasons',
  ],
]

/** Each the whole of a policy. */
const decisions: readonly Row[] = [
  [
    'a computed number',
    'decision := count(input.lease.granted)',
    '3:1-9 error decision_invalid: the decision is a number, not an object with effect and reasons',
  ],
  [
    'a function',
    'decision(x) := {"effect": "allow", "reasons": []} if x == 1',
    '3:1-9 error decision_invalid: the decision is one object: write decision := {…}',
  ],
  [
    'something of the input',
    'decision := input.lease.agent',
    '3:1-9 error decision_invalid: the decision has no effect',
  ],
  [
    'nothing for some requests',
    'decision := {"effect": "allow", "reasons": []} if input.request.verb == "read"',
    '3:1-9 error decision_undefined: some requests may get no decision: no branch is without a condition and sure of its value -> add: default decision := {"effect": "deny", "reasons": ["not_permitted"]}',
  ],
  [
    'nothing when its last branch reads what may be missing',
    `decision := {"effect": "allow", "reasons": []} if input.request.verb == "read"

else := {"effect": "deny", "reasons": [input.request.params.id]}`,
    '3:1-9 error decision_undefined: some requests may get no decision: no branch is without a condition and sure of its value -> add: default decision := {"effect": "deny", "reasons": ["not_permitted"]}',
  ],
  [
    'nothing when a rule it stands for has nothing',
    `decision := {"effect": "deny", "reasons": reasons}

reasons := ["a"] if input.request.risk == "low"`,
    '3:1-9 error decision_undefined: some requests may get no decision: no branch is without a condition and sure of its value -> add: default decision := {"effect": "deny", "reasons": ["not_permitted"]}',
  ],
  [
    'members, one of them not always',
    `decision.effect := "allow" if input.version == 1

decision.reasons := []`,
    '3:1-16 error decision_undefined: some requests may get a decision without effect: no branch is without a condition and sure of its value',
  ],
  [
    'nothing, under a misspelt name',
    'decison := {"effect": "deny", "reasons": []}',
    '3:1-8 error decision_missing: no rule is data.leasegate.authz.decision, the one that the gate asks -> did you mean decision?',
  ],
]

describe('a mistake is told with its wrong part and what was meant:', () => {
  it.each([
    ['in the types of the input', typed],
    ['in what is called', called],
    ['in a name', named],
    ['in what compiles and can never be right', compiled],
  ])('%s', (_name, rows) => expectRows(rows))

  it('in what no operation of the configuration is or has', () => expectRows(mappedRows, { mapped }))

  it('in the shape of the decision', () => {
    const branches = shapes.map(
      (_, index) => `data.rows.row_${index}.decision if input.request.verb == "${index}"`,
    )
    return expectRows(shapes, {
      policy: `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

decision := ${branches.join('\n\nelse := ')}
`,
    })
  })
})

it.each(decisions)('a decision that is %s', async (_name, rego, ...expected) => {
  expect(await toldOf(rego)).toEqual(expected)
})

describe('a decision', () => {
  it('has a value whatever is asked when its last branch rests on what is always there', async () => {
    const rules = `decision := {"effect": "allow", "reasons": []} if {
	input.request.verb == "read"
	input.request.params.id == "1"
} else := {"effect": "deny", "reasons": array.concat(named, [why, $"risk {input.request.risk}"])} if {
	number := count(input.lease.granted)
	why := concat(" ", ["grants", format_int(number, 10)])
	named := [reason | some reason in reasons]
}

reasons contains input.request.params.id if input.version == 1`
    expect(await toldOf(rules)).toEqual([])
  })

  it('may be looked up, as long as there is a default', async () => {
    const files = {
      'authz.rego': `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

decision := data.answers[input.request.verb]
`,
    }
    expect(await diagnose({ files, data: { answers: {} } })).toEqual([])
  })

  it.each([
    ['is sure of a value where the data has it', { words: { closed: 'closed' } }, []],
    ['is not where the data lacks it', { words: {} }, ['decision_undefined']],
  ])('that quotes its data %s', async (_name, data, codes) => {
    const files = {
      'authz.rego':
        'package leasegate.authz\n\ndecision := {"effect": "deny", "reasons": [data.words.closed]}\n',
    }
    expect((await diagnose({ files, data })).map(({ code }) => code)).toEqual(codes)
  })

  it('is asked for by its whole name', async () => {
    const [diagnostic] = await diagnose({ files: { 'a.rego': 'package leasegate.other\n\nallow := true\n' } })
    expect(diagnostic).toEqual({
      file: '',
      line: 0,
      column: 0,
      code: 'decision_missing',
      message: 'no rule is data.leasegate.authz.decision, the one that the gate asks',
      hint: 'write in package leasegate.authz: default decision := {"effect": "deny", "reasons": ["not_permitted"]}',
    })
  })
})

describe('a rule', () => {
  it('that no decision rests on is a warning, and so is a fixture that no test uses', async () => {
    const files = {
      'authz.rego': `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

helper(x) if x == 1

tested if input.version == 1

# METADATA
# entrypoint: true
asked_by_others if used

used if input.version == 1
`,
      'authz_test.rego': `package leasegate.authz_test

import data.leasegate.authz

fixture := {"version": 1}

forgotten := 2

test_tested if authz.tested with input as fixture
`,
    }
    expect((await diagnose({ files })).map((d) => `${d.file}:${told(d)}`)).toEqual([
      'authz.rego:5:1-7 warning rule_unused: no decision rests on helper -> remove it, or annotate it with `entrypoint: true` if something else asks for it',
      'authz.rego:7:1-7 warning rule_unused: no decision rests on tested; only tests use it -> move it into a test file, or use it',
      'authz_test.rego:7:1-10 warning rule_unused: no test uses forgotten -> remove it',
    ])
  })

  it('that clashes with another, a package or a document is named with both places', async () => {
    const files = {
      'authz.rego': `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

below := 1

two := 1

two(x) := x
`,
      'b.rego': 'package leasegate.authz.below\n\nx := 1\n',
    }
    const clashes = await diagnose({ files, data: { leasegate: { authz: { decision: 1 } } } })
    expect(clashes.map((d) => `${d.file}:${told(d)}`)).toEqual([
      'authz.rego:1:1-8 error rego_type_error: package leasegate.authz.below conflicts with rule below defined at authz.rego:5',
      'authz.rego:3:1-8 error rego_compile_error: conflicting rule for data path leasegate/authz/decision found',
      'authz.rego:5:1-11 error rego_type_error: rule data.leasegate.authz.below conflicts with: rule data.leasegate.authz.below.x at b.rego:3',
      'authz.rego:7:1-9 error rego_type_error: conflicting rules data.leasegate.authz.two found',
    ])
  })

  it('that rests on itself is named with the way round', async () => {
    expect(await toldOf('default decision := {"effect": "deny", "reasons": []}\n\np if not p')).toEqual([
      '5:1-11 error rego_recursion_error: rule data.leasegate.authz.p is recursive: data.leasegate.authz.p -> data.leasegate.authz.p -> a rule cannot rest on itself; walk and graph.reachable go through what is nested',
    ])
  })
})

it('syntax errors of every file come at once', async () => {
  const files = { 'a.rego': 'package a\n\nx := {\n', 'b.rego': 'package b\n\nx := := 1\n', 'c.rego': '' }
  expect((await diagnose({ files })).map((d) => `${d.file}:${told(d)}`)).toEqual([
    'a.rego:4:1- error rego_parse_error: unexpected eof token: expected rule value term (e.g., x := <VALUE> { ... })',
    'b.rego:3:6-8 error rego_parse_error: unexpected assign token: expected rule value term (e.g., x := <VALUE> { ... })',
    'c.rego:1:1- error rego_parse_error: empty module',
  ])
})
