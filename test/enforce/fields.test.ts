// The header section: framing, duplicates, nominations, overrides. Class numbers are those of the
// acceptance matrix: A is framing, C is fields, D15 the credential.
import { describe, expect, test } from 'vitest'
import { receive } from '../../src/enforce/receive.ts'
import { type Ask, codeOf, headOf, requestOf, rules } from '../support/evidence.ts'

const post = (...headers: string[]): Ask => ({ method: 'POST', headers })
const received = (ask: Ask) => codeOf(receive(headOf(ask), rules))
const traceId = '0af7651916cd43dd8448eb211c80319c'
const trace = `00-${traceId}-b7ad6b7169203331-01`

describe('framing has one reading', () => {
  test.each([
    ['A1 both', ['Content-Length', '2', 'Transfer-Encoding', 'chunked']],
    ['A1 both, other order and case', ['TRANSFER-ENCODING', 'chunked', 'content-length', '2']],
    ['A1 an empty length beside chunked', ['Content-Length', '0', 'Transfer-Encoding', 'chunked']],
    ['A2 two lengths', ['Content-Length', '2', 'Content-Length', '3']],
    ['A2 two equal lengths', ['Content-Length', '2', 'CONTENT-LENGTH', '2']],
    ['A3 a sign', ['Content-Length', '+2']],
    ['A3 a minus', ['Content-Length', '-2']],
    ['A3 hexadecimal', ['Content-Length', '0x2']],
    ['A3 a list', ['Content-Length', '2, 2']],
    ['A3 a fraction', ['Content-Length', '2.0']],
    ['A3 an exponent', ['Content-Length', '2e1']],
    ['A3 a space within', ['Content-Length', '1 2']],
    ['A3 a separator', ['Content-Length', '1_0']],
    ['A3 empty', ['Content-Length', '']],
    ['A3 2^64', ['Content-Length', '18446744073709551616']],
    ['A3 2^53', ['Content-Length', '9007199254740992']],
    ['A4 a look-alike', ['Transfer-Encoding', 'xchunked']],
    ['A4 not final', ['Transfer-Encoding', 'chunked, gzip']],
    ['A4 chunked twice', ['Transfer-Encoding', 'chunked, chunked']],
    ['A4 two lines', ['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
    ['A4 two lines of two codings', ['Transfer-Encoding', 'gzip', 'transfer-encoding', 'chunked']],
    ['A4 identity', ['Transfer-Encoding', 'identity']],
    ['A4 with a parameter', ['Transfer-Encoding', 'chunked;q=1']],
    ['A4 quoted', ['Transfer-Encoding', '"chunked"']],
    ['A4 an empty coding before it', ['Transfer-Encoding', ', chunked']],
    ['A4 empty', ['Transfer-Encoding', '']],
  ])('%s: refused, and the connection ends', (_, headers) => {
    const refusal = receive(headOf(post(...headers)), rules)
    expect(refusal).toMatchObject({ code: 'malformed_framing', row: { status: 400, close: true } })
  })

  test.each(['gzip, chunked', 'GZIP , chunked', 'gzip;q=1, chunked', 'xchunked, chunked'])(
    'A5 %s: another coding before chunked is not understood',
    (coding) => {
      const refusal = receive(headOf(post('Transfer-Encoding', coding)), rules)
      expect(refusal).toMatchObject({ code: 'coding_unsupported', row: { status: 501, close: true } })
    },
  )

  test('A6 HTTP/1.0 has no transfer codings', () => {
    expect(received({ ...post('Transfer-Encoding', 'chunked'), httpVersion: '1.0' })).toBe(
      'malformed_framing',
    )
  })

  test('one of the two frames the body', () => {
    expect(requestOf(post('Content-Length', '007'))).toMatchObject({ contentLength: 7, chunked: false })
    expect(requestOf(post('Transfer-Encoding', 'Chunked'))).toMatchObject({
      contentLength: undefined,
      chunked: true,
    })
  })
})

describe('A7, C8: a value is visible ASCII', () => {
  test.each([
    ['a line feed', 'a\nb'],
    ['a carriage return', 'a\rb'],
    ['NUL', 'a\0b'],
    ['DEL', 'a\x7fb'],
    ['an octet above ASCII', 'caf\xe9'],
  ])('%s: refused', (_, value) => {
    expect(received({ headers: ['X-Note', value] })).toBe('malformed_request')
  })

  test('a tab within is fine', () => {
    expect(received({ headers: ['X-Note', 'a\tb'] })).toBe('accepted')
  })
})

test.each(['foo', '200-ok', '100-continue, foo', ''])('A13 Expect: %j is not understood', (expectation) => {
  expect(received({ headers: ['Expect', expectation] })).toBe('expectation_failed')
})

describe('A18: Max-Forwards and Via', () => {
  test('Max-Forwards counts for OPTIONS alone', () => {
    const headers = ['Max-Forwards', '0']
    expect(requestOf({ method: 'OPTIONS', headers }).maxForwards).toBe(0)
    expect(requestOf({ headers }).maxForwards).toBeUndefined()
  })

  test.each(['-1', 'none', '', '1, 2', '1e1'])('Max-Forwards: %j is not a number', (value) => {
    expect(received({ method: 'OPTIONS', headers: ['Max-Forwards', value] })).toBe('malformed_request')
  })

  test.each([
    ['in one field', ['Via', '1.1 leasegate, 1.1 other, 1.0 leasegate']],
    ['in two fields', ['Via', '1.1 leasegate', 'VIA', '1.1  leasegate']],
  ])('our name twice %s is a loop', (_, headers) => {
    expect(received({ headers })).toBe('loop_detected')
  })

  test('our name once, and names that contain it, are no loop', () => {
    expect(received({ headers: ['Via', '1.1 leasegate, 1.1 leasegate2, 1.1 xleasegate'] })).toBe('accepted')
  })
})

describe('C3: Connection may not take away what the gate or the backend relies on', () => {
  test.each([
    'Authorization',
    'Proxy-Authorization',
    'DPoP',
    'Cookie',
    'X-Api-Key',
    'Host',
    'Content-Length',
    'Content-Type',
    'Content-Encoding',
    'Transfer-Encoding',
    'Trailer',
    'Expect',
    'Max-Forwards',
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded',
    'X-Real-IP',
    'True-Client-IP',
    'X-Original-URL',
    'X-Rewrite-URL',
    'Via',
    'Client-Cert',
    'Client-Cert-Chain',
    'Txn-Token',
    'Traceparent',
    'Tracestate',
    'Lease-Id',
    'Lease-User',
    'Lease-Provenance',
    'Decision-Id',
    'Idempotency-Key',
  ])('%s may not be nominated, in any spelling', (name) => {
    expect(received({ headers: ['Connection', name] })).toBe('malformed_request')
    expect(received({ headers: ['Connection', `close , ${name.toUpperCase()}`] })).toBe('malformed_request')
    expect(received({ headers: ['Connection', 'close', 'CONNECTION', name] })).toBe('malformed_request')
  })

  test('anything else is nominated and dropped', () => {
    const headers = ['Connection', 'close, X-Hop, Keep-Alive', 'X-Hop', '1']
    expect(requestOf({ headers }).nominated).toEqual(['x-hop'])
  })
})

describe('what stands once stands once', () => {
  test.each([
    'Content-Type',
    'Content-Encoding',
    'Expect',
    'Idempotency-Key',
    'If-Modified-Since',
    'If-Range',
    'If-Unmodified-Since',
    'Max-Forwards',
    'Range',
    'Sec-WebSocket-Key',
    'Sec-WebSocket-Version',
    'Upgrade',
  ])('%s twice: refused, equal or not', (name) => {
    const value = name === 'Expect' ? '100-continue' : '1'
    expect(received({ headers: [name, value, name.toLowerCase(), value] })).toBe('malformed_request')
  })

  test('D15 two Authorization fields, whatever they hold', () => {
    const two = (one: string, other: string) =>
      received({ headers: ['Authorization', one, 'AUTHORIZATION', other] })
    expect(two('Bearer a', 'Bearer b')).toBe('credential_ambiguous')
    expect(two('Bearer a', 'Bearer a')).toBe('credential_ambiguous')
    expect(two('', 'Bearer a')).toBe('credential_ambiguous')
  })
})

describe('C4: the one header that policy reads', () => {
  test.each(['trusted', 'untrusted'])('Lease-Provenance: %s is taken', (value) => {
    expect(requestOf({ headers: ['Lease-Provenance', value] }).provenance).toBe(value)
  })

  test('absent means untrusted', () => {
    expect(requestOf().provenance).toBe('untrusted')
  })

  test.each([
    ['twice', ['Lease-Provenance', 'trusted', 'lease-provenance', 'trusted']],
    ['a list', ['Lease-Provenance', 'untrusted,trusted']],
    ['another word', ['Lease-Provenance', 'yes']],
    ['another case', ['Lease-Provenance', 'Trusted']],
    ['empty', ['Lease-Provenance', '']],
  ])('%s: refused', (_, headers) => {
    expect(received({ headers })).toBe('malformed_request')
  })

  test('C2 an underscore does not make it', () => {
    expect(requestOf({ headers: ['Lease_Provenance', 'trusted'] }).provenance).toBe('untrusted')
  })
})

describe('what a request says it is for', () => {
  test('is taken as it is written', () => {
    const headers = ['Lease-Task', 'jira:SUP-4711', 'LEASE-SESSION', 'ses_1']
    expect(requestOf({ headers })).toMatchObject({ statedTask: 'jira:SUP-4711', statedSession: 'ses_1' })
  })

  test('need not be said', () => {
    expect(requestOf()).toMatchObject({ statedTask: undefined, statedSession: undefined })
  })

  test.each([
    ['a task twice', ['Lease-Task', 'jira:1', 'lease-task', 'jira:1']],
    ['a session twice', ['Lease-Session', 'ses_1', 'Lease-Session', 'ses_2']],
    ['a task without a name', ['Lease-Task', '']],
    ['a session without a name', ['Lease-Session', '']],
    ['a task that is not ASCII', ['Lease-Task', 'jira:S\u00dcP']],
  ])('%s: refused', (_, headers) => {
    expect(received({ headers })).toBe('malformed_request')
  })

  test('C2 an underscore does not make it', () => {
    expect(requestOf({ headers: ['Lease_Task', 'jira:1'] }).statedTask).toBeUndefined()
  })

  test.each(['lease-task', 'Lease-Session'])('Connection cannot take %s away', (name) => {
    const headers = ['Lease-Task', 'jira:1', 'Connection', name]
    expect(received({ headers })).toBe('malformed_request')
  })
})

test.each(['X-HTTP-Method-Override', 'x-http-method', 'X-METHOD-OVERRIDE'])('C6 %s: refused', (name) => {
  expect(received({ method: 'POST', headers: [name, 'DELETE'] })).toBe('malformed_request')
})

test('C2 a name with an underscore is dropped, whatever it imitates', () => {
  const headers = ['X_Forwarded_User', 'root', 'Content_Length', '5', 'X-Ok', '1']
  const request = requestOf({ method: 'POST', headers })
  expect(request.headers).toEqual(['host', 'gate.example', 'x-ok', '1'])
  expect(request.contentLength).toBeUndefined()
})

test('C2 an underscore does not hide a credential from the count: it is none', () => {
  const request = requestOf({ headers: ['Authorization', 'Bearer a', 'Authorization_', 'Bearer b'] })
  expect(request.authorization).toBe('Bearer a')
})

describe('a trace is continued only from one valid traceparent', () => {
  test.each([trace, `cc-${traceId}-b7ad6b7169203331-01-what-the-future-adds`])('%s', (traceparent) => {
    expect(requestOf({ headers: ['Traceparent', traceparent] }).traceparent).toBe(traceparent)
  })

  test.each([
    ['version ff', trace.replace('00-', 'ff-')],
    ['an all-zero trace', trace.replace(traceId, '0'.repeat(32))],
    ['an all-zero parent', trace.replace('b7ad6b7169203331', '0'.repeat(16))],
    ['upper case', trace.toUpperCase()],
    ['version 00 that goes on', `${trace}-x`],
    ['something else', 'x'],
  ])('%s starts a new one', (_, traceparent) => {
    expect(requestOf({ headers: ['Traceparent', traceparent] }).traceparent).toBeUndefined()
  })

  test('two of them start a new one', () => {
    expect(requestOf({ headers: ['Traceparent', trace, 'traceparent', trace] }).traceparent).toBeUndefined()
  })
})
