// A client that somebody else wrote (oauth4webapi) calls the gate with a bound token: it learns the nonce from the
// challenge, goes on with it, and follows a newer one.
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { message, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({ crm: { require_binding: 'always' } })
})
afterAll(() => gate.close())

interface Asked {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
}

/** `fetch` to the gate under its public name. */
async function toGate(url: string, { method, headers }: Asked): Promise<Response> {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const answer = await gate.ask(message({ method, target: new URL(url).pathname, fields }))
  return new Response(new Uint8Array(answer.body), { status: answer.status, headers: answer.headers })
}

test.each(['ES256', 'Ed25519'] as const)('with a key for %s', async (alg) => {
  const pair = await oauth.generateKeyPair(alg)
  const handle = oauth.DPoP({}, pair)
  const token = gate.token({ cnf: { jkt: await handle.calculateThumbprint() } })
  const call = () =>
    oauth.protectedResourceRequest(
      token,
      'GET',
      new URL(`${publicOrigin}/crm/customers/9821`),
      undefined,
      undefined,
      {
        DPoP: handle,
        [oauth.customFetch]: toGate,
        [oauth.allowInsecureRequests]: true,
      },
    )
  const refused: unknown = await call().catch((error: unknown) => error)
  expect(oauth.isDPoPNonceError(refused)).toBe(true)
  expect((await call()).status).toBe(200)
  expect((await call()).status).toBe(200)
})

test('a bearer token is asked to be bound, in a challenge that it can read', async () => {
  const url = new URL(`${publicOrigin}/crm/customers/9821`)
  const options = { [oauth.customFetch]: toGate, [oauth.allowInsecureRequests]: true }
  const refused: unknown = await oauth
    .protectedResourceRequest(gate.token(), 'GET', url, undefined, undefined, options)
    .catch((error: unknown) => error)
  if (!(refused instanceof oauth.WWWAuthenticateChallengeError)) throw new Error('no challenge')
  expect(refused.cause.map(({ scheme, parameters }) => [scheme, parameters.error, parameters.algs])).toEqual([
    ['bearer', 'invalid_token', undefined],
    ['dpop', undefined, 'ES256 EdDSA'],
  ])
})
