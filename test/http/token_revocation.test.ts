// RFC 7009 over real sockets and a real store: one token ends, its lease does not, and nobody learns anything.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { tokenRevocationEndpoints } from '../../src/http/token_revocation.ts'
import { Unavailable } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import {
  asAgent,
  audience,
  bodyOf,
  observing,
  startTestBroker,
  type TestBroker,
} from '../support/endpoints.ts'
import { accepted } from '../support/evidence.ts'
import { testIssuer } from '../support/tokens.ts'

let broker: TestBroker
let failure: Error | undefined

beforeAll(async () => {
  broker = await startTestBroker((parts) => {
    const { leases, revocations } = parts.store
    const revoke: typeof revocations.revoke = (entry) =>
      failure === undefined ? revocations.revoke(entry) : Promise.reject(failure)
    const store = { leases, revocations: { revoke } }
    return tokenRevocationEndpoints({ ...observing(parts), ...parts, store, audiences: [audience] })
  })
})
afterAll(() => broker.close())
afterEach(() => {
  failure = undefined
  expect(broker.bugs).toEqual([])
})

const revoke = (token: string, form: Record<string, string> = asAgent('support-triage')) =>
  broker.post('/revoke', { token, ...form })

/** Whether a gate on the store would refuse the token. */
async function isRevoked(token: string): Promise<boolean> {
  const lease = accepted(await broker.verifier.verify(token, Date.now() / 1000, [audience]))
  return broker.store.revocations.find(lease.revocationKeys, lease.issuedAt) !== undefined
}

test('a revoked token is over at every gate on the store, and its lease is not', async () => {
  const { token, claims, record } = await broker.issue()
  const { token: renewed } = await broker.issue({ renews: record })
  const answer = await revoke(token)
  expect([answer.status, await answer.text()]).toEqual([200, ''])
  expect([await isRevoked(token), await isRevoked(renewed)]).toEqual([true, false])
  expect(await broker.store.leases.get(record.id)).toMatchObject({ state: 'active' })
  const entry = broker.store.revocations.find([`token\n${claims.jti}\n${broker.issuer}`], 1)
  expect(entry).toMatchObject({ scope: 'token', by: 'support-triage', expiresAt: claims.exp + 5 })
  expect(broker.told.at(-1)?.trail).toMatchObject({ reasons: ['token_revoked'], lease: { id: record.id } })
})

test('a token may be revoked twice, with any hint', async () => {
  const { token } = await broker.issue()
  for (const hint of ['access_token', 'refresh_token', 'nonsense']) {
    const answer = await revoke(token, { ...asAgent('support-triage'), token_type_hint: hint })
    expect(answer.status).toBe(200)
  }
})

test('a parent may end a token of the agent that it handed a lease on to, not the other way round', async () => {
  const parent = await broker.issue()
  const delegatedBy = [{ id: 'agent:support-triage', version: '3.2.1', profile: 'support' }]
  const { token } = await broker.issue({ clientId: 'helper', delegatedBy, ancestors: [parent.record.id] })
  await revoke(parent.token, asAgent('helper'))
  expect(await isRevoked(parent.token)).toBe(false)
  await revoke(token)
  expect(await isRevoked(token)).toBe(true)
})

describe('the same 200, and nothing is written, for', () => {
  const rows: [name: string, make: () => Promise<string>, reason: string][] = [
    ['text that is no token', async () => 'opaque', 'not_compact_jws'],
    ['a token of another issuer', async () => testIssuer().token(), 'issuer_unknown'],
    [
      'a token of another agent',
      async () => (await broker.issue({ clientId: 'b' })).token,
      'token_not_of_caller',
    ],
    [
      'a token of another tenant',
      async () => (await broker.issue({ tenant: 'acme' })).token,
      'token_not_of_caller',
    ],
  ]
  test.each(rows)('%s', async (_, make, reason) => {
    const token = await make()
    const before = broker.store.revocations.size()
    const answer = await revoke(token)
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(broker.store.revocations.size()).toBe(before)
    expect(broker.told.at(-1)?.trail.reasons).toEqual([reason])
  })
})

describe('refused is', () => {
  test('a token of a kind that is not served', async () => {
    const jwt = await broker.sign('token-introspection+jwt', { iss: broker.issuer })
    const answer = await revoke(jwt)
    expect([answer.status, (await bodyOf(answer)).error]).toEqual([400, 'unsupported_token_type'])
  })

  test('a caller who has not proven who they are', async () => {
    const { token } = await broker.issue()
    const answer = await revoke(token, { client_id: 'support-triage' })
    expect([answer.status, (await bodyOf(answer)).error]).toEqual([401, 'invalid_client'])
    const unproven = await revoke(token, { ...asAgent('support-triage'), key: 'k'.repeat(43) })
    expect([unproven.status, (await bodyOf(unproven)).error]).toEqual([400, 'invalid_dpop_proof'])
    expect(await isRevoked(token)).toBe(false)
  })

  test('a request without a token', async () => {
    const answer = await broker.post('/revoke', asAgent('support-triage'))
    expect([answer.status, (await bodyOf(answer)).error]).toEqual([400, 'invalid_request'])
  })

  test('everything that the store does not take, so that the caller knows the token is still good', async () => {
    const { token } = await broker.issue()
    failure = new Unavailable('down')
    const answer = await revoke(token)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
    expect(await isRevoked(token)).toBe(false)
    expect(broker.told.at(-1)?.refusal?.code).toBe('evidence_unavailable')
  })
})

test('a bug is a bare 500, and told of as one', async () => {
  const { token } = await broker.issue()
  failure = new TypeError('a bug that knows a secret')
  const answer = await revoke(token)
  expect([answer.status, await bodyOf(answer)]).toEqual([
    500,
    { error: 'internal_error', error_description: 'Internal error' },
  ])
  expect(broker.told.at(-1)?.refusal?.code).toBe('internal_error')
  expect(broker.bugs.splice(0)).toEqual([failure])
})

test('a process that comes later knows of it', async () => {
  const { token, claims } = await broker.issue()
  await revoke(token)
  const other = await openEmbedded({ path: broker.file, maxStalenessMs: 2_000 })
  expect(other.revocations.find([`token\n${claims.jti}\n${broker.issuer}`], 1)).toBeDefined()
  await other.close()
})
