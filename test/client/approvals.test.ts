// `leasegate/client` where a human has to say yes: against a real broker and a real gate, with decisions as they are
// stored. What waits goes through once it is approved, once and unchanged, and every other end has its own error.
import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import {
  ApprovalRefused,
  ApprovalRequired,
  type ApprovalTask,
  type LeaseClientOptions,
  type LeaseRequest,
} from '../../src/client/index.ts'
import type { RecordedRequest } from '../support/backends.ts'
import { startTestBroker, type TestBroker } from '../support/broker.ts'
import {
  actionsOf,
  approved,
  decide,
  deleting,
  expired,
  failure,
  refused,
  waitingAction,
  withdrawn,
  writingLease,
} from '../support/client.ts'
import { eventually } from '../support/gate.ts'

let broker: TestBroker
/** What the gate was sent, in order: method, path and the fields that are about waiting. */
const sent: { call: string; prefer: string | null; approval: string | null; key: string | null }[] = []
/** Takes the place of the network: throws, or lets it pass. */
let network: ((request: Request) => void) | undefined

beforeAll(async () => {
  broker = await startTestBroker({
    answer(request: RecordedRequest, res: ServerResponse) {
      res.writeHead(200, { 'content-type': 'application/json' }).end(`{"did":"${request.method}"}`)
    },
  })
}, 60_000)
afterEach(() => {
  sent.length = 0
  network = undefined
})
afterAll(() => broker.close())

const watched: typeof fetch = async (input, init) => {
  const request = new Request(input, init)
  const { headers, method, url, signal } = request
  if (url.startsWith(broker.gateUrl)) {
    const call = `${method} ${new URL(url).pathname}`
    const key = headers.get('idempotency-key')
    sent.push({ call, prefer: headers.get('prefer'), approval: headers.get('lease-approval'), key })
    network?.(request)
  }
  signal.throwIfAborted()
  return fetch(request)
}

const leaseWith = (changes: Partial<LeaseRequest> = {}, options: Partial<LeaseClientOptions> = {}) =>
  writingLease(broker, changes, { fetch: watched, ...options })

const customer = (id: number) => `${broker.gateUrl}/crm/customers/${id}`
const reached = () => broker.backend.requests.length
const gateCalls = () => sent.filter(({ call }) => call.includes('/crm/'))

describe('a call that is held', () => {
  test('stays open, and goes through by itself once it is approved', async () => {
    const lease = await leaseWith()
    const answer = lease.fetch(customer(1), { method: 'DELETE' })
    await decide(broker, (await waitingAction(broker, lease)).id, approved)
    const { status, headers } = await answer
    expect([status, headers.get('preference-applied')]).toEqual([200, 'wait'])
    expect(gateCalls().every(({ prefer, approval }) => prefer === 'wait=30' && approval === null)).toBe(true)
  })

  test('is looked after where the gate does not keep it open, and then sent again as it was', async () => {
    const lease = await leaseWith({ approval: { waitSeconds: 0 } })
    const before = reached()
    const told: ApprovalTask[] = []
    const answer = lease.fetch(customer(2), {
      method: 'DELETE',
      headers: { 'idempotency-key': 'k-2', 'content-type': 'application/json' },
      body: '{"why":"gdpr"}',
      approval: { onWaiting: (task) => told.push(task) },
    })
    const { id } = await waitingAction(broker, lease)
    await decide(broker, id, approved)
    expect((await answer).status).toBe(200)
    expect(reached() - before).toBe(1)
    expect(broker.backend.requests.at(-1)!.body.toString()).toBe('{"why":"gdpr"}')
    expect(told).toMatchObject([{ id, status: 'pending', statusEndpoint: expect.stringContaining(id) }])
    expect(told[0]!.expiresAt.getTime()).toBeGreaterThan(Date.now())
    const calls = gateCalls()
    expect(calls.at(-1)).toMatchObject({ approval: id, prefer: null, key: 'k-2' })
    expect(calls.filter(({ approval }) => approval !== null)).toHaveLength(1)
    expect(sent.some(({ call }) => call === `GET /access/v1/requests/${id}`)).toBe(true)
  })

  test.each([
    ['under a lease for one backend', () => ({ resource: `${broker.gateUrl}/crm` }), undefined],
    ['in a Request with a body', () => ({}), '{"a":1}'],
  ])('waits %s too', async (_, changes, body) => {
    const lease = await leaseWith({ ...changes(), approval: { waitSeconds: 0 } })
    const init = { method: 'DELETE', headers: { 'content-type': 'application/json' } }
    const answer = lease.fetch(new Request(customer(3), body === undefined ? init : { ...init, body }))
    await decide(broker, (await waitingAction(broker, lease)).id, approved)
    expect((await answer).status).toBe(200)
    expect(broker.backend.requests.at(-1)!.body.toString()).toBe(body ?? '')
  })

  test('goes on waiting although the gate was not there for a moment', async () => {
    const lease = await leaseWith({ approval: { waitSeconds: 0 } })
    const answer = lease.fetch(customer(4), { method: 'DELETE' })
    const { id } = await waitingAction(broker, lease)
    let broken = 0
    network = ({ method }) => {
      if (method === 'GET' && broken++ === 0) throw new TypeError('fetch failed')
    }
    await eventually(() => broken > 0, 'a look that failed')
    await decide(broker, id, approved)
    expect((await answer).status).toBe(200)
  })

  test.each([
    ['while it is open', {}],
    ['while it is looked after', { waitSeconds: 0 }],
  ])('is refused %s: the agent gets the reason of the human', async (_, approval) => {
    const lease = await leaseWith({ approval })
    const before = reached()
    const error = failure(lease.fetch(customer(5), { method: 'DELETE' }))
    await decide(broker, (await waitingAction(broker, lease)).id, refused)
    expect(await error).toBeInstanceOf(ApprovalRefused)
    expect(await error).toMatchObject({
      code: 'approval_refused',
      reason: 'an invoice is open',
      message: 'approval_refused: an invoice is open',
      nextAction: 'none',
      decisionId: expect.stringMatching(/^dec_/),
    })
    expect(reached()).toBe(before)
  })

  test.each<[string, string, (action: Action) => Action]>([
    ['nobody approved in time', 'approval_expired', expired],
    ['was taken back', 'approval_withdrawn', withdrawn],
  ])('that %s is refused', async (_, code, step) => {
    const lease = await leaseWith({ approval: { waitSeconds: 0 } })
    const error = failure(lease.fetch(customer(6), { method: 'DELETE' }))
    await decide(broker, (await waitingAction(broker, lease)).id, step)
    expect(await error).toMatchObject({ name: 'LeaseRefused', code, nextAction: 'request' })
  })

  test('is sent again once: a connection that breaks then is for the caller to judge', async () => {
    const lease = await leaseWith({ approval: { waitSeconds: 0 } })
    const before = reached()
    const error = failure(lease.fetch(customer(7), { method: 'DELETE' }))
    const { id } = await waitingAction(broker, lease)
    network = ({ headers }) => {
      if (headers.get('lease-approval') !== null) throw new TypeError('the connection broke')
    }
    await decide(broker, id, approved)
    expect(await error).toMatchObject({ name: 'TypeError', message: 'the connection broke' })
    expect(gateCalls().filter(({ approval }) => approval !== null)).toHaveLength(1)
    network = undefined
    // The yes is still there for the very same call, once.
    expect((await lease.fetch(customer(7), { method: 'DELETE' })).status).toBe(200)
    expect(reached() - before).toBe(1)
  })

  test('stops waiting at its deadline, and goes on when it is called again', async () => {
    const lease = await leaseWith()
    const soon = { waitSeconds: 0, deadline: new Date(Date.now() + 50) }
    const error = await failure(lease.fetch(customer(8), { method: 'DELETE', approval: soon }))
    expect(error).toBeInstanceOf(ApprovalRequired)
    const { task } = error as ApprovalRequired
    expect(task).toMatchObject({ id: (await waitingAction(broker, lease)).id, status: 'pending' })
    await decide(broker, task!.id, approved)
    expect((await lease.fetch(customer(8), { method: 'DELETE' })).status).toBe(200)
  })

  test('does not wait where it is told not to', async () => {
    const lease = await leaseWith({ approval: false })
    const error = await failure(lease.fetch(customer(9), { method: 'DELETE' }))
    expect(error).toMatchObject({
      name: 'ApprovalRequired',
      code: 'approval_required',
      nextAction: 'request',
      task: { id: expect.stringMatching(/^act_/), status: 'pending' },
    })
    expect(sent.every(({ prefer }) => prefer === null)).toBe(true)
    expect(sent.some(({ call }) => call.includes('/access/'))).toBe(false)
  })

  test('waits on under its own lease when another call needs a wider one', async () => {
    const narrow = { ...deleting, identifier: 'crm:customer/20' } as const
    const lease = await leaseWith({ approval: { waitSeconds: 0 }, allow: [narrow] })
    const answer = lease.fetch(customer(20), { method: 'DELETE' })
    const { id, lease: held } = await waitingAction(broker, lease)
    await lease.fetch(customer(21))
    expect(lease.id).not.toBe(held.id)
    await decide(broker, id, approved)
    const { status, headers } = await answer
    expect([status, headers.get('lease-id')]).toEqual([200, held.id])
    const wider = lease.id!
    await lease.complete()
    const { leases } = await broker.store()
    const states = [held.id, wider].map(async (each) => (await leases.get(each))?.state)
    expect(await Promise.all(states)).toEqual(['completed', 'completed'])
  })

  test('is taken back when the caller gives it up', async () => {
    const lease = await leaseWith({ approval: { waitSeconds: 0 } })
    const leaving = new AbortController()
    const error = failure(
      lease.fetch(customer(10), {
        method: 'DELETE',
        signal: leaving.signal,
        approval: { onWaiting: () => leaving.abort(new Error('the user went away')) },
      }),
    )
    expect(await error).toMatchObject({ message: 'the user went away' })
    const actions = await actionsOf(broker)
    const { id } = await waitingAction(broker, lease)
    await eventually(async () => (await actions.get(id))?.action.state === 'withdrawn', 'its withdrawal')
  })

  test('with a stream for a body is refused before it is sent, unless it does not wait', async () => {
    const lease = await leaseWith()
    const init = () => ({
      method: 'PATCH',
      headers: { 'content-type': 'text/plain' },
      body: new Blob(['x']).stream(),
      duplex: 'half' as const,
    })
    await expect(lease.fetch(customer(11), init())).rejects.toThrow('approval: false')
    expect(sent).toEqual([])
    const refusal = await failure(lease.fetch(customer(11), { ...init(), approval: false }))
    expect(refusal).not.toBeInstanceOf(TypeError)
    expect(sent).not.toEqual([])
  })
})

describe('a gate that is not to be believed', () => {
  /** The gate's answers, with another body for what is held. */
  const lying =
    (change: (body: Record<string, unknown>) => object): typeof fetch =>
    async (input, init) => {
      const answer = await watched(input, init)
      if (answer.headers.get('lease-refusal') !== 'approval_required') return answer
      const body = JSON.stringify(change((await answer.json()) as Record<string, unknown>))
      return Object.defineProperty(new Response(body, answer), 'url', { value: answer.url })
    }

  test.each<[string, unknown]>([
    ['another origin', 'https://elsewhere.example/access/v1/requests/act_1'],
    ['a path of a backend', () => `${broker.gateUrl}/crm/customers/1`],
    ['a path that climbs', () => `${broker.gateUrl}/access/v1/requests/../../../crm/customers/1`],
    ['a query', () => `${broker.gateUrl}/access/v1/requests/act_1?x=1`],
    ['nowhere', 'act_1'],
    ['a number', 7],
  ])('does not get a token at %s', async (_, place) => {
    const status_endpoint = typeof place === 'function' ? place() : place
    const task = { id: 'act_1', status: 'pending', status_endpoint }
    const access_request = { task, expires_at: '2099-01-01T00:00:00Z', interval: 1 }
    const fetch = lying((body) => ({ ...body, access_request }))
    const lease = await leaseWith({ approval: { waitSeconds: 0 } }, { fetch })
    expect(await failure(lease.fetch(customer(12), { method: 'DELETE' }))).toBeInstanceOf(ApprovalRequired)
    expect(sent.filter(({ call }) => !call.includes('/crm/customers/12'))).toEqual([])
  })

  test.each([
    ['an unknown word', 'partial'],
    ['none', undefined],
  ])('does not say yes with %s for a status', async (_, status) => {
    const document: typeof fetch = async (input, init) => {
      const answer = await watched(input, init)
      if (!answer.url.includes('/access/')) return answer
      const body = JSON.stringify({ ...((await answer.json()) as object), status })
      return Object.defineProperty(new Response(body, answer), 'url', { value: answer.url })
    }
    const lease = await leaseWith({ approval: { waitSeconds: 0 } }, { fetch: document })
    const before = reached()
    expect(await failure(lease.fetch(customer(13), { method: 'DELETE' }))).toMatchObject({
      name: 'LeaseUnavailable',
    })
    expect(reached()).toBe(before)
  })
})
