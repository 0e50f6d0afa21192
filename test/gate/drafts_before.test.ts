// What an approver is shown beside a draft, and drafts that outlive their lease or the policy that they were made
// under.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeLease } from '../../src/broker/lifecycle.ts'
import { isRefusal } from '../../src/refusals.ts'
import { actionsOf, draftToken, ended, makeDraft, release, send } from '../support/drafts.ts'
import { crmOperations, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'

let gate: TestGate
beforeAll(async () => {
  const before = (operation: Json) =>
    operation.match === 'PATCH /customers/{id}' ? { ...operation, before: 'GET /customers/{id}' } : operation
  const person = (name: string, roles: string[], groups: string[] = []) => ({
    name,
    token_file: `./${name}.token`,
    roles,
    groups,
  })
  gate = await startTestGate({
    crm: { operations: crmOperations.map(before) },
    // What the terms of a draft say is the shorter time, wherever they say less.
    policyData: {
      'approvers.json': {
        crm: { approvers: ['group:crm-owners'], expires_in: 600, quorum: 1, after_lease: 600 },
      },
    },
    config: {
      control: {
        operators: [
          person('carol@example.com', ['approver'], ['crm-owners']),
          person('mallory@example.com', ['approver'], ['others']),
          person('bob@example.com', ['auditor']),
          person('ops@example.com', ['operator']),
        ],
      },
    },
    answer: ({ method, url }, res) => {
      if (url === '/customers/missing') res.writeHead(404, { 'content-type': 'text/plain' }).end('none')
      else res.writeHead(200, { 'content-type': 'application/json' }).end(`{"now":"${method}"}`)
    },
  })
})
afterAll(() => gate.close())

const json = ['Content-Type: application/json']

async function look(id: string, who: string): Promise<{ status: number; body: Json }> {
  const token = readFileSync(join(gate.dir, `${who}.token`), 'utf8').trim()
  const response = await fetch(`http://127.0.0.1:${gate.running.control.port}/actions/${id}/before`, {
    headers: { authorization: `Bearer ${token}` },
  })
  return { status: response.status, body: (await response.json()) as Json }
}

const draft = (target = '/crm/customers/9821') =>
  makeDraft(gate, { token: draftToken(gate), target, fields: json, body: '{"now":"then"}' })

describe('what stands there before', () => {
  test('is read in the name of whoever looks, and the record names them', async () => {
    const id = await draft()
    const records = gate.records().length
    const { status, body } = await look(id, 'carol@example.com')
    expect([status, body]).toEqual([
      200,
      {
        operation: 'GET /customers/{id}',
        target: '/crm/customers/9821',
        status: 200,
        content_type: 'application/json',
        body_base64: Buffer.from('{"now":"GET"}').toString('base64'),
      },
    ])
    const [record] = await gate.recordsAfter(records)
    expect(record).toMatchObject({
      who: { user: 'carol@example.com' },
      agent: { id: 'agent:leasegate-console', profile: 'leasegate-console' },
      why: { system: 'leasegate', id },
      what: { operation: 'GET /customers/{id}', resource: 'crm:customer/9821' },
    })
    expect(gate.backend.requests.at(-1)?.headers['lease-user']).toBe('carol@example.com')
  })

  test('is an answer of the backend, whatever it says', async () => {
    const { body } = await look(await draft('/crm/customers/missing'), 'carol@example.com')
    expect(body).toMatchObject({ status: 404, content_type: 'text/plain' })
  })

  test('is nothing that policy would not let the person read themselves', async () => {
    const seen = gate.backend.requests.length
    const { status, body } = await look(await draft(), 'bob@example.com')
    expect([status, body]).toEqual([200, { unavailable: 'policy_denied' }])
    expect(gate.backend.requests).toHaveLength(seen)
  })

  test.each([
    ['whom policy does not name', 'mallory@example.com', 404, 'action_unknown'],
    ['who does not decide', 'ops@example.com', 403, 'operator_not_allowed'],
  ])('is nothing for somebody %s', async (_, who, expected, code) => {
    const seen = gate.backend.requests.length
    const { status, body } = await look(await draft(), who)
    expect([status, body.code]).toEqual([expected, code])
    expect(gate.backend.requests).toHaveLength(seen)
  })

  test('is told to be unavailable where the map names no read', async () => {
    const id = await makeDraft(gate, { token: draftToken(gate), method: 'DELETE' })
    expect((await look(id, 'carol@example.com')).body).toEqual({ unavailable: 'operation_unmapped' })
  })

  test('does not exist for an id that nobody knows', async () => {
    const { status, body } = await look('act_01K00000000000000000000000', 'carol@example.com')
    expect([status, body.code]).toEqual([404, 'action_unknown'])
  })
})

describe('a draft that outlives its lease', () => {
  /** A draft whose lease is in the store, and which policy lets outlive it by `afterLease` seconds. */
  async function outliving(id: string, afterLease: number): Promise<string> {
    const { leases } = await gate.store()
    await leases.put(leaseRecord({ id, issuer: gate.issuer.issuer, stage: 'draft' }))
    const made = await makeDraft(gate, { token: draftToken(gate, {}, { id }), fields: json, body: '{}' })
    const actions = await actionsOf(gate)
    const kept = await actions.get(made)
    const { terms } = kept!.action
    await actions.change(kept!, { ...kept!.action, terms: { ...terms, afterLease } })
    return made
  }

  async function complete(id: string): Promise<void> {
    const store = await gate.store()
    const record = await store.leases.get(id)
    const order = {
      verb: 'complete',
      by: 'agent:support-triage',
      reason: 'done',
      now: Date.now() / 1000,
    } as const
    expect(isRefusal(await changeLease(record!, order, store))).toBe(false)
  }

  test.each([
    ['is executed after its agent has completed the lease, where policy says so', 600, 'executed', undefined],
    ['is refused after that where policy says nothing', 0, 'failed', 'lease_expired'],
  ] as const)('%s', async (_, afterLease, state, code) => {
    const made = await outliving(`lse_done_${afterLease}`, afterLease)
    await complete(`lse_done_${afterLease}`)
    await release(gate, made)
    const { state: reached, outcome } = await ended(gate, made)
    expect([reached, outcome?.code]).toEqual([state, code])
  })

  test('is refused when the user has been revoked as well', async () => {
    const id = 'lse_done_user'
    const made = await outliving(id, 600)
    await complete(id)
    const { action } = (await (await actionsOf(gate)).get(made))!
    await gate.revoke({ session: action.lease.session, reason: 'left' })
    await release(gate, made)
    expect((await ended(gate, made)).outcome?.code).toBe('lease_revoked')
  })
})

test('a draft that policy would not make any more is not executed', async () => {
  const id = await draft()
  const seen = gate.backend.requests.length
  const profiles = join(gate.dir, 'policies/data/profiles.json')
  const data = JSON.parse(readFileSync(profiles, 'utf8')) as Record<string, { stages: string[] }>
  data.support!.stages = ['observe']
  writeFileSync(profiles, JSON.stringify(data))
  await gate.running.reload()
  const refused = await send(gate, { token: draftToken(gate), fields: json, body: '{}' })
  expect(refused.status).toBe(403)
  await release(gate, id)
  const { state, outcome } = await ended(gate, id)
  expect([state, outcome?.code]).toEqual(['failed', 'policy_denied'])
  expect(gate.backend.requests).toHaveLength(seen)
})
