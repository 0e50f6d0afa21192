// Policy that changes while the gate serves: an edit is live at the next request, a mistake never is.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'

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

async function lastDigest(): Promise<string | null | undefined> {
  const before = gate.records().length
  await call()
  return (await gate.recordsAfter(before))[0]?.decision.policy_digest
}

test('an edit is live at the next request, on a connection that is already open, and named in the record', async () => {
  const old = gate.running.policyDigest()
  expect(await lastDigest()).toBe(old)
  using connection = await gate.connect()
  connection.write(message({ token: gate.token() }))
  expect((await connection.answer()).status).toBe(200)

  const rego = readFileSync(policyFile('authz.rego'), 'utf8')
  const tests = readFileSync(policyFile('authz_test.rego'), 'utf8')
  rmSync(policyFile('authz_test.rego'))
  writeFileSync(
    policyFile('authz.rego'),
    'package leasegate.authz\n\ndecision := {"effect": "deny", "reasons": ["closed_for_the_night"]}\n',
  )
  await eventually(() => gate.running.policyDigest() !== old, 'the new policy')
  const closed = gate.running.policyDigest()
  const seen = gate.backend.bytesSeen().length
  connection.write(message({ token: gate.token() }))
  const { status, body } = await connection.answer()
  expect([status, JSON.parse(body.toString())]).toMatchObject([
    403,
    { code: 'policy_denied', reasons: ['closed_for_the_night'] },
  ])
  expect(gate.backend.bytesSeen()).toHaveLength(seen)
  expect(await lastDigest()).toBe(closed)
  expect(gate.audit()).toContainEqual(expect.objectContaining({ event: 'policy', digest: closed }))
  expect(await gate.metrics()).toContain(`leasegate_policy_info{digest="${closed}"} 1`)

  writeFileSync(policyFile('authz_test.rego'), tests)
  writeFileSync(policyFile('authz.rego'), rego)
  await eventually(() => gate.running.policyDigest() === old, 'the policy of before')
  expect((await call()).status).toBe(200)
})

const mistakes: readonly (readonly [name: string, file: string, (text: string) => string, word: string])[] = [
  ['a syntax error', 'authz.rego', (text) => `${text}\nallow if {\n`, 'rego_parse_error'],
  [
    'a misspelt field',
    'authz.rego',
    (text) => text.replaceAll('input.lease.stage', 'input.lease.stagee'),
    'stagee',
  ],
  ['a test that fails', 'authz_test.rego', (text) => `${text}\ntest_never if 1 == 2\n`, 'test_never'],
  ['data that is no JSON', 'data/scale.json', () => '{', 'scale.json'],
]
test.each(mistakes)(
  '%s never becomes live: the policy before it decides on',
  async (_, file, change, word) => {
    const live = gate.running.policyDigest()
    const text = readFileSync(policyFile(file), 'utf8')
    const rejected = () =>
      gate.audit().filter(({ event, rejected }) => event === 'policy' && rejected !== undefined)
    const before = rejected().length
    writeFileSync(policyFile(file), change(text))
    try {
      await eventually(() => rejected().length > before, 'the rejection')
      expect(gate.running.policyDigest()).toBe(live)
      expect((await call()).status).toBe(200)
      const { status, checks } = await gate.readiness()
      expect(status).toBe(200)
      expect(checks.find(({ name }) => name === 'policy')?.detail).toContain(word)
      expect(JSON.stringify(rejected().at(-1))).toContain(word)
      expect(await gate.metrics()).toMatch(/^leasegate_policy_reloads_total\{result="rejected"\} [1-9]/m)
    } finally {
      writeFileSync(policyFile(file), text)
      await gate.running.reload()
    }
  },
)

test('a policy that gives two answers at once denies, and the record names the rule', async () => {
  const old = gate.running.policyDigest()
  rmSync(policyFile('authz_test.rego'))
  writeFileSync(
    policyFile('authz.rego'),
    `package leasegate.authz

decision := {"effect": "allow", "reasons": []} if input.version == 1

decision := {"effect": "deny", "reasons": []} if input.lease.stage == "execute"

default decision := {"effect": "deny", "reasons": ["neither"]}
`,
  )
  await gate.running.reload()
  expect(gate.running.policyDigest()).not.toBe(old)
  const before = gate.records().length
  expect(await call()).toMatchObject({ status: 403, code: 'policy_denied' })
  const [record] = await gate.recordsAfter(before)
  expect(record?.decision.cause).toMatch(/^policy fault: .*authz\.rego:5:1: .*conflict/)
  expect(await gate.metrics()).toMatch(/^leasegate_policy_faults_total [1-9]/m)
})
