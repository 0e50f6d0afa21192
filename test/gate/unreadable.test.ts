// What callers and operators see of stored revocations that cannot be read: of a damaged file, or of a newer version.
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import type { Json } from '../support/tokens.ts'

let gate: TestGate
let file: DatabaseSync

beforeAll(async () => {
  gate = await startTestGate()
  const { state } = gate.config
  if (state.store !== 'embedded') throw new Error('the gate of this test has a state file')
  file = new DatabaseSync(state.path)
})
afterAll(async () => {
  file.close()
  await gate.close()
})

async function call(lease: string): Promise<{ status: number; problem: Json }> {
  const answer = await gate.ask(message({ token: gate.token({}, { id: lease }) }))
  const body = answer.body.toString()
  return { status: answer.status, problem: body.startsWith('{') ? (JSON.parse(body) as Json) : {} }
}

const spoil = (key: string) =>
  file.prepare("INSERT INTO revocations (key, keep_until, entry) VALUES (?, 9e9, 'garbage')").run(key)
const revocations = async () => {
  const { status, checks } = await gate.readiness()
  return { status, ...checks.find(({ name }) => name === 'revocations')! }
}

test('one whose key names a lease kills that lease alone; readyz and metrics count it', async () => {
  expect((await call('lse_1')).status).toBe(200)
  spoil('lease\nlse_1')
  await eventually(async () => (await call('lse_1')).status === 401, 'the refusal')
  expect((await call('lse_1')).problem).toMatchObject({ code: 'lease_revoked' })
  expect((await call('lse_2')).status).toBe(200)
  expect(await revocations()).toMatchObject({
    status: 200,
    ready: true,
    detail: expect.stringMatching(/taken as in force for good.*: 1; revoke the same again to replace them$/),
  })
  expect(await gate.metrics()).toContain(
    'leasegate_revocation_entries_malformed{fate="taken_as_revoked"} 1\n',
  )
  expect(gate.logText()).toContain('taken as in force for good')
  expect((await gate.revoke({ lease: 'lse_1', reason: 'INC-1' })).status).toBe(201)
  expect((await revocations()).detail).toMatch(/entries$/)
  expect((await call('lse_1')).problem).toMatchObject({ code: 'lease_revoked' })
})

test('one of a scope that this version does not know stops every request until it is gone', async () => {
  spoil('planet\nmars')
  await eventually(async () => (await call('lse_3')).status === 503, 'the refusal')
  expect((await call('lse_3')).problem).toMatchObject({ code: 'evidence_unavailable' })
  expect(await revocations()).toMatchObject({
    status: 503,
    ready: false,
    detail: expect.stringMatching(/does not know, or under a damaged key: 1; update Leasegate, or delete/),
  })
  expect(await gate.metrics()).toContain('leasegate_revocation_entries_malformed{fate="unreadable"} 1\n')
  expect(gate.logText() + JSON.stringify(await revocations())).not.toContain('mars')
  file.prepare('DELETE FROM revocations WHERE key = ?').run('planet\nmars')
  await eventually(async () => (await call('lse_3')).status === 200, 'the answer')
  expect((await revocations()).status).toBe(200)
})
