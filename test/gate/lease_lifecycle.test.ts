// D16 over raw sockets: a lease that operators suspend, resume, complete or revoke through the control listener,
// and what the gate makes of its tokens from then on. The token stays the same: the lease is what changes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LifecycleVerb } from '../../src/broker/lifecycle.ts'
import { message, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'
import { expectRefused } from './matrix.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

/** A recorded lease and a token of it. */
async function leased(id: string, lease: Json = {}): Promise<string> {
  const store = await gate.store()
  const { ancestors } = lease as { ancestors?: string[] }
  await store.leases.put(leaseRecord({ id, ...(ancestors !== undefined && { ancestors }) }))
  return gate.token({}, { id, ...lease })
}

/** Acknowledged, so it holds from now on. */
async function order(verb: LifecycleVerb, id: string): Promise<Json> {
  const response = await fetch(`http://127.0.0.1:${gate.running.control.port}/leases/${id}/${verb}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${gate.operatorToken()}` },
    body: '{"reason":"odd reads"}',
  })
  expect([verb, response.status]).toEqual([verb, 200])
  return (await response.json()) as Json
}

const refused = (token: string, reason: string) =>
  expectRefused(gate, {
    send: () => message({ token }),
    status: 401,
    code: 'lease_revoked',
    also: ({ headers }, problem) => {
      expect(headers['www-authenticate']).toContain('error="invalid_token"')
      expect(problem.reasons).toEqual(['lease_inactive', reason])
      // Who suspended it, and why, is for the audit record alone.
      expect(JSON.stringify(problem)).not.toContain('odd reads')
    },
  })
const served = async (token: string) => expect((await gate.ask(message({ token }))).status).toBe(200)

describe('D16', () => {
  test('a suspended lease is refused until it is resumed', async () => {
    const token = await leased('lse_held')
    await served(token)
    expect(await order('suspend', 'lse_held')).toMatchObject({ state: 'suspended' })
    await refused(token, 'lease_suspended')
    expect(await order('resume', 'lse_held')).toMatchObject({ state: 'active' })
    await served(token)
    expect(await order('suspend', 'lse_held')).toMatchObject({ state: 'suspended' })
    await refused(token, 'lease_suspended')
  })

  test('so are the leases that were handed on from it', async () => {
    const parent = await leased('lse_parent')
    const child = await leased('lse_child', { ancestors: ['lse_between', 'lse_parent'] })
    await order('suspend', 'lse_parent')
    await refused(child, 'lease_suspended')
    await order('resume', 'lse_parent')
    await order('suspend', 'lse_child')
    await refused(child, 'lease_suspended')
    await served(parent)
  })

  test.each([
    ['complete', 'completed'],
    ['revoke', 'revoked'],
  ] as const)('after %s it is refused for good', async (verb, state) => {
    const id = `lse_${state}`
    const token = await leased(id)
    await served(token)
    expect(await order(verb, id)).toMatchObject({ state })
    await refused(token, 'revoked_by_lease')
  })

  test('each change is in the audit file, with who and why', async () => {
    await leased('lse_audited')
    await order('suspend', 'lse_audited')
    await order('suspend', 'lse_audited')
    await order('complete', 'lse_audited')
    const changes = () =>
      gate.audit().filter(({ event, lease_id }) => event === 'lease_state' && lease_id === 'lse_audited')
    await expect.poll(() => changes().length).toBe(2)
    const changed = { by: 'operator', reason: 'odd reads' }
    expect(changes()).toMatchObject([
      { state: 'suspended', version: 1, changed },
      { state: 'completed', version: 2, changed },
    ])
  })
})
