// Bad-input class H18, over real sockets on a whole broker: what an identity provider tells of its sessions, and what
// only looks like it. What each "no" has in common is in support/broker_matrix.ts.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestBroker, type TestBroker } from '../support/broker.ts'
import { type BrokerRequest, expectGiven, expectRefused, told } from '../support/broker_matrix.ts'
import { eventually } from '../support/gate.ts'
import { headerOf, type Json, testIssuer, testKey } from '../support/tokens.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-signals-'))
const idp = testIssuer({ issuer: 'https://sessions.example', audience: 'leasegate', kid: 'idp-9' })
const revokedEvent = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'
let broker: TestBroker
beforeAll(async () => {
  const file = join(dir, 'idp.json')
  writeFileSync(file, JSON.stringify(idp.jwks))
  const accept = ['id_token', 'logout', 'events']
  broker = await startTestBroker({
    providers: [{ issuer: idp.issuer, audience: idp.audience, jwks: { file }, accept }],
  })
})
afterAll(async () => {
  await broker.close()
  rmSync(dir, { recursive: true })
})

const seconds = () => Math.floor(Date.now() / 1000)
const names = () => ({ iss: idp.issuer, aud: idp.audience, iat: seconds(), jti: randomUUID() })

/** A security event: the session of alice that `sid` names has ended. */
function event(sid: string, over: Json = {}, header: Json = {}, key = idp.key): string {
  const payload = { event_timestamp: seconds(), ...(over.payload as Json) }
  const { payload: _, ...claims } = over
  const sub_id = { format: 'opaque', id: sid }
  const all = { ...names(), sub_id, events: { [revokedEvent]: payload }, ...claims }
  return idp.raw({ ...headerOf(key), typ: 'secevent+jwt', ...header }, all, key)
}

function logout(sid: string, over: Json = {}, header: Json = {}): string {
  const events = { [logoutEvent]: {} }
  const all = { ...names(), exp: seconds() + 120, sid, events, ...over }
  return idp.raw({ ...headerOf(idp.key), typ: 'logout+jwt', ...header }, all)
}

const eventType = { 'content-type': 'application/secevent+jwt' }
const sending = (body: string): BrokerRequest => ({ path: '/ssf/events', body, headers: eventType })
const loggingOut = (logout_token: string): BrokerRequest => ({
  path: '/backchannel_logout',
  body: new URLSearchParams({ logout_token }),
})

/** A new lease of a login session, and how the gate takes it. */
async function leaseOf(sid: string) {
  const now = seconds()
  const claims = {
    iss: idp.issuer,
    aud: idp.audience,
    sub: 'alice@example.com',
    sid,
    iat: now,
    exp: now + 600,
  }
  const subject_token = idp.raw({ ...headerOf(idp.key), typ: 'JWT' }, claims)
  const { access_token } = await expectGiven(broker, { body: broker.exchangeForm({ subject_token }) })
  const headers = { authorization: `Bearer ${access_token}` }
  return async () => (await fetch(`${broker.gateUrl}/crm/customers/9821`, { headers })).status
}

describe('a security event', () => {
  test.each<[string, string, Json, Json?]>([
    ['with exp', 'invalid_request', { exp: seconds() + 60 }],
    ['with sub', 'invalid_request', { sub: 'alice@example.com' }],
    ['without jti', 'invalid_request', { jti: undefined }],
    ['without iat', 'invalid_request', { iat: undefined }],
    ['of the future', 'invalid_request', { iat: seconds() + 600 }],
    ['of what has not happened yet', 'invalid_request', { payload: { event_timestamp: seconds() + 600 } }],
    ['in milliseconds', 'invalid_request', { payload: { event_timestamp: Date.now() } }],
    ['without a subject', 'invalid_request', { sub_id: undefined }],
    ['with a subject of no format', 'invalid_request', { sub_id: { id: 'x' } }],
    ['without an event', 'invalid_request', { events: {} }],
    ['with two events', 'invalid_request', { events: { [revokedEvent]: {}, [logoutEvent]: {} } }],
    ['for somebody else', 'invalid_audience', { aud: 'https://other.example' }],
    ['for nobody', 'invalid_audience', { aud: undefined }],
    ['for somebody else as well', 'invalid_audience', { aud: ['leasegate', 'https://other.example'] }],
    ['of an issuer that is not configured', 'invalid_issuer', { iss: 'https://evil.example' }],
    ['of an issuer that tells of no events', 'invalid_issuer', { iss: 'https://login.example' }],
    ['by a key that there is not', 'invalid_key', {}, { kid: 'idp-10' }],
    ['without an algorithm', 'invalid_key', {}, { alg: 'none' }],
    ['of another kind', 'invalid_request', {}, { typ: 'JWT' }],
  ])('%s is refused (%s), and ends nothing', async (_, error, over, header) => {
    const sid = randomUUID()
    const call = await leaseOf(sid)
    await expectRefused(broker, sending(event(sid, over, header)), { error })
    expect(await call()).toBe(200)
  })

  test('signed by somebody else is refused', async () => {
    const text = event('any', {}, {}, testKey('idp-9'))
    await expectRefused(broker, sending(text), { error: 'invalid_key' })
  })

  test.each<[string, BrokerRequest]>([
    ['nothing', sending('')],
    ['no JWT', sending('revoke everything')],
    ['JSON', { ...sending('{}'), headers: { 'content-type': 'application/json' } }],
    ['two', sending('a.b.c a.b.c')],
  ])('%s in its place', async (_, request) => {
    await expectRefused(broker, request, { error: 'invalid_request' })
  })

  test('ends the session, and once more changes nothing', async () => {
    const sid = randomUUID()
    const [call, other] = [await leaseOf(sid), await leaseOf(randomUUID())]
    expect(await call()).toBe(200)
    const text = event(sid)
    for (let nth = 0; nth < 2; nth++) {
      expect((await told(broker, sending(text))).answer.status).toBe(202)
      await eventually(async () => (await call()) === 401, 'the end of the session')
    }
    expect(await other()).toBe(200)
  })

  test('that is older than what is known ends nothing more', async () => {
    const sub_id = { format: 'iss_sub', iss: idp.issuer, sub: 'bob@example.com' }
    const ended = async (secondsAgo: number) => {
      const text = event('', { sub_id, payload: { event_timestamp: seconds() - secondsAgo } })
      const { answer, added } = await told(broker, sending(text))
      expect(answer.status).toBe(202)
      return added[0]?.decision.reasons
    }
    expect(await ended(10)).toContain('user:bob@example.com')
    expect(await ended(3600)).toContain('nothing_to_end')
  })
})

describe('a logout token', () => {
  test.each<[string, Json, Json?]>([
    ['with a nonce', { nonce: 'x' }],
    ['without an event', { events: {} }],
    ['without jti', { jti: undefined }],
    ['without sub and sid', { sid: undefined }],
    ['that has expired', { iat: seconds() - 700, exp: seconds() - 600 }],
    ['of the future', { iat: seconds() + 600, exp: seconds() + 700 }],
    ['for somebody else', { aud: 'billing' }],
    ['of an issuer that logs nobody out', { iss: 'https://evil.example' }],
    ['of another kind', {}, { typ: 'at+jwt' }],
    ['without an algorithm', {}, { alg: 'none' }],
  ])('%s is refused, and ends nothing', async (_, over, header) => {
    const sid = randomUUID()
    const call = await leaseOf(sid)
    await expectRefused(broker, loggingOut(logout(sid, over, header)), { error: 'invalid_request' })
    expect(await call()).toBe(200)
  })

  test('ends the session, once', async () => {
    const sid = randomUUID()
    const call = await leaseOf(sid)
    const text = logout(sid)
    expect((await told(broker, loggingOut(text))).answer.status).toBe(200)
    await eventually(async () => (await call()) === 401, 'the end of the session')
    await expectRefused(broker, loggingOut(text), { error: 'invalid_request' })
  })
})
