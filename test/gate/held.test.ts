// A call that policy holds: it waits for a human, bound to the exact action, and goes through once. On a running gate;
// the yes is written into the store, as the control listener of another process would.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import type { Actions } from '../../src/approval/actions.ts'
import { actionsOf, approveAction, changeAction, yesOf } from '../support/approvals.ts'
import {
  eventually,
  type Message,
  message,
  publicOrigin,
  startTestGate,
  type TestGate,
} from '../support/gate.ts'

let gate: TestGate
let actions: Actions
beforeAll(async () => {
  gate = await startTestGate({ config: { approvals: { max_pending: 3, max_body: '1KiB' } } })
  actions = actionsOf(await gate.store(), gate.config)
})
afterAll(() => gate.close())

let leases = 0
const newLease = () => gate.token({}, { id: `lse_held_${++leases}` })

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly detail: string | undefined
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Record<string, unknown>
  /** Of the action that it waits for. */
  readonly action: string
}

async function send(ask: Message): Promise<Answer> {
  const { status, body, headers } = await gate.ask(message(ask))
  const document = JSON.parse(body.toString() || '{}')
  const { code, detail } = document
  const action = document.access_request?.task.id ?? document.id ?? ''
  return { status, code, detail, headers, body: document, action }
}

const remove = (token: string, more: Partial<Message> = {}) =>
  send({ method: 'DELETE', target: '/crm/customers/9821', token, ...more })
const relying = (action: string) => ({ fields: [`Lease-Approval: ${action}`] })
const task = (token: string, action: string, more: Partial<Message> = {}) =>
  send({ target: `/access/v1/requests/${action}`, token, ...more })

describe('a call that policy holds', () => {
  test('F7a is told where to look and how long, and nothing of it reaches the backend', async () => {
    const before = gate.records().length
    const seen = gate.backend.bytesSeen().length
    const { status, code, headers, body, action } = await remove(newLease())
    expect([status, code, headers['retry-after']]).toEqual([403, 'approval_required', '2'])
    expect(body.access_request).toMatchObject({
      task: {
        id: action,
        status: 'pending',
        status_endpoint: `${publicOrigin}/access/v1/requests/${action}`,
      },
      interval: 2,
    })
    expect(Date.parse((body.access_request as { expires_at: string }).expires_at)).toBeGreaterThan(Date.now())
    const [record] = await gate.recordsAfter(before)
    expect(record).toMatchObject({
      decision: { effect: 'hold', code: 'approval_required' },
      approval: { id: action, kind: null, approved_by: [] },
    })
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('is kept as it was sent, sealed', async () => {
    const fields = ['Content-Type: text/plain', 'If-Match: "7"', 'Prefer: return=minimal']
    const { action } = await remove(newLease(), {
      target: '/crm/customers/9821?force=1',
      fields,
      body: 'secret words',
    })
    const kept = await actions.get(action)
    expect(kept?.action).toMatchObject({
      kind: 'hold',
      state: 'pending',
      what: {
        operation: 'DELETE /customers/{id}',
        resource: 'crm:customer/9821',
        risk: 'high',
        bodyBytes: 12,
      },
      lease: { user: 'alice@example.com', agent: { id: 'agent:support-triage' } },
      terms: { approvers: ['group:crm-owners'], quorum: 1 },
    })
    const call = await actions.call(kept!.action)
    expect(Buffer.from(call!.body).toString()).toBe('secret words')
    expect(call).toMatchObject({
      target: '/crm/customers/9821?force=1',
      headers: expect.arrayContaining(['if-match', '"7"']),
    })
    const store = await gate.store()
    const stored = [await store.records.get('action', action), await store.records.get('call', action)]
    expect(JSON.stringify(stored)).not.toMatch(/secret words|force=1/)
    expect(JSON.stringify(call)).not.toContain('authorization')
  })

  test('goes through once with an approval, and then waits again', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action)
    const from = gate.audit().length
    expect((await remove(token)).status).toBe(200)
    expect(gate.backend.requests.at(-1)).toMatchObject({ method: 'DELETE', url: '/customers/9821' })
    const again = await remove(token)
    expect([again.code, again.action]).not.toContain(action)
    expect(again.code).toBe('approval_required')
    await eventually(() => gate.audit().length >= from + 3, 'the records')
    const seen = gate.audit().slice(from)
    expect(seen.map(({ outcome }) => (outcome as { ended: string }).ended)).toEqual([
      'intent',
      'completed',
      'refused',
    ])
    const relied = { id: action, kind: 'exact', approved_by: ['carol@example.com'] }
    expect(seen.slice(0, 2).map(({ approval }) => approval)).toEqual([relied, relied])
  })

  test('goes through exactly once, however many race for the approval', async () => {
    const seen = gate.backend.requests.length
    const token = newLease()
    await approveAction(actions, (await remove(token)).action)
    const answers = await Promise.all(Array.from({ length: 10 }, () => remove(token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(gate.backend.requests).toHaveLength(seen + 1)
  })

  test('asked again it is the same action, whatever does not change it', async () => {
    const token = newLease()
    const { action } = await remove(token)
    const again = await remove(token, {
      fields: ['User-Agent: other/1', 'Accept: text/csv', 'Prefer: wait=0'],
    })
    expect(again.action).toBe(action)
  })

  test.each<[string, Partial<Message>]>([
    ['path', { target: '/crm/customers/1042' }],
    ['query', { target: '/crm/customers/9821?force=1' }],
    ['body', { body: 'x', fields: ['Content-Type: text/plain'] }],
    ['fields', { fields: ['If-Match: "8"'] }],
  ])('F7b with another %s an approval is out of scope, and stays unused', async (_, changed) => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action)
    const other = await remove(token, {
      ...changed,
      fields: [...(changed.fields ?? []), `Lease-Approval: ${action}`],
    })
    expect([other.status, other.code]).toEqual([403, 'out_of_scope'])
    expect((await remove(token)).status).toBe(200)
  })

  test('F7b an approval is not for another lease', async () => {
    const { action } = await remove(newLease())
    await approveAction(actions, action)
    expect((await remove(newLease(), relying(action))).code).toBe('out_of_scope')
    expect((await remove(newLease())).code).toBe('approval_required')
  })

  const long = { expiresAt: Math.floor(Date.now() / 1000) - 5 }
  test.each<[string, Partial<Action>, string, string]>([
    ['F7c used', { state: 'used' }, 'approval_used', 'the approval was good for one call'],
    [
      'F7d expired',
      { ...long, state: 'approved', yes: [yesOf()] },
      'approval_expired',
      'Nobody approved this in time',
    ],
    [
      'refused',
      { state: 'refused', ended: { by: 'carol', at: 1, reason: 'keep her' } },
      'approval_refused',
      'keep her',
    ],
    ['withdrawn', { state: 'withdrawn' }, 'approval_withdrawn', 'The request for approval was taken back'],
  ])('an approval that is %s is told so to whoever relies on it', async (_, change, code, detail) => {
    const token = newLease()
    const { action } = await remove(token)
    await changeAction(actions, action, change)
    const answer = await remove(token, relying(action))
    expect([answer.status, answer.code, answer.detail ?? answer.body.title]).toEqual([403, code, detail])
  })

  test('a refused action cannot be asked for again until its time is over', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await changeAction(actions, action, { state: 'refused', ended: { by: 'carol', at: 1, reason: 'no' } })
    expect((await remove(token)).code).toBe('approval_refused')
    await changeAction(actions, action, long)
    expect((await remove(token)).code).toBe('approval_required')
  })

  test('F7e a yes of the user alone is not enough for policy', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action, [yesOf('alice@example.com')])
    expect((await remove(token)).code).toBe('policy_denied')
  })

  test('a yes of somebody whom policy names no longer does not count', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action, [yesOf('mallory@example.com', 'group:former-owners')])
    expect((await remove(token, relying(action))).code).toBe('out_of_scope')
    expect(await remove(token)).toMatchObject({ code: 'approval_required', action })
    const asked = (await actions.get(action))?.action
    expect(asked).toMatchObject({ state: 'pending', yes: [], terms: { approvers: ['group:crm-owners'] } })
    await approveAction(actions, action)
    expect((await remove(token)).status).toBe(200)
  })

  test('who is asked, and how many, is what policy says at the last call; a yes that still counts stays', async () => {
    const token = newLease()
    const { action } = await remove(token)
    const former = yesOf('mallory@example.com', 'group:former-owners')
    await changeAction(actions, action, ({ terms }) => ({
      ...{ state: 'approved', yes: [yesOf(), former] },
      terms: { ...terms, approvers: ['group:former-owners', 'group:crm-owners'], quorum: 2 },
    }))
    expect((await remove(token)).status).toBe(200)
    const { action: next } = await remove(token)
    await changeAction(actions, next, ({ terms }) => ({
      yes: [former],
      terms: { ...terms, approvers: ['group:former-owners'], quorum: 2 },
    }))
    expect(await remove(token)).toMatchObject({ code: 'approval_required', action: next })
    expect((await actions.get(next))?.action).toMatchObject({ yes: [], terms: { quorum: 1 } })
  })

  test('two spellings of one name are one person', async () => {
    const token = newLease()
    const { action } = await remove(token)
    const twice = [yesOf('carol@example.com', 'group:owners'), yesOf('Carol@Example.com', 'group:owners')]
    await changeAction(actions, action, ({ terms }) => ({
      ...{ state: 'approved', yes: twice },
      terms: { ...terms, approvers: ['group:owners'], quorum: 2 },
    }))
    expect((await remove(token)).code).toBe('approval_required')
    expect((await actions.get(action))?.action.state).toBe('pending')
  })

  test('an approval of something that means something else by now does not count', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await changeAction(actions, action, ({ what }) => ({
      ...{ state: 'approved', yes: [yesOf()] },
      what: { ...what, risk: 'low' },
    }))
    expect(await remove(token)).toMatchObject({ code: 'approval_required', action })
    expect((await actions.get(action))?.action).toMatchObject({
      state: 'pending',
      yes: [],
      what: { risk: 'high' },
    })
  })

  test('a body that is too large to be shown is refused before anybody is asked', async () => {
    const answer = await remove(newLease(), { body: 'x'.repeat(2_000), fields: ['Content-Type: text/plain'] })
    expect([answer.status, answer.code]).toEqual([413, 'body_too_large'])
  })

  test('no lease may let more wait than the configuration says', async () => {
    const token = newLease()
    for (const id of [1, 2, 3]) {
      expect((await remove(token, { target: `/crm/customers/${id}` })).code).toBe('approval_required')
    }
    expect(await remove(token, { target: '/crm/customers/4' })).toMatchObject({
      status: 429,
      code: 'too_many_waiting',
    })
    expect((await remove(token, { target: '/crm/customers/1' })).code).toBe('approval_required')
  })

  test.each(['act_1', 'ACT_01K9ZQ4C6V8B3N5M7P9R1T3W5Y', '', '../x'])(
    'Lease-Approval of %j is not read',
    async (id) => {
      expect((await remove(newLease(), relying(id))).status).toBe(400)
    },
  )
})

describe('Prefer: wait', () => {
  const waiting = { fields: ['Prefer: wait=20'] }
  /** The action that a call under this lease waits for, once it does. */
  async function pending(lease: string): Promise<string> {
    let found: string | undefined
    await eventually(async () => {
      const [kept] = await actions.list({ lease }, { limit: 1 })
      found = kept?.action.id
      return found !== undefined
    }, 'an action')
    return found!
  }

  test('keeps the call open until somebody says yes, and lets it through', async () => {
    const seen = gate.backend.requests.length
    const answer = remove(newLease(), waiting)
    const action = await pending(`lse_held_${leases}`)
    expect(gate.backend.requests).toHaveLength(seen)
    await approveAction(actions, action)
    const { status, headers } = await answer
    expect([status, headers['preference-applied']]).toEqual([200, 'wait'])
    expect(gate.backend.requests).toHaveLength(seen + 1)
  })

  test('ends with what a human said when that is no', async () => {
    const answer = remove(newLease(), waiting)
    const action = await pending(`lse_held_${leases}`)
    await changeAction(actions, action, {
      state: 'refused',
      ended: { by: 'carol', at: 1, reason: 'keep her' },
    })
    expect(await answer).toMatchObject({ status: 403, code: 'approval_refused', detail: 'keep her' })
  })

  test('ends with the time that people have, and the record says that nobody has decided', async () => {
    const answer = remove(newLease(), waiting)
    const action = await pending(`lse_held_${leases}`)
    const polled = task(gate.token({}, { id: `lse_held_${leases}` }), action, waiting)
    await changeAction(actions, action, { expiresAt: Math.floor(Date.now() / 1000) })
    expect(await answer).toMatchObject({ status: 403, code: 'approval_expired' })
    expect((await polled).body.status).toBe('expired')
    const told = () => gate.audit().filter((line) => line.event === 'approval' && line.action_id === action)
    await eventually(() => told().length > 0, 'the record')
    expect(told()).toMatchObject([
      {
        ...{ step: 'expired', state: 'expired', decided_by: null, lease_id: `lse_held_${leases}` },
        ...{ who: { user: 'alice@example.com' }, agent: { id: 'agent:support-triage' } },
        decision: { effect: 'deny', code: 'approval_expired' },
      },
    ])
    expect((await actions.list('pending', { limit: 100 })).map((kept) => kept.action.id)).not.toContain(
      action,
    )
    expect(await gate.metrics()).toContain('leasegate_approval_wait_seconds_count{outcome="expired"} 1')
  })

  test('ends when the lease is revoked', async () => {
    const answer = remove(newLease(), waiting)
    await pending(`lse_held_${leases}`)
    await gate.revoke({ lease: `lse_held_${leases}`, reason: 'stop' })
    expect((await answer).code).toBe('lease_revoked')
  })

  test('a caller that has hung up gets nothing done', async () => {
    const seen = gate.backend.requests.length
    const before = gate.records().length
    const connection = await gate.connect()
    connection.write(
      message({ method: 'DELETE', target: '/crm/customers/77', token: newLease(), ...waiting }),
    )
    const action = await pending(`lse_held_${leases}`)
    connection.socket.destroy()
    await gate.recordsAfter(before)
    await approveAction(actions, action)
    expect(gate.backend.requests).toHaveLength(seen)
    expect((await actions.get(action))?.action.state).toBe('approved')
  })

  test('ends as any other held call when nobody says anything', async () => {
    expect((await remove(newLease(), { fields: ['Prefer: wait=1'] })).code).toBe('approval_required')
  })
})

describe('/access/v1/requests', () => {
  test('tells the agent what became of its action', async () => {
    const token = newLease()
    const { action } = await remove(token)
    expect(await task(token, action)).toMatchObject({
      status: 200,
      body: { id: action, kind: 'hold', status: 'pending', interval: 2 },
      headers: { 'retry-after': '2', 'cache-control': 'no-store' },
    })
    await approveAction(actions, action)
    expect((await task(token, action)).body.status).toBe('approved')
    await changeAction(actions, action, {
      state: 'refused',
      ended: { by: 'carol', at: 1, reason: 'keep her' },
    })
    expect((await task(token, action)).body).toMatchObject({ status: 'denied', reason: 'keep her' })
  })

  test('says neither who may approve nor who did', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await approveAction(actions, action)
    expect(JSON.stringify((await task(token, action)).body)).not.toMatch(/carol|crm-owners/)
  })

  test('takes an action back, twice as once', async () => {
    const token = newLease()
    const { action } = await remove(token)
    const cancel = () => send({ method: 'POST', target: `/access/v1/requests/${action}/cancel`, token })
    expect((await cancel()).body.status).toBe('cancelled')
    expect((await cancel()).status).toBe(200)
    const used = (await remove(token)).action
    await changeAction(actions, used, { state: 'used' })
    const late = await send({ method: 'POST', target: `/access/v1/requests/${used}/cancel`, token })
    expect([late.status, late.code]).toEqual([409, 'action_state_conflict'])
  })

  test('answers alike for the action of another lease and for one that nobody knows', async () => {
    const { action } = await remove(newLease())
    const token = newLease()
    const plain = ({ status, body }: Answer) => [status, { ...body, decision_id: '' }]
    const other = await task(token, action)
    expect(other).toMatchObject({ status: 404, code: 'action_unknown' })
    expect(plain(await task(token, 'act_01K9ZQ4C6V8B3N5M7P9R1T3W5Y'))).toEqual(plain(other))
  })

  test.each([
    ['without a lease', undefined, 'lease_missing'],
    ['with a token that is none', 'x.y.z', 'lease_invalid'],
  ])('%s tells nothing', async (_, token, code) => {
    const answer = await send({ target: '/access/v1/requests/act_1', ...(token !== undefined && { token }) })
    expect([answer.status, answer.code]).toEqual([401, code])
  })

  test('a revoked lease has no business there', async () => {
    const token = newLease()
    const { action } = await remove(token)
    await gate.revoke({ lease: `lse_held_${leases}`, reason: 'stop' })
    expect((await task(token, action)).code).toBe('lease_revoked')
  })

  test('a token for one backend is as good', async () => {
    const crm = gate.token({ aud: `${publicOrigin}/crm` }, { id: `lse_held_${++leases}` })
    const { action } = await remove(crm)
    expect((await task(crm, action)).status).toBe(200)
  })

  test.each([
    ['DELETE', '', 405],
    ['GET', '/cancel', 405],
    ['GET', '/other', 404],
    ['GET', '/cancel/x', 404],
  ])('%s of …%s is %i', async (method, tail, status) => {
    const token = newLease()
    const { action } = await remove(token)
    expect((await send({ method, target: `/access/v1/requests/${action}${tail}`, token })).status).toBe(
      status,
    )
  })
})

describe('a write in stage draft', () => {
  test('becomes a draft: 202 and where to look, one action however often it is sent', async () => {
    const seen = gate.backend.requests.length
    const before = gate.records().length
    const token = gate.token({}, { id: `lse_held_${++leases}`, stage: 'draft' })
    const write = () =>
      send({
        method: 'POST',
        target: '/crm/notes/5',
        token,
        body: 'hello',
        fields: ['Content-Type: text/plain'],
      })
    const { status, headers, body, action } = await write()
    expect([status, headers.location]).toEqual([202, `${publicOrigin}/access/v1/requests/${action}`])
    expect(body).toMatchObject({ id: action, kind: 'draft', status: 'pending' })
    expect((await write()).action).toBe(action)
    const [record] = await gate.recordsAfter(before)
    expect(record).toMatchObject({
      decision: { effect: 'draft', code: null },
      outcome: { status: 202 },
      approval: { id: action },
    })
    expect(gate.backend.requests).toHaveLength(seen)
  })
})
