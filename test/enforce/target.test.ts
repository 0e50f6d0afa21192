// One reading of path and query: what two parsers could read differently is refused, what is accepted goes
// out byte for byte. Class numbers are those of the acceptance matrix.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { receive } from '../../src/enforce/receive.ts'
import { createRouter, route } from '../../src/enforce/route.ts'
import { decodeSegment, lenientName, parseTarget } from '../../src/enforce/target.ts'
import { isRefusal } from '../../src/refusals.ts'
import { backendOf, codeOf, headOf, operationOf, outboundOf, requestOf, rules } from '../support/evidence.ts'

const received = (target: string, encodedSlash = false) =>
  codeOf(receive(headOf({ target }), { ...rules, encodedSlash }))

describe('a path that has one reading', () => {
  test.each([
    '/',
    '/crm',
    '/crm/',
    '/a.b/c..d/...x/~u',
    "/a/!$&'()*+,=:@",
    '/caf%C3%A9/%c3%a9',
    '/a%20b',
    '/%40me',
    '/%F0%9F%94%91',
  ])('%s is accepted as it is', (path) => {
    expect(requestOf({ target: path }).path).toBe(path)
  })
})

describe('a path that has several is refused', () => {
  test.each([
    ['A11 a fragment', '/a#frag'],
    ['A11 a backslash', '/a\\b'],
    ['A11 a space', '/a b'],
    ['A11 a tab', '/a\tb'],
    ['A11 a control', '/a\x01b'],
    ['A11 DEL', '/a\x7f'],
    ['A11 an octet above ASCII', '/caf\xe9'],
    ['A11 a quote', '/a"b'],
    ['A11 angle brackets', '/<a>'],
    ['A11 brackets', '/a[0]'],
    ['A11 braces', '/{a}'],
    ['A11 a pipe', '/a|b'],
    ['A11 a caret', '/a^b'],
    ['A11 a backtick', '/a`b'],
    ['A11 no path at all', 'crm/x'],
    ['A11 another scheme', 'ftp://gate.example/x'],
    ['A11 a scheme without authority', 'http:/crm/x'],
    ['A11 empty', ''],
    ['B1 two dots', '/public/../admin'],
    ['B1 two dots first', '/../admin'],
    ['B1 two dots last', '/public/..'],
    ['B1 one dot', '/./admin'],
    ['B1 one dot last', '/admin/.'],
    ['B1 a segment that ends in two dots', '/api../admin'],
    ['B1 three dots', '/.../admin'],
    ['B2 encoded dots', '/public/%2e%2e/admin'],
    ['B2 encoded dots, upper case', '/public/%2E%2E/admin'],
    ['B2 half encoded', '/public/.%2e/admin'],
    ['B2 half encoded, other half', '/public/%2E./admin'],
    ['B2 one encoded dot', '/%2e/admin'],
    ['B2 a dot in a longer segment', '/file%2ejson'],
    ['B3 an encoded slash', '/a%2Fb'],
    ['B3 an encoded slash, lower case', '/a%2fb'],
    ['B3 an encoded backslash', '/a%5cb'],
    ['B3 an encoded backslash, upper case', '/a%5Cb'],
    ['B4 two slashes first', '//admin/x'],
    ['B4 two slashes within', '/a//b'],
    ['B4 three slashes', '/a///b'],
    ['B4 two slashes last', '/a//'],
    ['B4 in absolute form', 'http://gate.example//admin'],
    ['B5 an encoded letter', '/%61dmin'],
    ['B5 an encoded digit', '/a/%31'],
    ['B5 an encoded tilde', '/%7Euser'],
    ['B5 an encoded hyphen', '/a%2db'],
    ['B5 an encoded underscore', '/a%5Fb'],
    ['B6 truncated', '/a%'],
    ['B6 truncated after one digit', '/a%2'],
    ['B6 no hexadecimal', '/a%zz'],
    ['B6 the other notation', '/a%u002e'],
    ['B6 double encoding', '/%252e%252e/admin'],
    ['B6 triple encoding', '/%25252e'],
    ['B6 an encoded percent sign', '/100%25'],
    ['B6 NUL', '/a%00'],
    ['B6 a line feed', '/a%0ab'],
    ['B6 CR LF', '/a%0D%0Ab'],
    ['B6 DEL', '/a%7F'],
    ['B6 a C1 control', '/a%C2%85'],
    ['B6 not UTF-8', '/a%FF'],
    ['B6 overlong slash', '/a%C0%AFb'],
    ['B6 overlong dot', '/%C0%AE%C0%AE/'],
    ['B6 a surrogate', '/%ED%A0%80'],
    ['B6 half a character', '/%C3'],
    ['B7 a semicolon', '/a;x=1/b'],
    ['B7 a semicolon beside dots', '/..;/admin'],
    ['B7 a bare semicolon', '/a;'],
    ['B7 an encoded semicolon', '/a%3Bx'],
    ['B9 an encoded question mark', '/mypath%3Ffoo=bar'],
    ['B9 an encoded fragment mark', '/mypath%23x'],
    ['F2 encoded whitespace at the end', '/crm/customers/9821%20'],
    ['F2 encoded whitespace at the beginning', '/crm/customers/%209821'],
    ['F2 a no-break space at the end', '/crm/customers/9821%C2%A0'],
  ])('%s', (_, target) => {
    expect(received(target)).toBe('malformed_request')
  })
})

describe('B12 where `%2F` may be data', () => {
  test.each(['/projects/a%2Fb', '/projects/a%2fb%2Fc'])('%s passes', (target) => {
    expect(received(target, true)).toBe('accepted')
  })

  test.each([
    '/projects/a%2F..%2Fb',
    '/projects/..%2Fb',
    '/projects/a%2F..',
    '/projects/.%2Fb',
    '/projects/a%2F.',
    '/projects/a%2F%2e%2e',
    '/projects/a..%2Fb',
    '/projects/a%2F%2Fb',
    '/projects/%2Fb',
    '/projects/a%2F',
    '/projects/a%252Fb',
    '/projects/a%5Cb',
  ])('%s does not', (target) => {
    expect(received(target, true)).toBe('malformed_request')
  })
})

describe('a query', () => {
  test('is read as a form, in order', () => {
    const { query } = requestOf({ target: '/a?b=1&a=x+y&c&&d=%C3%A9%26' })
    expect(query).toEqual([
      { name: 'b', value: '1', unclear: false },
      { name: 'a', value: 'x y', unclear: false },
      { name: 'c', value: '', unclear: false },
      { name: 'd', value: 'é&', unclear: false },
    ])
  })

  test.each([
    ['encodes a letter of a name', '%69d=1'],
    ['encodes a letter of a value', 'id=%31'],
    ['encodes a percent sign', 'id=%2531'],
    ['has encoded brackets', 'id%5B%5D=1'],
    ['has no name', '=1'],
    ['has a space for a name', '+=1'],
    ['has a name that begins with a space', '+id=1'],
    ['begins with a second question mark', '?id=1'],
  ])('that %s is unclear', (_, query) => {
    expect(requestOf({ target: `/a?${query}` }).query).toMatchObject([{ unclear: true }])
  })

  test.each([
    ['A11 a fragment', 'a=1#x'],
    ['A11 a backslash', 'a=\\'],
    ['A11 a space', 'a=b c'],
    ['A11 an octet above ASCII', 'a=\xe9'],
    ['A11 a quote', 'a="b"'],
    ['B6 truncated', 'a=%'],
    ['B6 truncated in a name', 'a%2=1'],
    ['B6 no hexadecimal', 'a=%u0031'],
    ['B6 NUL', 'a=%00'],
    ['B6 CR LF', 'a=x%0d%0ay'],
    ['B6 not UTF-8', 'a=%FF'],
    ['B10 raw brackets', 'id[]=1'],
    ['B10 another separator', 'a=1;id=2'],
    ['C6 a method override', '_method=DELETE'],
    ['C6 in another case', 'a=1&_METHOD=delete'],
    ['C6 encoded', '%5fmethod=DELETE'],
    ['C6 as PHP reads a dot', '.method=DELETE'],
    ['C6 as PHP reads spaces', '+_method=DELETE'],
    ['C6 as an array', '_method%5B%5D=DELETE'],
  ])('with %s is refused', (_, query) => {
    expect(received(`/crm/customers/9821?${query}`)).toBe('malformed_request')
  })

  test.each([
    'access_token=t',
    'a=1&access_token=',
    'access_token',
    'ACCESS_TOKEN=t',
    'access%5Ftoken=t',
    'access.token=t',
  ])('B11 ?%s: a token in the query is never accepted', (query) => {
    const refusal = receive(headOf({ target: `/a?${query}` }), rules)
    expect(refusal).toMatchObject({ code: 'credential_in_query', row: { error: 'invalid_request' } })
  })
})

test('nothing of a refused target is repeated in the answer', () => {
  const hidden = 'sk_live_77'
  for (const target of [
    `/a?access_token=${hidden}`,
    `/${hidden}/..`,
    `/a?${hidden}=%zz`,
    `http://${hidden}@x/`,
  ]) {
    const refusal = receive(headOf({ target }), rules)
    expect(isRefusal(refusal)).toBe(true)
    expect(JSON.stringify(refusal)).not.toContain(hidden)
  }
})

test.each([
  ['plain', 'plain'],
  ['Name', 'name'],
  [' user.id', 'user_id'],
  ['user id', 'user_id'],
  ['id[]', 'id'],
  ['id\0x', 'id'],
])('the most lenient reader takes %j for %j', (name, lenient) => {
  expect(lenientName(name)).toBe(lenient)
})

// Mostly harmless pieces, so that enough is accepted; every hostile one that a parser was ever fooled by.
const piece = fc.oneof(
  { weight: 12, arbitrary: fc.stringMatching(/^[a-z0-9~$@:-]{1,4}$/) },
  { weight: 2, arbitrary: fc.constantFrom('%C3%A9', '%c3%a9', '%20', '%40', '%F0%9F%94%91', '%2F', '%2f') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '.',
      '..',
      '...',
      '%2e',
      '%2E%2e',
      '%5C',
      '%252e',
      '%252F',
      '%00',
      '%',
      ';',
      '%61',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('//', '/.', '\\', '?', '#', '%3F', '%23', '%FF', '%C0%AE', ' ', '+', '*'),
  },
)
const segment = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join(''))
const paths = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join('/')}`)

/** Runs `check` over generated inputs and makes sure that it was not over refusals alone. */
function property<T>(inputs: fc.Arbitrary<T>, check: (input: T) => boolean) {
  let acceptedRuns = 0
  fc.assert(
    fc.property(inputs, (input) => {
      if (check(input)) acceptedRuns += 1
    }),
    { numRuns: 1_000 },
  )
  expect(acceptedRuns).toBeGreaterThan(50)
}

describe('whatever the path', () => {
  test('an accepted one is read alike by lenient decoders', () => {
    property(paths, (path) => {
      const target = parseTarget(path, false)
      if ('problem' in target || target.queryText !== undefined) return false
      expect(new URL(path, 'http://gate.example').pathname).toBe(path)
      expect(decodeURIComponent(path).split('/').slice(1)).toEqual(target.segments.map(decodeSegment))
      return true
    })
  })

  test('an accepted one has no dot or empty segment after any number of decodings', () => {
    property(paths, (path) => {
      const target = parseTarget(path, true)
      if ('problem' in target) return false
      let text = target.path
      for (let round = 0; round < 4; round++) {
        const segments = text.split(/[/\\]/).slice(1, -1)
        expect(segments.filter((each) => each === '' || each === '.' || each.endsWith('..'))).toEqual([])
        text = decodeURIComponent(text)
      }
      return true
    })
  })

  test('prefix and backend path together are the path, byte for byte', () => {
    const anything = ['{a}', '{a}/{b}', '{a}/{b}/{c}', '{a}/{b}/{c}/{d}'].map((pattern) =>
      operationOf(`GET /${pattern}`, { resource: 'thing/{a}', allowEncodedSlash: true }),
    )
    const router = createRouter([backendOf({ operations: anything })])
    property(paths, (path) => {
      const request = receive(headOf({ target: `/crm${path}` }), rules)
      if (isRefusal(request)) return false
      const { mapped } = route(request, router)
      if (isRefusal(mapped)) return false
      expect(`/crm${mapped.backendPath}`).toBe(`/crm${path}`.split('?')[0])
      expect(Object.values(mapped.params).map((value) => value.includes('\0'))).not.toContain(true)
      return true
    })
  })
})

const queryPiece = fc.oneof(
  { weight: 8, arbitrary: fc.stringMatching(/^[a-z0-9~:@,/?-]{1,3}$/) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('+', '%20', '%26', '%3D', '%C3%A9', '%2B', '=', '', '%41', '%25', '%00'),
  },
)
const pair = fc.tuple(queryPiece, queryPiece).map(([name, value]) => `${name}=${value}`)
const queries = fc.array(pair, { minLength: 1, maxLength: 4 }).map((pairs) => pairs.join('&'))

test('whatever the query, policy sees what URLSearchParams sees, every name once', () => {
  const router = createRouter([backendOf()])
  property(queries, (query) => {
    const request = receive(headOf({ target: `/crm/customers/9821?${query}` }), rules)
    if (isRefusal(request)) return false
    const { mapped } = route(request, router)
    if (isRefusal(mapped)) return false
    const seen = [...new URLSearchParams(query)]
    expect(mapped.query).toEqual(Object.fromEntries(seen))
    expect(new Set(seen.map(([name]) => name.toLowerCase())).size).toBe(seen.length)
    return true
  })
})

test('path and query leave as they came', async () => {
  const target = '/crm/customers/9821?z=1&a=%C3%A9+b&m=%2B'
  const { path } = await outboundOf({ ask: { target }, backend: backendOf({ basePath: '/v2' }) })
  expect(path).toBe('/v2/customers/9821?z=1&a=%C3%A9+b&m=%2B')
})
