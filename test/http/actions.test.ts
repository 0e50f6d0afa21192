// `/actions` over a real socket and a real store: who sees what, every order and every refusal of it with its one
// record, and that an action which somebody may not know of is as one that nobody knows.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import { type Deferral, Unavailable } from '../../src/ports.ts'
import { refuse } from '../../src/refusals.ts'
import {
  type Answer,
  type DecidingWorld,
  type Name,
  openDeciding,
  plainConfirmation,
} from '../support/deciding.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'
import { now, terms } from '../support/waiting_actions.ts'

let world: DecidingWorld
beforeAll(async () => {
  world = await openDeciding()
  const issuedAt = Math.floor(now()) - 60
  await world.store.leases.put(leaseRecord({ id: 'lse_acme', issuedAt, tenant: 'acme' }))
})
afterAll(() => world.close())
afterEach(() => {
  world.audit.length = 0
  Object.assign(world.over, { confirmation: plainConfirmation, fault: undefined, nudged: 0 })
})

const get = (path: string, as: Name | undefined = 'carol') => world.call('GET', path, as)
const order = (verb: string, { id, fingerprint }: Pick<Action, 'id' | 'fingerprint'>, as?: Name, more = {}) =>
  world.call('POST', `/actions/${id}/${verb}`, as, { fingerprint, ...more })
const said = ({ status, json }: Answer) => [status, json.code, json.reasons]
const idsOf = ({ json }: Answer) => (json.actions as { id: string }[]).map(({ id }) => id)
const last = () => world.audit.at(-1) as Json

describe('GET /actions/{id}', () => {
  test('shows exactly what was asked, the bytes included, and what the caller may do', async () => {
    const held = await world.open()
    const { status, json } = await get(`/actions/${held.id}`)
    expect(status).toBe(200)
    expect(json).toEqual({
      ...{ id: held.id, kind: 'hold', state: 'pending', fingerprint: held.fingerprint },
      group: expect.stringMatching(/^[\w-]{12}$/),
      ...{ created_at: held.createdAt, expires_at: held.expiresAt, decision_id: 'dec_1' },
      what: {
        ...{ backend: 'crm', operation: 'DELETE /customers/{id}', verb: 'delete', sensitivity: 'restricted' },
        ...{ resource: 'crm:customer/9821', risk: 'medium', method: 'DELETE', path: '/crm/customers/9821' },
        ...{ content_type: null, body_bytes: 5, body_digest: 'sha-256:x' },
      },
      lease: JSON.parse(JSON.stringify(held.lease)),
      said: { effect: 'hold', reasons: ['high_risk'], policy_digest: 'sha256:1' },
      terms: {
        ...{ approvers: terms.approvers, quorum: 1, reason_required: false, after_lease: 0, repeat: null },
      },
      yes: [],
      you: { may: true, reason_required: false, step_up: false, passkey: false },
      call: {
        ...{ method: 'DELETE', target: '/crm/customers/9821?dry=no' },
        headers: [['content-type', 'text/plain']],
        body_base64: Buffer.from('bytes').toString('base64'),
      },
    })
  })

  test.each<[Name, string]>([
    ['alice', 'requester'],
    ['audit', 'role'],
  ])('tells %s why not', async (as, why) => {
    const held = await world.open()
    expect((await get(`/actions/${held.id}`, as)).json.you).toMatchObject({ may: false, why_not: why })
  })

  test('is 404 to the byte for whoever may not know of it', async () => {
    const held = await world.open()
    const theirs = await world.open({ lease: { ...held.lease, id: 'lse_acme' } })
    const strangers = await Promise.all([
      get(`/actions/${held.id}`, 'eve'),
      get('/actions/act_nobody', 'eve'),
      get(`/actions/${held.id}`, 'acme'),
      get('/actions/act_nobody', 'acme'),
    ])
    for (const { status, text } of strangers) expect([status, text]).toEqual([404, strangers[0]!.text])
    expect((await get(`/actions/${theirs.id}`, 'acme')).status).toBe(200)
  })
})

describe('GET /actions', () => {
  test('lists what policy names the caller for; auditors see all, operators without a role nothing', async () => {
    const own = await world.open({ terms: { ...terms, approvers: ['eve@example.com'] } })
    const other = await world.open()
    expect(idsOf(await get('/actions?limit=200', 'eve'))).toEqual([own.id])
    expect(idsOf(await get('/actions?limit=200', 'carol'))).toContain(other.id)
    expect(idsOf(await get('/actions?limit=200', 'carol'))).not.toContain(own.id)
    expect(idsOf(await get('/actions?limit=200', 'audit'))).toEqual(
      expect.arrayContaining([own.id, other.id]),
    )
    expect(said(await get('/actions', 'ops'))[1]).toBe('operator_not_allowed')
    expect((await world.call('GET', '/actions', undefined)).status).toBe(401)
  })

  test('goes on where the page before has ended, newest first', async () => {
    const lease = { ...(await world.open()).lease, id: 'lse_pages' }
    const at = now()
    const made: Action[] = []
    for (const back of [3, 2, 1]) made.push(await world.open({ lease, createdAt: at - back }))
    const first = await get('/actions?state=all&lease=lse_pages&limit=2')
    expect(idsOf(first)).toEqual([made[2]!.id, made[1]!.id])
    const second = await get(`/actions?state=all&lease=lse_pages&limit=2&before=${first.json.next}`)
    expect([idsOf(second), second.json.next]).toEqual([[made[0]!.id], undefined])
  })

  test('loses none of those of one moment between two pages', async () => {
    const lease = { ...(await world.open()).lease, id: 'lse_moment' }
    const at = now()
    const made: Action[] = []
    for (const back of [1, 2, 2, 2, 3]) made.push(await world.open({ lease, createdAt: at - back }))
    const seen: string[] = []
    let place = ''
    for (let pages = 0; pages < made.length; pages++) {
      const page = await get(`/actions?state=all&lease=lse_moment&limit=2${place}`)
      seen.push(...idsOf(page))
      if (page.json.next === undefined) break
      place = `&before=${page.json.next}`
    }
    expect(seen.toSorted()).toEqual(made.map(({ id }) => id).toSorted())
  })

  test('goes on to what somebody may decide on behind a thousand that are for others', async () => {
    const lease = { ...(await world.open()).lease, id: 'lse_flood' }
    const at = now()
    const own = await world.open({ lease, createdAt: at - 600, expiresAt: at + 600 })
    const others = { ...terms, approvers: ['nobody@example.com'] }
    for (let made = 0; made < 1_000; made++) {
      await world.open({ lease, createdAt: at - made / 10, expiresAt: at + 600, terms: others })
    }
    const first = await get('/actions?lease=lse_flood')
    expect(idsOf(first)).toEqual([])
    const second = await get(`/actions?lease=lse_flood&before=${first.json.next}`)
    expect([idsOf(second), second.json.next]).toEqual([[own.id], undefined])
  })

  test('groups what one agent asks for again and again', async () => {
    const { what, lease } = await world.open()
    const grouped = { ...lease, id: 'lse_groups' }
    await world.open({ lease: grouped })
    await world.open({ lease: grouped, what: { ...what, resource: 'crm:customer/1' } })
    await world.open({ lease: grouped, what: { ...what, verb: 'update' } })
    const { json } = await get('/actions?lease=lse_groups')
    const groups = (json.actions as { group: string }[]).map(({ group }) => group)
    expect([groups.length, new Set(groups).size]).toEqual([3, 2])
  })

  test.each(['limit=0', 'limit=201', 'limit=x', 'limit=1&limit=2', 'before=-1', 'state=mine', 'kind=all'])(
    'refuses ?%s',
    async (query) => {
      expect(said(await get(`/actions?${query}`)).slice(0, 2)).toEqual([400, 'malformed_request'])
    },
  )
})

describe('orders', () => {
  test('approve, withdraw, refuse: one record each, with both identities', async () => {
    const held = await world.open()
    const approved = await order('approve', held, 'carol', { reason: 'as agreed' })
    expect(approved.json).toMatchObject({
      state: 'approved',
      yes: [{ user: 'carol@example.com', reason: 'as agreed', shown_by: 'token' }],
      you: { may: false, why_not: 'already' },
    })
    const program = { issuer: 'leasegate:operators', how: 'token' }
    expect(world.audit).toEqual([
      expect.objectContaining({
        ...{ event: 'approval', step: 'approved', verb: 'approve', action_id: held.id, state: 'approved' },
        ...{ lease_id: 'lse_1', who: { user: 'alice@example.com' }, agent: held.lease.agent },
        why: held.lease.task,
        decided_by: {
          ...{ user: 'carol@example.com', subject: 'carol@example.com', shown_by: 'token', ...program },
        },
        asked: { fingerprint: held.fingerprint, reason: 'as agreed' },
        decision: { effect: 'allow', code: null, reasons: [], cause: null },
        repeated: false,
      }),
    ])
    expect((await order('approve', held, 'carol')).status).toBe(200)
    expect(last()).toMatchObject({ step: null, repeated: true })
    expect((await order('withdraw', held, 'carol')).json.state).toBe('pending')
    expect(last()).toMatchObject({ step: 'withdrawn', state: 'pending' })
    const refused = await order('refuse', held, 'dave', { reason: 'wrong one' })
    expect(refused.json).toMatchObject({
      state: 'refused',
      ended: { by: 'dave@example.com', reason: 'wrong one' },
    })
    expect(last()).toMatchObject({ step: 'refused', decided_by: { user: 'dave@example.com' } })
    expect(world.audit).toHaveLength(4)
  })

  test.each<[string, Partial<Action>, string, Name | undefined, object, unknown[]]>([
    ['the requester in capitals', {}, 'approve', 'alice', {}, [403, 'approver_not_allowed', ['requester']]],
    ['the requester who refuses', {}, 'refuse', 'alice', {}, [403, 'approver_not_allowed', ['requester']]],
    ['whom policy does not name', {}, 'approve', 'eve', {}, [404, 'action_unknown', undefined]],
    ['another tenant', {}, 'approve', 'acme', {}, [404, 'action_unknown', undefined]],
    ['who is no approver', {}, 'approve', 'named', {}, [403, 'operator_not_allowed', undefined]],
    ['an auditor', {}, 'approve', 'audit', {}, [403, 'operator_not_allowed', undefined]],
    ['nobody', {}, 'approve', undefined, {}, [401, 'operator_required', undefined]],
    ['a repeat that policy has not', {}, 'approve', 'carol', { repeat: { calls: 2, seconds: 9 } }, [403]],
    ['a repeat with a no', {}, 'refuse', 'carol', { repeat: { calls: 2, seconds: 9 } }, [400]],
    ['another fingerprint', {}, 'approve', 'carol', { fingerprint: 'x' }, [409, 'action_state_conflict']],
    ['no fingerprint', {}, 'approve', 'carol', { fingerprint: 7 }, [400, 'malformed_request']],
    ['an unknown member', {}, 'approve', 'carol', { force: true }, [400, 'malformed_request']],
    ['a reason with bidi', {}, 'approve', 'carol', { reason: '\u202eko' }, [400, 'malformed_request']],
    [
      'an assertion nobody can check',
      {},
      'approve',
      'carol',
      { assertion: {} },
      [403, 'confirmation_required'],
    ],
    ['what has expired', { expiresAt: 1 }, 'approve', 'carol', {}, [410, 'action_expired', undefined]],
    ['what is used', { state: 'used' }, 'approve', 'carol', {}, [409, 'action_state_conflict', ['used']]],
    ['what is used', { state: 'used' }, 'refuse', 'carol', {}, [409, 'action_state_conflict', ['used']]],
    ['what is used', { state: 'used' }, 'withdraw', 'carol', {}, [409, 'action_state_conflict', ['used']]],
    ['a lease that is over', { kind: 'hold' }, 'approve', 'carol', {}, [409, 'action_state_conflict']],
  ])('%s is refused, with one record and nothing written', async (name, over, verb, as, more, wanted) => {
    const base = await world.open()
    const isOver = name === 'a lease that is over'
    const ended = Math.floor(now()) - 5
    if (isOver) {
      await world.store.leases.put(leaseRecord({ id: 'lse_ended', issuedAt: ended - 9, maxExpiresAt: ended }))
    }
    const lease = isOver ? { ...base.lease, id: 'lse_ended' } : base.lease
    // One that has expired is looked at before it is forgotten.
    const times = over.expiresAt === undefined ? {} : { createdAt: now() - 60, expiresAt: now() - 1 }
    const held = await world.open({ lease, ...over, ...times })
    const answer = await order(verb, held, as, more)
    expect(said(answer).slice(0, wanted.length)).toEqual(wanted)
    expect(await world.get(held.id)).toEqual(held)
    expect(world.audit).toEqual([
      expect.objectContaining({
        ...{ event: 'approval', step: null, verb, repeated: false },
        decision: expect.objectContaining({ effect: 'deny', code: answer.json.code }),
      }),
    ])
    const byWhom = last().decided_by
    if (as === undefined) expect(byWhom).toBeNull()
    else expect(byWhom).toMatchObject({ issuer: 'leasegate:operators' })
  })

  test('an id that nobody has: 404, and its record has no more than what was sent', async () => {
    const answer = await order('approve', { id: 'act_nobody', fingerprint: 'x' }, 'carol')
    expect(said(answer).slice(0, 2)).toEqual([404, 'action_unknown'])
    expect(world.audit).toEqual([
      expect.objectContaining({ action_id: 'act_nobody', who: null, lease_id: null, agent: null }),
    ])
  })

  test('what cannot be recorded is not done', async () => {
    const held = await world.open()
    world.over.fault = 'the disk is full'
    expect(said(await order('approve', held, 'carol')).slice(0, 2)).toEqual([503, 'audit_unavailable'])
    expect(await world.get(held.id)).toEqual(held)
  })

  test('a store that is gone: 503, one record', async () => {
    const held = await world.open()
    world.over.confirmation = {
      ...plainConfirmation,
      confirm: async () => {
        throw new Unavailable('gone')
      },
    }
    expect(said(await order('approve', held, 'carol')).slice(0, 2)).toEqual([503, 'evidence_unavailable'])
    expect(world.audit).toHaveLength(1)
    expect(await world.get(held.id)).toEqual(held)
  })

  test('a yes that has to be confirmed is not one before', async () => {
    const held = await world.open()
    const seen: unknown[] = []
    world.over.confirmation = {
      needs: (_, risk) => ({ stepUp: risk === 'medium', passkey: true }),
      confirm: async (_, { fingerprint }, assertion) => {
        seen.push([fingerprint, assertion])
        return assertion === 'good' ? 'passkey' : refuse('confirmation_required')
      },
    }
    expect((await get(`/actions/${held.id}`)).json.you).toMatchObject({ step_up: true, passkey: true })
    expect(said(await order('approve', held, 'carol'))[1]).toBe('confirmation_required')
    const approved = await order('approve', held, 'carol', { assertion: 'good' })
    expect(approved.json).toMatchObject({ state: 'approved', yes: [{ shown_by: 'passkey' }] })
    expect(seen).toEqual([
      [held.fingerprint, undefined],
      [held.fingerprint, 'good'],
    ])
    expect(last()).toMatchObject({
      decided_by: { shown_by: 'passkey' },
      asked: { fingerprint: held.fingerprint },
    })
    expect(JSON.stringify(world.audit)).not.toContain('good')
    // A no takes no passkey.
    expect((await order('refuse', held, 'dave')).status).toBe(200)
  })

  test('a draft that is released wakes the gate, once', async () => {
    const draft = await world.open({ kind: 'draft', terms: { ...terms, quorum: 2 } })
    await order('approve', draft, 'carol')
    expect(world.over.nudged).toBe(0)
    await order('approve', draft, 'dave')
    await order('approve', draft, 'dave')
    expect(world.over.nudged).toBe(1)
  })

  test('nothing that a person pastes puts a token or a line into the record', async () => {
    const held = await world.open()
    const token = ['eyJhbGciOiJFUzI1NiJ9', 'e30', 'c2ln'].join('.')
    await order('approve', held, 'carol', { reason: `pasted ${token}` })
    await order('approve', held, 'carol', { reason: 'x'.repeat(10_000), [token]: token })
    expect(JSON.stringify(world.audit)).not.toContain(token)
    for (const record of world.audit) expect(JSON.stringify(record).length).toBeLessThan(4_000)
  })

  test('are counted, and how long people took', async () => {
    const { body } = await world.metrics.render()
    expect(body).toMatch(/leasegate_approval_decisions_total\{verb="approve",result="done"\} \d+/)
    expect(body).toMatch(/leasegate_approval_decisions_total\{verb="approve",result="action_expired"\} 1/)
    expect(body).toMatch(/leasegate_approval_wait_seconds_count\{outcome="approved"\} \d+/)
    expect(body).toMatch(/leasegate_approval_wait_seconds_count\{outcome="refused"\} \d+/)
  })
})

describe('/repeats and /approvers', () => {
  test('a repeat is listed beside its lease, and ends when it is revoked', async () => {
    const repeat = { calls: 5, seconds: 600 }
    const base = await world.open()
    const lease = { ...base.lease, id: 'lse_acme' }
    const held = await world.open({ lease, terms: { ...terms, repeat } })
    await order('approve', held, 'carol', { repeat, reason: 'the whole batch' })
    expect(last()).toMatchObject({ step: 'approved', repeat: { calls: 5, state: 'active' } })
    const id = held.id.replace('act_', 'rpt_')
    const view = {
      ...{ id, lease: 'lse_acme', user: 'alice@example.com', agent: 'agent:support-triage', backend: 'crm' },
      ...{ operation: 'DELETE /customers/{id}', verb: 'delete', resource: 'crm:customer/9821' },
      ...{ calls: 5, calls_left: 5, by: 'carol@example.com', reason: 'the whole batch', action: held.id },
      ...{ state: 'active', at: expect.any(Number), expires_at: expect.any(Number) },
    }
    expect((await get('/repeats?lease=lse_acme', 'audit')).json).toEqual({ repeats: [view] })
    expect((await get('/repeats?lease=lse_acme', 'acme')).json).toEqual({ repeats: [view] })
    const revoke = (as: Name, json: unknown = { reason: 'enough' }) =>
      world.call('POST', `/repeats/${id}/revoke`, as, json)
    expect(said(await revoke('dave'))).toEqual([403, 'approver_not_allowed', ['not_granted']])
    expect(said(await revoke('audit'))[1]).toBe('operator_not_allowed')
    expect(said(await revoke('ops', {}))[1]).toBe('malformed_request')
    expect(said(await revoke('ops', { reason: 'a\nb' }))[1]).toBe('malformed_request')
    const revoked = { by: 'ops', reason: 'enough', at: expect.any(Number) }
    expect((await revoke('ops')).json).toEqual({ ...view, state: 'revoked', revoked })
    expect(last()).toMatchObject({
      ...{ step: 'repeat_revoked', lease_id: 'lse_acme', who: { user: 'alice@example.com' } },
      ...{ decided_by: { user: 'ops' }, action_id: held.id },
    })
    expect((await revoke('carol')).json).toEqual({ ...view, state: 'revoked', revoked })
    expect(last()).toMatchObject({ repeated: true })
    expect(world.audit).toHaveLength(7)
  })

  test('a repeat of another tenant is as one that nobody knows', async () => {
    const repeat = { calls: 5, seconds: 600 }
    const held = await world.open({ terms: { ...terms, repeat } })
    await order('approve', held, 'carol', { repeat })
    const answers = await Promise.all(
      [held.id.replace('act_', 'rpt_'), 'rpt_nobody'].map((id) =>
        world.call('POST', `/repeats/${id}/revoke`, 'acme', { reason: 'r' }),
      ),
    )
    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [404, answers[1]!.text],
      [404, answers[1]!.text],
    ])
    expect((await get('/repeats?lease=lse_1', 'acme')).json.repeats).toEqual([])
  })

  test('a repeat of what policy does not name the caller for is as one that nobody knows', async () => {
    const repeat = { calls: 5, seconds: 600 }
    const lease = { ...(await world.open()).lease, id: 'lse_others' }
    const held = await world.open({ lease, terms: { ...terms, repeat } })
    await order('approve', held, 'carol', { repeat })
    const listed = async (as: Name) => (await get('/repeats?lease=lse_others', as)).json.repeats as Json[]
    expect(await listed('eve')).toEqual([])
    for (const as of ['carol', 'dave', 'ops', 'audit'] as const) expect(await listed(as)).toHaveLength(1)
    const revoke = (id: string) => world.call('POST', `/repeats/${id}/revoke`, 'eve', { reason: 'r' })
    const [known, unknown] = [await revoke(held.id.replace('act_', 'rpt_')), await revoke('rpt_nobody')]
    expect([known.status, known.text]).toEqual([404, unknown.text])
  })

  test('GET /approvers says how often each says yes at once', async () => {
    const held = await world.open()
    await order('approve', held, 'dave')
    const { json } = await get('/approvers', 'audit')
    const dave = (json.approvers as Json[]).find(({ user }) => user === 'dave@example.com')!
    expect(dave.fast_yes).toBe(dave.yes)
    expect(dave.share_fast).toBe(1)
    expect(said(await get('/approvers', 'acme'))[1]).toBe('operator_not_allowed')
  })
})

describe('a token request that waits', () => {
  const proposal = {
    ...{ kind: 'exchange', clientId: 'support-triage', audience: 'https://gate.example', backends: ['crm'] },
    user: { id: 'alice@example.com', kind: 'user', issuer: 'https://login.example', groups: [] },
    login: { issuer: 'https://login.example', subject: 'u-1' },
    ...{ session: 'ses_1', stage: 'execute', leaseSeconds: 3600, delegatedBy: [], ancestors: [] },
    task: { system: 'jira', id: 'SUP-4711', purpose: 'answer' },
    details: [{ type: 'lease', actions: ['read'], identifier: 'crm:customer/1', sensitivity: 'public' }],
  }
  let count = 0
  const wait = async (over: Partial<Deferral> = {}) => {
    const id = `${++count}`.padStart(64, '0')
    const deferral: Deferral = {
      ...{
        id,
        clientId: 'support-triage',
        key: '',
        approvers: terms.approvers,
        state: 'pending',
        interval: 5,
      },
      ...{ request: JSON.stringify(proposal), createdAt: now(), expiresAt: now() + 600 },
      ...over,
    }
    await world.store.deferrals.put(deferral)
    const { json } = await get(`/actions/${id}`, 'audit')
    return { id, fingerprint: String(json.fingerprint) }
  }

  test('is listed with what is asked for, and settled by one person', async () => {
    const asked = await wait()
    expect(idsOf(await get('/actions?kind=lease'))).toContain(asked.id)
    const { json } = await get(`/actions/${asked.id}`)
    expect(json).toMatchObject({
      ...{ kind: 'lease', state: 'pending', call: null, you: { may: true } },
      lease: { user: 'alice@example.com', agent: { id: 'agent:support-triage' }, task: proposal.task },
      request: { kind: 'exchange', authorization_details: proposal.details, backends: ['crm'] },
    })
    const approved = await order('approve', asked, 'carol', { reason: 'fine' })
    expect(approved.json).toMatchObject({ state: 'approved', yes: [{ user: 'carol@example.com' }] })
    expect(await world.store.deferrals.get(asked.id)).toMatchObject({
      state: 'approved',
      settled: { by: 'carol@example.com', reason: 'fine' },
    })
    expect(last()).toMatchObject({
      ...{ step: 'approved', kind: 'lease', who: { user: 'alice@example.com' } },
      ...{ agent: { id: 'agent:support-triage' }, decided_by: { user: 'carol@example.com' } },
    })
    expect((await order('approve', asked, 'carol')).status).toBe(200)
    expect(last()).toMatchObject({ repeated: true })
    expect(said(await order('refuse', asked, 'dave'))).toEqual([409, 'action_state_conflict', ['approved']])
    expect(said(await order('withdraw', asked, 'carol'))[0]).toBe(409)
  })

  test('that is refused tells the reason', async () => {
    const asked = await wait()
    expect((await order('refuse', asked, 'dave', { reason: 'too wide' })).json).toMatchObject({
      state: 'refused',
      ended: { by: 'dave@example.com', reason: 'too wide' },
    })
    expect(await world.store.deferrals.get(asked.id)).toMatchObject({ state: 'denied' })
    expect(world.told.at(-1)).toMatchObject({ id: asked.id, deferral: { state: 'denied' } })
  })

  test.each<[string, Partial<Deferral>, Name, object, unknown[]]>([
    ['the requester', {}, 'alice', {}, [403, 'approver_not_allowed', ['requester']]],
    ['a stranger', {}, 'eve', {}, [404, 'action_unknown']],
    ['another tenant', {}, 'acme', {}, [404, 'action_unknown']],
    ['another fingerprint', {}, 'carol', { fingerprint: 'x' }, [409, 'action_state_conflict', ['changed']]],
    ['no reason where policy wants one', { reasonRequired: true }, 'carol', {}, [400, 'malformed_request']],
    ['too late', { expiresAt: 1 }, 'carol', {}, [410, 'action_expired']],
    ['a repeat', {}, 'carol', { repeat: { calls: 1, seconds: 1 } }, [403, 'approver_not_allowed']],
  ])('is not settled by %s', async (_, over, as, more, wanted) => {
    const late = over.expiresAt === undefined ? {} : { createdAt: now() - 60, expiresAt: now() - 1 }
    const asked = await wait({ ...over, ...late })
    const answer = await order('approve', asked, as, more)
    expect(said(answer).slice(0, wanted.length)).toEqual(wanted)
    expect((await world.store.deferrals.get(asked.id))?.state).toBe('pending')
    expect(world.audit).toHaveLength(1)
  })

  test('and two people at once settle it once', async () => {
    const asked = await wait()
    const both = await Promise.all([order('approve', asked, 'carol'), order('refuse', asked, 'dave')])
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 409])
  })

  test('is known to a tenant by the tenant of its agent', async () => {
    world.tenants.set('acme-agent', 'acme')
    const request = JSON.stringify({ ...proposal, clientId: 'acme-agent' })
    const asked = await wait({ clientId: 'acme-agent', request })
    expect((await get(`/actions/${asked.id}`, 'acme')).status).toBe(200)
    expect(idsOf(await get('/actions', 'acme'))).toContain(asked.id)
  })
})
