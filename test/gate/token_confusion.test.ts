// Every kind of JWT in every place of a request to the broker that takes one, over real sockets: whatever is not
// meant for a place is refused there by the code of that place, and gives nobody's authority to anybody.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  accessTokenType,
  assertionType,
  type BrokerAnswer,
  dpopProof,
  idTokenType,
  startTestBroker,
  type TestBroker,
} from '../support/broker.ts'
import { ask } from '../support/raw.ts'
import { type TestKey, testKey } from '../support/tokens.ts'

const jwtType = 'urn:ietf:params:oauth:token-type:jwt'
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }

let broker: TestBroker
let lease: string
let nonce: string
const plannerKey = testKey('planner-dpop')
const helperKey = testKey('helper-dpop')
/** RFC 7638 thumbprints of them, as the broker states them. */
let helperThumbprint: string

beforeAll(async () => {
  broker = await startTestBroker({
    agents: [{ clientId: 'planner', file: { delegates_to: ['helper'] } }, { clientId: 'helper' }],
  })
  lease = String((await broker.exchange()).body.access_token)
  nonce = (await broker.post('/token', '')).headers.get('dpop-nonce') ?? ''
  const bound = await broker.exchange({}, proofBy(helperKey))
  const payload = String(bound.body.access_token).split('.')[1] ?? ''
  helperThumbprint = JSON.parse(Buffer.from(payload, 'base64url').toString()).cnf.jkt
}, 60_000)
afterAll(() => broker?.close())

const proofBy = (key: TestKey, path = '/token') => ({
  dpop: dpopProof(key, { method: 'POST', url: `${broker.brokerUrl}${path}`, nonce }),
})
const none = { client_assertion: undefined, client_assertion_type: undefined }

const kinds: Readonly<Record<string, () => string>> = {
  'an ID token': () => broker.idToken(),
  'a logout token': () => broker.idToken({ events, jti: randomUUID() }, { typ: 'logout+jwt' }),
  'a logout token without a typ of its own': () => broker.idToken({ events, jti: randomUUID() }),
  'an event': () => broker.idToken({ events, jti: randomUUID() }, { typ: 'secevent+jwt' }),
  'an access token of the provider': () =>
    broker.idToken({ client_id: 'support-triage', jti: randomUUID() }, { typ: 'at+jwt' }),
  'an identity assertion': () =>
    broker.idToken({ client_id: 'support-triage', jti: randomUUID() }, { typ: 'oauth-id-jag+jwt' }),
  'a client assertion': () => broker.assertion(),
  'a lease token': () => lease,
  'a proof': () => proofBy(plannerKey).dpop,
}

/** Where a JWT may stand, what is meant to stand there, and how anything else is refused. */
const places: readonly [string, (token: string) => Promise<BrokerAnswer>, readonly string[], string][] = [
  [
    'client_assertion',
    (t) => broker.exchange({ client_assertion: t }),
    ['a client assertion'],
    'invalid_client',
  ],
  [
    'actor_token beside the client',
    (t) => broker.exchange({ actor_token: t, actor_token_type: jwtType }),
    ['a client assertion'],
    'invalid_request',
  ],
  [
    'actor_token in its place',
    (t) => broker.exchange({ ...none, actor_token: t, actor_token_type: jwtType }),
    ['a client assertion'],
    'invalid_request',
  ],
  [
    'subject_token as an ID token',
    (t) => broker.exchange({ subject_token: t, subject_token_type: idTokenType }),
    ['an ID token'],
    'invalid_request',
  ],
  [
    'subject_token as an access token',
    (t) => broker.exchange({ subject_token: t, subject_token_type: accessTokenType }),
    ['a lease token'],
    'invalid_request',
  ],
  [
    'subject_token as a JWT',
    (t) => broker.exchange({ subject_token: t, subject_token_type: jwtType }),
    [],
    'invalid_request',
  ],
  ['assertion', (t) => broker.exchange({ grant_type: jwtBearer, assertion: t }), [], 'invalid_grant'],
]

describe.each(places)('in %s', (_, send, meant, error) => {
  test.each(Object.entries(kinds))('%s', async (kind, make) => {
    const { status, body } = await send(make())
    if (meant.includes(kind)) expect({ status, error: body.error }).toEqual({ status: 200, error: undefined })
    else
      expect({ status, error: body.error }).toEqual({ status: error === 'invalid_client' ? 401 : 400, error })
  })
})

describe('an agent that was given the token of another to hand a lease on', () => {
  const cnf = () => ({ jkt: helperThumbprint })

  test('hands it on with that, to the key of the other', async () => {
    const parent = await broker.post('/token', broker.exchangeForm({}, 'planner'), proofBy(plannerKey))
    const form = broker.exchangeForm(
      {
        subject_token: String(parent.body.access_token),
        subject_token_type: accessTokenType,
        actor_token: broker.assertion('helper', { cnf: cnf() }),
        actor_token_type: jwtType,
      },
      'planner',
    )
    const { status, body } = await broker.post('/token', form, proofBy(plannerKey))
    expect({ status, type: body.token_type }).toEqual({ status: 200, type: 'DPoP' })
  })

  test.each<[string, () => Promise<BrokerAnswer>]>([
    [
      'asks for a lease in its name',
      () =>
        broker.exchange(
          { client_assertion: broker.assertion('helper', { cnf: cnf() }) },
          proofBy(plannerKey),
        ),
    ],
    [
      'asks for one without any key',
      () => broker.exchange({ client_assertion: broker.assertion('helper', { cnf: cnf() }) }),
    ],
    [
      'asks about its tokens',
      () =>
        broker.post(
          '/introspect',
          new URLSearchParams({
            token: lease,
            client_assertion_type: assertionType,
            client_assertion: broker.assertion('helper', { cnf: cnf() }),
          }),
          proofBy(plannerKey, '/introspect'),
        ),
    ],
    [
      'ends its tokens',
      () =>
        broker.post(
          '/revoke',
          new URLSearchParams({
            token: lease,
            client_assertion_type: assertionType,
            client_assertion: broker.assertion('helper', { cnf: cnf() }),
          }),
        ),
    ],
  ])('never %s', async (_, attempt) => {
    const { status, body } = await attempt()
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_dpop_proof' })
  })
})

describe('an Authorization field', () => {
  test.each([
    ['Basic', () => 'Basic c3VwcG9ydC10cmlhZ2U6eA=='],
    ['the token of an operator', () => `Bearer ${broker.operatorToken()}`],
    ['a lease token', () => `Bearer ${lease}`],
  ])('asks for no lease: %s', async (_, value) => {
    const actorAlone = { ...none, actor_token: broker.assertion(), actor_token_type: jwtType }
    for (const change of [{}, none, actorAlone]) {
      const { status, body, headers } = await broker.exchange(change, { authorization: value() })
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' })
      expect(headers.get('www-authenticate')).not.toBeNull()
    }
  })

  test('that is no operator’s proves nothing at /introspect, whatever the form holds', async () => {
    const form = new URLSearchParams({
      token: lease,
      client_assertion_type: assertionType,
      client_assertion: broker.assertion(),
    })
    const { status, body } = await broker.post('/introspect', form, { authorization: 'Basic eDp5' })
    expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' })
  })

  test.each([
    ['/revocations', 'credential_ambiguous'],
    ['/leases/lse_x/complete', 'credential_ambiguous'],
    ['/introspect', 'invalid_request'],
    ['/token', 'invalid_request'],
  ])('that stands twice is refused at %s', async (path, expected) => {
    const authorization = [`Bearer ${broker.operatorToken()}`, 'Bearer other']
    for (const each of [authorization, authorization.toReversed()]) {
      const fields = each.map((value) => `Authorization: ${value}\r\n`).join('')
      const head = `POST ${path} HTTP/1.1\r\nHost: x\r\n${fields}Content-Length: 0\r\n\r\n`
      const { status, body } = await ask(Number(new URL(broker.brokerUrl).port), head)
      const { code, error } = JSON.parse(body.toString())
      expect([status, code ?? error]).toEqual([400, expected])
    }
  })
})
