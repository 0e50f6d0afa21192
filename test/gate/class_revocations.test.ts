// Bad orders to revoke, suspend, resume and complete, at every endpoint that takes one and on the command line:
// the right refusal or the same answer again, never more killed than was named, and one audit record each.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeLease } from '../../src/broker/lifecycle.ts'
import { type CanaryLease, issueCanaryLease } from '../../src/commands/drill/canary_lease.ts'
import type { Store } from '../../src/ports.ts'
import { Workplace } from '../cli/process.ts'
import { eventually, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'

let gate: TestGate
let store: Store
/** Requests that the test has sent, each of which has to leave one record. */
let sent = 0

beforeAll(async () => {
  const issuer = 'http://own.example'
  gate = await startTestGate({ config: { broker: { issuer }, issuers: [{ issuer, jwks: { local: true } }] } })
  store = await gate.store()
}, 60_000)
afterAll(() => gate.close())

let names = 0
/** A lease of the gate's own broker under names that no other test has. */
const issued = (): Promise<CanaryLease> => issueCanaryLease(`bad${++names}`, gate.config, store)

interface Order {
  readonly path?: string
  readonly method?: string
  readonly body?: string
  readonly type?: string
  /** In place of the operator's. */
  readonly authorization?: string | undefined
}

const isRequest = ({ event, endpoint }: Json) =>
  event === 'revocation_request' || (event === 'lease' && endpoint === 'revoke')

/** Sends an order; its answer and the one record that it leaves. */
async function order(ask: Order): Promise<{ status: number; answer: Json; record: Json }> {
  const before = gate.audit().filter(isRequest).length
  const { path = '/revocations', method = 'POST', type = 'application/json' } = ask
  const authorization = 'authorization' in ask ? ask.authorization : `Bearer ${gate.operatorToken()}`
  const response = await fetch(`http://127.0.0.1:${gate.running.control.port}${path}`, {
    method,
    headers: { 'content-type': type, ...(authorization !== undefined && { authorization }) },
    ...(ask.body !== undefined && { body: ask.body }),
  })
  sent++
  const text = await response.text()
  await eventually(() => gate.audit().filter(isRequest).length > before, 'the record of an order')
  const records = gate.audit().filter(isRequest).slice(before)
  expect(records).toHaveLength(1)
  return {
    status: response.status,
    answer: text === '' ? {} : (JSON.parse(text) as Json),
    record: records[0]!,
  }
}

const json = (value: unknown) => JSON.stringify(value)
const size = () => store.revocations.size()
const operator = { operator: 'operator' }

describe('POST /revocations refuses', () => {
  const malformed = [400, 'malformed_request'] as const
  const stranger = [401, 'operator_required'] as const
  const rows: readonly (readonly [string, Order, readonly [number, string], Json])[] = [
    [
      'an unknown scope',
      { body: json({ tenant: 'acme', reason: 'r' }) },
      malformed,
      { asked: { tenant: 'acme', reason: 'r' } },
    ],
    ['a scope of the prototype', { body: json({ constructor: 'x', reason: 'r' }) }, malformed, {}],
    ['no scope', { body: json({ reason: 'r' }) }, malformed, {}],
    ['two scopes', { body: json({ agent: 'a', user: 'u', reason: 'r' }) }, malformed, {}],
    [
      'an empty value',
      { body: json({ user: '', reason: 'r' }) },
      malformed,
      { asked: { user: '', reason: 'r' } },
    ],
    ['a blank value', { body: json({ user: ' ', reason: 'r' }) }, malformed, {}],
    ['an empty reason', { body: json({ user: 'u', reason: '' }) }, malformed, {}],
    ['a blank reason', { body: json({ user: 'u', reason: '  ' }) }, malformed, {}],
    ['no reason', { body: json({ user: 'u' }) }, malformed, {}],
    ['a lease id that none can be', { body: json({ lease: '9821', reason: 'r' }) }, malformed, {}],
    ['an agent with a version', { body: json({ agent: 'triage@3', reason: 'r' }) }, malformed, {}],
    ['a version without one', { body: json({ agent_version: 'triage', reason: 'r' }) }, malformed, {}],
    ['a name in another Unicode form', { body: json({ user: 'jose\u0301', reason: 'r' }) }, malformed, {}],
    [
      'a control character in the value',
      { body: json({ user: 'a\u001b[2J', reason: 'r' }) },
      malformed,
      { asked: { user: 'a\u001b[2J', reason: 'r' } },
    ],
    ['a line break in the reason', { body: json({ user: 'u', reason: 'a\n{"event":"x"}' }) }, malformed, {}],
    ['a reason of 257 characters', { body: json({ user: 'u', reason: 'r'.repeat(257) }) }, malformed, {}],
    [
      'a reason of a million characters',
      { body: json({ user: 'u', reason: 'r'.repeat(1_000_000) }) },
      [413, 'body_too_large'],
      { asked: null },
    ],
    ['a number', { body: json({ user: 1, reason: 'r' }) }, malformed, { asked: { user: '1', reason: 'r' } }],
    [
      'null for a value',
      { body: json({ user: null, reason: 'r' }) },
      malformed,
      { asked: { user: 'null', reason: 'r' } },
    ],
    [
      'a list of values',
      { body: json({ user: ['u', 'v'], reason: 'r' }) },
      malformed,
      { asked: { user: '["u","v"]', reason: 'r' } },
    ],
    [
      'a list',
      { body: json([{ user: 'u', reason: 'r' }]) },
      malformed,
      { asked: { body: '[{"user":"u","reason":"r"}]' } },
    ],
    ['null', { body: 'null' }, malformed, { asked: { body: 'null' } }],
    ['a text', { body: '"agent"' }, malformed, { asked: { body: 'agent' } }],
    ['a member twice', { body: '{"user":"u","user":"v","reason":"r"}' }, malformed, { asked: null }],
    ['half of a message', { body: '{"user":' }, malformed, { asked: null }],
    ['nothing', { body: '' }, malformed, { asked: null }],
    [
      'another content type',
      { type: 'text/plain', body: json({ user: 'u', reason: 'r' }) },
      malformed,
      { asked: null },
    ],
    [
      'a form',
      { type: 'application/x-www-form-urlencoded', body: 'user=u&reason=r' },
      malformed,
      { asked: null },
    ],
    [
      'another method',
      { method: 'DELETE', body: json({ user: 'u', reason: 'r' }) },
      [405, 'method_not_allowed'],
      { asked: null },
    ],
    [
      'nobody',
      { authorization: undefined, body: json({ user: 'u', reason: 'r' }) },
      stranger,
      { asked_by: null, asked: null },
    ],
    [
      'a wrong token',
      { authorization: 'Bearer nobody-gave-me-this-one', body: json({ user: 'u', reason: 'r' }) },
      stranger,
      { asked_by: null, asked: null },
    ],
  ]
  test.each(rows)('%s', async (_, ask, [status, code], said) => {
    const before = size()
    const { answer, record, ...got } = await order(ask)
    expect([got.status, answer.code]).toEqual([status, code])
    expect(record).toMatchObject({ event: 'revocation_request', verb: 'revoke', asked_by: operator, ...said })
    expect(record.decision).toMatchObject({ effect: 'deny', code })
    expect(JSON.stringify(record).length).toBeLessThan(2_500)
    expect(size()).toBe(before)
  })

  test('an agent, for a lease of its own and for anything else', async () => {
    const lease = await issued()
    for (const ask of [{ lease: lease.id }, { user: 'alice@example.com' }]) {
      const body = json({ ...ask, reason: 'r' })
      const { status, record } = await order({ authorization: `Bearer ${lease.token}`, body })
      expect([status, record.asked_by]).toEqual([401, null])
    }
    expect(store.revocations.find([`lease\n${lease.id}`], 0)).toBeUndefined()
  })
})

describe('POST /revocations', () => {
  test('says so once, and what stands when it is asked again', async () => {
    const body = json({ session: 'ses_twice', reason: 'first' })
    const first = await order({ body: json({ lease: 'lse_twice', reason: 'first' }) })
    const again = await order({ body: json({ lease: 'lse_twice', reason: 'second', by: 'kim' }) })
    expect([first.status, again.status]).toEqual([201, 200])
    expect(again.answer).toEqual(first.answer)
    expect([first.record.repeated, again.record.repeated]).toEqual([false, true])
    expect(again.record.asked).toEqual({ lease: 'lse_twice', reason: 'second', by: 'kim' })
    await order({ body })
    const told = gate.audit().filter(({ event, value }) => event === 'revocation' && value === 'lse_twice')
    expect(told).toHaveLength(1)
  })

  test('takes a lease that is over already: whoever still has a token of it has none', async () => {
    await store.leases.put(
      leaseRecord({ id: 'lse_over', issuedAt: 1_000, expiresAt: 1_300, maxExpiresAt: 4_600 }),
    )
    const { status, record } = await order({ body: json({ lease: 'lse_over', reason: 'late' }) })
    expect([status, record.decision]).toEqual([201, expect.objectContaining({ effect: 'allow', code: null })])
  })

  test('never writes down a token that somebody pasted', async () => {
    const { token } = await issued()
    const { record } = await order({ body: json({ token, reason: token }) })
    expect(JSON.stringify(record)).not.toContain(token.slice(0, 40))
    expect(record.asked).toMatchObject({ reason: '[redacted]' })
  })
})

describe.each(['revoke', 'suspend', 'resume', 'complete'])('POST /leases/{id}/%s', (verb) => {
  const at = (id: string) => `/leases/${id}/${verb}`

  test.each([
    ['no body', ''],
    ['null', 'null'],
    ['a list', '[]'],
    ['an empty reason', '{"reason":""}'],
    ['a reason that is no text', '{"reason":{}}'],
    ['a control character', '{"reason":"a\\u0000"}'],
    ['a member twice', '{"reason":"a","reason":"b"}'],
    ['another lease beside the reason', '{"reason":"a","lease":"lse_other"}'],
  ])('refuses %s', async (_, body) => {
    const { id } = await issued()
    const { status, answer, record } = await order({ path: at(id), body })
    expect([status, answer.code]).toEqual([400, 'malformed_request'])
    expect(record).toMatchObject({ event: 'revocation_request', verb, lease_id: id, asked_by: operator })
    expect(await store.leases.get(id)).toMatchObject({ state: 'active', version: 0 })
  })

  test('refuses a million characters, another type, an unknown lease, and strangers', async () => {
    const { id } = await issued()
    const body = json({ reason: 'r' })
    const long = await order({ path: at(id), body: json({ reason: 'r'.repeat(1_000_000) }) })
    expect([long.status, long.answer.code]).toEqual([413, 'body_too_large'])
    expect((await order({ path: at(id), body, type: 'text/plain' })).status).toBe(400)
    const unknown = await order({ path: at('lse_nobody'), body })
    expect([unknown.status, unknown.answer.code]).toEqual([404, 'lease_unknown'])
    expect(unknown.record).toMatchObject({ lease_id: 'lse_nobody', decision: { code: 'lease_unknown' } })
    const stranger = await order({ path: at(id), body, authorization: undefined })
    expect([stranger.status, stranger.record.asked_by]).toEqual([401, null])
    expect(await store.leases.get(id)).toMatchObject({ state: 'active', version: 0 })
  })

  test('is not an agent’s to order for another’s lease', async () => {
    const [own, other] = [await issued(), await issued()]
    const authorization = `Bearer ${own.token}`
    const { status, record } = await order({ path: at(other.id), body: json({ reason: 'r' }), authorization })
    expect(status).toBe(verb === 'complete' ? 404 : 401)
    const agent = own.values.agent
    expect(record.asked_by).toEqual(verb === 'complete' ? { agent } : null)
    expect(await store.leases.get(other.id)).toMatchObject({ state: 'active', version: 0 })
  })

  test('is an agent’s to order for its own lease where it ends it, and only there', async () => {
    const own = await issued()
    const authorization = `Bearer ${own.token}`
    const { status, record } = await order({
      path: at(own.id),
      body: json({ reason: 'done' }),
      authorization,
    })
    expect(status).toBe(verb === 'complete' ? 200 : 401)
    expect(record.decision).toMatchObject({ effect: verb === 'complete' ? 'allow' : 'deny' })
  })

  test('is the same twice', async () => {
    const { id } = await issued()
    if (verb === 'resume') {
      const record = (await store.leases.get(id))!
      await changeLease(record, { verb: 'suspend', by: 'test', reason: 'r', now: Date.now() / 1000 }, store)
    }
    const answers = [await order({ path: at(id), body: json({ reason: 'r' }) })]
    answers.push(await order({ path: at(id), body: json({ reason: 'again' }) }))
    expect(answers.map(({ status, record }) => [status, record.repeated])).toEqual([
      [200, false],
      [200, true],
    ])
  })

  test('is too late for a lease that has expired', async () => {
    const id = `lse_expired_${verb}`
    await store.leases.put(leaseRecord({ id, issuedAt: 1_000, expiresAt: 1_300, maxExpiresAt: 4_600 }))
    const { status, answer, record } = await order({ path: at(id), body: json({ reason: 'r' }) })
    expect([status, answer.code]).toEqual([409, 'lease_state_conflict'])
    expect(record.decision).toMatchObject({ code: 'lease_state_conflict', reasons: ['lease_expired'] })
  })
})

describe('POST /revoke (RFC 7009)', () => {
  const form = 'application/x-www-form-urlencoded'
  const rows: readonly (readonly [string, Order, number, string | undefined])[] = [
    ['nobody', { authorization: undefined, body: 'token=x' }, 401, 'invalid_client'],
    ['another operator token', { authorization: 'Bearer x', body: 'token=x' }, 401, 'invalid_client'],
    ['no token', { body: '' }, 400, 'invalid_request'],
    ['an empty token', { body: 'token=' }, 400, 'invalid_request'],
    ['a token twice', { body: 'token=a&token=b' }, 400, 'invalid_request'],
    ['JSON', { type: 'application/json', body: '{"token":"a"}' }, 400, 'invalid_request'],
    ['a control character', { body: 'token=%00' }, 200, undefined],
    ['what is no token', { body: 'token=abc' }, 200, undefined],
    ['a million characters', { body: `token=${'a'.repeat(1_000_000)}` }, 413, 'invalid_request'],
    ['another method', { method: 'PUT', body: 'token=a' }, 405, 'invalid_request'],
  ]
  test.each(rows)('%s', async (_, ask, status, error) => {
    const before = size()
    const answered = await order({ path: '/revoke', type: form, ...ask })
    expect([answered.status, answered.answer.error]).toEqual([status, error])
    expect(answered.record).toMatchObject({ event: 'lease', endpoint: 'revoke' })
    expect(size()).toBe(before)
  })

  test('a token twice is one revocation, and its lease goes on', async () => {
    const { token, id, values } = await issued()
    const ask = { path: '/revoke', type: form, body: `token=${token}` }
    expect([(await order(ask)).status, (await order(ask)).status]).toEqual([200, 200])
    const told = gate.audit().filter(({ event, value }) => event === 'revocation' && value === values.token)
    expect(told).toHaveLength(1)
    expect(await store.leases.get(id)).toMatchObject({ state: 'active' })
  })
})

describe('the command line refuses', () => {
  let place: Workplace
  beforeAll(async () => {
    place = await Workplace.open()
    place.write('policies/authz.rego', 'package leasegate.authz\n')
    place.configure('http://127.0.0.1:1')
  })
  afterAll(() => place[Symbol.asyncDispose]())

  test.each([
    ['an unknown scope', ['--tenant', 'acme', '--reason', 'r'], "unknown option '--tenant'"],
    ['no scope', ['--reason', 'r'], 'name exactly one of'],
    ['two scopes', ['--agent', 'a', '--user', 'u', '--reason', 'r'], 'name exactly one of'],
    ['an empty value', ['--user', '', '--reason', 'r'], 'write the value as in the lease'],
    ['a control character', ['--user', 'a\u001b', '--reason', 'r'], 'write the value as in the lease'],
    ['no reason', ['--user', 'u'], "required option '--reason <text>'"],
    ['an empty reason', ['--user', 'u', '--reason', ''], 'write the reason on one line'],
    ['a reason of two lines', ['--user', 'u', '--reason', 'a\nb'], 'write the reason on one line'],
    [
      'a reason of 100,000 characters',
      ['--user', 'u', '--reason', 'r'.repeat(100_000)],
      'write the reason on one line',
    ],
    ['a lease id that none can be', ['--lease', '9821', '--reason', 'r'], 'a lease id begins with lse_'],
  ])('%s', async (_, args, said) => {
    const run = await place.run(['revoke', '--config', place.config, ...args])
    expect([run.code, run.stdout]).toEqual([2, ''])
    expect(run.stderr).toContain(said)
  })

  test('nothing twice: it says what stands', async () => {
    const revoke = () =>
      place.run(['revoke', '-c', place.config, '--lease', 'lse_1', '--reason', 'r', '--json'])
    const [first, again] = [await revoke(), await revoke()]
    expect([first.code, again.code]).toEqual([0, 0])
    expect(JSON.parse(again.stdout)).toEqual(JSON.parse(first.stdout))
  })
})

test('every order has left one record and one count', async () => {
  const records = gate.audit().filter(isRequest)
  expect(records).toHaveLength(sent)
  const orders = records.filter(({ event }) => event === 'revocation_request')
  const counted = [...(await gate.metrics()).matchAll(/^leasegate_revocation_requests_total\{.*\} (\d+)$/gm)]
  expect(counted.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(orders.length)
  expect(await gate.metrics()).toContain(
    'leasegate_revocation_requests_total{verb="suspend",scope="lease",result="repeated"} 1',
  )
})
