// From login to logout with parties that are none of ours: oidc-provider as the identity provider, oauth4webapi as
// the client of it and of the broker. Every request goes over a real socket to a whole broker with its gate.
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  accessTokenType,
  idTokenType,
  readCustomer,
  startTestBroker,
  type TestBroker,
} from '../support/broker.ts'
import { eventually } from '../support/gate.ts'
import { startIdentityProvider, type TestProvider } from '../support/identity_provider.ts'

const insecure = { [oauth.allowInsecureRequests]: true }
let login: TestProvider
let broker: TestBroker
beforeAll(async () => {
  login = await startIdentityProvider(() => `${broker.brokerUrl}/backchannel_logout`)
  const provider = {
    ...{ issuer: login.issuer, audience: 'leasegate', algorithms: ['RS256'], user: 'email' },
    accept: ['id_token', 'access_token', 'logout'],
  }
  broker = await startTestBroker({ providers: [provider], crm: { require_binding: 'always' } })
})
afterAll(async () => {
  await broker.close()
  login.close()
})

/** `send` until the server has told its nonce. */
async function withNonce<T>(send: () => Promise<T>): Promise<T> {
  try {
    return await send()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return send()
  }
}

async function discover(): Promise<oauth.AuthorizationServer> {
  const url = new URL(broker.brokerUrl)
  const options = { ...insecure, algorithm: 'oauth2' } as const
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options))
}

test('login, exchange, call, introspection, revocation and logout', async () => {
  const as = await discover()
  const client: oauth.Client = { client_id: 'support-triage' }
  const agent = broker.keys.get('support-triage')!
  const jwk = agent.privateKey.export({ format: 'jwk' })
  const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' }
  const key = await crypto.subtle.importKey('jwk', jwk, ecdsa, false, ['sign'])
  const authentication = oauth.PrivateKeyJwt({ key, kid: agent.kid })
  const proof = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
  const { idToken } = await login.login()

  const exchange = (subject: string, type: string) =>
    withNonce(async () => {
      const parameters = new URLSearchParams({
        subject_token: subject,
        subject_token_type: type,
        authorization_details: JSON.stringify([readCustomer]),
        resource: broker.gateUrl,
        ...(type === idTokenType && { task: 'jira:SUP-4711', purpose: 'billing question' }),
      })
      const grant = 'urn:ietf:params:oauth:grant-type:token-exchange'
      const options = { ...insecure, DPoP: proof }
      const answer = await oauth.genericTokenEndpointRequest(
        ...([as, client, authentication, grant, parameters, options] as const),
      )
      return oauth.processGenericTokenEndpointResponse(as, client, answer)
    })
  const call = async (token: string) => {
    const url = new URL(`${broker.gateUrl}/crm/customers/9821`)
    const options = { ...insecure, DPoP: proof }
    const send = () => oauth.protectedResourceRequest(token, 'GET', url, undefined, null, options)
    const challenges = (error: unknown) => {
      if (error instanceof oauth.WWWAuthenticateChallengeError) return error.response
      throw error
    }
    return (await withNonce(send).catch(challenges)).status
  }

  const lease = await exchange(idToken, idTokenType)
  expect(lease).toMatchObject({ token_type: 'dpop', issued_token_type: accessTokenType })
  expect(await call(lease.access_token)).toBe(200)
  expect(broker.backend.requests.at(-1)?.headers).toMatchObject({ 'lease-user': 'alice@example.com' })

  const introspect = async (token: string) => {
    const answer = await oauth.introspectionRequest(as, client, authentication, token, insecure)
    return oauth.processIntrospectionResponse(as, client, answer)
  }
  expect(await introspect(lease.access_token)).toMatchObject({ active: true, sub: 'alice@example.com' })

  const renewed = await exchange(lease.access_token, accessTokenType)
  expect(renewed.lease_id).toBe(lease.lease_id)
  const revocation = await oauth.revocationRequest(as, client, authentication, lease.access_token, insecure)
  await oauth.processRevocationResponse(revocation)
  await eventually(async () => (await call(lease.access_token)) === 401, 'the end of the token')
  expect(await call(renewed.access_token)).toBe(200)

  await login.logout(idToken)
  await eventually(async () => (await call(renewed.access_token)) === 401, 'the end of the lease')
  expect(await introspect(renewed.access_token)).toEqual({ active: false })
  await expect(exchange(idToken, idTokenType)).rejects.toMatchObject({ error: 'invalid_request' })
})
