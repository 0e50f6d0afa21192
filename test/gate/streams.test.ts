// What stays open: server-sent events, WebSockets, uploads and downloads under way. None of them outlives
// its lease, and nothing of an upload whose lease died meanwhile reaches the backend.
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import {
  type SilentBackend,
  type SseBackend,
  startSilentBackend,
  startSseBackend,
  startWebSocketBackend,
  type WebSocketBackend,
} from '../support/backends.ts'
import { authority, eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'

let gate: TestGate
let events: SseBackend
let sockets: WebSocketBackend
let silent: SilentBackend

beforeAll(async () => {
  ;[events, sockets, silent] = await Promise.all([
    startSseBackend(),
    startWebSocketBackend(),
    startSilentBackend(),
  ])
  const open = { resource: 'thing/{id}', sensitivity: 'internal', risk: 'low' }
  const read = { match: 'GET /things/{id}', verb: 'read', ...open }
  const write = { match: 'POST /things/{id}', verb: 'update', ...open, body: 'opaque' }
  gate = await startTestGate({
    config: {
      issuers: [{ issuer: 'https://broker.example', jwks: { file: './jwks.json' }, clock_tolerance: '0s' }],
    },
    backends: {
      events: { url: events.url, path_prefix: '/events', operations: [read] },
      sockets: { url: sockets.url, path_prefix: '/sockets', upgrade: true, operations: [read, write] },
      silent: { url: silent.url, path_prefix: '/silent', operations: [read, write] },
    },
  })
})
afterAll(async () => {
  await gate.close()
  await Promise.all([events.close(), sockets.close(), silent.close()])
})

const now = () => Math.floor(Date.now() / 1000)

function tokenFor(backend: string, lease: Json, claims: Json = {}): string {
  return gate.token({ authorization_details: grantsFor(backend, ['thing/*']), ...claims }, lease)
}

/** Ends, and how: the last record. */
async function endedAs(before: number) {
  const records = await gate.recordsAfter(before)
  return records.map(({ lease_id, outcome }) => [lease_id, outcome.ended])
}

describe('server-sent events', () => {
  test('arrive one by one, as they are sent', async () => {
    const before = gate.records().length
    using connection = await gate.connect()
    connection.write(message({ target: '/events/things/1', token: tokenFor('events', { id: 'lse_sse' }) }))
    expect(await connection.received('\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    for (const nth of ['one', 'two', 'three']) {
      events.send(nth)
      await connection.received(`data: ${nth}\n\n`)
    }
    expect(await gate.metrics()).toMatch(/^leasegate_open_streams 1$/m)
    expect(gate.records()).toHaveLength(before)
    events.end()
    await connection.received('0\r\n\r\n')
    expect(await endedAs(before)).toEqual([['lse_sse', 'completed']])
    expect(await gate.metrics()).toMatch(/^leasegate_open_streams 0$/m)
  })

  test('end when the lease is revoked, for that lease alone', async () => {
    const before = gate.records().length
    using doomed = await gate.connect()
    using other = await gate.connect()
    doomed.write(message({ target: '/events/things/1', token: tokenFor('events', { id: 'lse_doomed' }) }))
    other.write(message({ target: '/events/things/1', token: tokenFor('events', { id: 'lse_other' }) }))
    await Promise.all([doomed.received('\r\n\r\n'), other.received('\r\n\r\n')])
    await eventually(() => events.streams.size === 2, 'two streams')
    expect((await gate.revoke({ lease: 'lse_doomed', reason: 'test' })).status).toBe(201)
    // Cut, not ended: nobody may take the stream for whole.
    expect(await doomed.closed()).not.toContain('0\r\n\r\n')
    await eventually(() => events.streams.size === 1, 'the end of one stream at the backend')
    expect(await endedAs(before)).toEqual([['lse_doomed', 'revoked_midway']])
    events.send('still here')
    await other.received('data: still here\n\n')
    events.end()
    await other.received('0\r\n\r\n')
  })

  test('D16 end when the lease is suspended, and may be opened again when it is resumed', async () => {
    const before = gate.records().length
    await (await gate.store()).leases.put(leaseRecord({ id: 'lse_held' }))
    const order = async (verb: string) => {
      const url = `http://127.0.0.1:${gate.running.control.port}/leases/lse_held/${verb}`
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${gate.operatorToken()}` }
      const response = await fetch(url, { method: 'POST', headers, body: '{"reason":"odd reads"}' })
      expect(response.status).toBe(200)
    }
    const request = message({ target: '/events/things/1', token: tokenFor('events', { id: 'lse_held' }) })
    using held = await gate.connect()
    held.write(request)
    await held.received('\r\n\r\n')
    await order('suspend')
    // Cut, not ended: nobody may take the stream for whole.
    expect(await held.closed()).not.toContain('0\r\n\r\n')
    await eventually(() => events.streams.size === 0, 'the end of the stream at the backend')
    expect((await gate.ask(request)).status).toBe(401)
    await order('resume')
    using again = await gate.connect()
    again.write(request)
    await again.received('\r\n\r\n')
    events.end()
    await again.received('0\r\n\r\n')
    await eventually(() => gate.records().length >= before + 3, 'three records')
    expect(await endedAs(before)).toEqual([
      ['lse_held', 'revoked_midway'],
      ['lse_held', 'refused'],
      ['lse_held', 'completed'],
    ])
  })

  test('end when the lease expires', async () => {
    const before = gate.records().length
    using connection = await gate.connect()
    const token = tokenFor('events', { id: 'lse_short' }, { exp: now() + 2 })
    connection.write(message({ target: '/events/things/1', token }))
    await connection.received('\r\n\r\n')
    expect(await connection.closed()).not.toContain('0\r\n\r\n')
    expect(await endedAs(before)).toEqual([['lse_short', 'expired_midway']])
    await eventually(() => events.streams.size === 0, 'the end of the stream at the backend')
  })

  test('end at the backend when the agent leaves', async () => {
    const before = gate.records().length
    const connection = await gate.connect()
    connection.write(message({ target: '/events/things/1', token: tokenFor('events', { id: 'lse_left' }) }))
    await connection.received('\r\n\r\n')
    connection.socket.destroy()
    await eventually(() => events.streams.size === 0, 'the end of the stream at the backend')
    expect(await endedAs(before)).toEqual([['lse_left', 'aborted_by_client']])
  })
})

describe('WebSockets', () => {
  function connect(token: string | undefined, target = '/sockets/things/1') {
    const headers = { host: authority, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
    return new WebSocket(`ws://127.0.0.1:${gate.port}${target}`, ['echo'], { headers })
  }

  /** Status and code of the answer to an offer that was refused. */
  async function refusal(socket: WebSocket) {
    socket.on('error', () => {})
    const [, response] = (await once(socket, 'unexpected-response')) as [
      unknown,
      import('node:http').IncomingMessage,
    ]
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
    return [response.statusCode, (JSON.parse(Buffer.concat(chunks).toString()) as { code: string }).code]
  }

  test('open with a lease, carry messages both ways, and leave one record when they close', async () => {
    const before = gate.records().length
    const token = tokenFor('sockets', { id: 'lse_socket' })
    const socket = connect(token)
    await once(socket, 'open')
    socket.send('ping')
    const [reply] = await once(socket, 'message')
    expect(String(reply)).toBe('ping')
    const { headers } = sockets.handshakes.at(-1)!
    expect(headers).toMatchObject({ 'lease-id': 'lse_socket', 'lease-user': 'alice@example.com' })
    expect(JSON.stringify(headers)).not.toContain(token)
    expect(gate.records()).toHaveLength(before)
    socket.close()
    await once(socket, 'close')
    const [record] = await gate.recordsAfter(before)
    expect(record).toMatchObject({ lease_id: 'lse_socket', outcome: { status: 101, ended: 'completed' } })
    expect(record!.outcome.bytes_in).toBeGreaterThan(0)
  })

  test('are refused without a lease, outside it, and where nothing is mapped', async () => {
    const seen = sockets.handshakes.length
    const before = gate.records().length
    expect(await refusal(connect(undefined))).toEqual([401, 'lease_missing'])
    expect(await refusal(connect(tokenFor('events', {})))).toEqual([403, 'outside_lease'])
    expect(await refusal(connect(tokenFor('sockets', {}), '/sockets/other'))).toEqual([
      404,
      'operation_unmapped',
    ])
    await eventually(() => gate.records().length === before + 3, 'three records')
    expect(sockets.handshakes).toHaveLength(seen)
  })

  test('end when the lease is revoked', async () => {
    const before = gate.records().length
    const socket = connect(tokenFor('sockets', { id: 'lse_socket_doomed' }))
    await once(socket, 'open')
    const closed = once(socket, 'close')
    expect((await gate.revoke({ lease: 'lse_socket_doomed', reason: 'test' })).status).toBe(201)
    expect((await closed).map(String)).toEqual(['1008', 'lease_revoked'])
    expect(await endedAs(before)).toEqual([['lse_socket_doomed', 'revoked_midway']])
    await eventually(() => sockets.connections() === 0, 'the end of the connection at the backend')
  })

  test('end when the lease expires', async () => {
    const before = gate.records().length
    const socket = connect(tokenFor('sockets', { id: 'lse_socket_short' }, { exp: now() + 2 }))
    await once(socket, 'open')
    expect((await once(socket, 'close')).map(String)).toEqual(['1008', 'lease_expired'])
    expect(await endedAs(before)).toEqual([['lse_socket_short', 'expired_midway']])
  })

  test('an offer pipelined behind another request waits its turn and is served without upgrade', async () => {
    using connection = await gate.connect()
    const token = tokenFor('sockets', {})
    const offer = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ]
    const first = message({ target: '/crm/customers/9821', token: gate.token() })
    connection.write(first + message({ target: '/sockets/nothing', token, fields: offer }))
    expect((await connection.answer()).status).toBe(200)
    expect((await connection.answer()).status).toBe(404)
    connection.write(first)
    expect((await connection.answer()).status).toBe(200)
  })
})

describe('bodies under way', () => {
  test('a body that is read before the decision: revoked meanwhile, so refused and never sent', async () => {
    const before = gate.records().length
    const seen = gate.backend.bytesSeen().length
    using connection = await gate.connect()
    const fields = ['Content-Type: application/json', 'Content-Length: 8']
    connection.write(message({ method: 'PUT', token: gate.token({}, { id: 'lse_reading' }), fields }))
    connection.write('{"a"')
    await gate.revoke({ lease: 'lse_reading', reason: 'test' })
    connection.write(': 1}')
    const answer = await connection.answer()
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'lease_revoked' })
    expect(await endedAs(before)).toEqual([['lse_reading', 'refused']])
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('a body that is read before the decision: expired meanwhile, so refused and never sent', async () => {
    const seen = gate.backend.bytesSeen().length
    using connection = await gate.connect()
    const exp = now() + 2
    const fields = ['Content-Type: application/json', 'Content-Length: 8']
    connection.write(message({ method: 'PUT', token: gate.token({ exp }), fields }))
    connection.write('{"a"')
    await eventually(() => Date.now() / 1000 >= exp, 'expiry')
    connection.write(': 1}')
    const answer = await connection.answer()
    expect(JSON.parse(answer.body.toString())).toMatchObject({ status: 401, code: 'lease_expired' })
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('an upload that streams is refused when its lease is revoked', async () => {
    const before = gate.records().length
    const received = silent.received()
    using connection = await gate.connect()
    const token = tokenFor('silent', { id: 'lse_upload' })
    const fields = ['Content-Type: text/plain', 'Content-Length: 1000']
    connection.write(message({ method: 'POST', target: '/silent/things/1', token, fields }))
    connection.write('some of it')
    await eventually(() => silent.received() > received, 'the upload at the backend')
    await gate.revoke({ lease: 'lse_upload', reason: 'test' })
    const { status, headers, body } = await connection.answer()
    expect([status, headers.connection]).toEqual([401, 'close'])
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'lease_revoked', lease_id: 'lse_upload' })
    expect(await endedAs(before)).toEqual([['lse_upload', 'revoked_midway']])
  })

  test('a call that waits for its backend is refused when its lease is revoked', async () => {
    const before = gate.records().length
    const received = silent.received()
    using connection = await gate.connect()
    connection.write(
      message({ target: '/silent/things/1', token: tokenFor('silent', { id: 'lse_waiting' }) }),
    )
    await eventually(() => silent.received() > received, 'the call at the backend')
    await gate.revoke({ lease: 'lse_waiting', reason: 'test' })
    const answer = await connection.answer()
    expect(answer.headers).toMatchObject({ connection: 'close', 'lease-refusal': 'lease_revoked' })
    const [record] = await gate.recordsAfter(before)
    expect(record).toMatchObject({
      lease_id: 'lse_waiting',
      decision: { effect: 'allow', code: 'lease_revoked' },
      outcome: { status: 401, ended: 'revoked_midway' },
    })
    expect(record!.outcome.bytes_out).toBe(answer.body.length)
  })
})
