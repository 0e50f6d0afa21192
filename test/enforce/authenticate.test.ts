// Where the lease token is read from, and what a caller without one is told. What is in a token is tested
// in test/lease.
import { beforeAll, describe, expect, test } from 'vitest'
import { admit, authenticate, type Credentials } from '../../src/enforce/authenticate.ts'
import { createRouter, route } from '../../src/enforce/route.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { accepted, backendOf, codeOf, now, requestOf } from '../support/evidence.ts'
import { testIssuer } from '../support/tokens.ts'

const issuer = testIssuer({ now })
const audiences = [issuer.audience]
const token = issuer.token()
const backend = backendOf()
let credentials: Credentials
beforeAll(async () => {
  credentials = {
    verifier: createVerifier({ issuers: [issuer.profile()], keys: await issuer.keys() }),
    proofs: {
      verify: () => Promise.reject(new Error('nothing here has a proof')),
      nonce: () => '',
    },
    audiences: new Map([
      [backend, audiences],
      [undefined, audiences],
    ]),
    publicScheme: 'https',
  }
})

const routedWith = (headers: readonly string[], target = '/crm/customers/9821') =>
  route(requestOf({ headers, target }), createRouter([backend]))
const authenticated = async (...headers: string[]) => authenticate(routedWith(headers), credentials, now)

test('the token of the Authorization field becomes a lease', async () => {
  expect(accepted(await authenticated('Authorization', `Bearer ${token}`))).toMatchObject({
    lease: { user: 'alice@example.com', agent: { id: 'agent:support-triage' } },
    nonce: undefined,
  })
})

test.each(['bearer', 'BEARER', 'Bearer  '])('the scheme may be spelt %j', async (scheme) => {
  expect(codeOf(await authenticated('Authorization', `${scheme} ${token}`))).toBe('accepted')
})

describe('D1 no lease token', () => {
  test.each([
    ['no field', []],
    ['an empty field', ['Authorization', '']],
    ['D15 another scheme', ['Authorization', 'Basic YTpi']],
    ['D15 a scheme that begins alike', ['Authorization', `Bearerx ${token}`]],
    ['a token without a scheme', ['Authorization', token]],
    ['a scheme without a token', ['Authorization', 'Bearer']],
    ['another token after it', ['Authorization', `Bearer ${token} ${token}`]],
    ['a cookie', ['Cookie', `access_token=${token}`]],
    ['another field', ['X-Authorization', `Bearer ${token}`]],
    ['an underscore', ['Authorization_', `Bearer ${token}`]],
    ['the field of a proxy', ['Proxy-Authorization', `Bearer ${token}`]],
  ])('%s', async (_, headers) => {
    const refusal = await authenticated(...headers)
    expect(refusal).toMatchObject({ code: 'lease_missing', row: { status: 401 } })
    expect(refusal).not.toHaveProperty('row.error')
  })
})

test.each([`Bearer ${token}, Bearer ${token}`, `Bearer ${token}, DPoP ${token}`, `DPoP a, Bearer ${token}`])(
  'D15 two credentials in one field: refused',
  async (credential) => {
    expect(codeOf(await authenticated('Authorization', credential))).toBe('credential_ambiguous')
  },
)

test('what the verifier refuses is refused', async () => {
  const [header, payload] = token.split('.')
  expect(codeOf(await authenticated('Authorization', `Bearer ${header}.${payload}.AAAA`))).toBe(
    'lease_invalid',
  )
  const late = authenticate(routedWith(['Authorization', `Bearer ${token}`]), credentials, now + 999)
  expect(codeOf(await late)).toBe('lease_expired')
})

test('no refusal repeats the credential', async () => {
  for (const credential of [`Basic ${token}`, `Bearer ${token}x`, `Bearer ${token}, ${token}`]) {
    const refusal = await authenticated('Authorization', credential)
    expect(codeOf(refusal)).not.toBe('accepted')
    expect(JSON.stringify(refusal)).not.toContain(token.slice(0, 40))
  }
})

describe('only an authenticated caller learns what is mapped', () => {
  test.each(['/crm/customers/9821', '/crm/secret', '/nowhere', '/crm/customers/a%2Fb'])(
    'a stranger at %s is asked for a lease',
    async (target) => {
      const routed = routedWith([], target)
      expect(codeOf(await authenticate(routed, credentials, now))).toBe('lease_missing')
    },
  )

  test('a lease opens the refusal of the map', async () => {
    const routed = routedWith(['Authorization', `Bearer ${token}`], '/crm/secret')
    const { lease } = accepted(await authenticate(routed, credentials, now))
    expect(codeOf(admit(routed, lease))).toBe('operation_unmapped')
  })
})
