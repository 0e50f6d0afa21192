// The state store is away at each step of an approval: nothing is executed, nothing is lost, the answer says what it is,
// and there is one record of it. On a running gate, whose way to a real Redis is cut.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Actions } from '../../src/approval/actions.ts'
import type { Store } from '../../src/ports.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { actionsOf, approveAction } from '../support/approvals.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault_proxy.ts'
import { eventually, type Message, message, startTestGate, type TestGate } from '../support/gate.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

let redis: TestRedis
let way: FaultProxy
let gate: TestGate
/** The same store by another way, which is always open. */
let store: Store
let actions: Actions
beforeAll(async () => {
  redis = await startRedis()
  way = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
  const common = { prefix: 'away:' }
  const own = { ...common, url: `redis://127.0.0.1:${way.port}`, max_staleness: '5s' }
  gate = await startTestGate({ config: { state: { store: 'redis', redis: own } } })
  store = await openRedis({ ...common, url: redis.url, maxStalenessMs: 5_000 })
  actions = actionsOf(store, gate.config)
})
afterEach(() => way.turn('open'))
afterAll(async () => {
  await store.close()
  await gate.close()
  await way.close()
  await redis.stop()
})

let leases = 0
const newLease = (stage = 'execute') => gate.token({}, { id: `lse_away_${++leases}`, stage })
const ofLease = () => actions.list({ lease: `lse_away_${leases}` }, { limit: 9 })

async function send(ask: Message) {
  const { status, body } = await gate.ask(message(ask))
  const document = JSON.parse(body.toString() || '{}')
  return { status, code: document.code, action: String(document.access_request?.task.id ?? document.id) }
}
const remove = (token: string, more: Partial<Message> = {}) =>
  send({ method: 'DELETE', target: '/crm/customers/9821', token, ...more })
const task = (token: string, action: string, tail = '', more: Partial<Message> = {}) =>
  send({ target: `/access/v1/requests/${action}${tail}`, token, ...more })

/** What `asking` is answered while the store is away, with its one record; nothing may have reached the backend. */
async function away(asking: () => Promise<Awaited<ReturnType<typeof send>>>, cut = () => way.turn('drop')) {
  const records = gate.records().length
  const seen = gate.backend.requests.length
  await cut()
  const answer = await asking()
  const [record, ...more] = await gate.recordsAfter(records)
  expect([answer.status, answer.code]).toEqual([503, 'evidence_unavailable'])
  expect([record?.decision.code, more]).toEqual(['evidence_unavailable', []])
  expect(gate.backend.requests).toHaveLength(seen)
  await way.turn('open')
}

describe('while the store is away', () => {
  test('a call that is to be held', async () => {
    const token = newLease()
    await away(() => remove(token))
    expect(await ofLease()).toEqual([])
    await eventually(async () => (await remove(token)).code === 'approval_required', 'the store')
  })

  test('a call that was approved', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action)
    await away(() => remove(token))
    expect((await actions.get(action))?.action.state).toBe('approved')
    await eventually(async () => (await remove(token)).status === 200, 'the call')
  })

  test('a call that waits', async () => {
    const token = newLease()
    await away(
      async () => {
        const answer = remove(token, { fields: ['Prefer: wait=20'] })
        await eventually(async () => (await ofLease()).length === 1, 'the action')
        await way.turn('drop')
        return answer
      },
      async () => {},
    )
    expect((await ofLease())[0]?.action.state).toBe('pending')
  })

  test('a call whose approval is about to be used', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action)
    const lines = gate.audit().length
    await away(
      async () => {
        const answer = remove(token)
        await eventually(() => gate.audit().length > lines, 'the intent')
        await way.turn('drop')
        return answer
      },
      () => way.turn(60),
    )
    expect((await actions.get(action))?.action.state).toBe('approved')
    await eventually(async () => (await remove(token)).status === 200, 'the call')
  })

  test.each<[string, string, Partial<Message>]>([
    ['a look at a task', '', {}],
    ['a task that is waited for', '', { fields: ['Prefer: wait=5'] }],
    ['a withdrawal', '/cancel', { method: 'POST' }],
    [
      'another body for a draft',
      '',
      { method: 'PUT', body: '{}', fields: ['Content-Type: application/json'] },
    ],
    ['the response to a draft', '/response', {}],
  ])('%s', async (_, tail, more) => {
    const token = newLease('draft')
    const { action } = await send({
      method: 'PATCH',
      token,
      body: '{"a":1}',
      fields: ['Content-Type: application/json'],
    })
    const before = await actions.get(action)
    await away(() => task(token, action, tail, more))
    expect(await actions.get(action)).toEqual(before)
    await eventually(async () => (await task(token, action)).status === 200, 'the store')
  })

  test('a draft that is released waits, and is executed once', async () => {
    const token = newLease('draft')
    const { action } = await send({
      method: 'PATCH',
      token,
      body: '{"once":1}',
      fields: ['Content-Type: application/json'],
    })
    const seen = gate.backend.requests.length
    await way.turn('drop')
    await approveAction(actions, action)
    await eventually(() => gate.logText().includes('released drafts wait'), 'the fault in the log')
    expect(gate.backend.requests).toHaveLength(seen)
    await way.turn('open')
    await eventually(async () => (await actions.get(action))?.action.state === 'executed', 'the execution')
    expect(gate.backend.requests).toHaveLength(seen + 1)
  })
})
