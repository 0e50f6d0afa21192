// One lease, one task: a request that says what it is for, over real sockets. What the lease is not for is
// refused with what to ask for; nothing of what the agent wrote reaches the backend.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

async function sent(fields: readonly string[], target = '/crm/customers/9821') {
  const before = gate.records().length
  const answer = await gate.ask(message({ token: gate.token({}, { session: 'ses_a' }), fields, target }))
  const [record] = await gate.recordsAfter(before)
  return { answer, record, body: JSON.parse(answer.body.toString()) }
}

test('a request for the task and session of its lease passes, and the backend hears of them from the gate', async () => {
  const { answer } = await sent(['Lease-Task: jira:SUP-4711', 'Lease-Session: ses_a'])
  expect(answer.status).toBe(200)
  const { headers } = gate.backend.requests.at(-1)!
  expect(headers).toMatchObject({ 'lease-task': 'jira:SUP-4711' })
  expect(headers).not.toHaveProperty('lease-session')
})

describe('refused with the challenge that says what to ask for', () => {
  test.each([
    ['another task', 'Lease-Task: jira:SUP-4712', 'task_mismatch', { task: 'jira:SUP-4712' }],
    ['another session', 'Lease-Session: ses_b', 'session_mismatch', { session: 'ses_b' }],
  ])('%s', async (_, field, reason, asked) => {
    const reached = gate.backend.requests.length
    const { answer, body, record } = await sent([field])
    expect(answer.status).toBe(403)
    expect(answer.headers['www-authenticate']).toMatch(
      /^Bearer error="insufficient_scope".*scope="crm:read", resource_metadata="http:\/\/gate\.example\/\.well-known\/oauth-protected-resource\/crm"$/,
    )
    expect(body).toMatchObject({
      code: 'lease_mismatch',
      reasons: [reason],
      next_action: 'request',
      ...asked,
      authorization_details: [
        { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
      ],
    })
    expect(record).toMatchObject({ decision: { code: 'lease_mismatch', reasons: [reason] } })
    expect(gate.backend.requests).toHaveLength(reached)
  })

  test.each(['Lease-Task: jira:SUP-4711', 'Lease-Session: ses_a'])('but not `%s` twice', async (field) => {
    const { answer, body } = await sent([field, field])
    expect([answer.status, body.code]).toEqual([400, 'malformed_request'])
  })
})

test('a stranger learns nothing by stating a task', async () => {
  const { status, body } = await gate.ask(message({ fields: ['Lease-Task: jira:SUP-4711'] }))
  expect([status, JSON.parse(body.toString()).code]).toEqual([401, 'lease_missing'])
})
