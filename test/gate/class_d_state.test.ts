// Bad-input class D over raw sockets: lease state, status lists, a stale view. Whatever is wrong with a token, its
// bearer learns that it is not valid here, and nothing about what is behind the gate.
import { renameSync } from 'node:fs'
import { deflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, message, type TestGate } from '../support/gate.ts'
import { headerOf, type Json, type TestIssuer, testKey } from '../support/tokens.ts'
import { expectRefused, nothingFollows } from './matrix.ts'
import { challenged, now, startTwoIssuers, type TwoIssuers } from './two_issuers.ts'

let issuers: TwoIssuers
let gate: TestGate
let remote: TestIssuer
beforeAll(async () => {
  issuers = await startTwoIssuers()
  ;({ gate, remote } = issuers)
})
afterAll(() => issuers.close())

describe('lease state', () => {
  const agent = (name: string, version: string) => ({
    claims: { act: { iss: 'https://broker.example', sub: `agent:${name}` } },
    lease: { agent: { version, env: 'prod', instance: 'i', policy_profile: 'support' } },
  })
  const scopes: readonly (readonly [string, Record<string, string>, () => string])[] = [
    ['D16', { lease: 'lse_dead' }, () => gate.token({}, { id: 'lse_dead' })],
    ['D17', { agent: 'agent:dead' }, () => gate.token(agent('dead', '1').claims)],
    ['D17', { agent: 'alive-by-name' }, () => gate.token(agent('alive-by-name', '1').claims)],
    [
      'D17',
      { agent_version: 'old@1.0' },
      () => gate.token(agent('old', '1.0').claims, agent('old', '1.0').lease),
    ],
    [
      'D17',
      { task: 'jira:DEAD-1' },
      () => gate.token({}, { task: { system: 'jira', id: 'DEAD-1', purpose: 'p' } }),
    ],
    ['D17', { session: 'ses_dead' }, () => gate.token({}, { session: 'ses_dead' })],
    ['D17', { token: 'ltk_dead' }, () => gate.token({ jti: 'ltk_dead' })],
    ['D17', { user: 'dead@example.com' }, () => gate.token({ sub: 'dead@example.com' })],
  ]
  test.each(scopes)('%s revoked by %o: refused from the acknowledgement on', async (_, ask, make) => {
    const token = make()
    const first = await gate.ask(message({ token }))
    expect(first.body.toString()).not.toContain('lease_revoked')
    expect((await gate.revoke({ ...ask, reason: 'leaked' })).status).toBe(201)
    await expectRefused(gate, {
      send: () => message({ token }),
      status: 401,
      code: 'lease_revoked',
      also: (answer, problem) => {
        challenged(answer, problem)
        expect(problem.reasons).toContain('lease_inactive')
      },
    })
  })

  test('D17 another token of the lease of a revoked token goes on', async () => {
    const lease = { id: 'lse_of_two_tokens' }
    expect((await gate.revoke({ token: 'ltk_one', reason: 'leaked' })).status).toBe(201)
    expect((await gate.ask(message({ token: gate.token({ jti: 'ltk_one' }, lease) }))).status).toBe(401)
    expect((await gate.ask(message({ token: gate.token({ jti: 'ltk_two' }, lease) }))).status).toBe(200)
  })

  test('D17 another version of a revoked agent version goes on', async () => {
    const { claims, lease } = agent('old', '2.0')
    expect((await gate.ask(message({ token: gate.token(claims, lease) }))).status).toBe(200)
  })

  test('D16 a revocation of another issuer does not touch this one', async () => {
    const token = gate.token({}, { id: 'lse_shared' })
    await gate.revoke({ lease: 'lse_shared', issuer: remote.issuer, reason: 'theirs' })
    expect((await gate.ask(message({ token }))).status).toBe(200)
  })
})

describe('D19 status lists', () => {
  const uri = (name: string) => `${issuers.remoteUrl}/lists/${name}`
  const publish = (name: string, overrides: Json = {}, key = remote.key) => {
    const status_list = { bits: 1, lst: deflateSync(Uint8Array.of(0b10)).toString('base64url') }
    const body = { sub: uri(name), iat: now(), exp: now() + 600, ttl: 60, status_list, ...overrides }
    issuers.lists.set(
      `/lists/${name}`,
      remote.raw({ ...headerOf(remote.key), typ: 'statuslist+jwt' }, body, key),
    )
  }
  const token = (name: string, idx: unknown) =>
    remote.token({
      status: { status_list: { idx, uri: uri(name) } },
      lease: { ...lifted(), id: `lse_${name}` },
    })
  const lifted = () => (remote.claims() as { lease: Json }).lease

  test('a token that stands is served', async () => {
    publish('good')
    expect((await gate.ask(message({ token: token('good', 0) }))).status).toBe(200)
  })

  const broken: readonly (readonly [string, unknown, Json, 'lease_invalid' | 'lease_revoked'])[] = [
    ['invalid', 1, {}, 'lease_revoked'],
    ['range', 800, {}, 'lease_invalid'],
    ['negative', -1, {}, 'lease_invalid'],
    ['text', '0', {}, 'lease_invalid'],
    ['expired', 0, { exp: 1 }, 'lease_invalid'],
    ['subject', 0, { sub: 'https://evil.example/lists/subject' }, 'lease_invalid'],
  ]
  test.each(broken)('(a) %s', async (name, idx, overrides, code) => {
    publish(name, overrides)
    const send = () => message({ token: token(name, idx) })
    await expectRefused(gate, { send, status: 401, code, also: challenged })
  })

  test('(a) signed by another key', async () => {
    publish('forged', {}, testKey('remote-1'))
    const send = () => message({ token: token('forged', 0) })
    await expectRefused(gate, { send, status: 401, code: 'lease_invalid', also: challenged })
  })

  test('(a) at an address that is not configured: nothing is fetched', async () => {
    const before = issuers.fetched.length
    const status = { status_list: { idx: 0, uri: `${issuers.remoteUrl}/elsewhere/1` } }
    const send = () => message({ token: remote.token({ status }) })
    await expectRefused(gate, { send, status: 401, code: 'lease_invalid', also: challenged })
    expect(issuers.fetched.slice(before)).toEqual([])
  })

  test('(b) unreachable: 503, not yes and not no', async () => {
    await expectRefused(gate, {
      send: () => message({ token: token('nowhere', 0) }),
      status: 503,
      code: 'evidence_unavailable',
      also: ({ headers }) => expect(headers['retry-after']).toMatch(/^[1-9]\d*$/),
    })
  })
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)

describe('D18 a view of revocations that is too old', () => {
  const away = () => `${gate.config.dir}/away.db`
  const path = () => (gate.config.state as { path: string }).path

  test.each(['GET', 'PATCH', 'PUT', 'DELETE'])(
    '%s → 503 with Retry-After, and the gate is not ready',
    async (method) => {
      renameSync(path(), away())
      try {
        await eventually(async () => (await gate.readiness()).status === 503, 'readiness to end')
        const { checks } = await gate.readiness()
        expect(checks.filter(({ ready }) => !ready).map(({ name }) => name)).toEqual(['revocations'])
        const body = method === 'GET' || method === 'DELETE' ? {} : { body: '{}' }
        await expectRefused(gate, {
          send: (token) => message({ method, token, fields: ['Content-Type: application/json'], ...body }),
          status: 503,
          code: 'evidence_unavailable',
          also: ({ headers }) => expect(headers['retry-after']).toMatch(/^[1-9]\d*$/),
        })
      } finally {
        renameSync(away(), path())
      }
      await eventually(async () => (await gate.readiness()).status === 200, 'readiness')
      expect((await gate.ask(message({ token: gate.token() }))).status).toBe(200)
    },
  )
})
