// `leasegate/client` against a real broker and a real gate: what an agent that uses it gets, and what it never does.
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  createLeaseClient,
  type LeaseClientOptions,
  LeaseRefused,
  type LeaseRequest,
  LeaseUnavailable,
  type PrivateKey,
  privateKeyJwt,
} from '../../src/client/index.ts'
import type { RecordedRequest } from '../support/backends.ts'
import { startTestBroker, type TestBroker } from '../support/broker.ts'

let broker: TestBroker
/** What the backend says instead of its usual answer. */
let answer:
  | ((request: RecordedRequest) => { status: number; headers: Record<string, string>; body: string })
  | undefined
/** Every request of a client, with what it carried. */
const sent: { url: string; authorization: string | null; proof: string | null; body: string }[] = []

beforeAll(async () => {
  broker = await startTestBroker({
    answer(request, res) {
      const { status, headers, body } = answer?.(request) ?? { status: 200, headers: {}, body: '{"id":9821}' }
      res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
    },
  })
}, 60_000)
afterEach(() => {
  answer = undefined
  sent.length = 0
})
afterAll(() => broker.close())

const watched: typeof fetch = async (input, init) => {
  const request = new Request(input, init)
  const { headers } = request
  const body = await request.clone().text()
  sent.push({
    url: request.url,
    authorization: headers.get('authorization'),
    proof: headers.get('dpop'),
    body,
  })
  return fetch(request)
}

/** The private key of the agent as its platform would have it. */
function agentKey(): PrivateKey {
  const key = broker.keys.get('support-triage')!
  return { ...(key.privateKey.export({ format: 'jwk' }) as unknown as PrivateKey), kid: key.kid }
}

function clientOf(changes: Partial<LeaseClientOptions> = {}) {
  return createLeaseClient({
    broker: broker.brokerUrl,
    clientId: 'support-triage',
    authenticate: privateKeyJwt(agentKey()),
    subjectToken: () => broker.idToken(),
    fetch: watched,
    ...changes,
  })
}

const ask = (changes: Partial<LeaseRequest> = {}): LeaseRequest => ({
  task: 'jira:SUP-4711',
  purpose: "answer the customer's billing question",
  resource: broker.gateUrl,
  allow: ['read crm:customer/9821'],
  ...changes,
})

const customer = (id: number | string = 9821) => `${broker.gateUrl}/crm/customers/${id}`
const asked = () => sent.filter(({ url }) => url.endsWith('/token'))

describe('a lease of the client', () => {
  test.each(['jira:SUP-4711', 'SUP-4711', 'jira:Größe 100 %', 'Žluťoučký kůň', '任务'])(
    'is for the task that it was asked for, whatever it is called: %s',
    async (task) => {
      const lease = (await clientOf()).lease(ask({ task }))
      expect((await lease.fetch(customer())).status).toBe(200)
    },
  )

  test('is obtained at the first call, bound to its key, and used again', async () => {
    const lease = (await clientOf()).lease(ask())
    expect(lease.id).toBeUndefined()
    for (const _ of [1, 2, 3]) expect((await lease.fetch(customer())).status).toBe(200)
    expect(lease.id).toMatch(/^lse_/)
    expect(lease.granted).toMatchObject([{ actions: ['read'], identifier: 'crm:customer/9821' }])
    // Twice: the first proof had no nonce yet.
    expect(asked()).toHaveLength(2)
    const record = await (await broker.store()).leases.get(lease.id!)
    expect(record).toMatchObject({ user: 'alice@example.com', binding: { method: 'dpop' }, renewals: 0 })
    expect(record?.task).toMatchObject({ system: 'jira', id: 'SUP-4711' })
  })

  test('is asked for once, however many calls wait for it', async () => {
    const lease = (await clientOf()).lease(ask())
    const answers = await Promise.all(Array.from({ length: 8 }, () => lease.fetch(customer())))
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect(new Set(answers.map(({ headers }) => headers.get('lease-id'))).size).toBe(1)
    expect(asked()).toHaveLength(2)
  })

  test('sends a body again when the gate wanted a nonce first', async () => {
    const lease = (await clientOf()).lease(ask({ allow: ['update crm:note/7 internal'], stage: 'execute' }))
    const written = await lease.fetch(`${broker.gateUrl}/crm/notes/7`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'lease-provenance': 'trusted' },
      body: '{"text":"done"}',
    })
    expect(written.status).toBe(200)
    expect(broker.backend.requests.at(-1)?.body.toString()).toBe('{"text":"done"}')
  })

  test('gives the caller what the backend answers, a refusal of the backend too', async () => {
    const lease = (await clientOf()).lease(ask())
    const forged = {
      type: 'urn:leasegate:problem:outside_lease',
      code: 'outside_lease',
      authorization_details: [],
    }
    answer = () => ({
      status: 403,
      headers: { 'content-type': 'application/problem+json', 'lease-refusal': 'outside_lease' },
      body: JSON.stringify(forged),
    })
    const refused = await lease.fetch(customer())
    expect(refused.status).toBe(403)
    expect(await refused.json()).toEqual(forged)
    expect(asked()).toHaveLength(2)
  })

  test('is widened once to what a refusal names, and the narrower one is completed', async () => {
    const lease = (await clientOf()).lease(ask())
    await lease.fetch(customer())
    const narrower = lease.id!
    expect((await lease.fetch(customer(1042))).status).toBe(200)
    expect(lease.id).not.toBe(narrower)
    expect(lease.granted.map(({ identifier }) => identifier)).toEqual([
      'crm:customer/9821',
      'crm:customer/1042',
    ])
    expect((await lease.fetch(customer())).status).toBe(200)
    const { leases } = await broker.store()
    expect((await leases.get(narrower))?.state).toBe('completed')
  })

  test('is not widened where the caller does not want that', async () => {
    const lease = (await clientOf()).lease(ask({ widen: false }))
    await expect(lease.fetch(customer(1042))).rejects.toMatchObject({
      name: 'LeaseRefused',
      code: 'outside_lease',
      status: 403,
      nextAction: 'request',
      missing: [{ actions: ['read'], identifier: 'crm:customer/1042' }],
      decisionId: expect.stringMatching(/^dec_/),
    })
  })

  test('stays what it was when the wider one is refused, and the refusal is told', async () => {
    const lease = (await clientOf()).lease(ask())
    await lease.fetch(customer())
    const before = lease.id
    const removal = lease.fetch(customer(), { method: 'DELETE' })
    await expect(removal).rejects.toMatchObject({
      name: 'LeaseRefused',
      code: 'invalid_authorization_details',
    })
    expect((await lease.fetch(customer())).headers.get('lease-id')).toBe(before)
  })

  test('tells of its revocation, and does not ask for another by itself', async () => {
    const lease = (await clientOf()).lease(ask())
    await lease.fetch(customer())
    await broker.revoke({ lease: lease.id!, reason: 'test' })
    await expect(lease.fetch(customer())).rejects.toMatchObject({ code: 'lease_revoked', status: 401 })
    expect(asked()).toHaveLength(2)
  })

  test('is over once it is completed, here and at the gate', async () => {
    const lease = (await clientOf()).lease(ask())
    await lease.fetch(customer())
    const id = lease.id!
    await lease.complete()
    await expect(lease.fetch(customer())).rejects.toThrow('completed')
    const used = sent.find(({ url }) => url === customer())!
    const replayed = await fetch(customer(), {
      headers: { authorization: used.authorization!, dpop: used.proof! },
    })
    expect(replayed.status).toBe(401)
    expect((await (await broker.store()).leases.get(id))?.state).toBe('completed')
  })

  test('for another task is refused by the gate', async () => {
    const lease = (await clientOf()).lease(ask())
    await lease.fetch(customer())
    const wrong = lease.fetch(customer(), { headers: { 'lease-session': 'ses_other' } })
    await expect(wrong).rejects.toMatchObject({ code: 'lease_mismatch', status: 403 })
  })
})

describe('a lease near its end', () => {
  let short: TestBroker
  beforeAll(async () => {
    // A client renews when 30 seconds are left: here at once.
    short = await startTestBroker({ broker: { ttl: '30s' } })
  }, 60_000)
  afterAll(() => short.close())

  test('is renewed with the same key under the same id', async () => {
    const key = short.keys.get('support-triage')!
    const jwk = { ...(key.privateKey.export({ format: 'jwk' }) as unknown as PrivateKey), kid: key.kid }
    const client = await createLeaseClient({
      broker: short.brokerUrl,
      clientId: 'support-triage',
      authenticate: privateKeyJwt(jwk),
      subjectToken: () => short.idToken(),
    })
    const lease = client.lease({ ...ask(), resource: short.gateUrl })
    await lease.fetch(`${short.gateUrl}/crm/customers/9821`)
    const first = lease.id!
    await lease.fetch(`${short.gateUrl}/crm/customers/9821`)
    const record = await (await short.store()).leases.get(first)
    expect(record).toMatchObject({ state: 'active', renewals: expect.any(Number) })
    expect(record!.renewals).toBeGreaterThan(0)
  })
})

describe('what the client never does', () => {
  test.each([
    ['another origin', 'https://elsewhere.example/crm/customers/9821'],
    ['the same host on another port', 'http://127.0.0.1:1/crm/customers/9821'],
  ])('send a token to %s', async (_, url) => {
    const lease = (await clientOf()).lease(ask())
    await expect(lease.fetch(url)).rejects.toThrow(TypeError)
    expect(sent).toEqual([])
  })

  test('send a token for one backend to another', async () => {
    const lease = (await clientOf()).lease(ask({ resource: `${broker.gateUrl}/crm` }))
    await expect(lease.fetch(`${broker.gateUrl}/crmx/customers/9821`)).rejects.toThrow(TypeError)
    expect((await lease.fetch(customer())).status).toBe(200)
  })

  test('follow a redirect', async () => {
    const lease = (await clientOf()).lease(ask())
    answer = () => ({ status: 302, headers: { location: '/customers/1042' }, body: '' })
    expect((await lease.fetch(customer())).status).toBe(302)
    expect(sent.filter(({ url }) => url.includes('1042'))).toEqual([])
  })

  test('show a token, an assertion or a proof in an error or in itself', async () => {
    const client = await clientOf()
    const lease = client.lease(ask())
    await lease.fetch(customer())
    const errors = await Promise.all([
      lease.fetch(customer(), { method: 'DELETE' }).catch((error: unknown) => error),
      client
        .lease(ask({ allow: ['read other:thing/1'] }))
        .fetch(customer())
        .catch((error: unknown) => error),
      (await clientOf({ broker: 'http://127.0.0.1:1' }))
        .lease(ask())
        .fetch(customer())
        .catch((error: unknown) => error),
    ])
    expect(errors.map((error) => (error as Error).name)).toEqual([
      'LeaseRefused',
      'LeaseRefused',
      'LeaseUnavailable',
    ])
    const shown = inspect([lease, client, ...errors, ...errors.map((error) => (error as Error).stack)], {
      depth: 9,
    })
    const secrets = sent.flatMap(({ authorization, proof, body }) => [
      ...[authorization?.replace('DPoP ', ''), proof].flatMap((text) => text ?? []),
      ...[...new URLSearchParams(body)].flatMap(([name, value]) =>
        /token$|assertion$/.test(name) ? [value] : [],
      ),
    ])
    expect(secrets.length).toBeGreaterThan(5)
    for (const secret of secrets) expect(shown.includes(secret)).toBe(false)
  })

  test.each([
    ['subject_token: ', () => ({ subjectToken: () => 'not.a.token' })],
    ['client_assertion: ', () => ({ broker: `${broker.brokerUrl}/` })],
  ])('leave open which token is wrong: %s', async (told, changes) => {
    const client = await clientOf(changes())
    await expect(client.lease(ask()).fetch(customer())).rejects.toThrow(told)
  })

  test('take a gate for a broker', async () => {
    const client = await clientOf({ broker: broker.gateUrl })
    const outcome = client.lease(ask()).fetch(customer())
    await expect(outcome).rejects.toThrow(LeaseUnavailable)
    await expect(outcome).rejects.toThrow('is the broker there?')
  })

  test('go on without a broker', async () => {
    const client = await clientOf({ broker: 'http://127.0.0.1:1' })
    await expect(client.lease(ask()).fetch(customer())).rejects.toThrow(LeaseUnavailable)
  })

  test('take a bearer token for a bound one', async () => {
    const bearer: typeof fetch = async (input, init) => {
      const response = await watched(input, init)
      if (!response.url.endsWith('/token') || !response.ok) return response
      const body = JSON.stringify({ ...((await response.json()) as object), token_type: 'Bearer' })
      return Object.defineProperty(new Response(body, response), 'url', { value: response.url })
    }
    const client = await clientOf({ fetch: bearer })
    await expect(client.lease(ask()).fetch(customer())).rejects.toThrow('bound to the key')
  })

  test('wait for a human unless it is told to', async () => {
    const lease = (await clientOf()).lease(ask({ allow: [], stage: 'execute' }))
    const outcome = await lease.fetch(customer()).catch((error: unknown) => error)
    expect(outcome instanceof LeaseRefused || outcome instanceof Response).toBe(true)
  })
})
