// Introspection over real sockets and a real store: who may ask, what active means, and what is told.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeRevocation } from '../../src/broker/revocation.ts'
import { introspectionEndpoints } from '../../src/http/introspect.ts'
import { readCompact } from '../../src/lease/compact.ts'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import {
  asAgent,
  asOperator,
  audience,
  bodyOf,
  observing,
  startTestBroker,
  type TestBroker,
  tenantToken,
} from '../support/endpoints.ts'
import { accepted } from '../support/evidence.ts'
import { testIssuer } from '../support/tokens.ts'

let broker: TestBroker

beforeAll(async () => {
  broker = await startTestBroker((parts) =>
    introspectionEndpoints({
      ...observing(parts),
      ...parts,
      audiences: [audience, `${audience}/crm`],
      maxStalenessMs: 2_000,
      issuer: parts.issuer,
    }),
  )
})
afterAll(() => broker.close())
afterEach(() => {
  broker.ahead = 0
  expect(broker.bugs).toEqual([])
})

const ask = (token: string, form = asAgent('support-triage'), headers: Record<string, string> = {}) =>
  broker.post('/introspect', { token, ...form }, headers)

const revoke = (scope: 'lease' | 'user' | 'agent' | 'task', value: string) =>
  broker.store.revocations.revoke(
    accepted(makeRevocation({ scope, value, reason: 'r', by: 'op' }, Math.floor(Date.now() / 1000))),
  )

describe('an active token', () => {
  test('is told of as it stands, with its lease', async () => {
    const { token, claims, record } = await broker.issue({
      binding: { method: 'dpop', thumbprint: 'k'.repeat(43) },
    })
    const answer = await ask(token)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const { lease: _, ...plain } = claims
    expect(await bodyOf(answer)).toEqual({ active: true, ...plain, token_type: 'DPoP', lease_id: record.id })
    const { trail, refusal } = broker.told.at(-1)!
    expect(refusal).toBeUndefined()
    expect(trail).toMatchObject({
      endpoint: 'introspect',
      agent: 'agent:support-triage',
      user: 'alice@example.com',
      reasons: ['active'],
      lease: { id: record.id },
    })
  })

  test('is told of to an operator, and to the agent that handed the lease on', async () => {
    const delegatedBy = [{ id: 'agent:support-triage', version: '3.2.1', profile: 'support' }]
    const parent = await broker.issue()
    const { token } = await broker.issue({
      ...{ agent: { id: 'agent:helper', version: '1', env: 'prod', profile: 'support' }, clientId: 'helper' },
      ...{ delegatedBy, ancestors: [parent.record.id] },
    })
    expect(await bodyOf(await ask(token))).toMatchObject({ active: true, token_type: 'Bearer' })
    expect(await bodyOf(await ask(token, asAgent('helper')))).toMatchObject({ active: true })
    expect(await bodyOf(await broker.post('/introspect', { token }, asOperator))).toMatchObject({
      active: true,
    })
  })
})

test('a store that is read strictly is read before anything is called active', async () => {
  let reader: Store | undefined
  const strict = await startTestBroker((parts) =>
    introspectionEndpoints({
      ...observing(parts),
      ...parts,
      get store() {
        return reader ?? parts.store
      },
      audiences: [audience],
      maxStalenessMs: 2_000,
    }),
  )
  // Polls so seldom that it hears of nothing by itself.
  const options = { path: strict.file, maxStalenessMs: 2_000, pollMs: 1_500, strict: true }
  reader = await openEmbedded(options)
  try {
    const { token } = await strict.issue()
    const asked = { scope: 'user', value: 'alice@example.com', reason: 'r', by: 'op' } as const
    await strict.store.revocations.revoke(accepted(makeRevocation(asked, Math.floor(Date.now() / 1000) + 1)))
    const answer = await strict.post('/introspect', { token }, asOperator)
    expect(await bodyOf(answer)).toEqual({ active: false })
  } finally {
    await reader.close()
    await strict.close()
  }
})

describe('nobody is told anything', () => {
  test.each([
    ['without a credential', {}, {}],
    ['with a wrong one', { client_id: 'support-triage', client_secret: 'guess' }, {}],
    ['with a wrong operator token', {}, { authorization: 'Bearer guess' }],
  ])('%s', async (_, form, headers) => {
    const { token } = await broker.issue()
    const answer = await broker.post('/introspect', { token, ...form }, headers)
    expect(answer.status).toBe(401)
    expect(await bodyOf(answer)).toMatchObject({ error: 'invalid_client' })
    expect(broker.told.at(-1)).toMatchObject({
      refusal: { code: 'invalid_client' },
      trail: { agent: undefined },
    })
  })

  test('who shows a credential of a key that is somebody else’s (cnf)', async () => {
    const { token } = await broker.issue()
    const bound = { ...asAgent('support-triage'), key: 'k'.repeat(43) }
    const refused = async (headers: Record<string, string>) => {
      const answer = await ask(token, bound, headers)
      return [answer.status, (await bodyOf(answer)).error, answer.headers.get('dpop-nonce')]
    }
    expect(await refused({})).toEqual([400, 'invalid_dpop_proof', null])
    expect(await refused({ dpop: 'x'.repeat(43) })).toEqual([400, 'invalid_dpop_proof', null])
    expect(await refused({ dpop: 'no-nonce' })).toEqual([400, 'use_dpop_nonce', 'a-nonce'])
    expect(broker.told.at(-1)?.trail.agent).toBeUndefined()
    expect(await bodyOf(await ask(token, bound, { dpop: 'k'.repeat(43) }))).toMatchObject({ active: true })
  })

  test('who names no token', async () => {
    const answer = await broker.post('/introspect', asAgent('support-triage'))
    expect([answer.status, await bodyOf(answer)]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_request' }),
    ])
  })

  test('while the revocations cannot be read', async () => {
    const { token } = await broker.issue()
    broker.ahead = 10_000
    const answer = await ask(token)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
  })
})

describe('nothing but `active: false` is told of', () => {
  const rows: [name: string, make: () => Promise<string>][] = [
    ['text that is no token', async () => 'opaque'],
    ['a token of another issuer', async () => testIssuer().token()],
    ['a token with another signature', async () => `${(await broker.issue()).token.slice(0, -6)}AAAAAA`],
    ['a token of another agent', async () => (await broker.issue({ clientId: 'other' })).token],
    ['a token of another tenant', async () => (await broker.issue({ tenant: 'acme' })).token],
    [
      'a token of a lease that is not recorded',
      async () => {
        const { claims } = await broker.issue()
        const lease = { ...claims.lease, id: 'lse_unrecorded' }
        return broker.sign('at+jwt', { ...claims, lease })
      },
    ],
    [
      'a suspended lease',
      async () => {
        const { token, record } = await broker.issue()
        const change = { from: ['active'], to: 'suspended', at: 1, by: 'op', reason: 'r' } as const
        await broker.store.leases.transition(record.id, change)
        return token
      },
    ],
    [
      'a lease that was handed on from a suspended one',
      async () => {
        const parent = await broker.issue()
        const { token } = await broker.issue({ ancestors: [parent.record.id] })
        const at = Math.floor(Date.now() / 1000)
        const held = { suspended: true, version: 1, expiresAt: at + 900, reason: 'r', by: 'op', at }
        await broker.store.revocations.suspend({ lease: parent.record.id, ...held })
        return token
      },
    ],
    [
      'a completed lease',
      async () => {
        const { token, record } = await broker.issue()
        const change = { from: ['active'], to: 'completed', at: 1, by: 'agent', reason: 'done' } as const
        await broker.store.leases.transition(record.id, change)
        return token
      },
    ],
    [
      'a revoked lease',
      async () => {
        const { token, record } = await broker.issue()
        await revoke('lease', record.id)
        return token
      },
    ],
    [
      'a lease of a revoked user',
      async () => {
        const { token } = await broker.issue({ user: 'mallory@example.com' })
        await revoke('user', 'mallory@example.com')
        return token
      },
    ],
    [
      'a lease that was handed on from a revoked one',
      async () => {
        const parent = await broker.issue()
        const { token } = await broker.issue({ ancestors: [parent.record.id] })
        await revoke('lease', parent.record.id)
        return token
      },
    ],
  ]
  test.each(rows)('%s', async (_, make) => {
    const answer = await ask(await make())
    expect([answer.status, await bodyOf(answer)]).toEqual([200, { active: false }])
    expect(broker.told.at(-1)?.refusal).toBeUndefined()
  })

  test('an expired token', async () => {
    broker.ahead = -400_000
    const { token } = await broker.issue()
    broker.ahead = 0
    expect(await bodyOf(await ask(token))).toEqual({ active: false })
    expect(broker.told.at(-1)?.trail.reasons).toEqual(['expired'])
  })

  test('a token of no tenant, for an operator of one', async () => {
    const { token } = await broker.issue()
    const acme = { authorization: `Bearer ${tenantToken}` }
    expect(await bodyOf(await broker.post('/introspect', { token }, acme))).toEqual({ active: false })
  })
})

describe('a signed answer (RFC 9701)', () => {
  const accept = 'application/token-introspection+jwt'
  const types = new Set(['token-introspection+jwt'])

  test.each([
    ['an active token', true],
    ['one that is not', false],
  ])('is given for %s', async (_, active) => {
    const { token } = await broker.issue()
    const answer = await ask(active ? token : 'opaque', asAgent('support-triage'), {
      accept: `${accept}, */*;q=0.1`,
    })
    expect(answer.headers.get('content-type')).toBe(accept)
    const jwt = accepted(readCompact(await answer.text(), types, 8192))
    expect(jwt.kid).toBe(broker.key.kid)
    expect(Object.keys(jwt.claims).toSorted()).toEqual(['aud', 'iat', 'iss', 'token_introspection'])
    expect(jwt.claims).toMatchObject({
      iss: broker.issuer,
      aud: 'support-triage',
      token_introspection: { active },
    })
  })

  test('is no lease token and cannot be introspected itself', async () => {
    const { token } = await broker.issue()
    const jwt = await (await ask(token, asAgent('support-triage'), { accept })).text()
    expect(await bodyOf(await ask(jwt))).toEqual({ active: false })
  })
})
