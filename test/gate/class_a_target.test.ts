// Bad-input class A over raw sockets: host, target, methods, expectations (A8 to A13). Every row has several members of its class; what
// another parser could read differently never reaches the backend.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { authority, message, startTestGate, type TestGate } from '../support/gate.ts'
import {
  type Case,
  framing,
  get,
  lines,
  malformed,
  nothingFollows,
  own,
  refusedRows,
  rows,
} from './matrix.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

const hosted = (...fields: string[]) => lines('GET /crm/customers/9821 HTTP/1.1', ...fields)

describe('host and target', () => {
  refusedRows(
    () => gate,
    [
      ...rows('A8', malformed, [
        ['absent', hosted()],
        ['empty', hosted('Host:')],
        ['repeated', hosted(own, own)],
        ['repeated in another letter case', hosted(own, `HOST: other.example`)],
        ...['a/b@c', `user@${authority}`, `http://${authority}`, `${authority}/x`, `${authority}, other`].map(
          (value): Case => [value, hosted(`Host: ${value}`)],
        ),
        ...[
          `${authority}:`,
          `${authority}:port`,
          `${authority}:80:80`,
          `${authority}?x`,
          `[::1`,
          '*',
          '-',
        ].map((value): Case => [value, hosted(`Host: ${value}`)]),
        ['HTTP/1.0 without one', lines('GET /crm/customers/9821 HTTP/1.0')],
      ]),
      ...rows('A9', { status: 421, code: 'unknown_authority' }, [
        ...[
          'evil.example',
          'evilgate.example',
          'gate.example.evil',
          'gate.exampl',
          'ate.example',
          'gate',
        ].map((value): Case => [value, hosted(`Host: ${value}`)]),
        ...['gate.example.', 'gate.example:444', 'gate.example:80', 'gate_example', '[::1]', '127.0.0.1'].map(
          (value): Case => [value, hosted(`Host: ${value}`)],
        ),
      ]),
      ...rows('A10a', { status: 421, code: 'unknown_authority' }, [
        ['another host', lines('GET http://other.example/crm/customers/9821 HTTP/1.1', own)],
        ['another port', lines(`GET http://${authority}:81/crm/customers/9821 HTTP/1.1`, own)],
        ['https', lines('GET https://other.example/crm/customers/9821 HTTP/1.1', own)],
        ['no host', lines('GET http:///crm/customers/9821 HTTP/1.1', own)],
      ]),
      ...rows('A10b', malformed, [
        ['userinfo', lines(`GET http://user@${authority}/crm/customers/9821 HTTP/1.1`, own)],
        ['a password', lines(`GET http://a:b@${authority}/crm/customers/9821 HTTP/1.1`, own)],
        ['empty userinfo', lines(`GET http://@${authority}/crm/customers/9821 HTTP/1.1`, own)],
        ['ours as userinfo', lines(`GET http://${authority}@other/crm/customers/9821 HTTP/1.1`, own)],
      ]),
      ...rows('A11', malformed, [
        ...['#frag', '\\', '"', '<', '>', '^', '`', '{', '|', '}', '[', '%'].map(
          (octet): Case => [octet, lines(`GET /crm/customers/9821${octet} HTTP/1.1`, own)],
        ),
        ['a fragment after the query', lines('GET /crm/customers?q=1#frag HTTP/1.1', own)],
        ['a backslash in the query', lines('GET /crm/customers?q=a\\b HTTP/1.1', own)],
        ['a scheme that is not ours', lines(`GET ftp://${authority}/crm/customers/9821 HTTP/1.1`, own)],
      ]),
      ...rows('A11', framing, [
        ['a tab', lines('GET /crm/customers/98\t21 HTTP/1.1', own)],
        ['a space', lines('GET /crm/customers/98 21 HTTP/1.1', own)],
        ['NUL', lines('GET /crm/customers/98\x0021 HTTP/1.1', own)],
        ['DEL', lines('GET /crm/customers/98\x7f21 HTTP/1.1', own)],
        ['non-ASCII', lines('GET /crm/customers/\xc3\xa4 HTTP/1.1', own)],
        ['no slash', lines('GET crm/customers/9821 HTTP/1.1', own)],
      ]),
    ],
  )

  test('A10 an absolute target of our own authority is read like its path', async () => {
    const seen = gate.backend.requests.length
    const { status } = await gate.ask(
      lines(`GET HTTP://GATE.example/crm/customers/9821 HTTP/1.1`, 'Host: Gate.Example')(gate.token()),
    )
    expect(status).toBe(200)
    expect(gate.backend.requests.slice(seen).map(({ url }) => url)).toEqual(['/customers/9821'])
  })
})

describe('methods and expectations', () => {
  const notAllowed = { status: 405, code: 'method_not_allowed' } as const
  refusedRows(
    () => gate,
    [
      ...rows('A12a', { ...notAllowed, close: true }, [
        ['authority form', lines(`CONNECT ${authority}:80 HTTP/1.1`, own)],
        ['another host', lines('CONNECT other.example:443 HTTP/1.1', own)],
      ]),
      ...rows('A12b', notAllowed, [
        ['TRACE', lines('TRACE /crm/customers/9821 HTTP/1.1', own)],
        ['TRACE *', lines('TRACE * HTTP/1.1', own)],
        ['PROPFIND', lines('PROPFIND /crm/customers/9821 HTTP/1.1', own)],
        ['QUERY', lines('QUERY /crm/customers/9821 HTTP/1.1', own)],
      ]),
      ...rows('A12c', framing, [
        ['TRACK', lines('TRACK /crm/customers/9821 HTTP/1.1', own)],
        ['lower case', lines('get /crm/customers/9821 HTTP/1.1', own)],
      ]),
      ...rows('A13a', { status: 417, code: 'expectation_failed' }, [
        ['foo', get('Expect: foo')],
        ['a list', get('Expect: 100-continue, foo')],
        ['200-ok', get('Expect: 200-ok')],
        ['empty', get('Expect:')],
      ]),
      {
        row: 'A13b',
        name: '100-continue without a credential gets no 100',
        send: () => message({ method: 'PATCH', fields: ['Expect: 100-continue', 'Content-Length: 9'] }),
        status: 401,
        code: 'lease_missing',
        also: ({ interim }) => expect(interim).toEqual([]),
      },
    ],
  )

  test('A12d OPTIONS * is answered here, without a credential', async () => {
    const before = gate.records().length
    const answer = await gate.ask(`OPTIONS * HTTP/1.1\r\n${own}\r\n\r\n`)
    expect(answer.status).toBe(204)
    const records = await gate.recordsAfter(before)
    expect(records.map(({ outcome }) => outcome.ended)).toEqual(['answered_locally'])
  })

  test('A13 100-continue with a valid token is told to go on, and its body arrives', async () => {
    using connection = await gate.connect()
    const fields = ['Expect: 100-continue', 'Content-Length: 2', 'Content-Type: application/json']
    connection.write(message({ method: 'POST', target: '/crm/notes/1', token: gate.token(), fields }))
    expect(await connection.received('\r\n\r\n')).toContain('HTTP/1.1 100 Continue')
    connection.write('{}')
    const { status, interim } = await connection.answer()
    expect([status, interim]).toEqual([200, [100]])
    expect(gate.backend.requests.at(-1)?.body.toString()).toBe('{}')
  })
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
