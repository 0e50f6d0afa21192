// Bad-input class A over raw sockets: limits, upgrades, trailers, chains (A14 to A18). Every row has several members of its class; what
// another parser could read differently never reaches the backend.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { framing, get, lines, nothingFollows, own, refusedRows, rows } from './matrix.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({
    config: {
      limits: { headers_timeout: '400ms', request_timeout: '3s', body_idle: '300ms', body: '64KiB' },
    },
  })
})
afterAll(() => gate.close())

describe('limits', () => {
  const long = (count: number) => 'a'.repeat(count)
  const headers = { status: 431, code: 'headers_too_large', close: true } as const
  const body = { status: 413, code: 'body_too_large', close: true } as const
  const note = (token: string, fields: string[]) =>
    message({
      method: 'POST',
      target: '/crm/notes/1',
      token,
      fields: ['Content-Type: text/plain', ...fields],
    })
  refusedRows(
    () => gate,
    [
      ...rows('A14a', headers, [
        ['one field', get(`X-A: ${long(16_400)}`)],
        ['many fields', get(...Array.from({ length: 60 }, (_, i) => `X-${i}: ${long(300)}`))],
        ['beyond what the parser holds', get(`X-A: ${long(40_000)}`)],
      ]),
      ...rows('A14b', headers, [
        ['101 fields', get(...Array.from({ length: 99 }, (_, i) => `X-${i}: 1`))],
        ['2,000 fields', get(...Array.from({ length: 2_000 }, () => 'A: 1'))],
      ]),
      ...rows('A14c', { status: 414, code: 'target_too_long', close: true }, [
        ['a path', lines(`GET /crm/customers/${long(8_192)} HTTP/1.1`, own)],
        ['a query', lines(`GET /crm/customers?q=${long(8_192)} HTTP/1.1`, own)],
        ['beyond what the parser holds', lines(`GET /crm/customers/${long(40_000)} HTTP/1.1`, own)],
      ]),
      ...rows('A14d', body, [
        [
          'chunk extensions of 20,000 octets',
          (token) => `${note(token, ['Transfer-Encoding: chunked'])}1;${long(20_000)}\r\na\r\n0\r\n\r\n`,
        ],
      ]),
      ...rows('A14e', body, [
        ['announced', (token) => note(token, ['Content-Length: 65537'])],
        [
          'chunked',
          (token) => `${note(token, ['Transfer-Encoding: chunked'])}10001\r\n${long(65_537)}\r\n0\r\n\r\n`,
        ],
      ]),
    ],
  )

  refusedRows(
    () => gate,
    rows('A15', { status: 408, code: 'request_timeout', close: true }, [
      ['nothing but a request line', () => 'GET /crm/customers/9821 HTTP/1.1\r\n'],
      ['half a header section', () => `GET /crm/customers/9821 HTTP/1.1\r\n${own}\r\nX-A: `],
      [
        'half a JSON body',
        (token) =>
          `${message({ method: 'PUT', token, fields: ['Content-Type: application/json', 'Content-Length: 10'] })}{"a"`,
      ],
      [
        'half a form',
        (token) =>
          `${message({ method: 'PATCH', token, fields: ['Content-Length: 10', 'Content-Type: application/x-www-form-urlencoded', 'Lease-Provenance: trusted'] })}a=1`,
      ],
      ['half a chunked body', (token) => `${note(token, ['Transfer-Encoding: chunked'])}5\r\nab`],
    ]),
  )

  test('A15 a streamed body that stalls: the backend never gets a whole request', async () => {
    const before = gate.records().length
    const whole = gate.backend.requests.length
    using connection = await gate.connect()
    connection.write(`${note(gate.token(), ['Content-Length: 100'])}half`)
    expect((await connection.answer()).status).toBe(408)
    await connection.closed()
    const [record] = await gate.recordsAfter(before)
    expect(record?.decision.code).toBe('request_timeout')
    expect(gate.backend.requests).toHaveLength(whole)
  })
})

describe('what is served without the fields that came along', () => {
  /** Sends and returns what the backend saw of it. */
  async function served(bytes: string) {
    const seen = gate.backend.requests.length
    const answer = await gate.ask(bytes)
    expect(answer.status).toBe(200)
    await eventually(() => gate.backend.requests.length > seen, 'the request')
    expect(gate.backend.requests).toHaveLength(seen + 1)
    return gate.backend.requests[seen]!
  }

  const offers: [string, string[]][] = [
    [
      'websocket',
      [
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol: echo',
      ],
    ],
    ['h2c', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']],
    ['TLS', ['Connection: upgrade', 'Upgrade: TLS/1.0, HTTP/1.1']],
    ['an offer that nominates nothing', ['Upgrade: websocket']],
  ]
  test.each(offers)('A16 an offer to upgrade to %s', async (_, fields) => {
    const { rawHeaders } = await served(message({ token: gate.token(), fields }))
    const names = rawHeaders.filter((_name, at) => at % 2 === 0).map((name) => name.toLowerCase())
    const left = names.filter((name) => /^(upgrade|http2-settings|sec-websocket-.*)$/.test(name))
    expect(left).toEqual([])
  })

  const trailers = [
    ['Authorization: Bearer other'],
    ['Host: other.example'],
    ['X-Forwarded-For: 1.2.3.4', 'Lease-Id: lse_x'],
  ]
  test.each(trailers)('A17 trailer fields: %s', async (...fields) => {
    const head = message({
      method: 'POST',
      target: '/crm/notes/1',
      token: gate.token(),
      fields: ['Content-Type: text/plain', 'Transfer-Encoding: chunked', 'Trailer: Authorization'],
    })
    const seen = gate.backend.bytesSeen().length
    const { body, headers } = await served(`${head}2\r\nhi\r\n0\r\n${fields.join('\r\n')}\r\n\r\n`)
    expect(body.toString()).toBe('hi')
    expect(headers.trailer).toBeUndefined()
    const bytes = gate.backend.bytesSeen().subarray(seen).toString('latin1')
    for (const field of fields) expect(bytes).not.toContain(field)
  })
})

// Other fields in a trailer are ignored; of these Node's parser makes a second framing.
refusedRows(
  () => gate,
  rows(
    'A17',
    framing,
    ['Content-Length: 9', 'Transfer-Encoding: chunked'].map((field) => [
      `a trailer that frames: ${field}`,
      (token) =>
        `${message({ method: 'POST', target: '/crm/notes/1', token, fields: ['Content-Type: text/plain', 'Transfer-Encoding: chunked'] })}2\r\nhi\r\n0\r\n${field}\r\n\r\n`,
    ]),
  ),
)

describe('chains of proxies', () => {
  refusedRows(
    () => gate,
    rows('A18b', { status: 508, code: 'loop_detected' }, [
      ['two Via fields', get('Via: 1.1 leasegate', 'Via: 1.1 leasegate')],
      ['one list', get('Via: 1.1 leasegate, 1.1 other, 1.1 leasegate')],
      ['with comments', get('Via: 1.1 leasegate (a), HTTP/1.1 leasegate (b)')],
      ['without blanks', get('Via: 1.1 leasegate,1.0 leasegate')],
    ]),
  )

  test.each(['0', '00'])('A18a OPTIONS with Max-Forwards: %s ends here', async (count) => {
    const before = gate.records().length
    const seen = gate.backend.bytesSeen().length
    const answer = await gate.ask(
      message({ method: 'OPTIONS', token: gate.token(), fields: [`Max-Forwards: ${count}`] }),
    )
    expect(answer.status).toBe(204)
    const records = await gate.recordsAfter(before)
    expect(records.map(({ outcome }) => outcome.ended)).toEqual(['answered_locally'])
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('one pass is no loop, and the chain is passed on', async () => {
    const seen = gate.backend.requests.length
    const { status } = await gate.ask(get('Via: 1.1 leasegate')(gate.token()))
    expect(status).toBe(200)
    expect(gate.backend.requests[seen]?.headers.via).toBe('1.1 leasegate, 1.1 leasegate')
  })
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
