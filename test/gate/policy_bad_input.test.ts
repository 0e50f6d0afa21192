// Policy that must never decide, given to a gate that runs: a message with its place, the policy before it still
// live, a count and an audit event. What goes wrong only when asked is in policy.test.ts.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compiled } from '../policy/support.ts'
import { message, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

const policyFile = (name: string) => join(gate.config.policy.dir, name)

async function call() {
  using connection = await gate.connect()
  connection.write(message({ token: gate.token() }))
  const { status, body } = await connection.answer()
  return { status, ...(JSON.parse(body.toString()) as { code?: string; reasons?: string[] }) }
}

async function count(metric: string): Promise<number> {
  const line = (await gate.metrics()).split('\n').find((text) => text.startsWith(`${metric} `))
  return Number(line?.split(' ')[1])
}

const rejections = () =>
  gate.audit().filter(({ event, rejected }) => event === 'policy' && rejected !== undefined)

/** The shipped policy with more at its end. */
const and = (rules: string) => (text: string) => `${text}\n${rules}\n`

type Change = (text: string) => string | Uint8Array
const mistakes: readonly (readonly [name: string, file: string, change: Change, told: RegExp])[] = [
  ['a syntax error', 'authz.rego', and('p if {'), /authz\.rego:\d+:\d+: rego_parse_error: /],
  [
    'recursion',
    'authz.rego',
    and('p if not q\n\nq if not p'),
    /authz\.rego:\d+:1: rego_recursion_error: .*p -> .*q/,
  ],
  ['an unsafe variable', 'authz.rego', and('p if not x'), /authz\.rego:\d+:10: rego_unsafe_var_error: var x/],
  [
    'two kinds of one rule',
    'authz.rego',
    and('reading contains 1'),
    /authz\.rego:\d+:1: .*conflicting rules .*reading/,
  ],
  [
    'a rule with the name of a package',
    'more.rego',
    () => 'package leasegate.authz.reading\n\nx := 1\n',
    /reading conflicts with rule reading defined at authz\.rego/,
  ],
  [
    'two imports of one name',
    'more.rego',
    () => 'package leasegate.more\n\nimport data.users.x\nimport data.groups.x\n\np := x\n',
    /more\.rego:4:1: rego_compile_error: import must not shadow/,
  ],
  [
    'a document with the name of a rule',
    'data/leasegate/authz.json',
    () => '{"decision": {"effect": "allow", "reasons": []}}',
    /authz\.rego:\d+:1: .*conflicting rule for data path leasegate\/authz\/decision/,
  ],
  [
    'a file of 10 MB',
    'authz.rego',
    and(`# ${'x'.repeat(10_000_000)}`),
    /authz\.rego:1:1: file_too_large: .* 1 MiB/,
  ],
  [
    'Rego that is no UTF-8',
    'authz.rego',
    (text) => Buffer.from(`${text}# caf\u00e9\n`, 'latin1'),
    /authz\.rego:\d+:6: not_utf8/,
  ],
  [
    'data that is no UTF-8',
    'data/approvers.json',
    () => Buffer.from('{\n  "crm": "\u00e9"\n}', 'latin1'),
    /data\/approvers\.json:2:11: not_utf8/,
  ],
  [
    'no entry point',
    'authz.rego',
    () => 'package leasegate.authz\n\nallow := true\n',
    /authz\.rego:1:1: decision_missing: .*data\.leasegate\.authz\.decision/,
  ],
  [
    'an entry point that returns a number',
    'authz.rego',
    () => 'package leasegate.authz\n\ndecision := 1\n',
    /authz\.rego:3:13: decision_invalid: the decision is a number/,
  ],
  [
    'a decision that some requests do not get',
    'authz.rego',
    () =>
      'package leasegate.authz\n\ndecision := {"effect": "allow", "reasons": []} if input.request.verb == "read"\n',
    /authz\.rego:3:1: decision_undefined/,
  ],
]

test.each(mistakes)(
  '%s is told with its place, and the policy before it decides on',
  async (_, file, change, told) => {
    const live = gate.running.policyDigest()
    const path = policyFile(file)
    const before = await readOr(path)
    const [rejected, counted] = [
      rejections().length,
      await count('leasegate_policy_reloads_total{result="rejected"}'),
    ]
    mkdirSync(dirname(path), { recursive: true })
    try {
      writeFileSync(path, change(before ?? ''))
      await gate.running.reload()
      expect(gate.running.policyDigest()).toBe(live)
      expect((await call()).status).toBe(200)
      expect(rejections().length).toBeGreaterThan(rejected)
      expect(rejections().at(-1)?.rejected).toContainEqual(expect.stringMatching(told))
      expect(await count('leasegate_policy_reloads_total{result="rejected"}')).toBeGreaterThan(counted)
      const { checks } = await gate.readiness()
      expect(checks.find(({ name }) => name === 'policy')?.detail).toMatch(told)
    } finally {
      if (before === undefined) rmSync(path)
      else writeFileSync(path, before)
    }
  },
)

async function readOr(path: string): Promise<string | undefined> {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

test('a compiled module whose answer is a number is refused when it is loaded', async () => {
  const live = gate.running.policyDigest()
  const module = await compiled('decision := 42')
  const dir = gate.config.policy.dir
  renameSync(dir, `${dir}-aside`)
  try {
    mkdirSync(dir)
    writeFileSync(join(dir, 'policy.wasm'), module)
    const rejected = rejections().length
    await gate.running.reload()
    expect(gate.running.policyDigest()).toBe(live)
    expect((await call()).status).toBe(200)
    expect(rejections().length).toBeGreaterThan(rejected)
    expect(JSON.stringify(rejections().at(-1))).toContain('decision_invalid: the decision is not an object')
  } finally {
    rmSync(dir, { recursive: true })
    renameSync(`${dir}-aside`, dir)
  }
})
