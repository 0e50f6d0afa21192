// `leasegate/client` under a lease that has limits or ends: an agent learns what was too little, when it may come
// again, and why a stream broke off.
import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  createLeaseClient,
  type LeaseDetail,
  LeaseRefused,
  type PrivateKey,
  privateKeyJwt,
} from '../../src/client/index.ts'
import { startTestBroker, type TestBroker } from '../support/broker.ts'
import { eventually } from '../support/gate.ts'

let broker: TestBroker
/** Instead of the backend's usual answer. */
let answer: ((res: ServerResponse) => void) | undefined

beforeAll(async () => {
  broker = await startTestBroker({
    crm: { max_in_flight: 1 },
    answer(_request, res) {
      if (answer === undefined) res.end('{}')
      else answer(res)
    },
  })
}, 60_000)
afterEach(() => {
  answer = undefined
})
afterAll(() => broker.close())

async function leaseWith(constraints: Readonly<Record<string, unknown>> = {}) {
  const key = broker.keys.get('support-triage')!
  const jwk = { ...(key.privateKey.export({ format: 'jwk' }) as unknown as PrivateKey), kid: key.kid }
  const client = await createLeaseClient({
    broker: broker.brokerUrl,
    clientId: 'support-triage',
    authenticate: privateKeyJwt(jwk),
    subjectToken: () => broker.idToken(),
  })
  const detail: LeaseDetail = {
    type: 'lease',
    actions: ['read'],
    identifier: 'crm:customer/9821',
    sensitivity: 'confidential',
    constraints,
  }
  const lease = client.lease({
    task: 'jira:SUP-4711',
    purpose: "answer the customer's billing question",
    resource: broker.gateUrl,
    allow: [detail],
  })
  return { lease, call: () => lease.fetch(`${broker.gateUrl}/crm/customers/9821`) }
}

const refusal = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => undefined,
    (error: unknown) => error,
  )

describe('a call that is refused tells what an agent has to know', () => {
  const seconds = (most: number) => expect.toSatisfy((value: number) => value >= 1 && value <= most)

  test('of a limit that is used up: which, and that it does not refill', async () => {
    const { call } = await leaseWith({ max_calls: 2 })
    for (const _ of [1, 2]) expect((await call()).status).toBe(200)
    expect(await refusal(call())).toMatchObject({
      name: 'LeaseRefused',
      status: 429,
      code: 'budget_exhausted',
      reasons: ['calls_exhausted'],
      nextAction: 'request',
      retryAfter: seconds(3_600),
      decisionId: expect.stringMatching(/^dec_/),
    })
  })

  test('of a rate: when to come again', async () => {
    const { call } = await leaseWith({ max_rate: '1/30s' })
    expect((await call()).status).toBe(200)
    expect(await refusal(call())).toMatchObject({
      status: 429,
      code: 'rate_limited',
      reasons: ['max_rate'],
      nextAction: 'retry',
      retryAfter: seconds(30),
    })
  })

  test('of a gate that cannot now: when to come again', async () => {
    let waiting: ServerResponse | undefined
    answer = (res) => {
      waiting = res
    }
    const { call } = await leaseWith()
    const first = call()
    await eventually(() => waiting !== undefined, 'the first call at the backend')
    expect(await refusal(call())).toMatchObject({
      status: 503,
      code: 'overloaded',
      nextAction: 'retry',
      retryAfter: seconds(60),
    })
    waiting!.end('{}')
    expect((await first).status).toBe(200)
  })
})

describe('a stream of events', () => {
  const events = { 'content-type': 'text/event-stream' }
  const forged = 'event: lease-refusal\ndata: {"code":"lease_revoked","status":401}\n\n'

  /** Everything up to the end, and how it ended. */
  async function read(response: Response): Promise<{ text: string; error: unknown }> {
    let text = ''
    try {
      for await (const chunk of response.body!) text += Buffer.from(chunk).toString()
    } catch (error) {
      return { text, error }
    }
    return { text, error: undefined }
  }

  test('fails with the refusal when its lease is revoked', async () => {
    answer = (res) => void res.writeHead(200, events).write('data: one\n\n')
    const { lease, call } = await leaseWith()
    const response = await call()
    expect([response.status, response.url]).toEqual([200, `${broker.gateUrl}/crm/customers/9821`])
    const reading = read(response)
    await broker.revoke({ lease: lease.id!, reason: 'leaked' })
    const { text, error } = await reading
    expect(text).toContain('data: one\n\n')
    expect(error).toBeInstanceOf(LeaseRefused)
    expect(error).toMatchObject({
      status: 401,
      code: 'lease_revoked',
      decisionId: expect.stringMatching(/^dec_/),
    })
  })

  test.each<[string, (res: ServerResponse) => void, string | undefined]>([
    [
      'that ends well is given as it is, whatever it says',
      (res) => res.writeHead(200, events).end(forged),
      undefined,
    ],
    [
      'that the backend breaks off is a broken connection',
      (res) => void res.writeHead(200, events).write('data: one\n\n', () => res.destroy()),
      'TypeError',
    ],
  ])('%s', async (_, answers, name) => {
    answer = answers
    const { call } = await leaseWith()
    const { text, error } = await read(await call())
    expect([text, (error as Error | undefined)?.name]).toEqual([
      name === undefined ? forged : 'data: one\n\n',
      name,
    ])
  })

  test('that its reader gives up ends at the backend', async () => {
    let open = false
    answer = (res) => {
      open = true
      res.once('close', () => {
        open = false
      })
      res.writeHead(200, events).write('data: one\n\n')
    }
    const { call } = await leaseWith()
    const response = await call()
    await response.body!.cancel()
    await eventually(() => !open, 'the end of the stream at the backend')
  })
})
