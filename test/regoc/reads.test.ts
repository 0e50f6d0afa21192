// What a policy can read of its input, as the compiler says: never less than what evaluation touches.
import { beforeAll, describe, expect, it } from 'vitest'
import { runToolchain } from '../../src/policy/toolchain.ts'

/** Paths that the decision of these modules can read. */
async function readsOf(...modules: readonly string[]): Promise<readonly string[] | undefined> {
  const files = Object.fromEntries(modules.map((text, n) => [`${n}.rego`, text]))
  const { diagnostics, reads } = await runToolchain({ files, data: {} }, ['reads'])
  expect(diagnostics).toEqual([])
  return reads
}

const decide = (condition: string) =>
  `package leasegate.authz\n\ndecision := {"effect": "allow", "reasons": []} if ${condition}\n`

/** What is read, by which way, as one rule that the decision asks for. */
const ways = [
  ['a field', 'way if input.request.verb == "read"', ['request.verb']],
  ['a field in an else branch', 'way if 1 == 2\nelse if input.lease.user', ['lease.user']],
  ['a field of the rule of a rule', 'way if deep\ndeep if deeper\ndeeper if input.lease.id', ['lease.id']],
  ['a field in a comprehension', 'way if count([r | r := input.request.query[_]]) > 0', ['request.query']],
  ['a section through a name', 'way if held.now > 0\nheld := input.context', ['context']],
  ['a section as an argument', 'way if f(input.lease.agent)\nf(x) if x.env == "prod"', ['lease.agent']],
  ['a field through an import', 'way if asked.body.sum < 5', ['request.body.sum']],
  ['a name with a dot', 'way if input.request.body["a.b"] == 1', ['request.body.a.b']],
  [
    'what a computed name depends on',
    'way if input.request.params[input.lease.stage]',
    ['lease.stage', 'request.params'],
  ],
  ['a field of a package behind a computed name', 'way if data.leasegate.rules[_]', ['request.path']],
] as const

describe('a policy reads', () => {
  let reads: readonly string[] | undefined

  beforeAll(async () => {
    const rules = ways.map(([, rule], n) =>
      rule.replaceAll(/\b(way|deep|deeper|held|f)\b(?=[ (.]|$)/gm, `$1_${n}`),
    )
    const all = ways.map((_, n) => `way_${n}`).join('\n\t')
    const text = decide(`{\n\t${all}\n}`).replace('\n\n', '\n\nimport input.request as asked\n\n')
    reads = await readsOf(
      `${text}\n${rules.join('\n\n')}\n\nunasked if input.request.resource\n`,
      'package leasegate.rules\n\nsecret if input.request.path == "x"\n',
    )
  })

  it.each(ways)('%s: %s', (_name, _rule, paths) => expect(reads).toEqual(expect.arrayContaining([...paths])))

  it('nothing that its decision does not depend on', () => {
    expect(reads).toEqual(ways.flatMap(([, , paths]) => paths).toSorted())
  })

  it.each([
    ['everything', 'count(input) > 0', ['']],
    ['everything by walking it', 'walk(input, [_, "x"])', ['']],
    ['nothing', '1 == 1', []],
  ])('%s: %s', async (_name, condition, paths) => expect(await readsOf(decide(condition))).toEqual(paths))
})
