// Bad-input class A over raw sockets: message framing (A1 to A7). Every row has several members of its class; what
// another parser could read differently never reaches the backend.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { authority, eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { type Case, framing, get, lines, malformed, nothingFollows, refusedRows, rows } from './matrix.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

const smuggled = `GET /crm/customers/1042 HTTP/1.1\r\nHost: ${authority}\r\n\r\n`

/** A PATCH whose framing is `fields`, with a body that a second reading would take for a request. */
function framed(...fields: string[]): (token: string) => string {
  const body = `0\r\n\r\n${smuggled}`
  return (token) =>
    message({ method: 'PATCH', token, fields: ['Content-Type: application/json', ...fields] }) + body
}

describe('framing', () => {
  test('a request pipelined behind one that is refused and closed is never begun', async () => {
    const before = gate.records().length
    const seen = gate.backend.bytesSeen().length
    const second = message({ token: gate.token() })
    using connection = await gate.connect()
    connection.write(
      `${message({ method: 'PATCH', token: gate.token(), fields: ['Transfer-Encoding: gzip, chunked'] })}0\r\n\r\n${second}`,
    )
    expect((await connection.answer()).status).toBe(501)
    expect(await connection.closed()).toBe('')
    expect(await gate.recordsAfter(before)).toHaveLength(1)
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('pipelined requests are answered in order, each with a record of its own', async () => {
    const before = gate.records().length
    using connection = await gate.connect()
    const bodies = ['1', '2', '3']
    const fields = ['Content-Type: text/plain']
    const notes = bodies.map((body) =>
      message({ method: 'POST', target: `/crm/notes/${body}`, token: gate.token(), fields, body }),
    )
    connection.write(notes.join(''))
    const decisions = []
    for (const _ of bodies) decisions.push((await connection.answer()).headers['decision-id'])
    await eventually(() => gate.records().length === before + bodies.length, 'three records')
    expect(
      gate
        .records()
        .slice(before)
        .map(({ decision_id }) => decision_id),
    ).toEqual(decisions)
    expect(gate.backend.requests.slice(-3).map(({ url }) => url)).toEqual([
      '/notes/1',
      '/notes/2',
      '/notes/3',
    ])
  })

  refusedRows(
    () => gate,
    [
      ...rows('A1', framing, [
        ['length, then coding', framed('Content-Length: 5', 'Transfer-Encoding: chunked')],
        ['coding, then length', framed('Transfer-Encoding: chunked', 'Content-Length: 5')],
        ['other letter cases', framed('TRANSFER-ENCODING: Chunked', 'content-LENGTH: 5')],
        ['length zero', framed('Content-Length: 0', 'Transfer-Encoding: chunked')],
        ['a coding that is none', framed('Content-Length: 5', 'Transfer-Encoding: identity')],
      ]),
      ...rows('A2', framing, [
        ['equal', framed('Content-Length: 5', 'Content-Length: 5')],
        ['different', framed('Content-Length: 5', 'Content-Length: 6')],
        ['in two letter cases', framed('Content-Length: 5', 'content-length: 5')],
        ['apart', framed('Content-Length: 5', 'Accept: */*', 'CONTENT-LENGTH: 5')],
      ]),
      ...rows(
        'A3',
        framing,
        [
          '+2',
          '-2',
          '0x2',
          '2,2',
          '2 2',
          '2.0',
          '1e1',
          '',
          '18446744073709551616',
          '9007199254740993',
          '٢',
        ].map((value) => [
          JSON.stringify(value),
          framed(`Content-Length: ${Buffer.from(value).toString('latin1')}`),
        ]),
      ),
      ...rows('A4', framing, [
        ...['xchunked', 'chunked, gzip', 'chunkedx', '"chunked"', 'chunked;q=1', 'gzip', 'identity', 'x'].map(
          (coding): Case => [coding, framed(`Transfer-Encoding: ${coding}`)],
        ),
        ['chunked twice', framed('Transfer-Encoding: chunked, chunked')],
        ['two lines', framed('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')],
        ['two lines that join', framed('Transfer-Encoding: gzip', 'Transfer-Encoding: chunked')],
        ['an empty one', framed('Transfer-Encoding:')],
        ['a vertical tab', framed('Transfer-Encoding: \vchunked')],
      ]),
      ...rows('A5', { status: 501, code: 'coding_unsupported', close: true }, [
        ['gzip', framed('Transfer-Encoding: gzip, chunked')],
        ['an unknown one', framed('Transfer-Encoding: x, chunked')],
        ['two of them', framed('Transfer-Encoding: gzip, deflate, chunked')],
        ['in another letter case', framed('Transfer-Encoding: GZIP, Chunked')],
      ]),
      ...rows('A6', framing, [
        [
          'HTTP/1.0 with a coding',
          lines('PATCH /crm/customers/1 HTTP/1.0', `Host: ${authority}`, 'Transfer-Encoding: chunked'),
        ],
        ['no version', () => 'GET /crm/customers/9821\r\n\r\n'],
        ...['HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/1', 'http/1.1', 'HTTP/1.10', 'ICE/1.0'].map(
          (version): Case => [version, lines(`GET /crm/customers/9821 ${version}`, `Host: ${authority}`)],
        ),
      ]),
      ...rows('A7', framing, [
        ['bare LF after a field', (token) => get('Accept: */*')(token).replace('*/*\r\n', '*/*\n')],
        ['bare LF everywhere', (token) => get()(token).replaceAll('\r\n', '\n')],
        ['bare CR in a value', get('X-A: a\rb')],
        ['NUL in a value', get('X-A: a\0b')],
        ['a folded line', get('X-A: a', ' b')],
        ['a line folded with a tab', get('X-A: a', '\tb')],
        ['a space before the colon', get('Transfer-Encoding : chunked')],
        ['a tab before the colon', get('X-A\t: b')],
        [
          'whitespace before the first field',
          lines('GET /crm/customers/9821 HTTP/1.1', ` Host: ${authority}`),
        ],
        ['a line without a colon', get('X-A')],
        ['an empty name', get(': b')],
        ['a name that is no token', get('X(A): b')],
        ['a non-ASCII name', get('X-\xc3\xa4: b')],
      ]),
      ...rows('A7', malformed, [
        ['a control octet that parsers let pass', get('X-A: a\x80b')],
        ['obs-text', get('X-A: \xff')],
      ]),
    ],
  )
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
