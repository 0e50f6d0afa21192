// Bad-input classes H2 to H4, over real sockets on a whole broker: who asks, and for whom. What each "no" has in common is in support/broker_matrix.ts.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { accessTokenType, startTestBroker, type TestBroker } from '../support/broker.ts'
import { type BrokerRequest, expectGiven, expectRefused } from '../support/broker_matrix.ts'
import { encode, type Json, testIssuer, testKey } from '../support/tokens.ts'

let broker: TestBroker
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'
beforeAll(async () => {
  broker = await startTestBroker({
    agents: [{ clientId: 'reader' }, { clientId: 'unheard-of', file: { profile: 'unheard-of' } }],
  })
})
afterAll(() => broker.close())

type Changes = Readonly<Record<string, string | undefined>>
const asks = (changes: Changes, clientId?: string): BrokerRequest => ({
  body: broker.exchangeForm(changes, clientId),
})
const seconds = () => Math.floor(Date.now() / 1000)

/** A JWT with its signature changed. */
function forged(token: string): string {
  const [header, payload] = token.split('.')
  return `${header}.${payload}.${'A'.repeat(86)}`
}

describe('H2 a client assertion', () => {
  const claims: readonly [string, () => Json, Json?][] = [
    ['for the token endpoint', () => ({ aud: `${broker.brokerUrl}/token` })],
    ['for two', () => ({ aud: [broker.brokerUrl, 'https://other.example'] })],
    ['for the gate', () => ({ aud: broker.gateUrl })],
    ['for nobody', () => ({ aud: undefined })],
    ['that has expired', () => ({ iat: seconds() - 120, exp: seconds() - 60 })],
    ['without an end', () => ({ exp: undefined })],
    ['that is good for an hour', () => ({ exp: seconds() + 3600 })],
    ['of the future', () => ({ iat: seconds() + 120, exp: seconds() + 180 })],
    ['that is not valid yet', () => ({ nbf: seconds() + 120 })],
    ['without jti', () => ({ jti: undefined })],
    ['whose sub is another agent', () => ({ sub: 'reader' })],
    ['whose iss is another agent', () => ({ iss: 'reader' })],
    ['of another agent', () => ({ iss: 'reader', sub: 'reader' })],
    ['of nobody we know', () => ({ iss: 'mallory', sub: 'mallory' })],
    ['of the identity provider', () => ({ iss: 'https://login.example' })],
    ['of another kind by its typ', () => ({}), { typ: 'at+jwt' }],
    ['without an algorithm', () => ({}), { alg: 'none' }],
    ['by a key that there is not', () => ({}), { kid: 'support-triage-2' }],
    ['with a key of its own in it', () => ({}), { jwk: testKey('x').jwk }],
    ['with a critical extension', () => ({}), { crit: ['b64'], b64: false }],
  ]
  test.each(claims)('%s', async (_, over, header) => {
    const client_assertion = broker.assertion('support-triage', over(), header)
    await expectRefused(broker, asks({ client_assertion }), { status: 401, error: 'invalid_client' })
  })

  test.each<[string, () => string]>([
    ['that somebody else signed', () => forged(broker.assertion())],
    ['without a signature', () => `${broker.assertion().split('.').slice(0, 2).join('.')}.`],
    ['that is no JWT', () => 'support-triage'],
    ['that is a user’s token', () => broker.idToken()],
    ['of 20 KiB', () => `${encode({ alg: 'ES256' })}.${'A'.repeat(20_000)}.A`],
  ])('%s', async (_, client_assertion) => {
    const changes = { client_assertion: client_assertion() }
    await expectRefused(broker, asks(changes), { status: 401, error: 'invalid_client' })
  })

  test('is good once', async () => {
    const client_assertion = broker.assertion()
    await expectGiven(broker, asks({ client_assertion }))
    await expectRefused(broker, asks({ client_assertion }), { status: 401, error: 'invalid_client' })
  })

  test.each<[string, Changes]>([
    ['another type', { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' }],
    ['another client_id beside it', { client_id: 'reader' }],
    [
      'nothing but client_id',
      { client_id: 'support-triage', client_assertion: undefined, client_assertion_type: undefined },
    ],
    ['nothing', { client_assertion: undefined, client_assertion_type: undefined }],
    [
      'a shared secret',
      {
        ...{ client_id: 'support-triage', client_secret: 'a-secret-that-two-know-is-none-of-either' },
        ...{ client_assertion: undefined, client_assertion_type: undefined },
      },
    ],
  ])('%s', async (_, changes) => {
    await expectRefused(broker, asks(changes), { status: 401, error: 'invalid_client' })
  })
})

describe('H3 half of an actor', () => {
  test.each<[string, () => Changes]>([
    ['a type without a token', () => ({ actor_token_type: jwtType })],
    ['a token without a type', () => ({ actor_token: broker.assertion() })],
    ['a token with an empty type', () => ({ actor_token: broker.assertion(), actor_token_type: '' })],
    [
      'a type of another kind',
      () => ({ actor_token: broker.assertion(), actor_token_type: accessTokenType }),
    ],
  ])('%s', async (_, changes) => {
    await expectRefused(broker, asks(changes()), { error: 'invalid_request' })
  })
})

describe('H4 a subject that is not valid here', () => {
  test.each<[string, () => Json, Json?]>([
    ['expired', () => ({ iat: seconds() - 120, exp: seconds() - 60 })],
    ['without an end', () => ({ exp: undefined })],
    ['of the future', () => ({ iat: seconds() + 120 })],
    ['for another client of the provider', () => ({ aud: 'billing' })],
    ['for several', () => ({ aud: ['leasegate', 'billing'] })],
    ['of an issuer that is not configured', () => ({ iss: 'https://evil.example' })],
    ['of our own', () => ({ iss: broker.brokerUrl })],
    ['without a subject', () => ({ sub: undefined })],
    ['with a subject that is no text', () => ({ sub: ['alice@example.com'] })],
    ['with a line break in it', () => ({ sub: 'alice@example.com\n' })],
    ['that is a logout token', () => ({ events: {} })],
    ['that is a proof', () => ({ htm: 'POST' })],
    ['that is an access token', () => ({ scope: 'openid', client_id: 'x' })],
    ['of an unknown typ', () => ({}), { typ: 'at+jwt' }],
    ['without an algorithm', () => ({}), { alg: 'none' }],
    ['by a key that there is not', () => ({}), { kid: 'idp-2' }],
    ['that lets another agent act', () => ({ may_act: { sub: 'agent:billing-lookup' } })],
    [
      'that lets an agent of another issuer act',
      () => ({
        may_act: { iss: 'https://evil.example', sub: 'agent:support-triage' },
      }),
    ],
    ['that lets nobody act', () => ({ may_act: [] })],
    ['whose may_act cannot be read', () => ({ may_act: 'agent:support-triage' })],
    ['in whose name somebody acts already', () => ({ act: { sub: 'agent:billing-lookup' } })],
    ['that is the agent itself', () => ({ sub: 'agent:support-triage' })],
    ['with a cnf that is not known', () => ({ cnf: { kid: 'x' } })],
  ])('%s', async (_, over, header) => {
    const subject_token = broker.idToken(over(), header)
    await expectRefused(broker, asks({ subject_token }), { error: 'invalid_request' })
  })

  test.each<[string, () => Changes]>([
    ['that somebody else signed', () => ({ subject_token: forged(broker.idToken()) })],
    ['that is no JWT', () => ({ subject_token: 'alice@example.com' })],
    ['that is missing', () => ({ subject_token: undefined })],
    ['without a type', () => ({ subject_token_type: undefined })],
    [
      'of a type that is not served',
      () => ({ subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }),
    ],
    ['of another type than it is', () => ({ subject_token_type: accessTokenType })],
    ['that is the assertion of the agent', () => ({ subject_token: broker.assertion() })],
    [
      'of an issuer that gates trust and the broker does not',
      () => ({
        ...{ subject_token: testIssuer().token(), subject_token_type: accessTokenType },
      }),
    ],
    [
      'whose actor is another agent',
      () => ({
        ...{ actor_token: broker.assertion('reader'), actor_token_type: jwtType },
      }),
    ],
    ['whose actor nobody knows', () => ({ actor_token: 'mallory', actor_token_type: jwtType })],
    ['whose session is another', () => ({ session: `ses_${randomUUID()}` })],
  ])('%s', async (_, changes) => {
    await expectRefused(broker, asks(changes()), { error: 'invalid_request' })
  })

  test('bound to a key that is not proven', async () => {
    const subject_token = broker.idToken({ cnf: { jkt: 'A'.repeat(43) } })
    await expectRefused(broker, asks({ subject_token }), { error: 'invalid_dpop_proof' })
  })

  test.each<[string, string, string]>([
    ['no grant', '', 'invalid_request'],
    ['a grant that is not served', 'client_credentials', 'unsupported_grant_type'],
    ['a password', 'password', 'unsupported_grant_type'],
    [
      'an assertion grant without assertion',
      'urn:ietf:params:oauth:grant-type:jwt-bearer',
      'invalid_request',
    ],
  ])('by %s', async (_, grant_type, error) => {
    await expectRefused(broker, asks({ grant_type }), { error })
  })

  test('for an agent whose profile nobody wrote', async () => {
    await expectRefused(broker, asks({}, 'unheard-of'), { error: 'unauthorized_client' })
  })
})
