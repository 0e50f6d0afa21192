// What `policy check` warns about although it compiles and may be meant: a `not` that a missing field undoes, and
// work that a caller can multiply. The first is asked of both engines as well.
import { describe, expect, it } from 'vitest'
import { mappedOperations } from '../../src/policy/mapped.ts'
import { runToolchain } from '../../src/policy/toolchain.ts'
import { backendOf, operationOf } from '../support/evidence.ts'
import { expectRows, type Row, told } from './check_rows.ts'

/** What the conditions below speak of; only `kept` is always there. */
const spoken = `within(x) if x <= 1000

ceiling(user) := data.limits[user]

amount := input.request.body.amount

kept := object.get(input.request.query, "kept", "none")

either := input.request.body.amount

either := 0 if not input.request.body.amount

used := [within(1), ceiling("a"), amount, kept, either]
`

/** Conditions on a request that lacks all they read; where one is undefined for it, what is to blame. */
const negations: readonly (readonly [condition: string, place?: string, missing?: string])[] = [
  ['not input.request.body.amount <= 1000', '10-35', 'input.request.body.amount'],
  ['not input.request.body.amount != 1000', '10-35', 'input.request.body.amount'],
  ['not 1000 >= input.request.body.amount', '18-43', 'input.request.body.amount'],
  ['not input.request.body.amount + 1 == 3', '10-35', 'input.request.body.amount'],
  ['not input.request.body.amount in {1, 2}', '10-35', 'input.request.body.amount'],
  ['not "x" in input.request.body.tags', '17-40', 'input.request.body.tags'],
  ['not startswith(input.request.body.name, "x")', '21-44', 'input.request.body.name'],
  ['not lower(input.request.body.name) == "x"', '16-39', 'input.request.body.name'],
  ['not [input.request.body.amount] == [1]', '11-36', 'input.request.body.amount'],
  ['not ({"a": input.request.body.amount} == {"a": 1})', '17-42', 'input.request.body.amount'],
  ['not within(input.request.body.amount)', '17-42', 'input.request.body.amount'],
  ['not startswith(input.request.params.id, "x")', '21-44', 'input.request.params.id'],
  ['not input.request.query.limit in {"1"}', '10-35', 'input.request.query.limit'],
  ['not "a" in input.context.approval.approved_by', '17-51', 'input.context.approval.approved_by'],
  ['not data.users[input.lease.user].limit >= 3', '10-44', 'data.users[input.lease.user].limit'],
  ['not data.users[input.request.query.user]', '21-45', 'input.request.query.user'],
  ['not data.users.bob >= 3', '10-24', 'data.users.bob'],
  ['not amount <= 1000', '10-16', 'amount'],
  ['not ceiling(input.lease.user) == 3', '10-35', 'ceiling(input.lease.user)'],
  ['{ u := data.users.alice; not u.age >= 18 }', '35-40', 'u.age'],
  ['not input.request.body.flag'],
  ['not input.request.body.amount == 1000'],
  ['not input.request.body.a == input.request.body.b'],
  ['not data.users[input.lease.user].limit == 3'],
  ['not data.users[input.lease.user].admin'],
  ['not within(2000)'],
  ['not count([x | some x in input.request.body.items]) > 0'],
  ['not input.request.risk in {"medium", "high"}'],
  ['not kept != "none"'],
  ['not either >= 1'],
  ['not data.users.alice.limit >= 30'],
]

const asked = {
  lease: { user: 'bob' },
  request: { risk: 'low', params: {}, query: {}, body: {} },
  context: { approval: null },
}

const hint = 'negate a rule: not within_limit; or write `import future.keywords.not`'

/** Each condition in a file of its own, with a test of what it comes to in both engines. */
function policyOf(conditions: readonly string[], holds: (index: number) => boolean) {
  const files: Record<string, string> = {
    'authz.rego': `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

decision := {"effect": "allow", "reasons": []} if data.rows
`,
  }
  for (const [index, condition] of conditions.entries()) {
    files[`row_${index}.rego`] = `package rows.row_${index}\n\n${condition}\n${spoken}`
    files[`row_${index}_test.rego`] = `package rows_test

test_${index} if ${holds(index) ? '' : 'not '}data.rows.row_${index}.p with input as ${JSON.stringify(asked)}
`
  }
  return { files, data: { users: { alice: { limit: 3 } }, limits: {} } }
}

describe('a `not` that a missing field undoes is a warning:', () => {
  it('exactly where both engines leave it undefined', async () => {
    const policy = policyOf(
      negations.map(([condition]) => `p if ${condition}\n`),
      (index) => negations[index]![1] === undefined,
    )
    const { diagnostics, report } = await runToolchain(policy, ['check', 'test'])
    expect(report?.tests.filter(({ failure }) => failure !== undefined)).toEqual([])
    expect(report?.tests).toHaveLength(negations.length)
    const actual = negations.map(([condition], index) => [
      condition,
      diagnostics.filter(({ file }) => file === `row_${index}.rego`).map(told),
    ])
    const expected = negations.map(([condition, place, missing]) => [
      condition,
      place === undefined
        ? []
        : [
            `3:${place} warning negation_undefined: this \`not\` never holds where ${missing} is missing -> ${hint}`,
          ],
    ])
    expect(actual).toEqual(expected)
  })

  it('not with `import future.keywords.not`, under which all of them hold in both engines', async () => {
    const policy = policyOf(
      negations.map(([condition]) => `import future.keywords.not\n\np if ${condition}\n`),
      () => true,
    )
    const { diagnostics, report } = await runToolchain(policy, ['check', 'test'])
    expect(diagnostics.map((d) => `${d.file}:${told(d)}`)).toEqual([])
    expect(report?.tests).toHaveLength(negations.length)
  })

  it('not where the operations of the rule have the parameter, or the author reads it before', () =>
    expectRows(
      [
        ['a parameter of all', 'p if not startswith(input.request.params.id, "x")'],
        [
          'a parameter of some',
          'p if not startswith(input.request.params.note, "x")',
          `3:21-46 warning negation_undefined: this \`not\` never holds where input.request.params.note is missing -> ${hint}`,
        ],
        [
          'a parameter of those that the rule is about',
          'p if { input.request.verb == "update"; not startswith(input.request.params.note, "x") }',
        ],
        [
          'a parameter of the operation that the rule is filed under',
          'p["PUT /customers/{id}/notes/{note}"] contains "x" if not startswith(input.request.params.note, "x")',
        ],
        ['a line of its own', 'p if { amount := input.request.body.amount; not amount <= 1000 }'],
      ],
      {
        mapped: mappedOperations([
          backendOf({
            operations: [
              operationOf('GET /customers/{id}', { verb: 'read' }),
              operationOf('PUT /customers/{id}/notes/{note}', { verb: 'update', body: 'json' }),
            ],
          }),
        ]),
      },
    ))
})

const set = 'make a set before, {x | some x in …}, and ask that; or first bound count(…)'

function nested(place: string, does: string, outer: string): string {
  return `${place} warning work_nested: ${does} for each item of ${outer}: a caller can make that take hours -> ${set}`
}

const xs = 'input.request.body.xs'
const ys = 'input.request.body.ys'

const work: readonly Row[] = [
  ['a search', `p if { some a in ${xs}; a in ${ys} }`, nested('3:41-67', `searches ${ys}`, xs)],
  [
    'a search under not',
    `p := [a | some a in ${xs}; ys := ${ys}; not a in ys]`,
    nested('3:73-84', `searches ${ys}`, xs),
  ],
  [
    'a search whose answer has a name',
    `p := [found | some a in ${xs}; found := a in ${ys}]`,
    nested('3:57-83', `searches ${ys}`, xs),
  ],
  ['a search in every', `p if every a in ${xs} { a in ${ys} }`, nested('3:41-67', `searches ${ys}`, xs)],
  [
    'a way through',
    `p if { some a in ${xs}; some b in ${ys}; a == b }`,
    nested('3:41-72', `goes through ${ys}`, xs),
  ],
  ['a join by numbers', `p if ${xs}[i].a == ${ys}[j].b`, nested('3:36-62', `goes through ${ys}`, xs)],
  [
    'a set that is made anew for each',
    `p if { some a in ${xs}; all := {b | some b in ${ys}}; a in all }`,
    nested('3:53-84', `goes through ${ys}`, xs),
  ],
  [
    'a list made of another',
    `p if { some a in ${xs}; a in ids }\n\nids := [y.id | some y in ${ys}]`,
    nested('3:41-49', `searches ${ys}`, xs),
  ],
  [
    'parts of texts',
    'p if { some a in split(input.request.query.a, ","); a in split(input.request.query.b, ",") }',
    nested('3:53-91', 'searches input.request.query.b', 'input.request.query.a'),
  ],
  [
    'a search below walk',
    `p if { walk(input.request.body, [_, a]); a in ${ys} }`,
    nested('3:42-68', `searches ${ys}`, 'input.request.body'),
  ],
  [
    'a function that searches',
    `p if { some a in ${xs}; known(a) }\n\nknown(a) if a in ${ys}`,
    nested('3:41-49', `known searches ${ys}`, xs),
  ],
  [
    'a function that searches what it gets',
    `p if { some a in ${xs}; has(${ys}, a) }\n\nhas(all, a) if a in all`,
    nested('3:41-70', `has searches ${ys}`, xs),
  ],
  [
    'two lists of one item',
    `p if { some x in ${xs}; some a in x.cs; a in x.bs }`,
    nested('3:57-66', `searches ${xs}[_].bs`, `${xs}[_].cs`),
  ],
  [
    'a bound from below',
    `p if { count(${xs}) > 100; some a in ${xs}; a in ${ys} }`,
    nested('3:77-103', `searches ${ys}`, xs),
  ],
  ['what is below the item', `p if { some x in ${xs}; "b" in x.bs; some a in x.cs; a > 1 }`],
  ['what is below the item, in a function', `p if { some x in ${xs}; has(x.cs) }\n\nhas(all) if "a" in all`],
  ['what is below the item of every', `p if every x in ${xs} { "a" in x.cs }`],
  ['one number for both', `p if ${xs}[i].a == ${ys}[i].b`],
  ['a set made before', `p if { all := {b | some b in ${ys}}; some a in ${xs}; a in all }`],
  ['a set of a rule', `p if { some a in ${xs}; a in all }\n\nall contains y if some y in ${ys}`],
  [
    'a rule, which is evaluated once',
    `p if { some a in ${xs}; a == q }\n\nq := count([y | some y in ${ys}])`,
  ],
  ['keys', `p if { some a in ${xs}; ${ys}[a] }`],
  ['names of an object', `p if { some a in ${xs}; a in object.keys(${ys}) }`],
  ['one after the other', `p if { n := count([a | some a in ${xs}]); some b in ${ys}; b > n }`],
  [
    'what the gate or the policy bounds',
    `p if { some a in ${xs}; some g in input.lease.granted; a in g.actions }`,
  ],
  ['documents for each', `p if { some a in ${xs}; some u in data.users; a == u }`],
  ['a bound on the outer', `p if { count(${xs}) <= 100; some a in ${xs}; a in ${ys} }`],
  ['a bound on the inner, the other way round', `p if { 100 > count(${ys}); some a in ${xs}; a in ${ys} }`],
  ['a bound of a rule', `p if { few; some a in ${xs}; a in ${ys} }\n\nfew if count(${xs}) < data.users.most`],
]

it('work that a caller can multiply is a warning, and what is in proportion to the request is not', () =>
  expectRows(work))
