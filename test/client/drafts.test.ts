// `leasegate/client` under a lease of stage draft, against a real broker and a real gate: a write is kept, looked at,
// replaced and taken back, and what the backend said is fetched once somebody has released it.
import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import { type AgentLease, ApprovalRefused, type Draft } from '../../src/client/index.ts'
import type { RecordedRequest } from '../support/backends.ts'
import { startTestBroker, type TestBroker } from '../support/broker.ts'
import {
  approved,
  decide,
  deleting,
  expired,
  failure,
  refused,
  withdrawn,
  writingLease,
} from '../support/client.ts'

let broker: TestBroker
let lease: AgentLease
/** Instead of the backend's usual answer. */
let answer: ((res: ServerResponse) => void) | undefined

beforeAll(async () => {
  broker = await startTestBroker({
    answer(request: RecordedRequest, res: ServerResponse) {
      if (answer !== undefined) answer(res)
      else res.writeHead(200, { 'content-type': 'application/json' }).end(request.body)
    },
  })
  lease = await writingLease(broker, { stage: 'draft' })
}, 60_000)
afterEach(() => {
  answer = undefined
})
afterAll(() => broker.close())

const reached = () => broker.backend.requests.length
const json = { 'content-type': 'application/json' }
let customers = 0

async function draft(body = '{"city":"Oslo"}'): Promise<Draft> {
  customers++
  const url = `${broker.gateUrl}/crm/customers/${customers}`
  const kept = lease.draftOf(await lease.fetch(url, { method: 'PATCH', headers: json, body }))
  if (kept === undefined) throw new Error('there is no draft')
  return kept
}

test('a write is kept as a draft, and a read is not', async () => {
  const before = reached()
  const kept = await draft()
  expect(kept.id).toMatch(/^act_/)
  expect(await kept.status()).toMatchObject({ id: kept.id, status: 'pending', hasResponse: false })
  expect(reached()).toBe(before)
})

test.each([
  ['a 202 of the backend', { location: '/customers/1' }],
  ['a 202 that names a task below the backend', { location: '/access/v1/requests/act_1' }],
  ['a 202 without a place', {}],
])('%s is no draft', async (_, headers) => {
  const reader = await writingLease(broker, { allow: ['read crm:customer/9821'], stage: 'observe' })
  answer = (res) => void res.writeHead(202, headers).end()
  const response = await reader.fetch(`${broker.gateUrl}/crm/customers/9821`)
  expect([response.status, reader.draftOf(response)]).toEqual([202, undefined])
})

test('a released draft is executed once, and the answer of the backend is fetched', async () => {
  const kept = await draft('{"city":"Bergen"}')
  const before = reached()
  await decide(broker, kept.id, approved)
  expect(await kept.wait()).toMatchObject({ status: 'approved', outcome: { status: 200, code: null } })
  const response = await kept.response()
  expect([response.status, await response.json()]).toEqual([200, { city: 'Bergen' }])
  expect(reached() - before).toBe(1)
  await expect(kept.withdraw()).rejects.toMatchObject({ code: 'action_state_conflict' })
})

test('what the backend says of a released draft is the agent’s, a refusal too', async () => {
  answer = (res) => void res.writeHead(409, json).end('{"error":"taken"}')
  const kept = await draft()
  await decide(broker, kept.id, approved)
  expect(await kept.wait()).toMatchObject({ outcome: { status: 409, code: null } })
  expect((await kept.response()).status).toBe(409)
})

test('a draft that is replaced is another one, and is executed as it is then', async () => {
  const kept = await draft('{"city":"Oslo"}')
  const { fingerprint } = await kept.status()
  const replaced = await kept.replace('{"city":"Tromsø"}')
  expect(replaced).toMatchObject({ id: kept.id, status: 'pending' })
  expect(replaced.fingerprint).not.toBe(fingerprint)
  await decide(broker, kept.id, approved)
  await kept.wait()
  expect(broker.backend.requests.at(-1)!.body.toString()).toBe('{"city":"Tromsø"}')
})

test('a draft that is taken back is never executed, and twice is as once', async () => {
  const kept = await draft()
  for (const _ of [1, 2]) expect(await kept.withdraw()).toMatchObject({ status: 'cancelled' })
  await expect(kept.replace('{}')).rejects.toMatchObject({ code: 'action_state_conflict' })
  await expect(kept.response()).rejects.toMatchObject({ code: 'action_unknown' })
})

test.each<[string, string, (action: Action) => Action]>([
  ['refused', 'approval_refused', refused],
  ['over', 'approval_expired', expired],
  ['taken back', 'approval_withdrawn', withdrawn],
])('waiting for a draft that is %s ends with an error', async (_, code, step) => {
  const kept = await draft()
  await decide(broker, kept.id, step)
  const error = await failure(kept.wait())
  expect(error).toMatchObject({ code })
  expect(error instanceof ApprovalRefused && error.reason).toBe(
    code === 'approval_refused' && 'an invoice is open',
  )
})

test('a draft whose lease is over when it is released tells so', async () => {
  const own = await writingLease(broker, { stage: 'draft' })
  const url = `${broker.gateUrl}/crm/customers/77`
  const kept = own.draftOf(await own.fetch(url, { method: 'PATCH', headers: json, body: '{}' }))!
  await broker.revoke({ lease: own.id!, reason: 'leaked' })
  await expect(kept.wait()).rejects.toMatchObject({ code: 'lease_revoked' })
})

test('a draft stays what it is when another call needs a wider lease', async () => {
  const narrow = { ...deleting, identifier: 'crm:customer/78' }
  const own = await writingLease(broker, { stage: 'draft', allow: [narrow] })
  const url = `${broker.gateUrl}/crm/customers/78`
  const kept = await own.fetch(url, { method: 'PATCH', headers: json, body: '{"city":"Narvik"}' })
  const first = own.id
  await own.fetch(url)
  expect(own.id).not.toBe(first)
  const draft = own.draftOf(kept)!
  await decide(broker, draft.id, approved)
  expect(await draft.wait()).toMatchObject({ outcome: { status: 200 } })
  expect(await (await draft.response()).json()).toEqual({ city: 'Narvik' })
})

test('waiting for a draft ends at the deadline, and when the caller gives it up', async () => {
  const kept = await draft()
  expect(await kept.wait({ waitSeconds: 0, deadline: new Date(Date.now() + 50) })).toMatchObject({
    status: 'pending',
  })
  const leaving = new AbortController()
  const onWaiting = () => leaving.abort(new Error('the user went away'))
  const waited = kept.wait({ waitSeconds: 0, signal: leaving.signal, onWaiting })
  await expect(waited).rejects.toThrow('the user went away')
  // It is still there: somebody may release it.
  expect(await kept.status()).toMatchObject({ status: 'pending' })
})
