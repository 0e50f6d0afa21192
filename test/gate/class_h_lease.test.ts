// Bad-input classes H11 to H16, over real sockets on a whole broker: renewals that come too late, requests that wait
// for a human, and who may know and change what. What each "no" has in common is in support/broker_matrix.ts.
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sessionOf as sessionAt } from '../../src/broker/identity/session.ts'
import {
  accessTokenType,
  assertionType,
  dpopProof,
  readCustomer,
  startTestBroker,
  type TestBroker,
} from '../support/broker.ts'
import { type BrokerRequest, changeData, expectGiven, expectRefused, told } from '../support/broker_matrix.ts'
import { eventually } from '../support/gate.ts'
import { type Json, type TestKey, testKey } from '../support/tokens.ts'

let broker: TestBroker
const acme = 'operator-token-of-acme-1234567890'
beforeAll(async () => {
  const token_file = join(tmpdir(), `leasegate-acme-${process.pid}.token`)
  writeFileSync(token_file, acme, { mode: 0o600 })
  broker = await startTestBroker({
    config: { control: { operators: [{ name: 'acme-ops', token_file, tenant: 'acme' }] } },
    agents: [
      { clientId: 'other' },
      { clientId: 'patient', file: { profile: 'patient' } },
      { clientId: 'hasty', file: { profile: 'hasty' } },
    ],
  })
  const approval = { stages: ['execute'], approvers: ['group:crm-owners'], expires_in: 600 }
  await changeData(broker, 'profiles.json', ({ support, ...others }) => ({
    ...others,
    support,
    patient: { ...(support as Json), approval },
    hasty: { ...(support as Json), approval: { ...approval, expires_in: 1 } },
  }))
})
afterAll(() => broker.close())

type Changes = Readonly<Record<string, string | undefined>>
const asks = (changes: Changes, clientId?: string): BrokerRequest => ({
  body: broker.exchangeForm(changes, clientId),
})
/** The same token shown again, for another one. */
const renewal = (lease: Json, changes: Changes = {}, clientId?: string): BrokerRequest => {
  const shown = { subject_token: String(lease.access_token), subject_token_type: accessTokenType }
  return asks({ ...shown, task: undefined, purpose: undefined, ...changes }, clientId)
}
const nonce = async () => (await told(broker, { body: '' })).answer.headers.get('dpop-nonce') ?? ''
const proof = async (key: TestKey) => ({
  dpop: dpopProof(key, { method: 'POST', url: `${broker.brokerUrl}/token`, nonce: await nonce() }),
})

describe('H11 a renewal', () => {
  test('after the token has expired', async () => {
    const lease = await expectGiven(broker, asks({ requested_expires_in: '1' }))
    await sleep(1_100)
    await expectRefused(broker, renewal(lease), { error: 'invalid_request' })
  })

  test.each<[string, () => TestKey | undefined, () => TestKey | undefined]>([
    ['with another key', () => testKey('a'), () => testKey('b')],
    ['without the key', () => testKey('a'), () => undefined],
    ['with a key, of a lease that has none', () => undefined, () => testKey('b')],
  ])('%s', async (_, first, second) => {
    const [one, other] = [first(), second()]
    const headers = one === undefined ? {} : await proof(one)
    const lease = await expectGiven(broker, { ...asks({}), headers })
    const later = other === undefined ? {} : await proof(other)
    await expectRefused(broker, { ...renewal(lease), headers: later }, { error: 'invalid_dpop_proof' })
  })

  test('never lives longer than its lease, and comes too late once that has ended', async () => {
    const lease = await expectGiven(broker, asks({ requested_expires_in: '2', lease_expires_in: '3' }))
    const longer = { requested_expires_in: '300', lease_expires_in: '3600' }
    const renewed = await expectGiven(broker, renewal(lease, longer))
    expect(renewed.expires_in).toBeLessThanOrEqual(3)
    expect(renewed.lease_expires_in).toBeLessThanOrEqual(3)
    await sleep(3_100)
    await expectRefused(broker, renewal(renewed), { error: 'invalid_request' })
  })

  test('by another client', async () => {
    const lease = await expectGiven(broker)
    await expectRefused(broker, renewal(lease, {}, 'other'), { error: 'invalid_request' })
  })

  const ends: readonly [string, (lease: Json) => Promise<unknown>][] = [
    ['revoked', ({ lease_id }) => broker.revoke({ lease: String(lease_id), reason: 'leaked' })],
    [
      'of a revoked session',
      ({ access_token }) => broker.revoke({ session: sessionOf(access_token), reason: 'x' }),
    ],
    ['suspended', (lease) => order(lease.lease_id, 'suspend')],
    ['completed', (lease) => order(lease.lease_id, 'complete')],
    ['whose token was revoked', ({ access_token }) => told(broker, ending(access_token))],
  ]
  test.each(ends)('of a lease %s', async (_, end) => {
    const sid = `login-${Math.random()}`
    const lease = await expectGiven(broker, asks({ subject_token: broker.idToken({ sid }) }))
    await expectGiven(broker, renewal(lease))
    await end(lease)
    await expectRefused(broker, renewal(lease), { error: 'invalid_request' })
  })
})

function sessionOf(token: unknown): string {
  const payload = Buffer.from(String(token).split('.')[1]!, 'base64url').toString()
  return (JSON.parse(payload) as { lease: { session: string } }).lease.session
}

/** RFC 7009. */
function ending(token: unknown): BrokerRequest {
  const client = { client_assertion_type: assertionType, client_assertion: broker.assertion() }
  return { path: '/revoke', body: new URLSearchParams({ token: String(token), ...client }) }
}

function order(id: unknown, verb: string, as = broker.operatorToken()): Promise<Response> {
  return fetch(`${broker.brokerUrl}/leases/${id}/${verb}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${as}`, 'content-type': 'application/json' },
    body: JSON.stringify({ reason: 'because' }),
  })
}

describe('a request that a human has to approve', () => {
  const write = {
    stage: 'execute',
    authorization_details: JSON.stringify([{ ...readCustomer, actions: ['update'] }]),
  }
  const deferred = { ...write, completion_mode: 'deferred' }
  const waiting = async (clientId = 'patient', headers = {}) => {
    const pending = { error: 'authorization_pending' }
    const { answer } = await told(broker, { ...asks(deferred, clientId), headers })
    expect(answer.body).toMatchObject(pending)
    return String(answer.body.deferral_code)
  }
  const poll = (deferral_code: string, clientId = 'patient'): BrokerRequest => ({
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:deferred',
      deferral_code,
      client_assertion_type: assertionType,
      client_assertion: broker.assertion(clientId),
    }),
  })
  const settle = async (to: 'approved' | 'denied') => {
    const store = await broker.store()
    const all = await store.deferrals.pending(Date.now() / 1000, 100)
    for (const { id } of all)
      await store.deferrals.settle(id, to, { by: 'owner@example.com', at: 1, reason: 'ok' })
  }
  const pendingCount = async () =>
    (await (await broker.store()).deferrals.pending(Date.now() / 1000, 100)).length

  test('H13 of a client that cannot wait is refused, and nothing waits', async () => {
    const before = await pendingCount()
    await expectRefused(broker, asks(write, 'patient'), { error: 'access_denied' })
    await expectRefused(broker, asks({ ...write, completion_mode: 'later' }, 'patient'), {
      error: 'invalid_request',
    })
    expect(await pendingCount()).toBe(before)
  })

  test('H12 is polled too fast', async () => {
    const code = await waiting()
    await told(broker, poll(code))
    await expectRefused(broker, poll(code), { error: 'slow_down' })
  })

  test('H12 by another client', async () => {
    await expectRefused(broker, poll(await waiting(), 'other'), { error: 'invalid_grant' })
  })

  test.each<[string, () => TestKey | undefined, () => TestKey | undefined]>([
    ['with another key', () => testKey('a'), () => testKey('b')],
    ['without the key', () => testKey('a'), () => undefined],
    ['with a key, where none asked', () => undefined, () => testKey('b')],
  ])('H12 %s', async (_, first, second) => {
    const [one, other] = [first(), second()]
    const code = await waiting('patient', one === undefined ? {} : await proof(one))
    const headers = other === undefined ? {} : await proof(other)
    await expectRefused(broker, { ...poll(code), headers }, { error: 'invalid_grant' })
  })

  test.each([
    ['unknown', 'dfr_unknown'],
    ['of 60,000 letters', 'd'.repeat(60_000)],
    ['of somebody’s lease', 'lse_1'],
  ])('H12 with a code %s', async (_, code) => {
    await expectRefused(broker, poll(code), { error: 'invalid_grant' })
  })

  test('H12 is given once, and the gate takes what was given', async () => {
    const code = await waiting()
    await settle('approved')
    const { access_token } = await expectGiven(broker, poll(code))
    const called = await fetch(`${broker.gateUrl}/crm/customers/9821`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' },
      body: '{}',
    })
    expect(called.status).toBe(200)
    await expectRefused(broker, poll(code), { error: 'invalid_grant' })
  })

  test('H12 after a human has said no', async () => {
    const code = await waiting()
    await settle('denied')
    await expectRefused(broker, poll(code), { error: 'access_denied' })
  })

  test('H12 when its time is over', async () => {
    const code = await waiting('hasty')
    await sleep(1_100)
    await expectRefused(broker, poll(code, 'hasty'), { error: 'expired_token' })
  })

  test('H12 of a user whose session was revoked meanwhile', async () => {
    const subject_token = broker.idToken({ sid: 'login-of-this-test' })
    const { answer } = await told(broker, asks({ ...deferred, subject_token }, 'patient'))
    await settle('approved')
    const session = sessionAt('https://login.example', 'login-of-this-test')
    await broker.revoke({ session, reason: 'logged out' })
    await expectRefused(broker, poll(String(answer.body.deferral_code)), { error: 'invalid_grant' })
  })
})

describe('H14 introspection', () => {
  const about = (token: unknown, who: Changes): BrokerRequest => {
    const form = new URLSearchParams({ token: String(token) })
    for (const [name, value] of Object.entries(who)) form.set(name, value ?? '')
    return { path: '/introspect', body: form }
  }
  const as = (clientId: string) => ({
    client_assertion_type: assertionType,
    client_assertion: broker.assertion(clientId),
  })

  test.each<[string, () => Changes, Readonly<Record<string, string>>?]>([
    ['nobody', () => ({})],
    ['a client_id alone', () => ({ client_id: 'support-triage' })],
    ['a guess', () => ({ client_id: 'support-triage', client_secret: 'g'.repeat(40) })],
    [
      'an assertion for another server',
      () => ({
        ...as('other'),
        client_assertion: broker.assertion('other', { aud: 'https://other.example' }),
      }),
    ],
    ['an operator’s token that is none', () => ({}), { authorization: `Bearer ${'g'.repeat(40)}` }],
  ])('by %s', async (_, who, headers = {}) => {
    const { access_token } = await expectGiven(broker)
    const request = { ...about(access_token, who()), headers }
    await expectRefused(broker, request, { status: 401, error: 'invalid_client' })
  })

  test.each<[string, (token: string) => string, string]>([
    ['of another agent', (token) => token, 'other'],
    ['with another signature', (token) => `${token.slice(0, -8)}AAAAAAAA`, 'support-triage'],
    ['that is none', () => 'x', 'support-triage'],
    ['of the identity provider', () => broker.idToken(), 'support-triage'],
    ['of another issuer', () => broker.token(), 'support-triage'],
  ])('a token %s is not active, and no more is said', async (_, change, clientId) => {
    const token = change(String((await expectGiven(broker)).access_token))
    const { answer } = await told(broker, about(token, as(clientId)))
    expect([answer.status, answer.body]).toEqual([200, { active: false }])
  })

  test('its own token is active', async () => {
    const { access_token } = await expectGiven(broker)
    const { answer } = await told(broker, about(access_token, as('support-triage')))
    expect(answer.body).toMatchObject({ active: true, sub: 'alice@example.com' })
  })
})

describe('a lease', () => {
  const look = async (id: string) => {
    const headers = { authorization: `Bearer ${acme}` }
    const response = await fetch(`${broker.brokerUrl}/leases/${id}`, { headers })
    const { date: _, ...rest } = Object.fromEntries(response.headers)
    return { status: response.status, headers: rest, body: await response.text() }
  }

  test('H15 of another tenant is one that nobody knows', async () => {
    const { lease_id } = await expectGiven(broker)
    const [anothers, unknown] = [await look(String(lease_id)), await look('lse_01M8000000000000000000000A')]
    expect(anothers.status).toBe(404)
    expect(anothers).toEqual(unknown)
    expect((await order(lease_id, 'revoke', acme)).status).toBe(404)
  })

  test.each(['revoke', 'suspend', 'complete'])('H16 %s twice is the same as once', async (verb) => {
    const { lease_id } = await expectGiven(broker)
    const answers = [await order(lease_id, verb), await order(lease_id, verb)]
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    const changes = () => broker.audit().filter((line) => line.lease_id === lease_id && 'changed' in line)
    await eventually(() => changes().length > 0, 'the change in the audit file')
    expect(changes()).toHaveLength(1)
  })

  test('H16 revoking a token twice is the same as once', async () => {
    const { access_token } = await expectGiven(broker)
    for (let nth = 0; nth < 2; nth++) {
      expect((await told(broker, ending(access_token))).answer.status).toBe(200)
    }
  })

  test.each<[string, string]>([
    ['revoke', 'resume'],
    ['revoke', 'suspend'],
    ['revoke', 'complete'],
    ['complete', 'resume'],
    ['complete', 'suspend'],
  ])('H16 after %s, %s is a conflict', async (first, second) => {
    const { lease_id } = await expectGiven(broker)
    await order(lease_id, first)
    const answer = await order(lease_id, second)
    expect([answer.status, await answer.json()]).toMatchObject([409, { code: 'lease_state_conflict' }])
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })
})
