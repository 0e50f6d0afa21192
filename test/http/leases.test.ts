// `/leases` over a real socket and a real store: the six questions, what operators of a tenant may see and do,
// what an agent may do with its own lease, and that nobody can tell a lease that is not theirs from none.
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SenderVerifier } from '../../src/broker/parties.ts'
import { createControlListener } from '../../src/http/control.ts'
import { leaseEndpoints } from '../../src/http/leases.ts'
import { operator } from '../../src/http/operators.ts'
import { revocationEndpoints } from '../../src/http/revocations.ts'
import type { Binding } from '../../src/lease/lease.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import type { LeaseRecord, Store } from '../../src/ports.ts'
import { refuse } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { leaseRecord } from '../support/leases.ts'
import { ask } from '../support/raw.ts'
import { type Json, testIssuer } from '../support/tokens.ts'

const ours = testIssuer()
const theirs = testIssuer({ issuer: 'https://other.example', kid: 'other-1' })
const tokens = { root: 'root-token-of-the-test', acme: 'acme-token-of-the-test' }
const now = Math.floor(Date.now() / 1000)
let dir: string
let store: Store
let server: Server
let port: number
let changes: string[]
/** Which key the next sender proves. */
let proven: Awaited<ReturnType<SenderVerifier['verify']>>

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-leases-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
  changes = []
  proven = undefined
  const verifier = createVerifier({
    issuers: [ours.profile(), theirs.profile()],
    keys: await keysOfBoth(),
  })
  const ordered = () => {}
  const parts = { store, clock: Date.now, observer: { ordered } }
  server = createControlListener({
    endpoints: [
      ...leaseEndpoints({
        ...parts,
        around: (at) => ({
          backends: [],
          rates: {},
          assumedRate: { count: 600, periodMs: 60_000, burst: 600 },
          detectionSeconds: 900,
          now: at,
        }),
        observer: { ordered, changed: ({ id, state }) => void changes.push(`${id} ${state}`) },
        holder: {
          verifier,
          sender: { verify: async () => proven, nonce: () => 'nonce' },
          audiences: [ours.audience],
        },
      }),
      ...revocationEndpoints(parts),
    ],
    operators: [operator('root', tokens.root), operator('acme-ops', tokens.acme, { tenant: 'acme' })],
    publicUrl: 'http://control',
    onBug: (bug) => {
      throw bug
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await store.close()
  rmSync(dir, { recursive: true })
})

async function keysOfBoth() {
  const [a, b] = [await ours.keys(), await theirs.keys()]
  return {
    ...a,
    find: (issuer: string, kid: string, alg: string) =>
      (issuer === ours.issuer ? a : b).find(issuer, kid, alg),
    known: (issuer: string) => (issuer === ours.issuer ? a : b).known(issuer),
  }
}

interface Call {
  readonly as?: keyof typeof tokens
  /** In place of an operator's credential. */
  readonly credential?: string
  readonly json?: unknown
}

async function call(method: 'GET' | 'POST', target: string, { as = 'root', credential, json }: Call = {}) {
  const body = json === undefined ? '' : JSON.stringify(json)
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: control', 'Content-Type: application/json']
  const authorization = credential ?? `Bearer ${tokens[as]}`
  if (authorization !== '') lines.push(`Authorization: ${authorization}`)
  lines.push(`Content-Length: ${Buffer.byteLength(body)}`)
  const answer = await ask(port, Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`))
  return { ...answer, text: answer.body.toString(), json: JSON.parse(answer.body.toString()) as Json }
}

const get = (target: string, as?: keyof typeof tokens) => call('GET', target, as === undefined ? {} : { as })
const post = (target: string, how: Omit<Call, 'json'> & { json?: unknown } = {}) =>
  call('POST', target, { json: { reason: 'because' }, ...how })
const put = async (over: Partial<LeaseRecord> = {}) => {
  const record = leaseRecord({ issuedAt: now - 60, ...over })
  await store.leases.put(record)
  return record
}
const idsOf = ({ json }: { json: Json }) => (json.leases as { id: string }[]).map(({ id }) => id)

describe('GET /leases/{id}', () => {
  test('answers the six questions, and what became of the lease', async () => {
    const record = await put({
      tenant: 'acme',
      login: { issuer: 'https://login.example', subject: 'u-1' },
      binding: { method: 'dpop', thumbprint: 'k'.repeat(43) },
      ancestors: ['lse_parent'],
      delegatedBy: [{ id: 'agent:lead', version: '1', profile: 'lead' }],
      decision: { id: 'dec_1', reasons: ['entitled'], policyDigest: 'sha256:00' },
    })
    await put({ id: 'lse_child', tenant: 'acme', ancestors: ['lse_1', 'lse_parent'] })
    await put({ id: 'lse_stranger', tenant: 'other', ancestors: ['lse_1'] })
    await store.leases.addUsage([
      {
        ...{ id: 'lse_1', issuer: ours.issuer, calls: 3, verbs: { read: 2, update: 1 }, refusals: 1 },
        ...{ bytesIn: 10, bytesOut: 2048, lastUsedAt: now - 5 },
      },
    ])
    await post('/leases/lse_1/suspend')
    const { status, headers, json } = await get('/leases/lse_1')
    expect([status, headers['cache-control']]).toEqual([200, 'no-store'])
    const by = { by: 'root', reason: 'because', at: expect.any(Number) }
    expect(json).toEqual({
      id: 'lse_1',
      state: 'suspended',
      who: { user: 'alice@example.com', login: { issuer: 'https://login.example', subject: 'u-1' } },
      agent: {
        ...{ id: 'agent:support-triage', version: '3.2.1', env: 'prod', client_id: 'support-triage' },
        ...{ profile: 'support', profile_version: '9' },
        delegated_by: [{ id: 'agent:lead', version: '1', profile: 'lead' }],
      },
      what: {
        audience: 'https://gate.example',
        stage: 'observe',
        authorization_details: record.details,
        binding: { method: 'dpop', thumbprint: 'k'.repeat(43) },
      },
      why: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
      when: {
        ...{ issued_at: now - 60, token_expires_at: now + 240, ends_at: now + 3540, renewals: 0 },
        changed: by,
      },
      budget: [],
      repeats: [],
      what_happened: {
        ...{ calls: 3, verbs: { read: 2, update: 1 }, refusals: 1 },
        ...{ bytes_in: 10, bytes_out: 2048, last_used_at: now - 5 },
      },
      revoked: null,
      suspended: { lease: 'lse_1', ...by },
      decision: { id: 'dec_1', reasons: ['entitled'], policy_digest: 'sha256:00' },
      session: 'ses_1',
      issuer: 'https://broker.example',
      tenant: 'acme',
      parents: ['lse_parent'],
      children: ['lse_child'],
    })
  })

  test('says that nothing has happened yet, in the same form', async () => {
    await put()
    expect((await get('/leases/lse_1')).json).toMatchObject({
      ...{ state: 'active', decision: null, revoked: null, suspended: null, children: [] },
      who: { login: null },
      what_happened: { calls: 0, verbs: {}, refusals: 0, bytes_in: 0, bytes_out: 0, last_used_at: null },
    })
  })

  test('says what killed it', async () => {
    await put()
    await call('POST', '/revocations', { json: { agent: 'support-triage', reason: 'injected' } })
    expect((await get('/leases/lse_1')).json).toMatchObject({
      state: 'revoked',
      revoked: { scope: 'agent', value: 'agent:support-triage', by: 'root', reason: 'injected' },
    })
  })
})

describe('H15 a lease that a caller may not see', () => {
  const others = ['lse_unknown', 'lse_other', 'lse_nobody'] as const
  beforeEach(async () => {
    await put({ id: 'lse_other', tenant: 'other' })
    await put({ id: 'lse_nobody', tenant: '' })
    await put({ id: 'lse_own', tenant: 'acme' })
  })

  const calls: readonly (readonly [string, (id: string) => ReturnType<typeof call>])[] = [
    ['GET', (id) => get(`/leases/${id}`, 'acme')],
    ...(['revoke', 'suspend', 'resume', 'complete'] as const).map(
      (verb) => [verb, (id: string) => post(`/leases/${id}/${verb}`, { as: 'acme' })] as const,
    ),
    [
      'POST /revocations',
      (id) => call('POST', '/revocations', { as: 'acme', json: { lease: id, reason: 'r' } }),
    ],
  ]
  test.each(calls)('%s: the same bytes as for one that nobody knows', async (_, attempt) => {
    const answers = await Promise.all(others.map(attempt))
    const bytes = answers.map(({ status, headers, text }) => [status, { ...headers, date: '' }, text])
    expect(bytes[0]).toEqual([404, expect.anything(), expect.stringContaining('"lease_unknown"')])
    expect(bytes).toEqual([bytes[0], bytes[0], bytes[0]])
    expect(changes).toEqual([])
    for (const id of ['lse_other', 'lse_nobody']) {
      expect([(await store.leases.get(id))?.version, (await get(`/leases/${id}`)).json.state]).toEqual([
        0,
        'active',
      ])
    }
  })

  test.each(calls)('%s: its own it may', async (name, attempt) => {
    expect((await attempt('lse_own')).status).toBe(name === 'POST /revocations' ? 201 : 200)
  })

  test('is not in a list either, whatever the filter', async () => {
    for (const query of ['', '?user=alice@example.com', '?state=active', '?unused=true&older_than=1s']) {
      expect([query, idsOf(await get(`/leases${query}`, 'acme'))]).toEqual([query, ['lse_own']])
      expect(idsOf(await get(`/leases${query}`)).toSorted()).toEqual(['lse_nobody', 'lse_other', 'lse_own'])
    }
  })

  const bulk = ['agent', 'agent_version', 'user', 'task', 'session'] as const
  test.each(bulk)('a revocation by %s reaches other tenants: refused, known or not', async (scope) => {
    for (const value of ['alice@example.com', 'a:b@1', 'ses_1']) {
      const { status, json } = await call('POST', '/revocations', {
        as: 'acme',
        json: { [scope]: value, reason: 'r' },
      })
      expect([status, json.code]).toEqual([403, 'operator_not_allowed'])
    }
    expect(store.revocations.size()).toBe(0)
  })

  test('nobody of a tenant signs with another name', async () => {
    const json = { lease: 'lse_own', reason: 'r', by: 'root' }
    expect((await call('POST', '/revocations', { as: 'acme', json })).json.code).toBe('operator_not_allowed')
  })
})

describe('GET /leases', () => {
  beforeEach(async () => {
    await put({ id: 'lse_old', issuedAt: now - 3000, user: 'bob@example.com', session: 'ses_bob' })
    await put({ id: 'lse_other_agent', issuedAt: now - 900, agent: 'agent:billing' })
    await put({ id: 'lse_task', issuedAt: now - 30, task: { system: 'task', id: 'OPS-1', purpose: 'p' } })
    await put({ id: 'lse_over', issuedAt: now - 9000, maxExpiresAt: now - 1 })
    await put({ id: 'lse_done', issuedAt: now - 20 })
    await post('/leases/lse_done/complete')
    await put({ id: 'lse_held', issuedAt: now - 10 })
    await post('/leases/lse_held/suspend')
    await put({ id: 'lse_dead', issuedAt: now - 5 })
    await post('/leases/lse_dead/revoke')
    const calls = { calls: 1, verbs: { read: 1 }, refusals: 0, bytesIn: 0, bytesOut: 0 }
    await store.leases.addUsage([{ id: 'lse_old', issuer: ours.issuer, ...calls, lastUsedAt: now - 700 }])
  })

  const searches: readonly (readonly [string, string[]])[] = [
    ['', ['lse_dead', 'lse_held', 'lse_done', 'lse_task', 'lse_other_agent', 'lse_old', 'lse_over']],
    ['?limit=2', ['lse_dead', 'lse_held']],
    ['?agent=billing', ['lse_other_agent']],
    ['?agent=agent:billing', ['lse_other_agent']],
    ['?user=bob@example.com', ['lse_old']],
    ['?task=OPS-1', ['lse_task']],
    ['?session=ses_bob', ['lse_old']],
    ['?session=ses_bob&agent=billing', []],
    ['?state=active', ['lse_task', 'lse_other_agent', 'lse_old']],
    ['?state=active&limit=1', ['lse_task']],
    ['?state=suspended', ['lse_held']],
    ['?state=revoked', ['lse_dead']],
    ['?state=completed', ['lse_done']],
    ['?state=expired', ['lse_over']],
    ['?unused=true', ['lse_other_agent', 'lse_old']],
    ['?unused=true&older_than=20', ['lse_task', 'lse_other_agent', 'lse_old']],
    ['?unused=true&older_than=15m', ['lse_other_agent']],
    ['?unused=true&older_than=1h', []],
    ['?unused=true&state=completed', []],
  ]
  test.each(searches)('%s', async (query, ids) => {
    const answer = await get(`/leases${query}`)
    expect([answer.status, idsOf(answer)]).toEqual([200, ids])
  })

  const malformed = [
    ...[
      '?nonsense=1',
      '?agent=triage@1.0',
      '?user=',
      '?user=a&user=b',
      '?state=dead',
      '?limit=0',
      '?limit=1001',
      '?limit=1e3',
    ],
    ...['?limit=-1', '?unused=yes', '?older_than=10m', '?unused=true&older_than=soon', '?tenant=other'],
    ...['?unused=true&older_than=0', '?user=%E2%80%AE', '?user=a%0Ab'],
  ]
  test.each(malformed)('%s is refused', async (query) => {
    const { status, json } = await get(`/leases${query}`)
    expect([status, json.code]).toEqual([400, 'malformed_request'])
  })
})

describe('H16 POST /leases/{id}/…', () => {
  test.each(['revoke', 'suspend', 'resume', 'complete'])('%s twice is 200 and changes once', async (verb) => {
    await put({ state: verb === 'resume' ? 'suspended' : 'active' })
    const first = await post(`/leases/lse_1/${verb}`)
    const second = await post(`/leases/lse_1/${verb}`)
    expect([first.status, second.status]).toEqual([200, 200])
    expect(second.json).toEqual(first.json)
    expect(changes).toHaveLength(1)
  })

  test('an illegal transition is 409, and says where the lease stands', async () => {
    await put()
    await post('/leases/lse_1/revoke')
    const { status, json } = await post('/leases/lse_1/resume')
    expect([status, json.code, json.reasons]).toEqual([409, 'lease_state_conflict', ['lease_revoked']])
    expect(changes).toEqual(['lse_1 revoked'])
  })

  const bodies = [{}, { reason: 1 }, { reason: '' }, { reason: 'r', by: 'x' }, [], null, { reason: 'a\nb' }]
  test.each(bodies)('a body like %j is refused', async (json) => {
    await put()
    expect((await post('/leases/lse_1/revoke', { json })).json.code).toBe('malformed_request')
  })

  const paths = ['', '/lse_1', '/lse_1/revoke', '/lse_1/suspend', '/lse_1/resume', '/lse_1/complete']
  test.each(paths)('nobody gets at /leases%s without a credential', async (path) => {
    await put()
    const method = path.split('/').length > 2 ? 'POST' : 'GET'
    const json = method === 'POST' ? { reason: 'r' } : undefined
    for (const credential of ['', 'Bearer nobody', `Basic ${tokens.root}`, `Bearer ${tokens.root}x`]) {
      const { status, text } = await call(method, `/leases${path}`, { credential, json })
      expect(status).toBe(401)
      expect(text).not.toContain('alice')
    }
    expect((await store.leases.get('lse_1'))?.version).toBe(0)
  })

  test('a store that does not answer is 503, and nothing is acknowledged', async () => {
    await put()
    renameSync(join(dir, 'state.db'), join(dir, 'away.db'))
    const answers = [await post('/leases/lse_1/suspend'), await get('/leases'), await get('/leases/lse_1')]
    renameSync(join(dir, 'away.db'), join(dir, 'state.db'))
    for (const { status, json } of answers) expect([status, json.code]).toEqual([503, 'evidence_unavailable'])
    expect(changes).toEqual([])
    expect((await post('/leases/lse_1/suspend')).status).toBe(200)
  })
})

describe('an agent that ends its own lease', () => {
  const token = (over: Json = {}, lease: Json = {}, issuer = ours) => {
    const usual = issuer.claims() as { lease: Json }
    return issuer.token({ lease: { ...usual.lease, id: 'lse_1', ...lease }, ...over })
  }
  const complete = (credential: string, id = 'lse_1') => post(`/leases/${id}/complete`, { credential })
  const state = async (id = 'lse_1') => (await store.leases.get(id))?.state

  test('completes it, once and again, and learns no more than that', async () => {
    await put()
    for (const _ of [1, 2]) {
      const { status, json } = await complete(`Bearer ${token()}`)
      expect([status, json]).toEqual([200, { id: 'lse_1', state: 'completed' }])
    }
    expect(changes).toEqual(['lse_1 completed'])
    expect((await store.leases.get('lse_1'))?.changed).toMatchObject({ by: 'agent:support-triage' })
  })

  test.each(['revoke', 'suspend', 'resume'])('%s is not for agents', async (verb) => {
    await put()
    expect((await post(`/leases/lse_1/${verb}`, { credential: `Bearer ${token()}` })).status).toBe(401)
    expect(await state()).toBe('active')
  })

  test('no other lease: unknown, of somebody else, and of the same name at another issuer are one answer', async () => {
    await put()
    await put({ id: 'lse_2' })
    const answers = [
      await complete(`Bearer ${token()}`, 'lse_2'),
      await complete(`Bearer ${token()}`, 'lse_unknown'),
      await complete(`Bearer ${token({}, {}, theirs)}`),
    ]
    expect(answers.map(({ status, json }) => [status, json.code])).toEqual(
      Array(3).fill([404, 'lease_unknown']),
    )
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect([await state(), await state('lse_2')]).toEqual(['active', 'active'])
  })

  test('a lease that was revoked stays so', async () => {
    await put()
    await post('/leases/lse_1/revoke')
    expect((await complete(`Bearer ${token()}`)).json.code).toBe('lease_state_conflict')
    expect(await state()).toBe('revoked')
  })

  test('a token that was revoked ends nothing, another one of the lease does', async () => {
    await put()
    const over = { cutoff: Number.MAX_SAFE_INTEGER, expiresAt: now + 300, at: now }
    const why = { by: 'support-triage', reason: 'token revoked' }
    await store.revocations.revoke({
      scope: 'token',
      value: 'ltk_stolen',
      issuer: ours.issuer,
      ...over,
      ...why,
    })
    const { status, json } = await complete(`Bearer ${token({ jti: 'ltk_stolen' })}`)
    expect([status, json.code, json.reasons]).toEqual([
      401,
      'lease_revoked',
      ['lease_inactive', 'revoked_by_token'],
    ])
    expect(await state()).toBe('active')
    expect((await complete(`Bearer ${token()}`)).status).toBe(200)
  })

  const jkt = 'k'.repeat(43)
  const bound = () => token({ cnf: { jkt } })
  const certified = () => token({ cnf: { 'x5t#S256': jkt } })
  const dpop: Binding = { method: 'dpop', thumbprint: jkt }
  const mtls: Binding = { method: 'mtls', thumbprint: jkt }
  const rows: readonly (readonly [string, () => string, typeof proven, number, string | undefined])[] = [
    ['a bound token with its proof', () => `DPoP ${bound()}`, dpop, 200, undefined],
    ['E11 a bound token with its certificate', () => `Bearer ${certified()}`, mtls, 200, undefined],
    ['E1 a bound token as bearer', () => `Bearer ${bound()}`, dpop, 401, 'lease_invalid'],
    ['E2 a bound token without proof', () => `DPoP ${bound()}`, undefined, 401, 'lease_invalid'],
    [
      'E3 another key',
      () => `DPoP ${bound()}`,
      { ...dpop, thumbprint: 'x'.repeat(43) },
      401,
      'lease_invalid',
    ],
    ['E11 another certificate', () => `Bearer ${certified()}`, dpop, 401, 'lease_invalid'],
    ['a plain token as DPoP', () => `DPoP ${token()}`, dpop, 401, 'lease_invalid'],
    [
      'E7 a proof that does not hold',
      () => `DPoP ${bound()}`,
      refuse('invalid_dpop_proof'),
      401,
      'proof_invalid',
    ],
    ['E9 an old nonce', () => `DPoP ${bound()}`, refuse('use_dpop_nonce'), 401, 'proof_nonce_required'],
    [
      'an expired token',
      () => `Bearer ${token({ iat: now - 400, nbf: now - 400, exp: now - 101 })}`,
      undefined,
      401,
      'lease_expired',
    ],
    ['a token of nobody', () => `Bearer ${token().slice(0, -4)}AAAA`, undefined, 401, 'lease_invalid'],
    [
      'a token for another audience',
      () => `Bearer ${token({ aud: 'https://x.example' })}`,
      undefined,
      401,
      'lease_invalid',
    ],
  ]
  test.each(rows)('%s', async (_, credential, sender, status, code) => {
    await put()
    proven = sender
    const answer = await complete(credential())
    expect([answer.status, answer.json.code]).toEqual([status, code])
    expect(answer.text).not.toContain('eyJ')
    expect(await state()).toBe(status === 200 ? 'completed' : 'active')
  })
})
