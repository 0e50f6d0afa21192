// Which agent asks: each way to prove it, and every way in which a proof is refused. An agent that does not
// exist and a credential that is wrong get the same answer.
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AgentClient, ClientCertificate } from '../../../src/broker/parties.ts'
import { isRefusal, type Refusal } from '../../../src/refusals.ts'
import { type Json, testKey } from '../../support/tokens.ts'
import {
  audience,
  broken,
  brokerIssuer,
  ci,
  claimsOf,
  cluster,
  keysOf,
  login,
  no,
  now,
  openWorld,
  sender,
  strangers,
  token,
  type World,
  yes,
} from './harness.ts'

const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const jwtSpiffe = 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe'
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

type Answer = Promise<AgentClient | Refusal>

function authenticate(form: Readonly<Record<string, string>>, certificate?: ClientCertificate): Answer {
  return world.clients.authenticate(new Map(Object.entries(form)), { ...sender, certificate }, now)
}

const asserted = (client_assertion: string, more: Readonly<Record<string, string>> = {}) =>
  authenticate({ client_assertion_type: jwtBearer, client_assertion, ...more })

const assertion = (over: Json = {}, header: Json = {}) =>
  token(claimsOf.assertion(over), keysOf.agent, header)
const workload = (over: Json = {}, header: Json = {}) =>
  token(claimsOf.workload(over), keysOf[cluster], header)

const certificate = (over: Partial<ClientCertificate> = {}): ClientCertificate => ({
  thumbprint: 'B'.repeat(43),
  trusted: true,
  names: ['DNS:other.example', 'DNS:triage.agents.example'],
  ...over,
})

describe('an agent proves who it is', () => {
  test.each([
    ['with a client assertion', {}],
    ['with one that says so in typ', { typ: 'client-authentication+jwt' }],
    ['with one whose typ is JWT', { typ: 'JWT' }],
  ])('%s', async (_, header) => {
    const client = yes(await asserted(assertion({}, header)))
    expect(client).toMatchObject({ method: 'private_key_jwt', instance: '', key: undefined })
    expect(client.entry).toBe(world.agents.byClientId('support-triage'))
  })

  test('with what an OAuth client of somebody else sends', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
    const key = keysOf.agent.privateKey.toCryptoKey(algorithm, false, ['sign'])
    const body = new URLSearchParams()
    const authenticator = oauth.PrivateKeyJwt({ key, kid: keysOf.agent.kid })
    await authenticator({ issuer: brokerIssuer }, { client_id: 'support-triage' }, body, new Headers())
    const client = await world.clients.authenticate(new Map(body), sender, Date.now() / 1000)
    expect(yes(client).entry.clientId).toBe('support-triage')
  })

  test('with a certificate that its name stands in', async () => {
    const client = yes(await authenticate({ client_id: 'support-triage' }, certificate()))
    expect([client.entry.clientId, client.method]).toEqual(['support-triage', 'tls_client_auth'])
  })

  test('with a certificate of its own', async () => {
    const own = certificate({ thumbprint: 'A'.repeat(43), trusted: false, names: [] })
    const client = yes(await authenticate({ client_id: 'billing-lookup' }, own))
    expect([client.entry.clientId, client.method]).toEqual(['billing-lookup', 'self_signed_tls_client_auth'])
  })

  test('with the token of its service account, which names the pod', async () => {
    const bound = { namespace: 'agents', pod: { name: 'triage-7c9f', uid: 'u' } }
    const client = yes(await asserted(workload({ 'kubernetes.io': bound })))
    expect(client).toMatchObject({ method: 'workload_jwt', instance: 'triage-7c9f' })
    expect(client.entry.clientId).toBe('support-triage')
  })

  test.each([undefined, 'JWT', 'JOSE'])('with a JWT-SVID (typ %s)', async (typ) => {
    const svid = workload({ sub: 'spiffe://corp.example/billing' }, { typ })
    const client = yes(await authenticate({ client_assertion_type: jwtSpiffe, client_assertion: svid }))
    expect(client.entry.clientId).toBe('billing-lookup')
  })

  test('with a workload token as often as it likes: the platform gives it one for minutes', async () => {
    const text = workload()
    expect(no(await asserted(text))).toBe('accepted')
    expect(no(await asserted(text))).toBe('accepted')
  })

  test('beside a client_id that says the same', async () => {
    expect(no(await asserted(assertion(), { client_id: 'support-triage' }))).toBe('accepted')
  })

  test('over a connection whose certificate is somebody else’s: that is for binding', async () => {
    const form = { client_assertion_type: jwtBearer, client_assertion: assertion() }
    expect(yes(await authenticate(form, certificate({ names: [] }))).method).toBe('private_key_jwt')
  })

  test('with the key that its token is for, where it names one', async () => {
    const thumbprint = 'k'.repeat(43)
    const byDpop = yes(await world.clients.actor(assertion({ cnf: { jkt: thumbprint } }), jwtType, now))
    expect(byDpop.key).toEqual({ method: 'dpop', thumbprint })
    const byMtls = yes(await world.clients.actor(workload({ cnf: { 'x5t#S256': thumbprint } }), jwtType, now))
    expect(byMtls.key).toEqual({ method: 'mtls', thumbprint })
  })
})

describe('H2: a client assertion', () => {
  const rows: [name: string, over: Json, cause: string][] = [
    ['for the token endpoint', { aud: `${brokerIssuer}/token` }, 'audience_not_allowed'],
    ['for the issuer with a slash more', { aud: `${brokerIssuer}/` }, 'audience_not_allowed'],
    ['for a list of the issuer', { aud: [brokerIssuer] }, 'audience_not_allowed'],
    ['for two', { aud: [brokerIssuer, 'https://other.example'] }, 'audience_not_allowed'],
    ['for nobody', { aud: undefined }, 'audience_not_allowed'],
    ['for the audience of subject tokens', { aud: audience }, 'audience_not_allowed'],
    ['whose sub is another agent', { sub: 'billing-lookup' }, 'claim_malformed'],
    ['without sub', { sub: undefined }, 'claim_malformed'],
    ['without jti', { jti: undefined }, 'claim_malformed'],
    ['whose jti is a number', { jti: 7 }, 'claim_malformed'],
    ['whose jti is very long', { jti: 'x'.repeat(257) }, 'claim_malformed'],
    ['that has expired', { iat: now - 60, exp: now - 5 }, 'expired'],
    ['without exp', { exp: undefined }, 'time_malformed'],
    ['without iat', { iat: undefined }, 'time_malformed'],
    ['whose exp is text', { exp: String(now + 60) }, 'time_malformed'],
    ['that is good for more than five minutes', { exp: now + 306 }, 'lives_too_long'],
    ['of the future', { iat: now + 10 }, 'issued_in_the_future'],
    ['that is not valid yet', { nbf: now + 10 }, 'not_yet_valid'],
    ['of an agent that there is not', { iss: 'nobody', sub: 'nobody' }, 'agent_not_proven'],
    ['of another agent', { iss: 'billing-lookup', sub: 'billing-lookup' }, 'agent_not_proven'],
    ['of an agent in other letters', { iss: 'Support-Triage', sub: 'Support-Triage' }, 'agent_not_proven'],
    ['whose iss is a list', { iss: ['support-triage'] }, 'agent_not_proven'],
    ['without iss', { iss: undefined }, 'agent_not_proven'],
    ['of a provider of users', { iss: login }, 'agent_not_proven'],
    ['with an unknown cnf', { cnf: { jwk: {} } }, 'binding_not_supported'],
  ]
  test.each(rows)('%s is refused', async (_, over, cause) => {
    expect(no(await asserted(assertion(over)))).toEqual({ code: 'invalid_client', cause })
  })

  const header = { alg: 'ES256', kid: keysOf.agent.kid }
  test.each(broken(header, claimsOf.assertion(), keysOf.agent))('with %s is refused', async (_, text) => {
    expect(no(await asserted(text))).toMatchObject({ code: 'invalid_client' })
  })

  test.each(strangers(claimsOf.assertion(), keysOf.agent))('that is %s is refused', async (_, text) => {
    expect(no(await asserted(text))).toMatchObject({ code: 'invalid_client' })
  })

  test.each([
    ['an ID token', token(claimsOf.idToken(), keysOf[login])],
    ['an access token', token(claimsOf.accessToken(), keysOf[login], { typ: 'at+jwt' })],
    ['an ID-JAG', token(claimsOf.idJag(), keysOf[login], { typ: 'oauth-id-jag+jwt' })],
    ["a workflow's token", token(claimsOf.workflow(), keysOf[ci])],
    ['a typ of JWT-SVIDs', assertion({}, { typ: 'JOSE' })],
  ])('that is %s is refused', async (_, text) => {
    expect(no(await asserted(text))).toMatchObject({ code: 'invalid_client' })
  })

  test.each(['ES384', 'RS256', 'PS256', 'EdDSA', 'HS256'] as const)(
    'under an algorithm (%s) of which the agent has no key is refused like any other',
    async (alg) => {
      const text = token(claimsOf.assertion(), testKey(keysOf.agent.kid, alg))
      expect(no(await asserted(text))).toEqual({ code: 'invalid_client', cause: 'agent_not_proven' })
    },
  )

  test('is used once, also when it comes eight times at once', async () => {
    const text = assertion()
    const answers = await Promise.all(Array.from({ length: 8 }, () => asserted(text)))
    expect(answers.filter((each) => no(each) === 'accepted')).toHaveLength(1)
    expect(no(await asserted(text))).toEqual({ code: 'invalid_client', cause: 'replayed' })
  })

  test('is refused beside an Authorization field, and not used up', async () => {
    const form = new Map(Object.entries({ client_assertion_type: jwtBearer, client_assertion: assertion() }))
    const answer = await world.clients.authenticate(form, { ...sender, authorization: true }, now)
    expect(no(answer)).toEqual({ code: 'invalid_client', cause: 'authorization_field' })
    expect(no(await world.clients.authenticate(form, sender, now))).toBe('accepted')
  })

  test('is used once as client authentication and as actor token together', async () => {
    const text = assertion()
    expect(no(await asserted(text))).toBe('accepted')
    expect(no(await world.clients.actor(text, jwtType, now))).toMatchObject({ cause: 'replayed' })
  })

  test('that is refused is not used up', async () => {
    const jti = 'not-used-up'
    expect(no(await asserted(assertion({ jti, aud: 'https://other.example' })))).not.toBe('accepted')
    expect(no(await asserted(assertion({ jti })))).toBe('accepted')
  })

  test('with a jti that another agent has used is taken', async () => {
    const jti = 'the-same'
    const other = { iss: 'billing-lookup', sub: 'billing-lookup', jti }
    expect(no(await asserted(assertion({ jti })))).toBe('accepted')
    expect(no(await asserted(token(claimsOf.assertion(other), keysOf.other)))).toBe('accepted')
  })

  test('of an unknown agent, an unknown key and a wrong signature are answered alike', async () => {
    const answers = await Promise.all([
      asserted(assertion({ iss: 'nobody', sub: 'nobody' })),
      asserted(assertion({}, { kid: 'nobody' })),
      asserted(token(claimsOf.assertion(), testKey(keysOf.agent.kid))),
      authenticate({ client_id: 'nobody' }, certificate()),
      authenticate({ client_id: 'support-triage' }, certificate({ names: [] })),
    ])
    const told = answers.map((each) => isRefusal(each) && [each.code, each.facts])
    expect(new Set(told.map((each) => JSON.stringify(each))).size).toBe(1)
  })
})

describe('a workload token', () => {
  const rows: [name: string, over: Json, cause: string][] = [
    ['of a workload that is no agent', { sub: 'system:serviceaccount:agents:other' }, 'agent_not_proven'],
    ['without sub', { sub: undefined }, 'agent_not_proven'],
    ['for another audience', { aud: ['https://kubernetes.default.svc'] }, 'audience_not_allowed'],
    ['for two', { aud: [audience, 'https://kubernetes.default.svc'] }, 'audience_not_allowed'],
    ['that has expired', { exp: now - 5 }, 'expired'],
    ['that is too old', { iat: now - 3606 }, 'too_old'],
    ['without exp', { exp: undefined }, 'time_malformed'],
    ['of an unknown issuer', { iss: 'https://evil.example' }, 'agent_not_proven'],
    ['of a provider of workflows', { iss: ci }, 'agent_not_proven'],
    ['bound in an unknown way', { cnf: { jwk: {} } }, 'binding_not_supported'],
  ]
  test.each(rows)('%s is refused', async (_, over, cause) => {
    expect(no(await asserted(workload(over)))).toEqual({ code: 'invalid_client', cause })
  })

  const header = { alg: 'ES256', kid: keysOf[cluster].kid }
  test.each(broken(header, claimsOf.workload(), keysOf[cluster]))('with %s is refused', async (_, text) => {
    expect(no(await asserted(text))).toMatchObject({ code: 'invalid_client' })
  })

  test.each(strangers(claimsOf.workload(), keysOf[cluster]))('that is %s is refused', async (_, text) => {
    expect(no(await asserted(text))).toMatchObject({ code: 'invalid_client' })
  })

  test('with the typ of a client assertion is refused', async () => {
    const text = workload({}, { typ: 'client-authentication+jwt' })
    expect(no(await asserted(text))).toMatchObject({ cause: 'typ_not_allowed' })
  })

  test.each([
    ['a service account', workload()],
    ['a client assertion', assertion()],
  ])('sent as a JWT-SVID is none: %s', async (_, client_assertion) => {
    const answer = await authenticate({ client_assertion_type: jwtSpiffe, client_assertion })
    expect(no(answer)).toMatchObject({ code: 'invalid_client' })
  })
})

describe('a certificate', () => {
  test.each([
    ['that nobody vouches for', 'support-triage', certificate({ trusted: false })],
    ['for a name below ours', 'support-triage', certificate({ names: ['DNS:x.triage.agents.example'] })],
    ['for our name as another kind', 'support-triage', certificate({ names: ['URI:triage.agents.example'] })],
    ['without names', 'support-triage', certificate({ names: [] })],
    ['of another agent', 'billing-lookup', certificate()],
    ['that is not the very one', 'billing-lookup', certificate({ thumbprint: 'C'.repeat(43) })],
    ['of no agent', 'nobody', certificate()],
    ['of an empty client_id', '', certificate()],
  ])('%s is refused', async (_, client_id, given) => {
    expect(no(await authenticate({ client_id }, given))).toEqual({
      code: 'invalid_client',
      cause: 'agent_not_proven',
    })
  })

  test('alone names nobody: client_id says whose it should be', async () => {
    expect(no(await authenticate({}, certificate()))).toMatchObject({ code: 'invalid_client' })
  })
})

describe('a request', () => {
  const rows: [name: string, form: () => Readonly<Record<string, string>>, code: string, cause: string][] = [
    ['without authentication', () => ({}), 'invalid_client', 'not_authenticated'],
    ['with client_id alone', () => ({ client_id: 'support-triage' }), 'invalid_client', 'not_authenticated'],
    [
      'with a shared secret',
      () => ({ client_id: 'support-triage', client_secret: 's' }),
      'invalid_client',
      'client_secret',
    ],
    [
      'with an assertion and a secret',
      () => ({ client_assertion_type: jwtBearer, client_assertion: assertion(), client_secret: 's' }),
      'invalid_request',
      'several_authentications',
    ],
    [
      'with an assertion without its type',
      () => ({ client_assertion: assertion() }),
      'invalid_request',
      'assertion_incomplete',
    ],
    [
      'with the type of an assertion without one',
      () => ({ client_assertion_type: jwtBearer }),
      'invalid_request',
      'assertion_incomplete',
    ],
    [
      'with an unknown type of assertion',
      () => ({
        client_assertion: assertion(),
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer',
      }),
      'invalid_client',
      'client_assertion_type_unknown',
    ],
    [
      'with a client_id of another agent',
      () => ({
        client_assertion: assertion(),
        client_assertion_type: jwtBearer,
        client_id: 'billing-lookup',
      }),
      'invalid_client',
      'client_id_mismatch',
    ],
  ]
  test.each(rows)('%s is refused', async (_, form, code, cause) => {
    expect(no(await authenticate(form()))).toEqual({ code, cause })
  })
})

describe('an actor token', () => {
  test.each([
    ['a client assertion', () => assertion(), 'support-triage'],
    ['a service account', () => workload(), 'support-triage'],
    ['a JWT-SVID', () => workload({ sub: 'spiffe://corp.example/billing' }), 'billing-lookup'],
  ])('is of an agent: %s', async (_, text, clientId) => {
    expect(yes(await world.clients.actor(text(), jwtType, now)).entry.clientId).toBe(clientId)
  })

  test.each([
    'urn:ietf:params:oauth:token-type:access_token',
    'urn:ietf:params:oauth:token-type:id_token',
    'jwt',
    '',
  ])('of type %j is not served', async (type) => {
    expect(no(await world.clients.actor(assertion(), type, now))).toEqual({
      code: 'invalid_request',
      cause: 'actor_token_type_unknown',
    })
  })

  // RFC 8693 §2.2.2: an actor token that is not valid makes the request one.
  test.each([
    ['a user', token(claimsOf.idToken(), keysOf[login])],
    ['a workflow', token(claimsOf.workflow(), keysOf[ci])],
    ['nobody', assertion({ iss: 'nobody', sub: 'nobody' })],
    ['an agent, expired', assertion({ iat: now - 60, exp: now - 5 })],
  ])('of %s is refused', async (_, text) => {
    expect(no(await world.clients.actor(text, jwtType, now))).toMatchObject({ code: 'invalid_request' })
  })
})
