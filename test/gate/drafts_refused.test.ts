// What may have changed between a release and its execution: whatever says no by then, nothing is executed, the draft
// has failed with the code of that no, and a draft that a gate has begun is never begun again.
import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import { silentSeconds } from '../../src/approval/release.ts'
import { actionsOf, draftToken, ended, makeDraft, release, send } from '../support/drafts.ts'
import { crmOperations, eventually, grantsFor, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import { freePorts } from '../support/ports.ts'

let gate: TestGate
let deaf: ReturnType<typeof createServer>
beforeAll(async () => {
  const [down = 0, slow = 0] = await freePorts(2)
  deaf = createServer().listen(slow, '127.0.0.1')
  const operations = crmOperations
  const timeouts = { connect: '2s', headers: '1s', idle: '1s' }
  const alike = { require_binding: 'never', operations, timeouts }
  gate = await startTestGate({
    backends: {
      down: { ...alike, url: `http://127.0.0.1:${down}`, path_prefix: '/down' },
      slow: { ...alike, url: `http://127.0.0.1:${slow}`, path_prefix: '/slow' },
    },
  })
})
afterAll(async () => {
  await gate.close()
  deaf.close()
})

const json = ['Content-Type: application/json']
let lease = 0
const nextLease = () => `lse_draft_${lease++}`

/** How it ended: its state and code, and how many requests the backend has seen of it. */
async function endOf(id: string, before: number) {
  const { state, outcome } = await ended(gate, id)
  return { state, code: outcome?.code, status: outcome?.status, seen: gate.backend.requests.length - before }
}

/** Changes the stored action as a gate or a person would have. */
async function edit(id: string, change: (action: Action) => Action): Promise<void> {
  const actions = await actionsOf(gate)
  const kept = await actions.get(id)
  await actions.change(kept!, change(kept!.action))
}

const failed = (code: string) => ({ state: 'failed', code, status: undefined, seen: 0 })

describe('a released draft fails, and is not executed, once', () => {
  test('its lease is revoked', async () => {
    const id = nextLease()
    const draft = await makeDraft(gate, { token: draftToken(gate, {}, { id }), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    expect((await gate.revoke({ lease: id, reason: 'over' })).status).toBe(201)
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('lease_revoked'))
  })

  test('its lease is suspended', async () => {
    const id = nextLease()
    const draft = await makeDraft(gate, { token: draftToken(gate, {}, { id }), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    const now = Math.floor(Date.now() / 1000)
    const by = { reason: 'look', by: 'operator', at: now, expiresAt: now + 3_600 }
    await (await gate.store()).revocations.suspend({ lease: id, suspended: true, version: 1, ...by })
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('lease_revoked'))
  })

  test('its lease has ended', async () => {
    const now = Math.floor(Date.now() / 1000)
    const max = { id: nextLease(), max_exp: now + 4 }
    const token = draftToken(gate, { exp: now + 4 }, max)
    const draft = await makeDraft(gate, { token, fields: json, body: '{}' })
    const before = gate.backend.requests.length
    await edit(draft, (action) => ({ ...action, expiresAt: action.expiresAt + 60 }))
    await new Promise((resolve) => setTimeout(resolve, 4_500))
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('lease_expired'))
  })

  test('its budget is gone', async () => {
    const id = nextLease()
    const details = grantsFor('crm', ['customer/*']).map((grant) => ({
      ...grant,
      constraints: { max_calls: 1 },
    }))
    const token = draftToken(gate, { authorization_details: details }, { id })
    const draft = await makeDraft(gate, { token, fields: json, body: '{}' })
    expect((await send(gate, { token, method: 'GET' })).status).toBe(200)
    const before = gate.backend.requests.length
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('budget_exhausted'))
  })

  test('it outlives its lease as policy said once, and not as policy says now', async () => {
    const id = nextLease()
    const end = Math.floor(Date.now() / 1000) + 5
    const token = draftToken(gate, { exp: end }, { id, max_exp: end })
    const draft = await makeDraft(gate, { token, fields: json, body: '{}' })
    const before = gate.backend.requests.length
    await edit(draft, (action) => ({ ...action, terms: { ...action.terms, afterLease: 600 } }))
    const { issuer } = gate.issuer
    await (await gate.store()).leases.put(leaseRecord({ id, issuer, issuedAt: end - 60, maxExpiresAt: end }))
    await eventually(() => Date.now() / 1000 > end + 1, 'the end of the lease')
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('lease_expired'))
  })

  test('policy asks for people who have not said yes', async () => {
    const draft = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    const by = { user: 'dave@example.com', issuer: 'https://login.example', subject: 'dave' }
    const yes = [{ by, as: 'group:others', at: 1, reason: '', shownBy: 'session' as const }]
    await edit(draft, (action) => ({ ...action, state: 'approved', yes }))
    expect(await endOf(draft, before)).toEqual(failed('out_of_scope'))
  })

  test('nobody but the user of the lease has said yes', async () => {
    const draft = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    await edit(draft, (action) => {
      const by = { user: action.lease.user, issuer: 'https://login.example', subject: 'alice' }
      const yes = [{ by, as: 'group:crm-owners', at: 1, reason: '', shownBy: 'session' as const }]
      return { ...action, state: 'approved', yes }
    })
    expect(await endOf(draft, before)).toEqual(failed('policy_denied'))
  })

  test.each([
    ['the operation has another risk', { risk: 'low' }],
    ['the operation has another verb', { verb: 'read' }],
    ['it is about another resource', { resource: 'crm:customer/1' }],
  ])('%s in the map than people were shown', async (_, was) => {
    const draft = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    await edit(draft, (action) => ({ ...action, what: { ...action.what, ...was } }))
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('out_of_scope'))
  })

  test('time has run out before a gate came to it', async () => {
    const draft = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    await edit(draft, (action) => ({ ...action, expiresAt: Math.floor(Date.now() / 1000) - 1 }))
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('approval_expired'))
  })

  test('somebody has put other bytes in the place of its own', async () => {
    const [draft, other] = [
      await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{"amount":1}' }),
      await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{"amount":1000}' }),
    ]
    const before = gate.backend.requests.length
    const { records } = await gate.store()
    const [own, theirs] = [await records.get('call', draft), await records.get('call', other)]
    const expiresAt = Date.now() / 1000 + 600
    await records.write([
      { kind: 'call', id: draft, expect: own!.version, text: theirs!.text, expiresAt, at: 1 },
    ])
    await release(gate, draft)
    expect(await endOf(draft, before)).toEqual(failed('evidence_unavailable'))
  })
})

describe('what comes of an execution is told', () => {
  test.each([
    ['cannot be reached', 'down', 'backend_unreachable'],
    ['does not answer', 'slow', 'backend_timeout'],
  ])('where the backend %s', async (_, backend, code) => {
    const token = draftToken(gate, { authorization_details: grantsFor(backend) })
    const draft = await makeDraft(gate, {
      token,
      target: `/${backend}/customers/1`,
      fields: json,
      body: '{}',
    })
    await release(gate, draft)
    const { state, outcome } = await ended(gate, draft)
    expect([state, outcome?.code, outcome?.status]).toEqual(['failed', code, undefined])
    const record = gate.records().find((each) => each.decision_id === outcome?.decisionId)
    expect(record?.outcome.ended).toBe('backend_failed')
  })

  test('in the audit file: the request with its intent, and the end of the draft', async () => {
    const draft = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    await release(gate, draft)
    const { outcome } = await ended(gate, draft)
    const told = () =>
      gate
        .audit()
        .filter((each) => each.decision_id === outcome?.decisionId)
        .map((each) => each.event ?? (each as { outcome: { ended: string } }).outcome.ended)
    await eventually(() => told().length === 3, 'the three lines')
    expect(told().toSorted()).toEqual(['completed', 'draft', 'intent'])
  })
})

describe('a draft that a gate has begun', () => {
  const executing = async (silentFor: number) => {
    const draft = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    const before = gate.backend.requests.length
    const aliveAt = Date.now() / 1000 - silentFor
    await edit(draft, (action) => ({ ...action, state: 'executing', aliveAt }))
    return { draft, before }
  }

  test('and left for good is interrupted: nobody knows what the backend saw, and nobody executes it again', async () => {
    const { draft, before } = await executing(silentSeconds + 1)
    expect(await endOf(draft, before)).toEqual(failed('interrupted'))
  })

  test('is left to it while it gives signs of life', async () => {
    const { draft, before } = await executing(0)
    const marker = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{"marker":1}' })
    await release(gate, marker)
    await ended(gate, marker)
    expect((await (await actionsOf(gate)).get(draft))?.action.state).toBe('executing')
    expect(gate.backend.requests.length - before).toBe(1)
  })
})

test('where several workers serve agents, their supervisor executes what is released', async () => {
  const workers = await startTestGate({ config: { workers: 2 } })
  try {
    const token = draftToken(workers)
    const draft = await makeDraft(workers, { token, fields: json, body: '{"workers":2}' })
    await release(workers, draft)
    expect((await ended(workers, draft)).state).toBe('executed')
    expect(workers.backend.requests.map(({ body }) => body.toString())).toEqual(['{"workers":2}'])
    const target = `/access/v1/requests/${draft}/response`
    expect((await send(workers, { token, method: 'GET', target })).body.toString()).toBe('{"ok":true}')
  } finally {
    await workers.close()
  }
})
