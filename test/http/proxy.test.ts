// Between a socket and the pipeline: when a body is read, when the client is told to go on, and that an
// answer arrives even while the client is still sending.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
let backendBegan = 0
beforeAll(async () => {
  gate = await startTestGate({
    config: { limits: { body: '1MiB' } },
    answer: (_request, res) => {
      backendBegan++
      res.end('{"ok":true}')
    },
  })
})
afterAll(() => gate.close())

const json = 'Content-Type: application/json'

describe('Expect: 100-continue', () => {
  const expecting = [json, 'Expect: 100-continue', 'Content-Length: 2']

  test.each(['PUT', 'PATCH'])('%s is told to go on once the body is wanted', async (method) => {
    using connection = await gate.connect()
    const fields = [...expecting, 'Lease-Provenance: trusted']
    connection.write(message({ method, token: gate.token(), fields }))
    await connection.received('100 Continue')
    connection.write('{}')
    const { status, interim } = await connection.answer()
    expect([status, interim]).toEqual([200, [100]])
  })

  const refused = [
    ['without a lease', () => message({ method: 'PUT', fields: expecting }), 401],
    [
      'where nothing is mapped',
      () => message({ method: 'PUT', target: '/crm/x', token: gate.token(), fields: expecting }),
      404,
    ],
    [
      'of a body too large',
      () =>
        message({
          method: 'PATCH',
          token: gate.token(),
          fields: [json, 'Expect: 100-continue', 'Lease-Provenance: trusted', 'Content-Length: 1048577'],
        }),
      413,
    ],
  ] as const
  test.each(refused)('%s: refused, with no 100', async (_, bytes, status) => {
    using connection = await gate.connect()
    connection.write(bytes())
    const answer = await connection.answer()
    expect([answer.status, answer.interim]).toEqual([status, []])
    await connection.closed()
  })
})

describe('a refused upload', () => {
  test('of ten million bytes that is sent all the same: the answer arrives', async () => {
    using connection = await gate.connect()
    connection.write(message({ method: 'PUT', fields: [json, 'Content-Length: 10000000'] }))
    connection.write(Buffer.alloc(10_000_000, 0x20))
    const { status, headers } = await connection.answer()
    expect([status, headers.connection]).toEqual([401, 'close'])
    await connection.closed()
  })
})

describe('a body that breaks', () => {
  test('off: it ends in one record and reaches nobody', async () => {
    const before = gate.records().length
    const seen = gate.backend.bytesSeen().length
    const connection = await gate.connect()
    connection.write(
      `${message({ method: 'PUT', token: gate.token(), fields: [json, 'Content-Length: 9'] })}{"a"`,
    )
    await eventually(() => connection.socket.writableLength === 0, 'the bytes to leave')
    connection.socket.end()
    const records = await gate.recordsAfter(before)
    connection.socket.destroy()
    expect(records.map(({ decision }) => decision.code)).toEqual(['malformed_framing'])
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  const brokenChunks = [
    'zz\r\n',
    '5;\0\r\n',
    '-1\r\n',
    '2\r\n{}x\r\n',
    '0x2\r\n{}\r\n',
    ' 2\r\n{}\r\n',
    '2\n{}\r\n',
  ]
  test.each(brokenChunks)('in its chunks %j: 400, closed, one record', async (chunks) => {
    const before = gate.records().length
    const began = backendBegan
    using connection = await gate.connect()
    const fields = [json, 'Transfer-Encoding: chunked']
    connection.write(message({ method: 'PUT', token: gate.token(), fields }) + chunks)
    const answer = await connection.answer()
    expect([answer.status, JSON.parse(answer.body.toString())]).toMatchObject([
      400,
      { code: 'malformed_framing' },
    ])
    await connection.closed()
    const records = await gate.recordsAfter(before)
    expect(records.map(({ decision }) => decision.code)).toEqual(['malformed_framing'])
    expect(backendBegan).toBe(began)
  })

  test('in its chunks while it streams: the backend never gets a whole request', async () => {
    const before = gate.records().length
    const whole = gate.backend.requests.length
    using connection = await gate.connect()
    const fields = ['Content-Type: text/plain', 'Transfer-Encoding: chunked']
    connection.write(message({ method: 'POST', target: '/crm/notes/1', token: gate.token(), fields }))
    connection.write('5\r\nhello\r\nzz\r\n')
    expect((await connection.answer()).status).toBe(400)
    await connection.closed()
    expect(await gate.recordsAfter(before)).toHaveLength(1)
    expect(gate.backend.requests).toHaveLength(whole)
  })
})

describe('methods with a body that has no meaning', () => {
  test.each(['GET', 'HEAD'])('%s', async (method) => {
    const seen = gate.backend.bytesSeen().length
    using connection = await gate.connect()
    connection.write(message({ method, token: gate.token(), body: '{}' }))
    expect((await connection.answer({ toHead: method === 'HEAD' })).status).toBe(400)
    await connection.closed()
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('a GET that announces an empty body is a plain GET', async () => {
    expect((await gate.ask(message({ token: gate.token(), fields: ['Content-Length: 0'] }))).status).toBe(200)
  })
})
