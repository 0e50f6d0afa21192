// The message as a whole: versions, limits, methods, authorities, bodies. Fields and targets have files of
// their own.
import { describe, expect, test } from 'vitest'
import { receive } from '../../src/enforce/receive.ts'
import { isRefusal } from '../../src/refusals.ts'
import { type Ask, accepted, codeOf, headOf, requestOf, rules } from '../support/evidence.ts'

const received = (ask: Ask) => codeOf(receive(headOf(ask), rules))
const key = ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==']
const offer = ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Version', '13', ...key]

describe('A6: a message is HTTP/1.1 or HTTP/1.0', () => {
  test.each(['1.1', '1.0'])('%s is spoken', (httpVersion) => {
    expect(received({ httpVersion })).toBe('accepted')
  })

  test.each(['0.9', '1.2', '2.0', '3', '11', ''])('%j is not', (httpVersion) => {
    expect(received({ httpVersion })).toBe('malformed_framing')
  })
})

describe('A8: Host is one plain host[:port]', () => {
  test.each([
    ['absent', { host: null }],
    ['empty', { host: '' }],
    ['twice', { headers: ['Host', 'gate.example'] }],
    ['twice in another case', { headers: ['HOST', 'evil.example'] }],
    ['with a path', { host: 'gate.example/x' }],
    ['with userinfo', { host: 'user@gate.example' }],
    ['a path and userinfo', { host: 'a/b@c' }],
    ['with a query', { host: 'gate.example?x' }],
    ['a list', { host: 'gate.example, evil.example' }],
    ['with a space', { host: 'gate.example evil' }],
    ['with a percent sequence', { host: 'gate%2eexample' }],
    ['with an empty port', { host: 'gate.example:' }],
    ['with a word for a port', { host: 'gate.example:http' }],
    ['with two ports', { host: 'gate.example:80:80' }],
    ['only a port', { host: ':80' }],
    ['with a backslash', { host: 'gate.example\\evil' }],
    ['an address without brackets', { host: '::1' }],
  ] satisfies [string, Ask][])('%s: refused', (_, ask) => {
    expect(received(ask)).toBe('malformed_request')
  })
})

describe('A9: the authority is one of ours, as a whole', () => {
  test.each(['gate.example', 'GATE.example', 'crm.gate.example'])('%s is ours', (host) => {
    expect(accepted(receive(headOf({ host }), rules)).authority).toBe(host.toLowerCase())
  })

  test.each([
    'other.example',
    'evilgate.example',
    'gate.example.evil',
    'gate.examples',
    'xcrm.gate.example',
    'gate.example.',
    'gate.example:80',
    'gate.example:444',
    '[::1]:8080',
    'localhost',
    '127.0.0.1',
  ])('%s is not', (host) => {
    expect(received({ host })).toBe('unknown_authority')
  })
})

describe('A10: an absolute target names our authority too', () => {
  test.each(['http://gate.example/crm/x', 'https://GATE.example/crm/x', 'HTTP://gate.example/crm/x'])(
    '%s is read as its path',
    (target) => {
      expect(requestOf({ target })).toMatchObject({ path: '/crm/x', authority: 'gate.example' })
    },
  )

  test('without a path it is the root', () => {
    expect(requestOf({ target: 'http://gate.example' }).path).toBe('/')
    expect(requestOf({ target: 'http://gate.example?x=1' })).toMatchObject({ path: '/', queryText: 'x=1' })
  })

  test.each([
    'http://other/x',
    'http://evil.example/crm/x',
    'https://gate.example.evil/x',
    'http://gate.example:8081/x',
    'http://gate.example\\x',
    'http:///crm/x',
  ])('%s beside a valid Host: misdirected', (target) => {
    expect(received({ target })).toBe('unknown_authority')
  })

  test.each([
    'http://user@gate.example/x',
    'http://user:secret@gate.example/x',
    'http://gate.example@evil.example/x',
    'http://@gate.example/x',
  ])('userinfo in %s: refused', (target) => {
    expect(received({ target })).toBe('malformed_request')
  })

  test('two of our authorities in one message: refused', () => {
    expect(received({ target: 'http://crm.gate.example/x' })).toBe('malformed_request')
  })
})

describe('A12: only methods that forward are served', () => {
  test.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('%s is', (method) => {
    expect(received({ method })).toBe('accepted')
  })

  test.each(['CONNECT', 'TRACE', 'TRACK', 'DEBUG', 'PROPFIND', 'get', 'QUERY', 'PRI'])(
    '%s is not',
    (method) => {
      const refusal = receive(headOf({ method }), rules)
      expect(codeOf(refusal)).toBe('method_not_allowed')
      expect(isRefusal(refusal) && refusal.facts.allow).toContain('GET')
    },
  )

  test('`OPTIONS *` is about the gate; `*` is for no other method', () => {
    expect(requestOf({ method: 'OPTIONS', target: '*' })).toMatchObject({ path: '*', segments: [] })
    expect(received({ method: 'GET', target: '*' })).toBe('malformed_request')
  })
})

describe('A14: over a limit', () => {
  const fields = (count: number) => Array.from({ length: count }, (_, at) => [`X-${at}`, '1']).flat()

  test('the target may be as long as the limit and no longer', () => {
    const path = `/crm/${'a'.repeat(rules.targetBytes - 5)}`
    expect(received({ target: path })).toBe('accepted')
    expect(received({ target: `${path}a` })).toBe('target_too_long')
  })

  test('as many fields as the limit and no more, Host counted', () => {
    expect(received({ headers: fields(99) })).toBe('accepted')
    expect(received({ headers: fields(100) })).toBe('headers_too_large')
  })

  test('the header section may be as large as the limit and no larger', () => {
    // `Host: gate.example` and `X: …`, each with a colon, a space and a line end.
    const room = rules.headerBytes - 'Host: gate.example\r\n'.length - 'X: \r\n'.length
    expect(received({ headers: ['X', 'a'.repeat(room)] })).toBe('accepted')
    expect(received({ headers: ['X', 'a'.repeat(room + 1)] })).toBe('headers_too_large')
  })
})

describe('a body where none has an agreed meaning', () => {
  test.each([
    ['GET', ['Content-Length', '2']],
    ['GET', ['Transfer-Encoding', 'chunked']],
    ['HEAD', ['Content-Length', '2']],
  ])('%s with %j: refused, and the connection ends', (method, headers) => {
    const refusal = receive(headOf({ method, headers }), rules)
    expect(refusal).toMatchObject({ code: 'malformed_request', facts: { close: true } })
  })

  test('GET that announces an empty one is fine', () => {
    expect(requestOf({ headers: ['Content-Length', '0'] }).contentLength).toBe(0)
  })
})

describe('A16: a WebSocket offer is a whole RFC 6455 handshake', () => {
  test('with every field it is an offer', () => {
    expect(requestOf({ headers: offer }).offersWebSocket).toBe(true)
  })

  test.each([
    ['another method', { method: 'POST', headers: offer }],
    ['HTTP/1.0', { httpVersion: '1.0', headers: offer }],
    ['another protocol', { headers: ['Upgrade', 'h2c', ...offer.slice(2)] }],
    ['a list of protocols', { headers: ['Upgrade', 'websocket, h2c', ...offer.slice(2)] }],
    ['Connection does not name it', { headers: ['Upgrade', 'websocket', ...offer.slice(4)] }],
    ['another version', { headers: [...offer.slice(0, 4), 'Sec-WebSocket-Version', '8', ...key] }],
    ['no key', { headers: offer.slice(0, 6) }],
    ['a short key', { headers: [...offer.slice(0, 6), 'Sec-WebSocket-Key', 'c2hvcnQ='] }],
  ] satisfies [string, Ask][])('%s: none', (_, ask) => {
    expect(requestOf(ask).offersWebSocket).toBe(false)
  })
})

describe('what the request says about itself', () => {
  test('a plain request comes out with every fact', () => {
    const headers = ['Authorization', 'Bearer t', 'Content-Type', 'text/plain', 'X-Id', 'A']
    expect(requestOf({ method: 'POST', target: '/crm/a/?q=1', headers })).toMatchObject({
      method: 'POST',
      authority: 'gate.example',
      path: '/crm/a/',
      segments: ['crm', 'a', ''],
      queryText: 'q=1',
      query: [{ name: 'q', value: '1', unclear: false }],
      authorization: 'Bearer t',
      contentType: 'text/plain',
      chunked: false,
      contentLength: undefined,
      provenance: 'untrusted',
      peer: '10.1.2.3',
    })
  })

  test('an empty query is not the same as none', () => {
    expect(requestOf({ target: '/crm/a?' }).queryText).toBe('')
    expect(requestOf({ target: '/crm/a' }).queryText).toBeUndefined()
  })

  test('100-continue waits on HTTP/1.1 only', () => {
    const ask: Ask = { method: 'POST', headers: ['Expect', '100-Continue', 'Content-Length', '2'] }
    expect(requestOf(ask).expectsContinue).toBe(true)
    expect(requestOf({ ...ask, httpVersion: '1.0' }).expectsContinue).toBe(false)
  })
})
