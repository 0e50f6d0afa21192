// A bounded repeat at two gates on one store: a person grants it at the control listener of one, and calls that are alike
// go through at both until it is used up or taken back.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { message, startTestGate, type TestGate } from '../support/gate.ts'
import type { Json } from '../support/tokens.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-repeated-'))
const carol = 'carol@example.com'
let gates: TestGate[]
beforeAll(async () => {
  const config = {
    state: { path: join(dir, 'state.db') },
    approvals: { key_file: join(dir, 'approvals.key') },
    control: {
      operators: [
        { name: carol, token_file: join(dir, 'carol'), roles: ['approver'], groups: ['crm-owners'] },
      ],
    },
  }
  gates = [await startTestGate({ config }), await startTestGate({ config })]
})
afterAll(async () => {
  await Promise.all(gates.map((gate) => gate.close()))
  rmSync(dir, { recursive: true, force: true })
})

/** The same delete under a lease, at one of the gates; answers with a code where it is refused. */
async function remove(
  lease: string,
  at: 0 | 1 = 0,
): Promise<{ status: number; code?: string; action: string }> {
  const gate = gates[at]!
  const token = gate.token({}, { id: lease })
  const answer = await gate.ask(message({ method: 'DELETE', token }))
  const body = JSON.parse(answer.body.toString() || '{}')
  return { status: answer.status, code: body.code, action: body.access_request?.task.id }
}

async function order(path: string, body: Json): Promise<{ status: number; json: Json }> {
  const answer = await fetch(`http://127.0.0.1:${gates[0]!.running.control.port}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${readFileSync(join(dir, 'carol'), 'utf8').trim()}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  })
  return { status: answer.status, json: (await answer.json()) as Json }
}

/** Has a call held, and says yes to it with a repeat. */
async function grant(lease: string): Promise<string> {
  const { action } = await remove(lease)
  const { fingerprint } = (await (
    await gates[0]!.store()
  ).records
    .get('action', action)
    .then((record) => JSON.parse(record!.text))) as { fingerprint: string }
  const said = { fingerprint, reason: 'the whole batch', repeat: { calls: 5, seconds: 60 } }
  expect((await order(`/actions/${action}/approve`, said)).status).toBe(200)
  return action
}

test('five calls like it go through at both gates beside the one that was approved, the next is held', async () => {
  const action = await grant('lse_batch')
  expect((await remove('lse_batch')).status).toBe(200)
  for (const at of [0, 1, 1, 0, 1] as const) expect((await remove('lse_batch', at)).status).toBe(200)
  for (const at of [0, 1] as const) {
    const held = await remove('lse_batch', at)
    expect(held.code).toBe('approval_required')
    expect(held.action).not.toBe(action)
  }
  expect((await remove('lse_of_another')).code).toBe('approval_required')
})

test('of twenty calls at once at both gates five go through, and the approved one', async () => {
  await grant('lse_race')
  const all = await Promise.all(Array.from({ length: 20 }, (_, at) => remove('lse_race', (at % 2) as 0 | 1)))
  expect(all.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(6)
  for (let left = 6; left > 0; left--) await remove('lse_race')
  expect((await remove('lse_race')).code).toBe('approval_required')
  const seen = gates.flatMap(({ backend }) => backend.requests)
  expect(seen.length).toBe(6 + 6)
})

test('taken back it lets nothing through from then on, at either gate', async () => {
  const action = await grant('lse_back')
  for (const at of [0, 1] as const) expect((await remove('lse_back', at)).status).toBe(200)
  const revoked = await order(`/repeats/${action.replace('act_', 'rpt_')}/revoke`, { reason: 'enough' })
  expect(revoked).toMatchObject({ status: 200, json: { state: 'revoked' } })
  for (const at of [0, 1] as const) expect((await remove('lse_back', at)).code).toBe('approval_required')
})
