// Drafts at a whole gate: an agent proposes a write, a person releases it, the gate executes exactly those bytes once
// and the agent fetches what came of it.
import type { ServerResponse } from 'node:http'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../support/backends.ts'
import { actionsOf, draftToken, ended, makeDraft, release, send, taskOf } from '../support/drafts.ts'
import { startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({ answer })
})
afterAll(() => gate.close())

/** As large, as odd or as plain an answer as the body asks for. */
function answer({ body }: RecordedRequest, res: ServerResponse): void {
  const text = body.toString()
  const size = Number(/"size":(\d+)/.exec(text)?.[1] ?? 0)
  if (size > 0) res.end(Buffer.alloc(size, 'y'))
  else if (text.includes('fails')) {
    res.writeHead(500, { 'content-type': 'application/x-odd', 'set-cookie': 'a=b' })
    res.end(Buffer.from([0, 255, 13, 10, 128]))
  } else res.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
}

const requests = (id: string, tail = '') => `/access/v1/requests/${id}${tail}`
const json = ['Content-Type: application/json']

test('a write in stage draft is answered 202 with its task and reaches no backend', async () => {
  const seen = gate.backend.requests.length
  const records = gate.records().length
  const answer = await send(gate, { token: draftToken(gate), fields: json, body: '{"name":"Ada"}' })
  expect(answer.status).toBe(202)
  const task = taskOf(answer)
  expect(task).toMatchObject({ kind: 'draft', status: 'pending' })
  expect(answer.headers.location).toBe(`http://gate.example${requests(String(task.id))}`)
  const [record] = await gate.recordsAfter(records)
  expect(answer.headers).toMatchObject({ 'decision-id': record!.decision_id, 'lease-id': record!.lease_id })
  expect(record?.decision.effect).toBe('draft')
  expect(gate.backend.requests).toHaveLength(seen)
})

test('a released draft is executed with the credential of the backend, and its answer is fetched as it came', async () => {
  const seen = gate.backend.requests.length
  const token = draftToken(gate)
  const id = await makeDraft(gate, {
    token,
    fields: json,
    body: '{"name":"Ada"}',
    target: '/crm/customers/1?dry=0',
  })
  expect(await release(gate, id)).toBe(true)
  const { state, outcome } = await ended(gate, id)
  expect({ state, status: outcome?.status, kept: outcome?.kept }).toEqual({
    state: 'executed',
    status: 200,
    kept: true,
  })
  expect(gate.backend.requests).toHaveLength(seen + 1)
  const executed = gate.backend.requests.at(-1)
  expect([executed?.method, executed?.url, executed?.body.toString()]).toEqual([
    'PATCH',
    '/customers/1?dry=0',
    '{"name":"Ada"}',
  ])
  expect(executed?.headers.authorization).toMatch(/^Bearer backend-key/)
  const response = await send(gate, { token, method: 'GET', target: requests(id, '/response') })
  expect([response.status, response.body.toString()]).toEqual([200, '{"ok":true}'])
  expect(response.headers['decision-id']).toBe(outcome?.decisionId)
})

describe('a draft', () => {
  test('that is sent again while it waits is the same one, and after it was executed a new one', async () => {
    const write = { token: draftToken(gate), fields: json, body: '{"again":true}' }
    const id = await makeDraft(gate, write)
    expect(await makeDraft(gate, write)).toBe(id)
    const seen = gate.backend.requests.length
    await release(gate, id)
    await ended(gate, id)
    expect(await makeDraft(gate, write)).not.toBe(id)
    expect(gate.backend.requests).toHaveLength(seen + 1)
  })

  test('of 10 MB is refused before anybody is asked', async () => {
    const body = Buffer.alloc(10 * 1024 * 1024, 'x')
    const answer = await send(gate, { token: draftToken(gate), body, target: '/crm/notes/1', method: 'POST' })
    expect([answer.status, taskOf(answer).code]).toEqual([413, 'body_too_large'])
  })

  test('is executed byte for byte, whatever is in its path, query, fields and body', async () => {
    const word = fc.stringMatching(/^[A-Za-z0-9._~-]{1,12}$/)
    const made = fc.record({
      id: fc.stringMatching(/^[A-Za-z0-9_~-]{1,12}$/),
      query: fc.dictionary(fc.stringMatching(/^q[a-z0-9]{0,8}$/), word, { maxKeys: 4 }),
      body: fc.uint8Array({ maxLength: 2_000 }),
      key: word,
      type: fc.constantFrom('application/octet-stream', 'image/png', 'text/plain;charset=utf-8'),
    })
    await fc.assert(
      fc.asyncProperty(made, async ({ id, query, body, key, type }) => {
        const pairs = Object.entries(query)
        const path = `/customers/${id}${pairs.length === 0 ? '' : `?${pairs.map((each) => each.join('=')).join('&')}`}`
        const fields = [`Content-Type: ${type}`, `Idempotency-Key: ${key}`]
        const token = draftToken(gate)
        const draft = await makeDraft(gate, { token, target: `/crm${path}`, fields, body })
        const seen = gate.backend.requests.length
        await release(gate, draft)
        expect((await ended(gate, draft)).state).toBe('executed')
        const [executed, ...more] = gate.backend.requests.slice(seen)
        expect(more).toEqual([])
        expect(executed?.url).toBe(path)
        expect(executed?.body.equals(body)).toBe(true)
        expect(executed?.headers).toMatchObject({ 'content-type': type, 'idempotency-key': key })
      }),
      { numRuns: 15, endOnFailure: true },
    )
  })

  test('of one lease is nothing that another lease can see, replace or fetch', async () => {
    const id = await makeDraft(gate, { token: draftToken(gate), fields: json, body: '{}' })
    const other = draftToken(gate)
    for (const [method, tail] of [
      ['GET', ''],
      ['PUT', ''],
      ['GET', '/response'],
      ['POST', '/cancel'],
    ] as const) {
      const answer = await send(gate, { token: other, method, target: requests(id, tail) })
      expect([method, tail, answer.status, taskOf(answer).code]).toEqual([
        method,
        tail,
        404,
        'action_unknown',
      ])
    }
  })
})

describe('a draft that is replaced', () => {
  const put = (id: string, token: string, body: string | Uint8Array, fields = json) =>
    send(gate, { token, method: 'PUT', target: requests(id), fields, body })

  test('has another fingerprint, and a yes to what was shown before does not count', async () => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: '{"amount":1}' })
    const shown = await (await actionsOf(gate)).get(id)
    const records = gate.records().length
    const answer = await put(id, token, '{"amount":1000}')
    expect(answer.status).toBe(200)
    expect(taskOf(answer)).toMatchObject({ id, kind: 'draft', status: 'pending' })
    expect(taskOf(answer).fingerprint).not.toBe(shown?.action.fingerprint)
    expect((await gate.recordsAfter(records))[0]?.decision.effect).toBe('draft')
    expect(await release(gate, id, shown)).toBe(false)
    await release(gate, id)
    await ended(gate, id)
    expect(gate.backend.requests.at(-1)?.body.toString()).toBe('{"amount":1000}')
  })

  test('loses the yes that it had', async () => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: '{"amount":2}' })
    const actions = await actionsOf(gate)
    const kept = await actions.get(id)
    const by = { user: 'carol@example.com', issuer: 'https://login.example', subject: 'carol' }
    const yes = [{ by, as: 'group:crm-owners', at: 1, reason: '', shownBy: 'session' as const }]
    await actions.change(kept!, { ...kept!.action, yes })
    expect((await put(id, token, '{"amount":3}')).status).toBe(200)
    expect((await actions.get(id))?.action.yes).toEqual([])
  })

  test('leaves its old bytes free: sent again, these are another draft', async () => {
    const token = draftToken(gate)
    const write = { token, fields: json, body: '{"first":1}' }
    const id = await makeDraft(gate, write)
    await put(id, token, '{"second":1}')
    const again = await makeDraft(gate, write)
    expect(again).not.toBe(id)
    const clash = await put(again, token, '{"second":1}')
    expect([clash.status, taskOf(clash).code]).toEqual([409, 'action_state_conflict'])
    expect(taskOf(await put(id, token, '{"second":1}'))).toMatchObject({ id, status: 'pending' })
  })

  test.each([
    ['released', 'approved'],
    ['being executed', 'executing'],
    ['withdrawn', 'withdrawn'],
    ['executed', 'executed'],
  ] as const)('cannot be: it is %s', async (_, state) => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: `{"state":"${state}"}` })
    const actions = await actionsOf(gate)
    const kept = await actions.get(id)
    // Not one that a gate would take up.
    const aliveAt = Date.now() / 1000
    const next = { ...kept!.action, state, aliveAt, kind: state === 'approved' ? 'hold' : 'draft' } as const
    await actions.change(kept!, next)
    const answer = await put(id, token, '{"other":1}')
    expect([answer.status, taskOf(answer).code]).toEqual([409, 'action_state_conflict'])
  })

  test.each([
    ['too large a body', '', 'x'.repeat(300_000), 413, 'body_too_large'],
    ['a body that names another method', '', '_method=DELETE', 400, 'malformed_request'],
  ])('with %s is refused and stays as it was', async (_, type, body, status, code) => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: '{"stays":1}' })
    const before = await (await actionsOf(gate)).get(id)
    const fields = type === '' ? ['Content-Type: application/x-www-form-urlencoded'] : [type]
    const answer = await put(id, token, body, fields)
    expect([answer.status, taskOf(answer).code]).toEqual([status, code])
    expect(await (await actionsOf(gate)).get(id)).toEqual(before)
  })

  test('under a lease that is of stage execute by now is no draft any more', async () => {
    const id = await makeDraft(gate, {
      token: draftToken(gate, {}, { id: 'lse_moved' }),
      fields: json,
      body: '{}',
    })
    const token = gate.token({}, { id: 'lse_moved', stage: 'execute' })
    const answer = await put(id, token, '{"other":1}', [...json, 'Lease-Provenance: trusted'])
    expect([answer.status, taskOf(answer).code]).toEqual([409, 'action_state_conflict'])
  })
})

describe('the response of a draft', () => {
  const response = (id: string, token: string) =>
    send(gate, { token, method: 'GET', target: requests(id, '/response') })

  test('is not there before it was executed', async () => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: '{"wait":1}' })
    const answer = await response(id, token)
    expect([answer.status, taskOf(answer).reasons]).toEqual([404, ['not_executed']])
  })

  test('is not there when it was larger than what is kept, and the outcome says how large', async () => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: '{"size":3000000}' })
    await release(gate, id)
    expect((await ended(gate, id)).outcome).toMatchObject({ status: 200, bytes: 3_000_000, kept: false })
    const answer = await response(id, token)
    expect([answer.status, taskOf(answer).reasons]).toEqual([404, ['response_not_kept']])
  })

  test('is what the backend said, errors and bytes too, without what is not for agents', async () => {
    const token = draftToken(gate)
    const id = await makeDraft(gate, { token, fields: json, body: '{"fails":1}' })
    await release(gate, id)
    const { state, outcome } = await ended(gate, id)
    expect([state, outcome?.status, outcome?.kept]).toEqual(['executed', 500, true])
    const answer = await response(id, token)
    expect([answer.status, [...answer.body]]).toEqual([500, [0, 255, 13, 10, 128]])
    expect(answer.headers).toMatchObject({
      'content-type': 'application/x-odd',
      'lease-id': expect.any(String),
    })
    expect(answer.headers['set-cookie']).toBeUndefined()
  })
})
