// The token endpoint over a real socket: what a client has to send, what it gets, and every way to hear no.
import * as oauth from 'oauth4webapi'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BrokerParts } from '../../src/broker/parts.ts'
import { tokenEndpoints } from '../../src/http/token.ts'
import { Unavailable } from '../../src/ports.ts'
import {
  asJson,
  crm,
  detail,
  entry,
  exchangeForm,
  gate,
  keyOf,
  leaseForm,
  openWorld,
  startOfTime,
  type World,
} from '../broker/world.ts'

let world: World
beforeEach(async () => {
  world = await openWorld()
  world.agents.set('triage', entry('triage'))
  world.agents.set('other', entry('other'))
  world.rights.users['alice@example.com'] = [detail('read,list,update crm:customer/*')]
  world.rights.profiles.triage = [detail('read,list,update,delete crm:customer/*', { max_risk: 'high' })]
  world.rights.profiles.other = [detail('read crm:customer/*')]
  world.subject('alice')
})
afterEach(() => world.close())

const read = {
  type: 'lease',
  actions: ['read'],
  identifier: 'crm:customer/9821',
  sensitivity: 'confidential',
}
const ask = (more: Readonly<Record<string, string>> = {}) =>
  exchangeForm('triage', 'alice', { authorization_details: asJson(read), ...more })

describe('an exchange', () => {
  test('gives a lease to the agent for the user, and tells what is granted', async () => {
    const { status, headers, body } = await world.post(
      ask({ task: 'jira:SUP-4711', purpose: 'answer a question', stage: 'draft', instance: 'i-7c' }),
      'key-1',
    )
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'DPoP',
        expires_in: 300,
        lease_expires_in: 3600,
        scope: 'crm:read',
        stage: 'draft',
        authorization_details: [{ ...read, constraints: { max_risk: 'medium' } }],
      },
    })
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('dpop-nonce')).toBe(`nonce-${startOfTime}`)
    expect(await world.read(body.access_token)).toMatchObject({
      id: body.lease_id,
      user: 'alice@example.com',
      clientId: 'triage',
      agent: {
        id: 'agent:triage',
        version: '1.0.0',
        env: 'prod',
        profile: 'triage',
        profileVersion: '7',
        instance: 'i-7c',
      },
      audience: gate,
      session: 'ses_of-alice',
      stage: 'draft',
      task: { system: 'jira', id: 'SUP-4711', purpose: 'answer a question' },
      binding: keyOf('key-1'),
      delegatedBy: [],
    })
  })

  test('is on disk before it is answered, with who spoke for the user and why it was granted', async () => {
    const { body } = await world.post(ask())
    expect(await world.store.leases.get(String(body.lease_id))).toMatchObject({
      state: 'active',
      login: { issuer: 'https://login.example', subject: 'u-1' },
      asserted: { kind: 'user', groups: ['support'], acr: 'urn:corp:loa:2' },
      decision: { reasons: ['granted'], policyDigest: 'sha256:tables' },
    })
    expect(await world.store.leases.usersOf({ issuer: 'https://login.example', subject: 'u-1' })).toEqual([
      'alice@example.com',
    ])
  })

  test('without a proof gives a bearer token, without a task one for none', async () => {
    const { body } = await world.post(ask())
    expect(body.token_type).toBe('Bearer')
    const lease = await world.read(body.access_token)
    expect(lease).toMatchObject({ binding: undefined, task: { system: 'none', id: 'none' } })
  })

  test('without details grants what policy narrows to, within resource and scope', async () => {
    world.rights.users['alice@example.com'] = [detail('read,list crm:customer/*'), detail('read hr:person/*')]
    world.rights.profiles.triage = [detail('read,list crm:customer/*'), detail('read hr:person/*')]
    const granted = async (more: Readonly<Record<string, string>>) =>
      (await world.post(exchangeForm('triage', 'alice', more))).body.authorization_details
    const limited = { max_risk: 'medium' } as const
    expect(await granted({})).toEqual([
      detail('read,list crm:customer/*', limited),
      detail('read hr:person/*', limited),
    ])
    expect(await granted({ resource: crm })).toEqual([detail('read,list crm:customer/*', limited)])
    expect(await granted({ scope: 'crm:list' })).toEqual([detail('list crm:customer/*', limited)])
    expect(await granted({ scope: 'hr:read crm:read' })).toHaveLength(2)
  })

  test('asks for high risk by name only', async () => {
    world.rights.users['alice@example.com'] = [detail('read crm:customer/*', { max_risk: 'medium' })]
    const high = { ...read, constraints: { max_risk: 'high' } }
    const { body } = await world.post(ask({ authorization_details: asJson(high) }))
    expect(body).toMatchObject({ error: 'invalid_authorization_details' })
    world.rights.users['alice@example.com'] = [detail('read crm:customer/*', { max_risk: 'high' })]
    const { body: granted } = await world.post(ask({ authorization_details: asJson(high) }))
    expect(granted.authorization_details).toEqual([high])
  })

  test('never lives longer than asked for, policy, broker or the token of the user', async () => {
    const times = async (more: Readonly<Record<string, string>>) => {
      const { body } = await world.post(ask(more))
      return [body.expires_in, body.lease_expires_in]
    }
    expect(await times({ requested_expires_in: '60', lease_expires_in: '600' })).toEqual([60, 600])
    expect(await times({ requested_expires_in: '9999', lease_expires_in: '999999' })).toEqual([300, 3600])
    world.rights.ttlSeconds = 120
    world.rights.leaseSeconds = 900
    expect(await times({})).toEqual([120, 900])
    world.subject('alice', { expiresAt: startOfTime + 100 })
    expect(await times({})).toEqual([100, 100])
  })

  test('takes an actor token in place of client authentication, with the key that it names', async () => {
    const client = { entry: entry('triage'), method: 'workload_jwt', instance: 'pod-1' } as const
    world.actors.set('workload', { ...client, key: keyOf('pod') })
    const { client_assertion: _, ...form } = ask()
    const alone = {
      ...form,
      actor_token: 'workload',
      actor_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    }
    expect((await world.post(alone)).body.error).toBe('invalid_dpop_proof')
    expect((await world.post({ ...alone, instance: 'pod-2' }, 'pod')).body.error).toBe('invalid_request')
    const { body } = await world.post(alone, 'pod')
    expect(await world.read(body.access_token)).toMatchObject({
      agent: { instance: 'pod-1' },
      binding: keyOf('pod'),
    })
  })

  test('takes an identity assertion of its own client', async () => {
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: 'jag',
      client_assertion: 'password-of-triage',
    }
    const narrow = { ...read, actions: ['read'] }
    world.subject('jag', { use: 'id_jag', clientId: 'triage', details: [narrow] })
    const { body } = await world.post(form)
    expect(body.authorization_details).toEqual([{ ...read, constraints: { max_risk: 'medium' } }])
    const wider = await world.post({ ...form, authorization_details: asJson({ ...read, actions: ['list'] }) })
    expect(wider.body.error).toBe('invalid_authorization_details')
    world.subject('jag', { use: 'id_jag', clientId: 'other' })
    expect((await world.post(form)).body.error).toBe('invalid_grant')
    world.subject('jag', { use: 'id_jag', details: [{ type: 'payment' }] })
    expect((await world.post(form)).body.error).toBe('invalid_grant')
  })
})

type Row = readonly [what: string, change: Readonly<Record<string, string>>, error: string]
const details = (value: unknown) => ({ authorization_details: JSON.stringify(value) })

describe('a request is refused', () => {
  test.each<Row>([
    ['no grant type', { grant_type: '' }, 'invalid_request'],
    ['another grant', { grant_type: 'client_credentials' }, 'unsupported_grant_type'],
    ['no subject', { subject_token: '' }, 'invalid_request'],
    ['no subject type', { subject_token_type: '' }, 'invalid_request'],
    ['a subject that is not known', { subject_token: 'mallory' }, 'invalid_request'],
    [
      'another kind of token wanted',
      { requested_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
      'invalid_request',
    ],
    [
      'an actor type without actor (H3)',
      { actor_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
      'invalid_request',
    ],
    ['an actor without its type (H3)', { actor_token: 'child' }, 'invalid_request'],
    ['an actor that is not known', { actor_token: 'x', actor_token_type: 'y' }, 'invalid_request'],
    ['a wrong password', { client_assertion: 'password-of-nobody' }, 'invalid_client'],
    ['a session of somebody else', { session: 'ses_other' }, 'invalid_request'],
    ['a session that is no name', { session: ' ses' }, 'invalid_request'],
    ['an instance with a line break', { instance: 'a\nb' }, 'invalid_request'],
    ['a stage that is none', { stage: 'admin' }, 'invalid_request'],
    ['a lifetime that is no number', { requested_expires_in: '1e3' }, 'invalid_request'],
    ['a lifetime of nothing', { lease_expires_in: '0' }, 'invalid_request'],
    ['a purpose of no task', { purpose: 'fun' }, 'invalid_request'],
    ['a task without id', { task: 'jira:' }, 'invalid_request'],
    ['a bidi control in the purpose', { task: 'jira:1', purpose: 'a\u202eb' }, 'invalid_request'],
    ['another way to complete', { completion_mode: 'callback' }, 'invalid_request'],
    ['a resource that is not known (H8)', { resource: 'https://evil.example' }, 'invalid_target'],
    ['a resource with a fragment (H8)', { resource: `${crm}#x` }, 'invalid_target'],
    ['a relative resource (H8)', { resource: '/crm' }, 'invalid_target'],
    ['a resource with a slash more (H8)', { resource: `${crm}/` }, 'invalid_target'],
    ['resource and another audience (H8)', { resource: crm, audience: gate }, 'invalid_target'],
    [
      'details of another backend than the resource',
      { resource: crm, ...details([{ ...read, identifier: 'hr:person/1' }]) },
      'invalid_authorization_details',
    ],
    ['a scope that is none', { scope: 'openid' }, 'invalid_scope'],
    ['a scope of an unknown backend', { scope: 'mail:read' }, 'invalid_scope'],
    ['every scope', { scope: 'crm:*' }, 'invalid_scope'],
    ['details beyond the scope', { scope: 'crm:list' }, 'invalid_scope'],
    ['details that are no JSON (H7)', { authorization_details: '[{' }, 'invalid_authorization_details'],
    [
      'details with a key twice (H7)',
      { authorization_details: '[{"type":"lease","type":"lease"}]' },
      'invalid_authorization_details',
    ],
    ['one detail without a list (H7)', details(read), 'invalid_authorization_details'],
    ['no detail at all (H7)', details([]), 'invalid_authorization_details'],
    ['an unknown type (H7)', details([{ ...read, type: 'payment' }]), 'invalid_authorization_details'],
    ['an unknown field (H7)', details([{ ...read, datatypes: ['x'] }]), 'invalid_authorization_details'],
    ['every action (H7)', details([{ ...read, actions: ['*'] }]), 'invalid_authorization_details'],
    ['actions as text (H7)', details([{ ...read, actions: '*' }]), 'invalid_authorization_details'],
    ['no action (H7)', details([{ ...read, actions: [] }]), 'invalid_authorization_details'],
    ['every resource (H7)', details([{ ...read, identifier: 'crm:*' }]), 'invalid_authorization_details'],
    ['an empty identifier (H7)', details([{ ...read, identifier: '' }]), 'invalid_authorization_details'],
    [
      'an oversized identifier (H7)',
      details([{ ...read, identifier: `crm:${'x'.repeat(600)}` }]),
      'invalid_authorization_details',
    ],
    ['too many details (H7)', details(Array(65).fill(read)), 'invalid_authorization_details'],
    [
      'details of more bytes than are read (H7)',
      { authorization_details: `[${' '.repeat(17_000)}]` },
      'invalid_authorization_details',
    ],
    [
      'another location (H7)',
      details([{ ...read, locations: ['https://evil.example'] }]),
      'invalid_authorization_details',
    ],
    [
      'an unknown sensitivity (H7)',
      details([{ ...read, sensitivity: 'secret' }]),
      'invalid_authorization_details',
    ],
    [
      'an unknown constraint (H7)',
      details([{ ...read, constraints: { tenant: 'acme' } }]),
      'invalid_authorization_details',
    ],
    [
      'a limit of no calls (H7)',
      details([{ ...read, constraints: { max_calls: 0 } }]),
      'invalid_authorization_details',
    ],
    [
      'a constraint of another type (H7)',
      details([{ ...read, constraints: { max_calls: '20' } }]),
      'invalid_authorization_details',
    ],
    [
      'a right that only the agent has (H6)',
      details([{ ...read, actions: ['delete'] }]),
      'invalid_authorization_details',
    ],
    [
      'a sensitivity above both (H6)',
      details([{ ...read, sensitivity: 'restricted' }]),
      'invalid_authorization_details',
    ],
    [
      'details that fill more than a token',
      details(
        Array.from({ length: 60 }, (_, n) => ({
          ...read,
          identifier: `crm:customer/${'x'.repeat(180)}${n}`,
        })),
      ),
      'invalid_authorization_details',
    ],
  ])('%s', async (_, change, error) => {
    const { status, headers, body } = await world.post(ask(change))
    expect(body.error).toBe(error)
    expect(status).toBe(error === 'invalid_client' ? 401 : 400)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('dpop-nonce')).toMatch(/^nonce-/)
    expect(body.error_description).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/)
    expect(await world.store.leases.list({ limit: 10 })).toEqual([])
    expect(world.trails).toHaveLength(1)
  })

  test('what fits into no token, before policy spends time on it', async () => {
    const actions = Array.from({ length: 60 }, (_, n) => `verb-${n}`)
    const many = Array.from({ length: 12 }, (_, n) => ({ ...read, actions, identifier: `crm:customer/${n}` }))
    expect((await world.post(ask(details(many)))).body.error).toBe('invalid_authorization_details')
    expect(world.trails.at(-1)?.trail.policyDigest).toBeUndefined()
  })

  test.each<Row>([
    ['a broken proof (H1)', {}, 'invalid_dpop_proof'],
    ['no nonce (H1)', {}, 'use_dpop_nonce'],
  ])('%s', async (_, change, error) => {
    const { status, headers, body } = await world.post(
      ask(change),
      error === 'use_dpop_nonce' ? 'no-nonce' : 'broken',
    )
    expect({ status, error: body.error }).toEqual({ status: 400, error })
    expect(headers.get('dpop-nonce')).toMatch(/^nonce-/)
  })

  test('a right that only the user has (H6)', async () => {
    const form = exchangeForm('other', 'alice', {
      authorization_details: asJson({ ...read, actions: ['list'] }),
    })
    const { body } = await world.post(form)
    expect(body).toMatchObject({
      error: 'invalid_authorization_details',
      error_description: 'not covered: list crm:customer/9821 up to confidential, max_risk medium',
    })
  })

  test('details that nothing is left of', async () => {
    const { body } = await world.post(exchangeForm('other', 'alice', { scope: 'crm:list' }))
    expect(body.error).toBe('invalid_scope')
  })

  test('a stage that policy does not grant with exact details, while others get what it grants', async () => {
    world.rights.stage = 'observe'
    expect((await world.post(ask({ stage: 'execute' }))).body.error).toBe('invalid_scope')
    const { body } = await world.post(exchangeForm('triage', 'alice', { stage: 'execute' }))
    expect(body.stage).toBe('observe')
  })

  test('no task where policy wants one (H10)', async () => {
    world.rights.taskRequired = true
    const { body } = await world.post(ask())
    expect(body).toEqual({
      error: 'invalid_request',
      error_description: 'policy refuses this: task_required',
    })
    expect((await world.post(ask({ task: 'jira:1' }))).status).toBe(200)
  })

  test.each<[string, Parameters<World['subject']>[1], string]>([
    [
      'lets another agent act',
      { mayAct: [{ issuer: undefined, subject: 'agent:other' }] },
      'invalid_request',
    ],
    [
      'lets an agent of another issuer act',
      { mayAct: [{ issuer: 'https://x.example', subject: 'triage' }] },
      'invalid_request',
    ],
    ['lets nobody act', { mayAct: [] }, 'invalid_request'],
    ['was issued to another client', { clientId: 'other' }, 'invalid_request'],
    ['is bound to another key', { binding: keyOf('user-key') }, 'invalid_dpop_proof'],
    ['has expired', { expiresAt: startOfTime }, 'invalid_request'],
    ['names the agent as the person', { id: 'agent:triage' }, 'invalid_request'],
    ['names the agent as the person, in short', { id: 'triage' }, 'invalid_request'],
    ['names the person like a workflow', { id: 'workflow:nightly' }, 'invalid_request'],
  ])('a token of a user that %s', async (_, change, error) => {
    world.subject('alice', change)
    expect((await world.post(ask(), 'key-1')).body.error).toBe(error)
  })

  test('what may_act does name is let through', async () => {
    world.agents.set(
      'triage',
      entry('triage', {
        credentials: [
          { method: 'workload_jwt', issuer: 'https://k8s.example', subject: 'system:serviceaccount:a:b' },
        ],
      }),
    )
    for (const [issuer, subject] of [
      [undefined, 'triage'],
      ['https://broker.example', 'agent:triage'],
      ['https://k8s.example', 'system:serviceaccount:a:b'],
    ] as const) {
      world.subject('alice', { mayAct: [{ issuer, subject }] })
      expect((await world.post(ask())).status).toBe(200)
    }
  })

  test('an actor that is another agent than the client', async () => {
    world.actors.set('child', { entry: entry('other'), method: 'workload_jwt', instance: '', key: undefined })
    const { body } = await world.post(ask({ actor_token: 'child', actor_token_type: 'x' }))
    expect(body.error).toBe('invalid_request')
  })
})

describe('a revocation', () => {
  const revoke = (scope: 'user' | 'session', value: string) =>
    world.store.revocations.revoke({
      scope,
      value,
      cutoff: startOfTime,
      expiresAt: startOfTime + 1e6,
      reason: 'r',
      by: 'b',
      at: startOfTime,
    })

  test('of the user ends tokens from before it, not later ones', async () => {
    await revoke('user', 'alice@example.com')
    expect((await world.post(ask())).body.error).toBe('invalid_request')
    await world.pass(100)
    world.subject('alice', { issuedAt: startOfTime + 50 })
    expect((await world.post(ask())).status).toBe(200)
  })

  test('of the session ends the session', async () => {
    await revoke('session', 'ses_of-alice')
    await world.pass(100)
    world.subject('alice', { issuedAt: startOfTime + 50 })
    expect((await world.post(ask())).body.error).toBe('invalid_request')
  })

  test('that this process may not have heard of keeps it from issuing', async () => {
    const { ageMs } = world.store.revocations
    world.store.revocations.ageMs = () => 2001
    expect(await world.post(ask())).toMatchObject({ status: 503, body: { error: 'evidence_unavailable' } })
    world.store.revocations.ageMs = () => Number.NaN
    expect((await world.post(ask())).status).toBe(503)
    world.store.revocations.ageMs = ageMs
  })

  test('that arrives after the token was made still ends it: the token is as old as the view', async () => {
    world.store.revocations.ageMs = () => 1500
    const { body } = await world.post(ask())
    const lease = await world.read(body.access_token)
    expect(lease.issuedAt).toBe(startOfTime - 1)
    expect(body.expires_in).toBe(299)
  })
})

describe('the form', () => {
  const body = new URLSearchParams(ask()).toString()
  const form = 'application/x-www-form-urlencoded'

  test.each([
    ['a parameter twice (H9)', `${body}&task=a&task=b`, form, 400, 'invalid_request'],
    ['two resources (H8)', `${body}&resource=${crm}&resource=${crm}`, form, 400, 'invalid_target'],
    ['JSON (H9)', JSON.stringify(ask()), 'application/json', 400, 'invalid_request'],
    ['another charset (H9)', body, `${form}; charset=utf-16`, 400, 'invalid_request'],
    ['bytes that are not UTF-8 (H9)', `${body}&task=%ff`, form, 400, 'invalid_request'],
  ])('%s', async (_, text, type, status, error) => {
    const response = await fetch(world.url, { method: 'POST', body: text, headers: { 'content-type': type } })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error })
    expect(response.headers.get('dpop-nonce')).toMatch(/^nonce-/)
  })

  test('is not taken from a query (H9)', async () => {
    const response = await fetch(`${world.url}?${body}`)
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
  })
})

describe('what goes wrong behind it', () => {
  /** One good request to a broker whose parts are changed. */
  const asking = async (changes: Partial<BrokerParts>) =>
    tokenEndpoints({ ...world.parts, ...changes })[0]!.serve({
      form: new Map(Object.entries(ask())),
      sender: { proofs: [], certificate: undefined, method: 'POST', url: 'x' },
      peer: '127.0.0.1',
      ...{ params: {}, query: new URLSearchParams(), json: undefined, jwt: '', header: () => undefined },
      ...{ caller: undefined, origins: { method: 'POST', headers: {} } },
    })

  test('a store that cannot write: no token, and the client may try again', async () => {
    const put = async () => {
      throw new Unavailable('disk full')
    }
    const leases = { ...world.store.leases, put }
    expect(await asking({ store: { ...world.store, leases } })).toMatchObject({
      code: 'evidence_unavailable',
      facts: { cause: 'disk full' },
    })
    expect(world.trails).toHaveLength(1)
  })

  test.each([90, -90, Number.NaN])('a clock %s s from the store’s: no token, nor word of it', async (off) => {
    const refused = await asking({ store: { ...world.store, clockOffset: () => off } })
    expect(refused).toMatchObject({
      code: 'evidence_unavailable',
      facts: { cause: expect.stringMatching(/^the clock of this machine is/) },
    })
    expect(refused).not.toMatchObject({ facts: { detail: expect.anything() } })
  })

  test('a bug: thrown on, and told once', async () => {
    const policy = () => {
      throw new TypeError('a bug')
    }
    await expect(asking({ policy })).rejects.toThrow('a bug')
    expect(world.trails.map(({ refusal }) => refusal?.code)).toEqual(['internal_error'])
  })

  test.each([Number.NaN, -5, Number.POSITIVE_INFINITY])(
    'a policy that grants %s seconds',
    async (seconds) => {
      world.rights.ttlSeconds = seconds
      world.rights.leaseSeconds = seconds
      const { status, body } = await world.post(ask())
      if (seconds === Number.POSITIVE_INFINITY)
        expect([body.expires_in, body.lease_expires_in]).toEqual([300, 3600])
      else expect([status, body.error]).toEqual([400, 'invalid_request'])
    },
  )

  test('a policy that grants more than it was asked', async () => {
    const everything = detail('* crm:customer/* restricted', { max_risk: 'high' })
    const grant = {
      details: [everything],
      stage: 'execute',
      ttlSeconds: 1e9,
      leaseSeconds: 1e9,
      profileVersion: '1',
    } as const
    world.policy.current = { digest: 'd', decide: () => ({ effect: 'grant', reasons: [], grant }) }
    const { body } = await world.post(ask({ stage: 'draft' }))
    expect(body).toMatchObject({
      stage: 'draft',
      expires_in: 300,
      lease_expires_in: 3600,
      authorization_details: [{ ...read, constraints: { max_risk: 'medium' } }],
    })
    const { body: scoped } = await world.post(exchangeForm('triage', 'alice', { scope: 'crm:read' }))
    expect(scoped.authorization_details).toMatchObject([{ actions: ['read'] }])
    // No verb named anywhere: a token for all of them is not signed.
    expect((await world.post(exchangeForm('triage', 'alice'))).body.error).toBe('invalid_request')
  })
})

test('the trail tells who, for whom and why, and nothing that the request proved it with', async () => {
  const { body } = await world.post(ask({ task: 'jira:SUP-1' }), 'key-1')
  const [{ trail } = { trail: undefined }] = world.trails
  expect(trail).toMatchObject({
    endpoint: 'token',
    grant: 'exchange',
    agent: 'agent:triage',
    user: 'alice@example.com',
    policyDigest: 'sha256:tables',
    reasons: ['granted'],
    lease: { id: body.lease_id },
  })
  await world.post(leaseForm('triage', body.access_token), 'key-1')
  const told = JSON.stringify(world.trails)
  for (const secret of ['password-of', String(body.access_token)]) expect(told).not.toContain(secret)
})

describe('a client that others have written (oauth4webapi)', () => {
  const client: oauth.Client = { client_id: 'triage' }
  const password: oauth.ClientAuth = (_, __, form) => form.set('client_assertion', 'password-of-triage')
  const token = async (more: Readonly<Record<string, string>>) => {
    const server: oauth.AuthorizationServer = { issuer: 'https://broker.example', token_endpoint: world.url }
    const { grant_type: grant, client_assertion: _, ...form } = ask(more)
    const response = await oauth.genericTokenEndpointRequest(server, client, password, grant!, form, {
      [oauth.allowInsecureRequests]: true,
    })
    return oauth.processGenericTokenEndpointResponse(server, client, response)
  }

  test('understands what it gets', async () => {
    const answer = await token({ task: 'jira:SUP-1' })
    expect(answer).toMatchObject({ token_type: 'bearer', expires_in: 300, scope: 'crm:read' })
    expect(answer.authorization_details).toEqual([{ ...read, constraints: { max_risk: 'medium' } }])
    expect(await world.read(answer.access_token)).toMatchObject({ clientId: 'triage' })
  })

  test('understands a refusal', async () => {
    const refused = token({ authorization_details: asJson({ ...read, actions: ['delete'] }) })
    await expect(refused).rejects.toMatchObject({
      error: 'invalid_authorization_details',
      error_description: 'not covered: delete crm:customer/9821 up to confidential, max_risk medium',
      status: 400,
    })
  })
})
