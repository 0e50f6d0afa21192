// Which bodies are read before the decision, and what in them refuses.
import { describe, expect, test } from 'vitest'
import { inspectionOf, readInspected } from '../../src/enforce/body.ts'
import type { Operation } from '../../src/enforce/operation.ts'
import { authenticatedOf, backendOf, codeOf, operationOf } from '../support/evidence.ts'

const form = 'application/x-www-form-urlencoded'
const multipart = 'multipart/form-data; boundary=b'

interface Sent {
  readonly method?: string
  readonly type?: string | undefined
  readonly encoding?: string
  readonly framing?: readonly string[]
  readonly operation?: Partial<Operation>
}

function sent({ method = 'POST', type, encoding, framing = ['Content-Length', '3'], operation }: Sent) {
  const headers = [
    ...framing,
    ...(type === undefined ? [] : ['Content-Type', type]),
    ...(encoding === undefined ? [] : ['Content-Encoding', encoding]),
  ]
  const operations = [operationOf(`${method} /notes`, { resource: 'note', ...operation })]
  return authenticatedOf({
    ask: { method, target: '/crm/notes', headers },
    backend: backendOf({ operations }),
  })
}

describe('whether a body is read', () => {
  test.each([
    ['JSON where policy asks for it', { operation: { body: 'json' }, type: 'application/json' }, 'json'],
    ['anything where policy asks for JSON', { operation: { body: 'json' }, type: 'text/plain' }, 'json'],
    ['a urlencoded form', { type: form }, 'override'],
    ['a urlencoded form in another case', { type: 'Application/X-WWW-Form-Urlencoded' }, 'override'],
    ['a form with parameters', { type: `${form}; charset=utf-8` }, 'override'],
    ['a form, as PHP ends a type at a comma', { type: `${form},text/plain` }, 'override'],
    ['a form, as PHP ends a type at a space', { type: `${form} text/plain` }, 'override'],
    ['a multipart form', { type: multipart }, 'override'],
    ['any multipart, as Rack reads it', { type: 'multipart/mixed; boundary=b' }, 'override'],
    ['no media type', {}, 'override'],
    ['an empty media type', { type: '' }, 'override'],
    ['chunks', { type: form, framing: ['Transfer-Encoding', 'chunked'] }, 'override'],
    ['a form whose parameter names another type', { type: `${form}; a="multipart/"` }, 'override'],
    ['a type whose parameter names a form', { type: `text/plain; a=${form}` }, 'override'],
    ['JSON', { type: 'application/json' }, 'override'],
    ['JSON under the name of a format', { type: 'Application/VND.API+JSON; charset=utf-8' }, 'override'],
    ['JSON under an old name', { type: 'text/x-json' }, 'override'],
    ['JSON at high risk', { type: 'application/json', operation: { risk: 'high' } }, 'override'],
    ['JSON by another method', { type: 'application/json', method: 'PATCH' }, 'no'],
    ['a form by another method', { type: form, method: 'PUT' }, 'override'],
    ['JSON of an opaque operation', { type: 'application/json', operation: { body: 'opaque' } }, 'no'],
    ['lines of JSON', { type: 'application/x-ndjson' }, 'no'],
    ['a file that streams', { type: 'application/octet-stream' }, 'no'],
    ['a form of an opaque operation', { type: form, operation: { body: 'opaque' } }, 'no'],
    ['an opaque body at high risk', { operation: { body: 'opaque', risk: 'high' } }, 'no'],
    ['a file at high risk', { type: 'image/png', operation: { risk: 'high' } }, 'no'],
    ['a form at high risk', { type: form, operation: { risk: 'high' } }, 'override'],
    ['an empty body', { type: form, framing: ['Content-Length', '0'] }, 'no'],
    ['no body', { type: form, framing: [] }, 'no'],
  ] satisfies [string, Sent, string][])('%s', (_, message, inspection) => {
    expect(inspectionOf(sent(message))).toBe(inspection)
  })
})

describe('JSON for policy', () => {
  const json = (text: string, type = 'application/json', encoding?: string) =>
    readInspected('json', Buffer.from(text), sent({ type, ...(encoding === undefined ? {} : { encoding }) }))

  test.each(['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'])(
    'as %s is read',
    (type) => {
      expect(json('{"a":1}', type)).toEqual({ value: { a: 1 } })
    },
  )

  test.each([
    ['another media type', '{}', 'text/plain'],
    ['a look-alike', '{}', 'application/jsonx'],
    ['two media types', '{}', 'application/json, text/plain'],
    ['another charset', '{}', 'application/json; charset=utf-16'],
    ['not JSON', '{', 'application/json'],
    ['nothing', '', 'application/json'],
    ['two values', '{}{}', 'application/json'],
    ['a duplicate key', '{"id":1,"id":2}', 'application/json'],
    ['a key that differs in case only', '{"id":1,"ID":2}', 'application/json'],
    ['a key that reaches a prototype', '{"__proto__":{}}', 'application/json'],
    ['a number beyond 2^53', '{"id":9007199254740993}', 'application/json'],
    ['a byte order mark', '\ufeff{}', 'application/json'],
    ['C6 a method override', '{"_method":"DELETE"}', 'application/json'],
    ['C6 a method override in another case', '{"_METHOD":"DELETE"}', 'application/json'],
  ])('%s: refused', (_, text, type) => {
    expect(codeOf(json(text, type))).toBe('malformed_request')
  })

  test('encoded: refused, for what is decided on is what was read', () => {
    expect(codeOf(json('{}', 'application/json', 'gzip'))).toBe('malformed_request')
    expect(json('{}', 'application/json', 'Identity')).toEqual({ value: {} })
  })
})

describe('C6 JSON that streams and could change the method', () => {
  const read = (text: string, type: string | undefined = 'application/json') =>
    codeOf(readInspected('override', Buffer.from(text), sent({ type })))

  test.each([
    ['plain', '{"_method":"DELETE"}'],
    ['after others', '{"a":{"b":1},"_method":"DELETE"}'],
    ['twice', '{"_method":"POST","_method":"DELETE"}'],
    ['in another case', '{"_METHOD":"DELETE"}'],
    ['padded', '{" _method ":"DELETE"}'],
    ['ended by NUL', '{"_method\\u0000x":"DELETE"}'],
    ['escaped', '{"\\u005fmethod":"DELETE"}'],
    ['escaped whole', '{"\\u005f\\u006D\\u0065\\u0054\\u0068\\u006f\\u0064":"DELETE"}'],
    ['behind a byte order mark', '\ufeff{"_method":"DELETE"}'],
    ['in single quotes', "{'_method':'DELETE'}"],
    ['without quotes', '{_method:"DELETE"}'],
    ['behind a comment', '/**/{"_method":"DELETE"}'],
    ['before a comma too many', '{"_method":"DELETE",}'],
    ['in the escapes of JSON5', "{'\\x5f\\method':'DELETE'}"],
    ['continued as in JSON5', "{'_me\\\r\nthod':'DELETE'}"],
    ['continued at a line separator', "{'_me\\\u2028thod':'DELETE'}"],
    ['beside a number that overflows', '{"a":1e999,"_method":"DELETE"}'],
    ['in a first of two values', '{"_method":"DELETE"}{}'],
  ])('%s: refused', (_, text) => {
    expect(read(text)).toBe('malformed_request')
    expect(read(text, 'application/vnd.api+json')).toBe('malformed_request')
    expect(read(text, 'text/json; charset=utf-8')).toBe('malformed_request')
  })

  test('without a media type: refused', () => {
    const bytes = Buffer.from('{"_method":"DELETE"}')
    expect(codeOf(readInspected('override', bytes, sent({})))).toBe('malformed_request')
  })

  test.each(['{"_method":"DELETE"}', '{"\\u005fmethod":"DELETE"}'])('as UTF-16, %s: refused', (text) => {
    const littleEndian = Buffer.from(text, 'utf16le')
    for (const bytes of [littleEndian, Buffer.from(littleEndian).swap16()]) {
      expect(codeOf(readInspected('override', bytes, sent({ type: 'application/json' })))).toBe(
        'malformed_request',
      )
    }
  })

  test('in another charset, or encoded: refused', () => {
    expect(read('{}', 'application/json; charset=utf-16')).toBe('malformed_request')
    const gzipped = sent({ type: 'application/json', encoding: 'gzip' })
    expect(codeOf(readInspected('override', Buffer.from('{}'), gzipped))).toBe('malformed_request')
  })

  test.each([
    ['other members', '{"payment_method":"card","method":"a","x":"_method"}'],
    ['a member within', '{"a":{"_method":"DELETE"},"b":[{"_method":"DELETE"}]}'],
    ['a list', '[{"_method":"DELETE"}]'],
    ['the word alone', '"_method"'],
    ['what policy would not read', '{"id":9007199254740993,"id":1,"__proto__":{},"payment_method":1}'],
    ['nesting', `${'['.repeat(5_000)}"_method"${']'.repeat(5_000)}`],
    ['what is no JSON and does not hold the word', '{a:1}\n{a:2}'],
    ['any other octets', '\ufeff\0caf\u00e9'],
    ['nothing', ''],
  ])('%s: passed on', (_, text) => {
    expect(read(text)).toBe('accepted')
  })
})

describe('C6 a form that could change the method', () => {
  const read = (text: string, type?: string) =>
    codeOf(readInspected('override', Buffer.from(text, 'latin1'), sent({ type })))
  const part = (disposition: string) => `--b\r\n${disposition}\r\n\r\nDELETE\r\n--b--\r\n`

  test.each([
    ['plain', '_method=DELETE'],
    ['after others', 'a=1&_method=DELETE'],
    ['in another case', '_METHOD=delete'],
    ['without a value', '_method'],
    ['encoded', '%5Fmethod=DELETE'],
    ['encoded whole', '%5f%6d%65%74%68%6f%64=DELETE'],
    ['in the notation of IIS', '%u005fmethod=DELETE'],
    ['behind another separator', 'a=1;_method=DELETE'],
    ['behind a plus', '+_method=DELETE'],
    ['behind an encoded space', '%20_method=DELETE'],
    ['as PHP reads a dot', '.method=DELETE'],
    ['as PHP ends it at NUL', '_method%00x=DELETE'],
    ['as an array', '_method[]=DELETE'],
    ['on a line of its own', 'a=1\r\n_method=DELETE'],
  ])('urlencoded, %s', (_, text) => {
    expect(read(text, form)).toBe('malformed_request')
    expect(read(text)).toBe('malformed_request')
    for (const type of [
      `${form}; a="multipart/"`,
      `${form}, multipart/x`,
      `multipart/x, ${form}`,
      `;${form}`,
    ]) {
      expect(read(text, type)).toBe('malformed_request')
    }
  })

  test.each([
    ['plain', 'Content-Disposition: form-data; name="_method"'],
    ['without quotes', 'Content-Disposition: form-data; name=_method'],
    ['in single quotes', "Content-Disposition: form-data; name='_method'"],
    ['in another case', 'CONTENT-DISPOSITION: form-data; NAME="_METHOD"'],
    ['spaced', 'Content-Disposition : form-data; name = "_method"'],
    ['with a quoted pair', 'Content-Disposition: form-data; name="_meth\\od"'],
    ['folded', 'Content-Disposition: form-data;\r\n name="_method"'],
    ['after a file name', 'Content-Disposition: form-data; filename="a"; name="_method"'],
    ['the second of two names', 'Content-Disposition: form-data; name="a"; name="_method"'],
    ['extended', "Content-Disposition: form-data; name*=utf-8''%5Fmethod"],
    ['continued', 'Content-Disposition: form-data; name*0="_me"; name*1="thod"'],
    ['as an encoded word', 'Content-Disposition: form-data; name="=?utf-8?B?X21ldGhvZA==?="'],
    [
      'not the first field of the part',
      'Content-Type: text/plain\r\nContent-Disposition: form-data; name="_method"',
    ],
  ])('multipart, %s', (_, disposition) => {
    expect(read(part(disposition), multipart)).toBe('malformed_request')
    expect(read(part(disposition), `${form}; a="multipart/"`)).toBe('malformed_request')
    expect(read(part(disposition), `text/plain, ${multipart}`)).toBe('malformed_request')
  })

  test.each([
    ['with bare line feeds', '--b\nContent-Disposition: form-data; name="_method"\n\nDELETE\n--b--\n'],
    ['with bare carriage returns', '--b\rContent-Disposition: form-data; name="_method"\r\rDELETE'],
    [
      'in a later part',
      `${part('Content-Disposition: form-data; name="a"')}${part('Content-Disposition: form-data; name="_method"')}`,
    ],
  ])('multipart %s', (_, text) => {
    expect(read(text, multipart)).toBe('malformed_request')
    expect(read(text, 'multipart/mixed')).toBe('malformed_request')
  })

  test.each(['ibm037', 'utf-16', 'utf-7', ''])('in charset %j nothing can be looked for', (charset) => {
    expect(read('a=1', `${form}; charset=${charset}`)).toBe('malformed_request')
    expect(read('a=1', `${form}; charset=utf-8; charset=${charset}`)).toBe('malformed_request')
    expect(read(part('Content-Disposition: form-data; name="a"'), `${multipart}; charset="${charset}"`)).toBe(
      'malformed_request',
    )
  })

  test('encoded: refused', () => {
    expect(
      codeOf(readInspected('override', Buffer.from('a=1'), sent({ type: form, encoding: 'gzip' }))),
    ).toBe('malformed_request')
  })

  test.each([
    ['hundreds of thousands of fields', '&a=%41&method=&=_method'.repeat(10_000), form],
    ['other fields', 'method=a&payment_method=card&x=_method', form],
    ['a charset that is read', 'a=1', `${form}; charset=UTF-8`],
    ['nothing', '', form],
    ['text without a media type', 'hello', undefined],
    ['other parts', part('Content-Disposition: form-data; name="payment_method"'), multipart],
    [
      'a file of that name',
      part('Content-Disposition: form-data; name="a"; filename="_method.txt"'),
      multipart,
    ],
    [
      'a value of that name',
      '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n_method\r\n--b--',
      multipart,
    ],
  ])('%s pass', (_, text, type) => {
    expect(read(text, type)).toBe('accepted')
  })
})
