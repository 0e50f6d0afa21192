// The agents' listener: connections as such. What single messages may look like is in test/gate.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { authority, eventually, message, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

describe('a connection', () => {
  test('serves one request after the other, refused ones too', async () => {
    using connection = await gate.connect()
    const statuses: number[] = []
    const good = message({ token: gate.token() })
    for (const bytes of [good, message({}), message({ target: '/crm/none', token: gate.token() }), good]) {
      connection.write(bytes)
      statuses.push((await connection.answer()).status)
    }
    expect(statuses).toEqual([200, 401, 404, 200])
  })

  test('may deliver a request byte by byte', async () => {
    using connection = await gate.connect()
    for (const octet of message({ token: gate.token() })) connection.write(octet)
    expect((await connection.answer()).status).toBe(200)
  })

  test('of HTTP/1.0 is answered and closed', async () => {
    using connection = await gate.connect()
    connection.write(message({ token: gate.token() }).replace('HTTP/1.1', 'HTTP/1.0'))
    expect((await connection.answer()).status).toBe(200)
    await connection.closed()
  })

  test('that asks to be closed is closed, and what follows is never read as a request', async () => {
    const before = gate.records().length
    const seen = gate.backend.requests.length
    using connection = await gate.connect()
    const last = message({ token: gate.token(), fields: ['Connection: close'] })
    connection.write(last + message({ token: gate.token() }))
    expect((await connection.answer()).status).toBe(200)
    expect(await connection.closed()).toBe('')
    await gate.recordsAfter(before)
    expect(gate.backend.requests).toHaveLength(seen + 1)
  })

  test.each(['', 'GET /crm/customers/9821 HTTP/1.1\r\nHost: '])(
    'that is reset after %j leaves the gate as it was',
    async (bytes) => {
      const connection = await gate.connect()
      connection.write(bytes)
      connection.socket.resetAndDestroy()
      expect((await gate.ask(message({ token: gate.token() }))).status).toBe(200)
    },
  )

  test('that speaks TLS is answered in plain text and closed', async () => {
    using connection = await gate.connect()
    connection.write(Buffer.from('16030100050100000100', 'hex'))
    expect((await connection.answer()).status).toBe(400)
    await connection.closed()
  })

  test('with garbage behind a good request: the good one is answered, then it is closed', async () => {
    const before = gate.records().length
    using connection = await gate.connect()
    connection.write(`${message({ token: gate.token() })}\0garbage\r\n\r\n`)
    expect((await connection.answer()).status).toBe(200)
    expect((await connection.answer()).status).toBe(400)
    await connection.closed()
    await eventually(() => gate.records().length === before + 2, 'both records')
    expect(
      gate
        .records()
        .slice(before)
        .map(({ decision }) => decision.code)
        .toSorted(),
    ).toEqual(['malformed_framing', null])
  })
})

test('CONNECT is refused with the methods that are served', async () => {
  using connection = await gate.connect()
  connection.write(`CONNECT ${authority}:443 HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  const { status, headers } = await connection.answer()
  expect([status, headers.allow]).toEqual([405, 'GET'])
  await connection.closed()
})

test('once closed, the port accepts nothing', async () => {
  const other = await startTestGate()
  expect((await other.ask(message({ token: other.token() }))).status).toBe(200)
  await other.close()
  await expect(other.connect()).rejects.toThrow('ECONNREFUSED')
})
