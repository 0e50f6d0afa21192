// What becomes of a lease after it was given: renewed, handed on, waited for. Over real sockets and a real store.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Subject } from '../../src/broker/parties.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import type { RevocationScope } from '../../src/lease/lease.ts'
import {
  asJson,
  crm,
  detail,
  entry,
  exchangeForm,
  gate,
  handOverForm,
  keyOf,
  leaseForm,
  openWorld,
  startOfTime,
  type World,
} from './world.ts'

let world: World
beforeEach(async () => {
  world = await openWorld()
  world.agents.set('triage', entry('triage', { delegatesTo: ['agent:reader'] }))
  world.agents.set('reader', entry('reader', { delegatesTo: ['agent:writer'] }))
  world.agents.set('writer', entry('writer', { delegatesTo: ['agent:reader'] }))
  for (const name of ['triage', 'reader', 'writer']) {
    world.rights.profiles[name] = [detail('read,list,update crm:customer/*')]
    const client = { entry: world.agents.get(name)!, method: 'private_key_jwt', instance: '' } as const
    world.actors.set(`actor-${name}`, { ...client, key: keyOf(`key-${name}`) })
  }
  world.rights.users['alice@example.com'] = [detail('read,list,update crm:customer/*')]
  world.subject('alice')
})
afterEach(() => world.close())

const both = detail('read,list crm:customer/*', { max_calls: 20, max_risk: 'medium' })
const one = detail('read crm:customer/9821', { max_calls: 5, max_risk: 'medium' })
const details = (...entries: readonly LeaseDetail[]) => ({ authorization_details: asJson(...entries) })

/** The token of a fresh lease of `triage`, bound to its key. */
async function leased(more: Readonly<Record<string, string>> = {}, key: string | null = 'key-triage') {
  const form = exchangeForm('triage', 'alice', {
    ...details(both),
    task: 'jira:SUP-1',
    stage: 'draft',
    ...more,
  })
  const { body } = await world.post(form, key ?? undefined)
  expect(body.error_description).toBeUndefined()
  return body
}

/** What ends a lease, the way operators do it. */
const endings: [string, (id: string, token: unknown) => Promise<unknown>][] = [
  ['revoked', (id) => revoke('lease', id, Number.MAX_SAFE_INTEGER)],
  ['revoked with its user', () => revoke('user', 'alice@example.com')],
  ['revoked with its agent', () => revoke('agent', 'agent:triage')],
  ['revoked with its agent version', () => revoke('agent_version', 'agent:triage@1.0.0')],
  ['revoked with its task', () => revoke('task', 'jira:SUP-1')],
  ['revoked with its session', () => revoke('session', 'ses_of-alice')],
  ['shown by a token that is revoked', (_, token) => revokeTokenOf(token)],
  ['completed', (id) => change(id, 'completed')],
  ['suspended in its record alone', (id) => change(id, 'suspended')],
  ['suspended in the view alone', (id) => world.store.revocations.suspend(suspension(id))],
]

const revoke = (scope: RevocationScope, value: string, cutoff = startOfTime) =>
  world.store.revocations.revoke({
    scope,
    value,
    cutoff,
    expiresAt: startOfTime + 1e6,
    reason: 'r',
    by: 'b',
    at: startOfTime,
  })
const revokeTokenOf = async (token: unknown) =>
  revoke('token', (await world.read(token)).tokenId, Number.MAX_SAFE_INTEGER)
const change = (id: string, to: 'completed' | 'suspended') =>
  world.store.leases.transition(id, { from: ['active'], to, at: startOfTime, by: 'b', reason: 'r' })
const suspension = (lease: string) =>
  ({
    lease,
    suspended: true,
    version: 1,
    expiresAt: startOfTime + 1e6,
    reason: 'r',
    by: 'b',
    at: startOfTime,
  }) as const

describe('a renewal', () => {
  test('is a further token of the same lease: same key, task, session, end', async () => {
    const { access_token: first, lease_id: id } = await leased()
    await world.pass(200)
    const { status, body } = await world.post(leaseForm('triage', first), 'key-triage')
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        lease_id: id,
        token_type: 'DPoP',
        stage: 'draft',
        lease_expires_in: 3400,
        authorization_details: [both],
      },
    })
    const [old, renewed] = [await world.read(first), await world.read(body.access_token)]
    // Each token can be revoked alone, so the keys differ by its id.
    const { tokenId, issuedAt, notBefore, expiresAt, revocationKeys: _, ...kept } = renewed
    expect(old).toMatchObject(kept)
    expect(tokenId).not.toBe(old.tokenId)
    expect([issuedAt, notBefore, expiresAt]).toEqual([
      startOfTime + 200,
      startOfTime + 200,
      startOfTime + 500,
    ])
    expect(await world.store.leases.get(String(id))).toMatchObject({
      renewals: 1,
      issuedAt: startOfTime,
      expiresAt: startOfTime + 500,
    })
    expect(world.trails.map(({ trail }) => trail.grant)).toEqual(['exchange', 'renewal'])
  })

  test('may narrow, and what was narrowed stays so', async () => {
    const { access_token: first } = await leased()
    const narrow = await world.post(
      leaseForm('triage', first, { ...details(one), resource: crm, stage: 'observe' }),
      'key-triage',
    )
    expect(narrow.body).toMatchObject({ stage: 'observe', authorization_details: [one] })
    expect(await world.read(narrow.body.access_token)).toMatchObject({ audience: crm })
    const wider = (more: Readonly<Record<string, string>>) =>
      world.post(leaseForm('triage', narrow.body.access_token, more), 'key-triage')
    expect((await wider(details(both))).body.error).toBe('invalid_authorization_details')
    expect((await wider({ stage: 'draft' })).body.error).toBe('invalid_authorization_details')
    expect((await wider({ resource: gate })).body.error).toBe('invalid_target')
    expect((await wider({})).body.authorization_details).toEqual([one])
  })

  test('is asked of policy again: a right that is gone stays behind', async () => {
    const { access_token: first } = await leased()
    world.rights.users['alice@example.com'] = [detail('list crm:customer/*')]
    const { body } = await world.post(leaseForm('triage', first), 'key-triage')
    expect(body.authorization_details).toEqual([{ ...both, actions: ['list'] }])
    expect((await world.post(leaseForm('triage', first, details(both)), 'key-triage')).body.error).toBe(
      'invalid_authorization_details',
    )
    world.rights.users['alice@example.com'] = []
    expect((await world.post(leaseForm('triage', first), 'key-triage')).body.error).toBe('access_denied')
  })

  test('ends with the lease (H11)', async () => {
    let { access_token: token } = await leased({ lease_expires_in: '400' })
    await world.pass(299)
    const { body } = await world.post(
      leaseForm('triage', token, { requested_expires_in: '300', lease_expires_in: '9999' }),
      'key-triage',
    )
    expect([body.expires_in, body.lease_expires_in]).toEqual([101, 101])
    token = String(body.access_token)
    await world.pass(101)
    expect(await world.post(leaseForm('triage', token), 'key-triage')).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    })
  })

  test('comes too late once the token has expired, without any tolerance (H11)', async () => {
    const { access_token: token } = await leased()
    await world.pass(299.4)
    expect((await world.post(leaseForm('triage', token), 'key-triage')).status).toBe(200)
    await world.pass(0.2)
    expect((await world.post(leaseForm('triage', token), 'key-triage')).body).toEqual({
      error: 'invalid_request',
      error_description: 'the lease token has expired',
    })
  })

  test.each([
    ['another key (H11)', 'triage', 'key-other', {}, 'invalid_dpop_proof'],
    ['no key (H11)', 'triage', undefined, {}, 'invalid_dpop_proof'],
    ['another client with the same key', 'reader', 'key-triage', {}, 'invalid_request'],
    ['another task', 'triage', 'key-triage', { task: 'jira:SUP-2' }, 'invalid_request'],
    ['another session', 'triage', 'key-triage', { session: 'ses_2' }, 'invalid_request'],
    ['another instance', 'triage', 'key-triage', { instance: 'i-9' }, 'invalid_request'],
    [
      'an extra action (H5)',
      'triage',
      'key-triage',
      details({ ...both, actions: ['read', 'update'] }),
      'invalid_authorization_details',
    ],
    [
      'an extra resource (H5)',
      'triage',
      'key-triage',
      details({ ...both, identifier: 'crm:ticket/*' }),
      'invalid_authorization_details',
    ],
    [
      'a dropped constraint (H5)',
      'triage',
      'key-triage',
      details(detail('read crm:customer/1')),
      'invalid_authorization_details',
    ],
    [
      'a looser constraint (H5)',
      'triage',
      'key-triage',
      details({ ...both, constraints: { max_calls: 21 } }),
      'invalid_authorization_details',
    ],
    [
      'more sensitivity (H5)',
      'triage',
      'key-triage',
      details({ ...both, sensitivity: 'restricted' }),
      'invalid_authorization_details',
    ],
    [
      'more risk (H5)',
      'triage',
      'key-triage',
      details({ ...both, constraints: { max_calls: 1, max_risk: 'high' } }),
      'invalid_authorization_details',
    ],
    ['a higher stage', 'triage', 'key-triage', { stage: 'execute' }, 'invalid_authorization_details'],
  ])('is refused with %s', async (_, agent, key, more, error) => {
    const { access_token: token, lease_id: id } = await leased()
    const { status, body } = await world.post(leaseForm(agent, token, more), key)
    expect({ status, error: body.error }).toEqual({ status: 400, error })
    expect(await world.store.leases.get(String(id))).toMatchObject({ renewals: 0 })
  })

  test('of a bearer lease with a key is refused: that needs a new lease', async () => {
    const { body } = await world.post(exchangeForm('triage', 'alice', details(both)))
    expect((await world.post(leaseForm('triage', body.access_token), 'key-triage')).body.error).toBe(
      'invalid_dpop_proof',
    )
    expect((await world.post(leaseForm('triage', body.access_token))).body.token_type).toBe('Bearer')
  })

  test.each(endings)('of a lease that was %s is refused (H11)', async (_, end) => {
    const { access_token: token, lease_id: id } = await leased()
    await end(String(id), token)
    await world.pass(1)
    const { status, body } = await world.post(leaseForm('triage', token), 'key-triage')
    expect({ status, body }).toEqual({
      status: 400,
      body: { error: 'invalid_request', error_description: 'the lease is no longer active' },
    })
  })

  test.each([
    ['version', '2.0.0'],
    ['env', 'dev'],
    ['profile', 'reader'],
    ['tenant', 'acme'],
    ['agent', 'agent:renamed'],
  ])('of an agent whose %s has changed is refused', async (name, value) => {
    const { access_token: token } = await leased()
    world.agents.set('triage', entry('triage', { [name]: value }))
    expect((await world.post(leaseForm('triage', token), 'key-triage')).body.error).toBe('invalid_request')
  })

  test('that races the end of its lease comes before it or not at all', async () => {
    const { access_token: token, lease_id: id } = await leased()
    const [renewed] = await Promise.all([
      world.post(leaseForm('triage', token), 'key-triage'),
      change(String(id), 'completed'),
    ])
    const record = await world.store.leases.get(String(id))
    expect(record).toMatchObject({ state: 'completed', renewals: renewed.status === 200 ? 1 : 0 })
  })

  test.each([
    ['no token', () => 'x'],
    ['a token that was altered', (token: string) => `${token.slice(0, -6)}AAAAAA`],
    [
      'a token of another issuer',
      (token: string) =>
        token.replace(/\.[^.]+\./, `.${Buffer.from('{"iss":"https://x.example"}').toString('base64url')}.`),
    ],
  ])('of %s is refused', async (_, alter) => {
    const { access_token: token } = await leased()
    const { status, body } = await world.post(leaseForm('triage', alter(String(token))), 'key-triage')
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' })
  })

  test('takes the lease token as an access token only', async () => {
    const { access_token: token } = await leased()
    const { body } = await world.post(exchangeForm('triage', String(token)), 'key-triage')
    expect(body.error).toBe('invalid_request')
  })
})

describe('a lease handed on', () => {
  const handOn = (token: unknown, more: Readonly<Record<string, string>> = {}, child = 'reader') =>
    world.post(handOverForm('triage', token, `actor-${child}`, more), 'key-triage')

  test('is a lease of the child below its parent, bound to the key of the child', async () => {
    const { access_token: token, lease_id: parent } = await leased()
    await world.pass(100)
    const { body } = await handOn(token, { ...details(one), instance: 'pod-2' })
    expect(body).toMatchObject({
      token_type: 'DPoP',
      stage: 'observe',
      lease_expires_in: 3500,
      authorization_details: [one],
    })
    expect(body.lease_id).not.toBe(parent)
    const child = await world.read(body.access_token)
    expect(child).toMatchObject({
      user: 'alice@example.com',
      clientId: 'reader',
      agent: { id: 'agent:reader', instance: 'pod-2' },
      binding: keyOf('key-reader'),
      delegatedBy: [{ id: 'agent:triage', version: '1.0.0', profile: 'triage' }],
      ancestors: [parent],
      session: 'ses_of-alice',
      task: { system: 'jira', id: 'SUP-1' },
      maxExpiresAt: startOfTime + 3600,
    })
    const payload = JSON.parse(Buffer.from(String(body.access_token).split('.')[1]!, 'base64url').toString())
    expect(payload.act).toMatchObject({ sub: 'agent:reader', act: { sub: 'agent:triage' } })
    expect(world.trails.at(-1)?.trail).toMatchObject({
      grant: 'delegation',
      agent: 'agent:triage',
      lease: { agent: 'agent:reader' },
    })
  })

  test('is renewed by the child with its own key, and ends with its parent', async () => {
    const { access_token: token, lease_id: parent } = await leased()
    const { body } = await handOn(token)
    const renew = () => world.post(leaseForm('reader', body.access_token), 'key-reader')
    expect((await renew()).body.authorization_details).toEqual([both])
    expect((await world.post(leaseForm('reader', body.access_token), 'key-triage')).body.error).toBe(
      'invalid_dpop_proof',
    )
    await change(String(parent), 'completed')
    expect((await renew()).body.error).toBe('invalid_request')
  })

  test.each<[string, Parameters<typeof entry>[1] | undefined]>([
    ['may not hand on any more', { delegatesTo: [] }],
    ['has another version', { delegatesTo: ['agent:reader'], version: '2.0.0' }],
    ['has another profile', { delegatesTo: ['agent:reader'], profile: 'writer' }],
    ['is gone', undefined],
  ])('is not renewed once the agent that handed it on %s', async (_, change) => {
    const { access_token: token } = await leased()
    const { body } = await handOn(token)
    const { body: next } = await world.post(
      handOverForm('reader', body.access_token, 'actor-writer'),
      'key-reader',
    )
    const renew = () => world.post(leaseForm('writer', next.access_token), 'key-writer')
    expect((await renew()).status).toBe(200)
    if (change === undefined) world.agents.delete('triage')
    else world.agents.set('triage', entry('triage', change))
    expect((await renew()).body.error).toBe('invalid_request')
  })

  test('is of the instance that the token of the child names', async () => {
    const { access_token: token } = await leased()
    world.actors.set('actor-reader', { ...world.actors.get('actor-reader')!, instance: 'pod-1' })
    expect((await handOn(token, { instance: 'pod-2' })).body.error).toBe('invalid_request')
    const { body } = await handOn(token)
    expect(await world.read(body.access_token)).toMatchObject({ agent: { instance: 'pod-1' } })
  })

  test('goes on to a third agent and no further than the issuer lets it', async () => {
    const { access_token: token } = await leased()
    const second = await handOn(token)
    const third = await world.post(
      handOverForm('reader', second.body.access_token, 'actor-writer'),
      'key-reader',
    )
    expect(await world.read(third.body.access_token)).toMatchObject({
      delegatedBy: [{ id: 'agent:reader' }, { id: 'agent:triage' }],
    })
    const fourth = await world.post(
      handOverForm('writer', third.body.access_token, 'actor-reader'),
      'key-writer',
    )
    expect(fourth.body).toMatchObject({
      error: 'invalid_request',
      error_description: 'a lease is handed on through at most 3 agents',
    })
  })

  test('has the rights of every agent of the chain', async () => {
    const { access_token: token } = await leased()
    world.rights.profiles.reader = [detail('read crm:customer/*')]
    expect((await handOn(token)).body.authorization_details).toEqual([{ ...both, actions: ['read'] }])
    world.rights.profiles.triage = [detail('list crm:customer/*')]
    expect((await handOn(token)).body.error).toBe('access_denied')
  })

  test.each([
    ['an agent that is not named', {}, 'writer', 'unauthorized_client'],
    ['an agent that is not known', {}, 'nobody', 'invalid_request'],
    ['another task', { task: 'jira:SUP-2' }, 'reader', 'invalid_request'],
    ['another session', { session: 'ses_2' }, 'reader', 'invalid_request'],
    ['a higher stage', { stage: 'execute' }, 'reader', 'invalid_authorization_details'],
    [
      'an extra action (H5)',
      details({ ...both, actions: ['update'] }),
      'reader',
      'invalid_authorization_details',
    ],
    [
      'a dropped constraint (H5)',
      details(detail('read crm:customer/1')),
      'reader',
      'invalid_authorization_details',
    ],
    [
      'a later end (H5)',
      { ...details(one), lease_expires_in: '3601' },
      'reader',
      'invalid_authorization_details',
    ],
  ])('is refused for %s', async (_, more, child, error) => {
    const { access_token: token } = await leased()
    const { status, body } = await handOn(token, more, child)
    expect({ status, error: body.error }).toEqual({ status: 400, error })
    expect(await world.store.leases.list({ limit: 10 })).toHaveLength(1)
  })

  test('is refused without the key of the parent', async () => {
    const { access_token: token } = await leased()
    for (const key of ['key-reader', undefined]) {
      const { body } = await world.post(handOverForm('triage', token, 'actor-reader'), key)
      expect(body.error).toBe('invalid_dpop_proof')
    }
  })

  test('is refused to a child without a key, bound or not: with its token anybody could pass for it', async () => {
    const { access_token: bound } = await leased()
    const { access_token: bearer } = await leased({}, null)
    world.actors.set('actor-reader', { ...world.actors.get('actor-reader')!, key: undefined })
    expect((await handOn(bound)).body.error).toBe('invalid_request')
    expect((await world.post(handOverForm('triage', bearer, 'actor-reader'))).body.error).toBe(
      'invalid_request',
    )
  })

  test('is refused over the border of a tenant', async () => {
    const { access_token: token } = await leased()
    const reader = entry('reader', { tenant: 'acme' })
    world.actors.set('actor-reader', { ...world.actors.get('actor-reader')!, entry: reader })
    expect((await handOn(token)).body.error).toBe('unauthorized_client')
  })

  test.each(endings)('is refused when its parent was %s', async (_, end) => {
    const { access_token: token, lease_id: id } = await leased()
    await end(String(id), token)
    expect((await handOn(token)).body.error).toBe('invalid_request')
  })
})

describe('a request that a human has to approve', () => {
  const deferred = 'urn:ietf:params:oauth:grant-type:deferred'
  const wanted = (more: Readonly<Record<string, string>> = {}) =>
    exchangeForm('triage', 'alice', { ...details(both), stage: 'execute', task: 'jira:SUP-1', ...more })
  const poll = (code: unknown, agent = 'triage', key: string | undefined = 'key-triage') =>
    world.post(
      { grant_type: deferred, client_assertion: `password-of-${agent}`, deferral_code: String(code) },
      key,
    )
  const settle = async (to: 'approved' | 'denied') => {
    const [waiting] = await world.store.deferrals.pending(startOfTime, 1)
    return world.store.deferrals.settle(waiting!.id, to, {
      by: 'bob@example.com',
      at: startOfTime,
      reason: 'fine',
    })
  }
  const ask = async () =>
    (await world.post(wanted({ completion_mode: 'deferred' }), 'key-triage')).body.deferral_code

  beforeEach(() => {
    world.rights.approve = 'execute'
  })

  test('is refused, and nothing waits, when the client cannot wait (H13)', async () => {
    const { status, body } = await world.post(wanted(), 'key-triage')
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'access_denied' })
    expect(body.deferral_code).toBeUndefined()
    expect(await world.store.deferrals.pending(startOfTime, 10)).toEqual([])
  })

  test('waits under a code that nobody can read back', async () => {
    const { status, headers, body } = await world.post(wanted({ completion_mode: 'deferred' }), 'key-triage')
    expect({ status, body }).toMatchObject({
      status: 400,
      body: { error: 'authorization_pending', expires_in: 600, interval: 5 },
    })
    expect(headers.get('cache-control')).toBe('no-store')
    const [waiting] = await world.store.deferrals.pending(startOfTime, 10)
    expect(waiting).toMatchObject({
      clientId: 'triage',
      key: keyOf('key-triage').thumbprint,
      approvers: ['group:leads'],
    })
    const stored = JSON.stringify(waiting)
    for (const secret of [String(body.deferral_code), 'password-of']) expect(stored).not.toContain(secret)
    expect(JSON.parse(waiting!.request)).not.toHaveProperty('subject_token')
    expect(await world.store.leases.list({ limit: 1 })).toEqual([])
  })

  test('is not put to a human when it could not be granted whole anyway', async () => {
    const form = wanted({ completion_mode: 'deferred', ...details(detail('delete crm:customer/1')) })
    expect((await world.post(form, 'key-triage')).body.error).toBe('invalid_authorization_details')
    expect(await world.store.deferrals.pending(startOfTime, 10)).toEqual([])
  })

  test('is given once, to whoever asked, as policy still says (H12)', async () => {
    const code = await ask()
    await world.pass(5)
    expect((await poll(code)).body).toMatchObject({
      error: 'authorization_pending',
      interval: 5,
      expires_in: 594,
    })
    await settle('approved')
    await world.pass(10)
    const answers = await Promise.all([poll(code), poll(code), poll(code)])
    expect(answers.map(({ body }) => body.error ?? 'given').toSorted()).toEqual([
      'given',
      'invalid_grant',
      'invalid_grant',
    ])
    const given = answers.find(({ status }) => status === 200)!.body
    expect(given).toMatchObject({ stage: 'execute', token_type: 'DPoP', authorization_details: [both] })
    expect(await world.read(given.access_token)).toMatchObject({
      task: { id: 'SUP-1' },
      binding: keyOf('key-triage'),
      maxExpiresAt: startOfTime + 15 + 3600,
    })
    expect((await poll(code)).body.error).toBe('invalid_grant')
    expect(await world.store.leases.list({ limit: 10 })).toHaveLength(1)
    expect(world.trails.at(-1)?.trail.grant).toBe('deferred')
  })

  test('is polled no faster than it says (H12)', async () => {
    const code = await ask()
    await world.pass(1)
    expect((await poll(code)).body).toMatchObject({ error: 'slow_down', interval: 10 })
    await world.pass(6)
    expect((await poll(code)).body).toMatchObject({ error: 'slow_down', interval: 15 })
    await world.pass(16)
    expect((await poll(code)).body.error).toBe('authorization_pending')
  })

  test.each([
    ['another client (H12)', 'reader', 'key-triage'],
    ['another key (H12)', 'triage', 'key-reader'],
    ['no key (H12)', 'triage', undefined],
  ])('is nobody else’s: %s', async (_, agent, key) => {
    const code = await ask()
    await settle('approved')
    const stranger = await world.post(
      { grant_type: deferred, client_assertion: `password-of-${agent}`, deferral_code: String(code) },
      key,
    )
    const unknown = await poll('dfr_unknown')
    expect(stranger.body).toEqual(unknown.body)
    expect(unknown.body.error).toBe('invalid_grant')
    expect((await poll(code)).status).toBe(200)
  })

  test('is denied by a human (H12)', async () => {
    const code = await ask()
    await settle('denied')
    expect((await poll(code)).body.error).toBe('access_denied')
  })

  test('is over when its time is, even if approved (H12)', async () => {
    const [waiting, approved] = [await ask(), await ask()]
    await world.store.deferrals.pending(startOfTime, 2)
    await settle('approved')
    await world.pass(600)
    expect((await poll(waiting)).body.error).toBe('expired_token')
    expect((await poll(approved)).body.error).toBe('expired_token')
  })

  test('does not wait longer than the token of the user lives', async () => {
    world.subject('alice', { expiresAt: startOfTime + 100 })
    const { body } = await world.post(wanted({ completion_mode: 'deferred' }), 'key-triage')
    expect(body.expires_in).toBe(100)
  })

  test('is asked of policy again: what was approved may be granted no more', async () => {
    const code = await ask()
    await settle('approved')
    world.rights.users['alice@example.com'] = [detail('read crm:customer/*')]
    expect((await poll(code)).body.error).toBe('invalid_authorization_details')
    world.rights.users['alice@example.com'] = [detail('read,list crm:customer/*')]
    expect((await poll(code)).status).toBe(200)
  })

  test('without details waits for exactly what was granted when it was put to a human', async () => {
    const form = exchangeForm('triage', 'alice', { stage: 'execute', completion_mode: 'deferred' })
    world.rights.users['alice@example.com'] = [detail('read crm:customer/1', { max_risk: 'low' })]
    const { body } = await world.post(form, 'key-triage')
    await settle('approved')
    world.rights.users['alice@example.com'] = [detail('read,list,update crm:customer/*')]
    expect((await poll(body.deferral_code)).body).toMatchObject({
      stage: 'execute',
      authorization_details: [detail('read crm:customer/1', { max_risk: 'low' })],
    })
  })

  test('is not put to a human when so many of the same agent are', async () => {
    const answers = await Promise.all(Array.from({ length: 70 }, ask))
    expect(answers.filter((code) => code !== undefined)).toHaveLength(60)
    expect(await world.store.deferrals.pending(startOfTime, 100)).toHaveLength(60)
    const { status, headers, body } = await world.post(wanted({ completion_mode: 'deferred' }), 'key-triage')
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'slow_down' })
    expect(headers.get('retry-after')).toBe('600')
    const other = { ...wanted({ completion_mode: 'deferred' }), client_assertion: 'password-of-reader' }
    expect((await world.post(other, 'key-reader')).body.error).toBe('authorization_pending')
    await world.pass(600)
    expect(await ask()).toBeDefined()
  })

  test('that policy wants approved twice is denied', async () => {
    const grant = {
      details: [both],
      stage: 'execute',
      ttlSeconds: 60,
      leaseSeconds: 60,
      profileVersion: '1',
    } as const
    const approval = { approvers: ['x'], expiresIn: 60 }
    world.policy.current = {
      digest: 'd',
      decide: () => ({ effect: 'approve', reasons: [], grant, approval }),
    }
    const code = await ask()
    await settle('approved')
    expect((await poll(code)).body.error).toBe('access_denied')
  })

  test.each([Number.NaN, 0, -1])('that nobody has time to approve (%s s) is denied', async (expiresIn) => {
    const grant = {
      details: [both],
      stage: 'execute',
      ttlSeconds: 60,
      leaseSeconds: 60,
      profileVersion: '1',
    } as const
    const approval = { approvers: ['x'], expiresIn }
    world.policy.current = {
      digest: 'd',
      decide: () => ({ effect: 'approve', reasons: [], grant, approval }),
    }
    const { body } = await world.post(wanted({ completion_mode: 'deferred' }), 'key-triage')
    expect(body.error).toBe('access_denied')
    expect(await world.store.deferrals.pending(startOfTime, 10)).toEqual([])
  })

  test.each<[string, () => Promise<unknown>, string]>([
    ['the user was revoked', () => revoke('user', 'alice@example.com', startOfTime + 1), 'invalid_grant'],
    ['the agent was revoked', () => revoke('agent', 'agent:triage', startOfTime + 1), 'invalid_grant'],
    ['the task was revoked', () => revoke('task', 'jira:SUP-1', startOfTime + 1), 'invalid_grant'],
    ['the session was revoked', () => revoke('session', 'ses_of-alice', startOfTime + 1), 'invalid_grant'],
    ['the agent was removed', async () => world.agents.delete('triage'), 'invalid_client'],
  ])('is nothing any more when meanwhile %s', async (_, end, error) => {
    const code = await ask()
    await settle('approved')
    await end()
    await world.pass(2)
    expect((await poll(code)).body.error).toBe(error)
    expect(await world.store.leases.list({ limit: 1 })).toEqual([])
  })

  test('may be a lease handed on, as long as its parent stands', async () => {
    world.rights.approve = undefined
    const { access_token: token, lease_id: parent } = await leased({ stage: 'execute' })
    world.rights.approve = 'execute'
    const form = handOverForm('triage', token, 'actor-reader', {
      stage: 'execute',
      completion_mode: 'deferred',
    })
    const codes = [(await world.post(form, 'key-triage')).body.deferral_code]
    await settle('approved')
    const { body } = await poll(codes[0])
    expect(await world.read(body.access_token)).toMatchObject({
      clientId: 'reader',
      binding: keyOf('key-reader'),
      ancestors: [parent],
    })
    codes.push((await world.post(form, 'key-triage')).body.deferral_code)
    await settle('approved')
    world.agents.set('triage', entry('triage'))
    expect((await poll(codes[1])).body.error).toBe('unauthorized_client')
    world.agents.set('triage', entry('triage', { delegatesTo: ['agent:reader'] }))
    await change(String(parent), 'completed')
    expect((await poll(codes[1])).body.error).toBe('invalid_request')
  })
})

test('a workflow acts for itself through its agent, without a person', async () => {
  const workflow: Partial<Subject> = { kind: 'workflow', id: 'workflow:nightly', use: 'jwt' }
  world.subject('nightly', workflow)
  world.rights.users['workflow:nightly'] = [detail('read crm:customer/*')]
  const { body } = await world.post(exchangeForm('triage', 'nightly'))
  expect(await world.read(body.access_token)).toMatchObject({
    user: 'workflow:nightly',
    agent: { id: 'agent:triage' },
  })
  const { body: renewed } = await world.post(leaseForm('triage', body.access_token))
  expect(renewed.lease_id).toBe(body.lease_id)
})

describe('what is revoked while a request is on its way', () => {
  /** A second passes before the token is signed; `between` is done then, `late` before the lease is stored. */
  async function slow(between: () => unknown, late: () => unknown) {
    await world.close()
    world = await openWorld((parts) => {
      const put = parts.store.leases.put.bind(parts.store.leases)
      parts.store.leases.put = async (record) => {
        await late()
        await put(record)
      }
      const statusFor = async () => {
        await between()
        await world.pass(1)
        return undefined
      }
      return { ...parts, statusFor }
    })
    world.agents.set('triage', entry('triage'))
    world.rights.profiles.triage = [both]
    world.rights.users['alice@example.com'] = [both]
    world.subject('alice')
    return world.post(exchangeForm('triage', 'alice'))
  }

  test.each<[string, RevocationScope, string]>([
    ['the user', 'user', 'alice@example.com'],
    ['the agent', 'agent', 'agent:triage'],
    ['the version of the agent', 'agent_version', 'agent:triage@1.0.0'],
    ['the task of leases without one', 'task', 'none:none'],
  ])('gets no lease: %s', async (_, scope, value) => {
    const { status, headers, body } = await slow(
      () => revoke(scope, value),
      () => undefined,
    )
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'access_denied' })
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await world.store.leases.list({ limit: 1 })).toEqual([])
  })

  test('kills the token where it is heard of too late: that is as old as what was looked at', async () => {
    const { body } = await slow(
      () => undefined,
      () => revoke('user', 'alice@example.com'),
    )
    const { revocationKeys, issuedAt } = await world.read(body.access_token)
    expect(world.store.revocations.find(revocationKeys, issuedAt)).toMatchObject({ scope: 'user' })
  })
})

test('a lease keeps its place in the status list over renewals', async () => {
  await world.close()
  let places = 0
  world = await openWorld((parts) => ({
    ...parts,
    statusFor: async () => ({ uri: 'https://broker.example/statuslists/1', idx: ++places }),
  }))
  world.agents.set('triage', entry('triage'))
  world.rights.profiles.triage = [both]
  world.rights.users['alice@example.com'] = [both]
  world.subject('alice')
  const { body } = await world.post(exchangeForm('triage', 'alice'))
  const place = (token: unknown) =>
    JSON.parse(Buffer.from(String(token).split('.')[1]!, 'base64url').toString()).status
  expect(place(body.access_token)).toEqual({
    status_list: { uri: 'https://broker.example/statuslists/1', idx: 1 },
  })
  const { body: renewed } = await world.post(leaseForm('triage', body.access_token))
  expect(place(renewed.access_token)).toEqual(place(body.access_token))
  expect(places).toBe(1)
  expect(await world.store.leases.get(String(body.lease_id))).toMatchObject({ statusIndex: 1 })
})
