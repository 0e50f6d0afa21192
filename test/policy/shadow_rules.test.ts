// Rules marked shadow: what decides without them, what their shadow says, and every mark that is refused.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { loadPolicy, policyDigest } from '../../src/policy/evaluate.ts'
import { openPolicy } from '../../src/policy/live.ts'
import { directorySource } from '../../src/policy/source.ts'
import { check, runToolchain } from '../../src/policy/toolchain.ts'
import type { Outcome } from '../../src/policy/toolchain_child.ts'
import { PolicyDir, reading } from './support.ts'

vi.setConfig({ testTimeout: 120_000 })

const mark = '# METADATA\n# custom:\n#   shadow: true\n'

/** The shape of a policy in the style of the one that ships; `more` are its further rules. */
function policy(conditions: string, more: string): string {
  return `package leasegate.authz

decision := {"effect": "allow", "reasons": []} if permitted

else := {"effect": "deny", "reasons": deny_reasons}

permitted if {
	input.lease.user == "alice@example.com"
${conditions}
}

deny_reasons contains "not_alice" if input.lease.user != "alice@example.com"

${more}`
}

function compile(files: Readonly<Record<string, string>>): Promise<Outcome> {
  return runToolchain({ files, data: { limit: 3 } }, ['test', 'build'])
}

async function answers({ wasm, shadow, diagnostics }: Outcome): Promise<[live: string, shadow: string]> {
  expect(diagnostics).toEqual([])
  const said = await Promise.all(
    [wasm, shadow].map(async (module) => {
      const loaded = await loadPolicy({ wasm: module!, data: { limit: 3 } })
      const { effect, reasons } = loaded.evaluate(JSON.stringify(reading))
      return [effect, ...reasons].join(' ')
    }),
  )
  return [said[0]!, said[1]!]
}

const chat = `${mark}ticket if input.lease.task.system == "chat"\n`

describe('a rule marked shadow', () => {
  it.each<[name: string, conditions: string, more: string, live: string, shadow: string]>([
    ['is no condition of the live policy', '\tticket', chat, 'allow', 'deny'],
    [
      'takes the reason with it that is marked too',
      '\tticket',
      `${chat}\n${mark}deny_reasons contains "no_ticket" if not ticket\n`,
      'allow',
      'deny no_ticket',
    ],
    [
      'may be a function with arguments',
      '\tfits(input.lease.task, "chat")',
      `${mark}fits(task, system) if task.system == system\n`,
      'allow',
      'deny',
    ],
    ['may be asked by its whole path', '\tdata.leasegate.authz.ticket', chat, 'allow', 'deny'],
    [
      'may be an object of which one member is asked',
      '\tsystems.jira',
      `${mark}systems[name] := false if some name in ["jira"]\n`,
      'allow',
      'deny',
    ],
    [
      'may rest on a rule that stays',
      '\tticket',
      `${mark}ticket if chatting\n\nchatting if input.lease.task.system == "chat"\n`,
      'allow',
      'deny',
    ],
    [
      'may permit: live it does not',
      '\tinput.request.verb == "list"',
      `${mark}permitted if input.request.verb == "read"\n`,
      'deny',
      'allow',
    ],
    [
      'leaves alone the rules of the same name, and the conditions on them',
      '\tticket',
      `${mark}ticket if input.lease.task.system == "jira"\n\nticket if input.lease.task.system == "chat"\n`,
      'deny',
      'allow',
    ],
    [
      'leaves a default alone, and the conditions on it',
      '\tticket',
      `default ticket := false\n\n${mark}ticket if input.lease.task.system == "jira"\n`,
      'deny',
      'allow',
    ],
    [
      'leaves a local variable of its name alone',
      '\tsome ticket in [input.lease.task.system]\n\tticket == "jira"',
      chat,
      'allow',
      'allow',
    ],
    [
      'may leave a variable that nothing reads any more',
      '\ttask := input.lease.task\n\tfits(task)',
      `${mark}fits(task) if task.system == "chat"\n`,
      'allow',
      'deny',
    ],
  ])('%s', async (_, conditions, more, live, shadow) => {
    expect(await answers(await compile({ 'authz.rego': policy(conditions, more) }))).toEqual([live, shadow])
  })

  it('may be asked through an import of another package', async () => {
    const files = {
      'authz.rego': policy('\ttasks.ticket', '').replace('\n\n', '\n\nimport data.tasks\n\n'),
      'tasks.rego': `package tasks\n\n${chat}`,
    }
    const outcome = await compile(files)
    expect(outcome.shadowRules).toEqual(['data.tasks.ticket (tasks.rego:6)'])
    expect(await answers(outcome)).toEqual(['allow', 'deny'])
  })

  it('is tested as it is written', async () => {
    const tests = `package leasegate.authz_test

import data.leasegate.authz

test_chat_is_a_ticket if authz.ticket with input as {"lease": {"task": {"system": "chat"}}}

test_jira_is_none if not authz.ticket with input as {"lease": {"task": {"system": "jira"}}}
`
    const outcome = await compile({ 'authz.rego': policy('\tticket', chat), 'authz_test.rego': tests })
    expect(outcome.tests).toBe(2)
    expect(await answers(outcome)).toEqual(['allow', 'deny'])
    const wrong = { 'authz.rego': policy('\tticket', chat), 'authz_test.rego': tests.replace('not ', '') }
    expect((await compile(wrong)).diagnostics).toMatchObject([{ code: 'test_failed', line: 7 }])
  })

  it('that says shadow: false is an ordinary one', async () => {
    const outcome = await compile({ 'authz.rego': policy('\tticket', chat.replace('true', 'false')) })
    expect(outcome.diagnostics).toEqual([])
    expect([outcome.shadow, outcome.shadowRules]).toEqual([undefined, undefined])
  })

  it('leaves nothing of itself in the live module', async () => {
    const more = chat.replace('"chat"', '"a-system-of-its-own"')
    const marked = await compile({ 'authz.rego': policy('\tticket', more) })
    expect(Buffer.from(marked.wasm!).includes('a-system-of-its-own')).toBe(false)
    expect(Buffer.from(marked.shadow!).includes('a-system-of-its-own')).toBe(true)
  })
})

/** Rules that stay and mention what is in shadow, one a line from line 9 on. */
const mentions: readonly (readonly [how: string, rule: string, message: RegExp])[] = [
  [
    'by a negation',
    'a if not ticket',
    /^data\.leasegate\.authz\.ticket is marked shadow, .*: mark a shadow too$/,
  ],
  ['by a comparison', 'b if ticket == true', /: mark b shadow too$/],
  ['by an argument', 'c if count([ticket]) == 1', /: mark c shadow too$/],
  ['by a comprehension', 'd if count([1 | ticket]) == 1', /: mark d shadow too$/],
  ['by every', 'e if every _ in [1] { ticket }', /: mark e shadow too$/],
  ['by an assignment', 'f := x if x := ticket', /: mark f shadow too$/],
  ['with another input', 'g if ticket with input.version as 1', /: mark g shadow too$/],
  ['to give it another answer', 'h if yes with data.leasegate.authz.ticket as true', /: mark h shadow too$/],
  ['as a value', 'i := [ticket]', /: mark i shadow too$/],
  ['as a member of a set', 'j contains ticket', /: mark j shadow too$/],
  ['as the name of a member', 'k[x] := 1 if x := [ticket]', /: mark k shadow too$/],
  ['with all of its package', 'l if count(data.tasks) == 1', /^data\.tasks\.open is marked shadow.*mark l /],
  ['by a computed name', 'm if data.tasks[input.request.verb]', /^data\.tasks\.open is marked shadow/],
  ['by a name that is tried out', 'n if { some x; data.tasks[x] }', /^data\.tasks\.open is marked shadow/],
  ['inside a name', 'o if data.limits[ticket]', /: mark o shadow too$/],
  ['as its only condition', 'p if ticket', /^p would always hold .*: mark p shadow too$/],
  ['as the only condition of an else', 'q := 1 if not yes else := 2 if ticket', /^q would always hold/],
  ['beside names only', 'r if { some x in input.lease.granted; task_of(x) }', /^r would always hold/],
  ['beside an assignment only', 's if { x := input.lease; task_of(x) }', /^s would always hold/],
  ['beside a unification only', 'u if { x = input.lease; task_of(x) }', /^u would always hold/],
  ['by a test that it asks', 't if test_mode', /^data\.leasegate\.authz\.test_mode is a test/],
  [
    'as the rule that the gate asks',
    'decision := {"effect": "allow", "reasons": []} if ticket',
    /^decision would always hold .*: let it ask through a rule/,
  ],
]

/** Marks that mean nothing, each with the line in its own text that is named. */
const marks: readonly (readonly [where: string, rego: string, line: number, message: RegExp])[] = [
  ['outside of custom', '# METADATA\n# shadow: true\na if yes', 2, /^this marks nothing: write it below /],
  ['an ordinary comment', '# custom:\n#   shadow: true\na if yes', 2, /^this marks nothing: write it below /],
  [
    'a branch',
    `a := 1 if yes\n\n${mark}else := 2\n\nb if yes`,
    3,
    /^shadow marks a whole rule: write it above the rule, not inside$/,
  ],
  [
    'a condition',
    `a if {\n\tyes\n\t${mark.replaceAll('\n', '\n\t')}input.version == 1\n}`,
    5,
    /^this marks nothing: write it below /,
  ],
  ['a default', `${mark}default a := false`, 4, /^a default cannot be marked shadow: mark the rules of a$/],
  [
    'a whole document',
    `# METADATA\n# scope: document\n# custom:\n#   shadow: true\nb if yes`,
    1,
    /^shadow marks a single rule: write scope: rule$/,
  ],
  [
    'neither yes nor no',
    `${mark.replace('true', 'maybe')}c if yes`,
    1,
    /^write shadow: true, or leave it out$/,
  ],
  ['a test', `${mark}test_d if true`, 4, /^test_d is a test/],
  [
    'the rule that the gate asks',
    `${mark}decision := {"effect": "deny", "reasons": []}`,
    4,
    /^decision is what the gate asks .* policy\.shadow/,
  ],
]

describe('refused, with the place, is', () => {
  it('every mention of a rule in shadow that cannot be left out', async () => {
    const head = `package leasegate.authz\n\nyes if input.version == 1\n\ntest_mode if "x" == "x"\n\n\n\n`
    const tail = `\n\n${chat}\n${mark}task_of(x) if x.task\n`
    const files = {
      'authz.rego': `${head}${mentions.map(([, rule]) => rule).join('\n')}${tail}`,
      'tasks.rego': `package tasks\n\n${mark}open if input.version == 1\n`,
    }
    const outcome = await runToolchain({ files, data: {} }, ['check'])
    const diagnostics = outcome.diagnostics.filter(({ code }) => code === 'regoc_shadow_error')
    for (const [at, [how, , message]] of mentions.entries()) {
      const found = diagnostics.filter(({ line }) => line === at + 9)
      expect(found, how).toMatchObject([{ file: 'authz.rego', message: expect.stringMatching(message) }])
    }
    expect(diagnostics).toHaveLength(mentions.length)
  })

  it('every mark that means nothing', async () => {
    const files = Object.fromEntries(
      marks.map(([, rego], at) => [
        `${at}.rego`,
        `package leasegate.authz\n\nyes if input.version == 1\n\n${rego}\n`,
      ]),
    )
    const outcome = await runToolchain({ files, data: {} }, ['check'])
    const diagnostics = outcome.diagnostics.filter(({ code }) => code === 'regoc_shadow_error')
    for (const [at, [where, , line, message]] of marks.entries()) {
      const found = diagnostics.filter(({ file }) => file === `${at}.rego`)
      expect(found, where).toMatchObject([{ line: line + 4, message: expect.stringMatching(message) }])
    }
    expect(diagnostics).toHaveLength(marks.length)
  })

  it('a live policy that would not compile', async () => {
    const more = `${mark}systems contains "jira"\n\nother if {\n\tsystems[name]\n\tname == "jira"\n}\n`
    const { diagnostics } = await runToolchain(
      { files: { 'authz.rego': policy('\tother', more) }, data: {} },
      ['check'],
    )
    expect(diagnostics).toMatchObject([
      {
        line: 21,
        message: 'var name is unsafe (in the live policy, where the rules marked shadow are left out)',
      },
    ])
  })
})

it('the example of docs/policy-loop.md stands in the policy that ships, whose tests still pass', async () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/policy-loop.md'), 'utf8')
  const [, example] = /<!-- shadow -->\n```rego\n([\s\S]*?)```/.exec(docs)!
  using dir = PolicyDir.shipped()
  const text = dir
    .read('authz.rego')
    .replace('\twithin_call_rate\n}', '\twithin_call_rate\n\ttask_is_a_ticket\n}')
  dir.write('authz.rego', `${text}\n${example}`)
  await using live = await opened(dir.path, () => undefined)
  expect(live.policy.status().shadowRules).toEqual([
    expect.stringMatching(/^data\.leasegate\.authz\.task_is_a_ticket \(authz\.rego:\d+\)$/),
    expect.stringMatching(/^data\.leasegate\.authz\.deny_reasons \(authz\.rego:\d+\)$/),
  ])
  const { shadow, data } = live.policy.module
  const asWritten = await loadPolicy({ wasm: shadow!, data })
  const task = { ...reading.lease.task, system: 'chat' }
  const input = JSON.stringify({ ...reading, lease: { ...reading.lease, task } })
  expect(live.policy.current.evaluate(input)).toEqual({ effect: 'allow', reasons: [] })
  expect(asWritten.evaluate(input)).toEqual({ effect: 'deny', reasons: ['task_is_no_ticket'] })
})

describe('an open policy', () => {
  it('decides without the rules marked shadow, names them, and has the module of its shadow', async () => {
    using dir = PolicyDir.of({ 'authz.rego': policy('\tticket', chat) })
    const events: unknown[] = []
    await using live = await opened(dir.path, (event) => events.push(event))
    const { digest, shadowRules } = live.policy.status()
    expect(shadowRules).toEqual(['data.leasegate.authz.ticket (authz.rego:17)'])
    expect(live.policy.current.evaluate(JSON.stringify(reading)).effect).toBe('allow')
    expect(live.policy.module.shadow).toBeDefined()
    expect(policyDigest(live.policy.module)).toBe(digest)

    dir.write('authz.rego', policy('\tticket', chat.replace(mark, '')))
    await live.policy.reloadNow()
    expect(events).toEqual([{ type: 'reloaded', digest: live.policy.current.digest }])
    expect(live.policy.status().shadowRules).toBeUndefined()
    expect(live.policy.current.evaluate(JSON.stringify(reading)).effect).toBe('deny')

    dir.write('authz.rego', policy('\tticket', chat))
    await live.policy.reloadNow()
    expect(events.at(-1)).toEqual({ type: 'reloaded', digest, shadowRules })
  })

  it('has another digest when only its shadow differs', async () => {
    const [one, other] = await Promise.all(
      ['"chat"', '"talk"'].map((system) =>
        compile({ 'authz.rego': policy('\tticket', chat.replace('"chat"', system)) }),
      ),
    )
    const digest = ({ wasm, shadow }: Outcome) => policyDigest({ wasm: wasm!, shadow: shadow!, data: {} })
    expect(Buffer.compare(one!.wasm!, other!.wasm!)).toBe(0)
    expect(digest(one!)).not.toBe(digest(other!))
    expect(policyDigest({ wasm: one!.wasm!, data: {} })).not.toBe(digest(one!))
  })

  it('checks as the command line does', async () => {
    using dir = PolicyDir.of({ 'authz.rego': policy('\tticket', chat) })
    expect(await check(dir.path)).toEqual({
      diagnostics: [],
      shadowRules: ['data.leasegate.authz.ticket (authz.rego:17)'],
    })
  })
})

async function opened(path: string, onEvent: (event: unknown) => void) {
  const policy = await openPolicy({ source: directorySource(path, { reload: 'never' }), onEvent })
  return { policy, [Symbol.asyncDispose]: () => policy.close() }
}
