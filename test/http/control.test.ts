// The operators' listener over a real socket and a real store: who may revoke, what an order has to look
// like, and that an acknowledgement means that the entry is kept.
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { OrderTrail } from '../../src/broker/observer.ts'
import { retentionSeconds } from '../../src/broker/revocation.ts'
import { createControlListener } from '../../src/http/control.ts'
import { jwksEndpoint } from '../../src/http/jwks.ts'
import { operator } from '../../src/http/operators.ts'
import { revocationEndpoints } from '../../src/http/revocations.ts'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { ask } from '../support/raw.ts'

const operatorToken = 'operator-token-of-the-test'
const now = 1_795_300_000.75
let dir: string
let store: Store
let server: Server
let port: number
let bugs: unknown[]
let orders: string[]
let broken: Error | undefined
/** The clock that the processes of a store share. */
let storeNow: number

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-control-'))
})
afterAll(() => rmSync(dir, { recursive: true }))
beforeEach(async () => {
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
  bugs = []
  orders = []
  storeNow = now
  const jwks = () => {
    if (broken !== undefined) throw broken
    return [{ kid: 'k1', kty: 'EC', alg: 'ES256', use: 'sig' } as const]
  }
  const observer = { ordered: ({ verb }: OrderTrail) => void orders.push(verb) }
  const onBug = (bug: unknown) => bugs.push(bug)
  server = createControlListener({
    endpoints: [
      jwksEndpoint(jwks),
      ...revocationEndpoints({
        store: { ...store, now: async () => storeNow },
        clock: () => now * 1000,
        observer,
      }),
    ],
    operators: [operator('operator', operatorToken)],
    publicUrl: 'http://control',
    onBug,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await store.close()
})

interface Order {
  readonly body?: string
  readonly authorization?: string
  readonly type?: string
  readonly method?: string
  readonly path?: string
}

const good = '{"lease":"lse_1","reason":"leaked"}'

async function order({ body = good, authorization = `Bearer ${operatorToken}`, ...rest }: Order = {}) {
  const { method = 'POST', path = '/revocations', type = 'application/json' } = rest
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: control', `Content-Type: ${type}`]
  if (authorization !== '') lines.push(`Authorization: ${authorization}`)
  lines.push(`Content-Length: ${Buffer.byteLength(body)}`)
  const answer = await ask(port, Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`))
  return { ...answer, problem: JSON.parse(answer.body.toString()) as Record<string, unknown> }
}

function find(scope: string, value: string, issuedAt: number) {
  return store.revocations.find([`${scope}\n${value}`], issuedAt)
}

describe('an order to revoke', () => {
  test('is in the view and kept when it is acknowledged', async () => {
    const { status, problem } = await order()
    expect(status).toBe(201)
    expect(problem).toEqual({
      scope: 'lease',
      value: 'lse_1',
      cutoff: Number.MAX_SAFE_INTEGER,
      expires_at: 1_795_300_000 + retentionSeconds,
      reason: 'leaked',
      by: 'operator',
      at: 1_795_300_000,
    })
    expect(find('lease', 'lse_1', 1_795_400_000)).toMatchObject({ reason: 'leaked' })
    const other = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
    expect(other.revocations.find(['lease\nlse_1'], 1)).toMatchObject({ reason: 'leaked' })
    await other.close()
  })

  test('reaches as far as the clock that the processes of the store share, where this one is behind', async () => {
    storeNow = now + 90
    const body = '{"session":"ses_1","reason":"leaked"}'
    expect((await order({ body })).problem).toMatchObject({ cutoff: Math.floor(now) + 90 })
    storeNow = now - 90
    const later = '{"session":"ses_2","reason":"leaked"}'
    expect((await order({ body: later })).problem).toMatchObject({ cutoff: Math.floor(now) })
  })

  test('may be repeated, and says what stands', async () => {
    const first = await order({ body: '{"lease":"lse_again","reason":"r"}' })
    const again = await order({ body: '{"lease":"lse_again","reason":"another","by":"kim"}' })
    expect([first.status, again.status]).toEqual([201, 200])
    expect(again.problem).toEqual(first.problem)
  })

  const scopes = [
    ['{"agent":"triage","reason":"r"}', 'agent', 'agent:triage'],
    ['{"agent":"workflow:nightly","reason":"r"}', 'agent', 'workflow:nightly'],
    ['{"agent_version":"triage@2.0","reason":"r"}', 'agent_version', 'agent:triage@2.0'],
    ['{"user":"mallory@example.com","reason":"r"}', 'user', 'mallory@example.com'],
    ['{"task":"jira:SUP-9","reason":"r"}', 'task', 'jira:SUP-9'],
    ['{"session":"ses_9","reason":"r"}', 'session', 'ses_9'],
  ] as const
  test.each(scopes)('%s kills what was issued up to now, and nothing later', async (body, scope, value) => {
    expect((await order({ body })).status).toBe(201)
    expect(find(scope, value, 1_795_300_000)).toMatchObject({ scope, value })
    expect(find(scope, value, 1_795_300_001)).toBeUndefined()
  })

  test('can be limited to one issuer, and names who gave it', async () => {
    const body = '{"session":"ses_i","issuer":"https://a.example","by":"ops:kim","reason":"r"}'
    expect((await order({ body })).problem).toMatchObject({ by: 'ops:kim' })
    expect(find('session', 'ses_i', 1)).toBeUndefined()
    expect(store.revocations.find(['session\nses_i\nhttps://a.example'], 1)).toMatchObject({ by: 'ops:kim' })
  })

  test('that the store does not take is not acknowledged', async () => {
    renameSync(join(dir, 'state.db'), join(dir, 'away.db'))
    const { status, problem } = await order({ body: '{"lease":"lse_x","reason":"r"}' })
    renameSync(join(dir, 'away.db'), join(dir, 'state.db'))
    expect([status, problem.code]).toEqual([503, 'evidence_unavailable'])
    expect(find('lease', 'lse_x', 1)).toBeUndefined()
  })
})

describe('refused', () => {
  const before = () => store.revocations.size()
  const malformed = [400, 'malformed_request'] as const
  const stranger = [401, 'operator_required'] as const
  const rows: readonly (readonly [string, Order, readonly [number, string]])[] = [
    ['no token', { authorization: '' }, stranger],
    ['another token', { authorization: 'Bearer operator-token-of-the-tesT' }, stranger],
    ['a token that begins alike', { authorization: `Bearer ${operatorToken}x` }, stranger],
    ['another scheme', { authorization: `Basic ${operatorToken}` }, stranger],
    ['no token, at an endpoint that does not exist', { authorization: '', path: '/x' }, stranger],
    ['an endpoint that does not exist', { path: '/nothing' }, [404, 'operation_unmapped']],
    ['a method that is not served', { method: 'PUT' }, [405, 'method_not_allowed']],
    ['another media type', { type: 'text/plain' }, malformed],
    ['a form', { type: 'application/x-www-form-urlencoded', body: 'lease=1' }, malformed],
    ['no JSON', { body: '{' }, malformed],
    ['a name twice', { body: '{"lease":"a","lease":"b","reason":"r"}' }, malformed],
    ['a list', { body: '[]' }, malformed],
    ['null', { body: 'null' }, malformed],
    ['nothing to revoke', { body: '{"reason":"r"}' }, malformed],
    ['two things to revoke', { body: '{"lease":"a","user":"b","reason":"r"}' }, malformed],
    ['no reason', { body: '{"lease":"a"}' }, malformed],
    ['an empty reason', { body: '{"lease":"a","reason":""}' }, malformed],
    ['an unknown member', { body: '{"lease":"a","reason":"r","cutoff":1}' }, malformed],
    ['a value that is no text', { body: '{"lease":1,"reason":"r"}' }, malformed],
    ['a line break', { body: '{"lease":"a\\nb","reason":"r"}' }, malformed],
    ['a value of 257 characters', { body: `{"lease":"${'a'.repeat(257)}","reason":"r"}` }, malformed],
    ['a body of 20,000 bytes', { body: `{"lease":"${'a'.repeat(20_000)}"}` }, [413, 'body_too_large']],
  ]
  test.each(rows)('%s', async (_, ask, [status, code]) => {
    const size = before()
    const answer = await order(ask)
    expect([answer.status, answer.problem.code]).toEqual([status, code])
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(answer.headers.allow).toBe(status === 405 ? 'POST' : undefined)
    expect(answer.body.toString()).not.toContain(operatorToken)
    expect(store.revocations.size()).toBe(size)
    expect(orders).toHaveLength(ask.path === undefined ? 1 : 0)
  })
})

test('the public keys need no token', async () => {
  const { status, problem } = await order({ method: 'GET', path: '/jwks', authorization: '', body: '' })
  expect([status, problem]).toEqual([200, { keys: [{ kid: 'k1', kty: 'EC', alg: 'ES256', use: 'sig' }] }])
})

test('an answer says how long it is', async () => {
  const response = await fetch(`http://127.0.0.1:${port}/jwks`)
  const { byteLength } = await response.arrayBuffer()
  expect(response.headers.get('content-length')).toBe(String(byteLength))
})

test('a bug is a bare 500 to the caller and told to the operators', async () => {
  broken = new Error('what only operators may see')
  const response = await fetch(`http://127.0.0.1:${port}/jwks`)
  broken = undefined
  expect(response.status).toBe(500)
  expect(await response.text()).not.toContain('operators')
  expect(bugs).toEqual([new Error('what only operators may see')])
})
