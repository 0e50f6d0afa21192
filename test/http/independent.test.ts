// Introspection, revocation and logout with software that is none of ours: oauth4webapi as the client, oidc-provider
// as the identity provider that sends the logout token.
import { generateKeyPairSync } from 'node:crypto'
import * as oauth from 'oauth4webapi'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { sessionOf } from '../../src/broker/identity/session.ts'
import type { IdentityProvider } from '../../src/broker/parties.ts'
import { introspectionEndpoints } from '../../src/http/introspect.ts'
import { signalEndpoints } from '../../src/http/signals.ts'
import { tokenRevocationEndpoints } from '../../src/http/token_revocation.ts'
import type { PublicJwk } from '../../src/lease/jose.ts'
import { openKeys } from '../../src/lease/keys.ts'
import { proveSignature } from '../../src/lease/signature.ts'
import { isRefusal } from '../../src/refusals.ts'
import { audience, observing, startTestBroker, type TestBroker } from '../support/endpoints.ts'
import { defaultProfile } from '../support/tokens.ts'

const idp = 'http://127.0.0.1:1/idp'
const provider: IdentityProvider = {
  ...{ issuer: idp, audience: 'leasegate', keys: { discovery: true }, algorithms: ['ES256'] },
  ...{ accept: ['logout'], subjects: 'users', userClaim: 'sub', maxAgeSeconds: 600, clockTolerance: 5 },
}
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const named = { kid: 'idp-1', alg: 'ES256', use: 'sig' }

let broker: TestBroker
let as: oauth.AuthorizationServer
const client: oauth.Client = { client_id: 'support-triage', introspection_signed_response_alg: 'ES256' }
const authentication = oauth.ClientSecretPost('secret-of-support-triage')
const insecure = { [oauth.allowInsecureRequests]: true }

beforeAll(async () => {
  const local = { ...publicKey.export({ format: 'jwk' }), ...named } as PublicJwk
  const keys = await openKeys([{ issuer: idp, jwks: { local: true } }], { local: () => [local] })
  broker = await startTestBroker((parts) => {
    const common = { ...observing(parts), ...parts, audiences: [audience] }
    const sources = {
      byIssuer: (issuer: unknown) => (issuer === idp ? provider : undefined),
      prove: async (token: Parameters<typeof proveSignature>[0]) => {
        const key = await proveSignature(token, defaultProfile(idp, 'leasegate', 'ES256'), keys)
        return isRefusal(key) ? key : undefined
      },
    }
    return [
      ...introspectionEndpoints({ ...common, maxStalenessMs: 2_000 }),
      ...tokenRevocationEndpoints(common),
      ...signalEndpoints({ ...common, sources }),
    ]
  })
  const { url: issuer } = broker
  as = {
    issuer,
    introspection_endpoint: `${issuer}/introspect`,
    revocation_endpoint: `${issuer}/revoke`,
    jwks_uri: `${issuer}/jwks`,
  }
})
afterAll(() => broker.close())
afterEach(() => expect(broker.bugs).toEqual([]))

async function introspect(token: string, options: oauth.IntrospectionRequestOptions = {}) {
  const response = await oauth.introspectionRequest(as, client, authentication, token, {
    ...insecure,
    ...options,
  })
  const told = await oauth.processIntrospectionResponse(as, client, response)
  if (options.requestJwtResponse === true) {
    await oauth.validateApplicationLevelSignature(as, response, insecure)
  }
  return told
}

test('oauth4webapi reads what a token is worth, plain and signed, and ends it', async () => {
  const { token, record } = await broker.issue()
  for (const requestJwtResponse of [false, true]) {
    const told = await introspect(token, { requestJwtResponse })
    expect(told).toMatchObject({ active: true, sub: 'alice@example.com', lease_id: record.id })
  }
  const response = await oauth.revocationRequest(as, client, authentication, token, insecure)
  await oauth.processRevocationResponse(response)
  for (const requestJwtResponse of [false, true]) {
    expect(await introspect(token, { requestJwtResponse })).toEqual({ active: false })
  }
})

test('oauth4webapi reads a refusal as one', async () => {
  const guess = oauth.ClientSecretPost('guess')
  const response = await oauth.introspectionRequest(as, client, guess, 'token', insecure)
  await expect(oauth.processIntrospectionResponse(as, client, response)).rejects.toThrow()
  const refused = await oauth.revocationRequest(as, client, guess, 'token', insecure)
  await expect(oauth.processRevocationResponse(refused)).rejects.toThrow()
})

/** The part of oidc-provider that sends a logout token. */
interface Sender {
  readonly Client: {
    find(id: string): Promise<{ backchannelLogout(sub: string, sid: string): Promise<void> }>
  }
}

async function sender(withSession: boolean): Promise<Sender> {
  const name: string = 'oidc-provider'
  const { default: Provider } = (await import(name)) as {
    default: new (issuer: string, configuration: object) => Sender
  }
  return new Provider(idp, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), ...named }] },
    cookies: { keys: ['a key that signs cookies'] },
    // Its own refuses to call this machine.
    fetch: (url: URL, { method = '', headers = {}, body = null }: RequestInit) =>
      fetch(url, { method, headers, body }),
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    clients: [
      {
        client_id: 'leasegate',
        client_secret: 'a-secret-between-the-provider-and-its-client',
        redirect_uris: ['https://client.example/callback'],
        id_token_signed_response_alg: 'ES256',
        backchannel_logout_uri: `${broker.url}/backchannel_logout`,
        backchannel_logout_session_required: withSession,
      },
    ],
  })
}

test.each([
  ['a session', true],
  ['a user', false],
])('a logout of %s that oidc-provider sends ends the leases', async (_, withSession) => {
  const user = withSession ? 'carol' : 'dave'
  const { token } = await broker.issue({
    ...{ user, login: { issuer: idp, subject: user }, session: sessionOf(idp, `session-of-${user}`) },
  })
  const { token: other } = await broker.issue({ user, login: { issuer: idp, subject: user } })
  const { Client } = await sender(withSession)
  await (await Client.find('leasegate')).backchannelLogout(user, `session-of-${user}`)
  expect(broker.told.at(-1)?.refusal).toBeUndefined()
  expect(await introspect(token)).toEqual({ active: false })
  expect(await introspect(other)).toMatchObject({ active: withSession })
})
