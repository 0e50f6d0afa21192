// Whoever owns an agent wants another call through than the one that was approved, or more to wait than there is room
// for. On a running gate; the yes is written into the store, as the control listener of another process would.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Actions } from '../../src/approval/actions.ts'
import { granted, repeatOf, writeRepeat } from '../../src/approval/repeats.ts'
import { actionsOf, approveAction, changeAction, yesOf } from '../support/approvals.ts'
import { eventually, type Message, message, startTestGate, type TestGate } from '../support/gate.ts'
import type { RawAnswer } from '../support/raw.ts'

const host = 'crm.gate.example'
const places = 5
const dumps = { resource: 'note/{id}', sensitivity: 'internal', risk: 'high' }

let gate: TestGate
let actions: Actions
beforeAll(async () => {
  gate = await startTestGate({
    config: { approvals: { max_pending: places } },
    crm: {
      path_prefix: undefined,
      hosts: [host, 'other.gate.example'],
      upgrade: true,
      forward_headers: ['x-force'],
      operations: [
        { match: 'GET /dumps/{id}', verb: 'read', ...dumps },
        { match: 'POST /dumps/{id}', verb: 'update', ...dumps },
      ],
    },
  })
  actions = actionsOf(await gate.store(), gate.config)
})
afterAll(() => gate.close())

let leases = 0
const newLease = () => gate.token({}, { id: `lse_attack_${++leases}` })

interface Ask extends Message {
  readonly at?: string
}

const bytesOf = ({ at = host, ...ask }: Ask) => message(ask).replace(/^Host: .*$/m, `Host: ${at}`)

function read({ status, body, headers }: RawAnswer) {
  const { code, access_request: access } = headers['lease-refusal'] === undefined ? {} : JSON.parse(`${body}`)
  return { status, code, action: String(access?.task.id) }
}
const send = async (ask: Ask) => read(await gate.ask(bytesOf(ask)))

const post: Ask = { method: 'POST', target: '/dumps/1' }
const get: Ask = { target: '/dumps/1' }
const prefer = (value: string) => ({ ...post, fields: [`Prefer: ${value}`] })
const bytes = { ...post, fields: ['Content-Type: application/octet-stream'], body: 'x' }
const force = (...values: string[]) => ({ ...post, fields: values.map((value) => `X-Force: ${value}`) })
const webSocket = (...more: string[]): Ask => ({
  ...get,
  fields: [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...more,
  ],
})

describe('F7b an approval is not for', () => {
  test.each<[string, Ask, Ask]>([
    ['another method', get, post],
    ['a WebSocket instead of a read', get, webSocket()],
    ['a WebSocket of another protocol', webSocket(), webSocket('Sec-WebSocket-Protocol: shell')],
    ['a WebSocket of another origin', webSocket(), webSocket('Origin: https://evil.example')],
    ['another host of the same backend', post, { ...post, at: 'other.gate.example' }],
    ['a field that was not there', post, force('1')],
    ['a field once more', force('1'), force('1', '2')],
    ['fields in another order', force('1', '2'), force('2', '1')],
    ['a field that is kept back', force('1'), { ...post, fields: ['X-Force: 1', 'Connection: x-force'] }],
    ['a preference in quotes', prefer('a="x,wait=0,y"'), prefer('a="x,wait=000,y"')],
    ['a wait with a parameter', prefer('wait=0'), prefer('wait=0;force')],
    ['a wait that is no number', prefer('wait=0'), prefer('wait=force')],
    ['another coding', bytes, { ...bytes, fields: [...bytes.fields, 'Content-Encoding: gzip'] }],
    ['another type', { ...post, body: 'x' }, { ...post, body: 'x', fields: ['Content-Type: text/x-sh'] }],
    ['more bytes', { ...post, body: 'x' }, { ...post, body: 'xy' }],
    ['an empty query', post, { ...post, target: '/dumps/1?' }],
  ])('%s', async (_, shown, sent) => {
    const token = newLease()
    const { action, code } = await send({ ...shown, token })
    expect(code).toBe('approval_required')
    await approveAction(actions, action)
    const fields = [...(sent.fields ?? []), `Lease-Approval: ${action}`]
    expect(await send({ ...sent, token, fields })).toMatchObject({ status: 403, code: 'out_of_scope' })
    expect((await send({ ...sent, token })).code).toBe('approval_required')
  })

  test('another writing of the same bytes needs none of its own', async () => {
    const token = newLease()
    const { action } = await send({ ...post, token, body: 'abc' })
    await approveAction(actions, action)
    const head = [`POST http://${host}/dumps/1 HTTP/1.1`, `Host: ${host}`, `Authorization: Bearer ${token}`]
    const chunked = `${head.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`
    expect((await gate.ask(chunked)).status).toBe(200)
    expect(gate.backend.requests.at(-1)?.body.toString()).toBe('abc')
  })
})

describe('a repeat', () => {
  const bounds = { calls: 5, seconds: 60 }
  /** A token under which reads of one dump may be repeated. */
  async function repeating(): Promise<string> {
    const token = newLease()
    const { action } = await send({ ...get, token })
    const by = { ...yesOf(), repeat: bounds }
    const kept = await changeAction(actions, action, { state: 'used', yes: [by] })
    const now = Math.floor(Date.now() / 1000)
    const times = { leaseEndsAt: now + 300, now }
    const { records } = await gate.store()
    const repeat = repeatOf(kept.action, granted(kept.action.yes)!, times)
    expect(await records.write([writeRepeat(repeat, 0)])).toBe(true)
    return token
  }

  test('lets the same through, and neither another operation of the resource nor a WebSocket', async () => {
    const token = await repeating()
    expect((await send({ ...get, token })).status).toBe(200)
    expect((await send({ ...post, token })).code).toBe('approval_required')
    expect((await send({ ...webSocket(), token })).code).toBe('approval_required')
    expect((await send({ ...get, target: '/dumps/2', token })).code).toBe('approval_required')
    expect((await send({ ...get, token: newLease() })).code).toBe('approval_required')
  })

  test('races for its last call are won once', async () => {
    const token = await repeating()
    const seen = gate.backend.requests.length
    const answers = await Promise.all(Array.from({ length: 12 }, () => send({ ...get, token })))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(bounds.calls)
    expect(gate.backend.requests).toHaveLength(seen + bounds.calls)
  })
})

describe('the places of a lease', () => {
  const asking = (token: string, at: number, more: Partial<Ask> = {}) =>
    send({ ...post, target: `/dumps/${at}`, token, ...more })

  test('are as many as configured, however many calls ask at once', async () => {
    const token = newLease()
    const answers = await Promise.all(Array.from({ length: 30 }, (_, at) => asking(token, at)))
    const codes = answers.map(({ code }) => code)
    expect(codes.filter((code) => code === 'approval_required')).toHaveLength(places)
    expect(codes.filter((code) => code === 'too_many_waiting')).toHaveLength(30 - places)
    expect(await actions.list({ lease: `lse_attack_${leases}` }, { limit: 99 })).toHaveLength(places)
  })

  test('stay taken for a while by what is taken back, whose bytes are gone at once', async () => {
    const token = newLease()
    for (let at = 0; at < places; at++) {
      const { action } = await asking(token, at, { body: 'bytes' })
      const target = `/access/v1/requests/${action}/cancel`
      expect((await gate.ask(message({ method: 'POST', target, token }))).status).toBe(200)
      const kept = await actions.get(action)
      expect([kept?.action.state, await actions.call(kept!.action)]).toEqual(['withdrawn', undefined])
    }
    expect((await asking(token, places)).code).toBe('too_many_waiting')
    await changeAction(
      actions,
      (await actions.list({ lease: `lse_attack_${leases}` }, { limit: 1 }))[0]!.action.id,
      ({ createdAt }) => ({ createdAt: createdAt - 60 }),
    )
    expect((await asking(token, places)).code).toBe('approval_required')
  })
})

describe('a call that waits', () => {
  const waiting = 'Prefer: wait=20'
  const waits = (token: string, fields: readonly string[] = []) =>
    bytesOf({ ...post, token, body: 'x', fields: [waiting, ...fields] })
  const newest = async () => (await actions.list({ lease: `lse_attack_${leases}` }, { limit: 1 }))[0]?.action
  async function pending(): Promise<string> {
    await eventually(async () => (await newest()) !== undefined, 'the action')
    return (await newest())!.id
  }

  test('lets no request behind it on the connection come first', async () => {
    const token = newLease()
    const connection = await gate.connect()
    const seen = gate.backend.requests.length
    connection.write(waits(token) + bytesOf({ ...post, target: '/dumps/2', token, body: 'y' }))
    await approveAction(actions, await pending())
    expect((await connection.answer()).status).toBe(200)
    expect(read(await connection.answer()).code).toBe('approval_required')
    expect(gate.backend.requests.slice(seen).map(({ body }) => body.toString())).toEqual(['x'])
    connection.socket.destroy()
  })

  test('has been told to send its body before anybody is asked about it', async () => {
    const token = newLease()
    const connection = await gate.connect()
    const [head, body] = waits(token, ['Expect: 100-continue']).split('\r\n\r\n') as [string, string]
    connection.write(`${head}\r\n\r\n`)
    await connection.received('100 Continue')
    expect(await newest()).toBeUndefined()
    connection.write(body)
    await approveAction(actions, await pending())
    expect((await connection.answer()).status).toBe(200)
    connection.socket.destroy()
  })

  test('is told to ask again when the gate ends', async () => {
    const answer = gate.ask(waits(newLease()))
    const action = await pending()
    const seen = gate.backend.requests.length
    await gate.running.close()
    const { headers, ...said } = await answer.then((raw) => ({ ...read(raw), headers: raw.headers }))
    expect(said).toEqual({ status: 403, code: 'approval_required', action })
    expect(headers['retry-after']).toBe('2')
    expect(gate.backend.requests).toHaveLength(seen)
  })
})
