// Where a request comes from, and where somebody is sent: every spelling, and whatever else there may be.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cookieOf, isTrustworthy } from '../../../src/http/console/cookies.ts'
import { pathWithin } from '../../../src/http/console/place.ts'
import { refuseCrossSite } from '../../../src/http/console/same_site.ts'

const origin = 'https://console.example'
const csrf = 'c'.repeat(43)

describe('after signing in somebody is sent to a page of the console', () => {
  test.each([
    ['/console', '/console'],
    ['/console/', '/console/'],
    ['/console/inbox', '/console/inbox'],
    ['/console/inbox?lease=lse_1&x=%2F', '/console/inbox?lease=lse_1&x=%2F'],
    ['/console#actions/act_1', '/console#actions/act_1'],
    ['/console/./inbox', '/console/inbox'],
  ])('%s leads to %s', (to, path) => expect(pathWithin(to)).toBe(path))

  test.each([
    undefined,
    '',
    'console',
    'https://evil.example/console',
    '//evil.example/console',
    '///evil.example/console',
    '/\\evil.example/console',
    '\\\\evil.example/console',
    '/\t/evil.example/console',
    '/\n/evil.example/console',
    'javascript:alert(1)',
    'data:text/html,x',
    '/console/../leases',
    '/console/..%2fleases/../../me',
    '/console/%2e%2e/leases',
    '/console/%2E%2e/%2e%2e/leases',
    '/console/..\\..\\leases',
    '/consoles',
    '/console.evil.example',
    '/console@evil.example',
    '/me',
    '/sign-out',
    '/console/sign-in',
    '/console/sign-in?to=/console/sign-in',
    '/console/x/../sign-in',
    '/console/callback?code=1',
    '/console/link?token=x',
    `/console/${'a'.repeat(2_000)}`,
  ])('%o leads to the first page', (to) => expect(pathWithin(to)).toBe('/console'))

  test('whatever it is', () => {
    const piece = fc.constantFrom(
      '/',
      '\\',
      '.',
      '..',
      '%2e',
      '%2f',
      'console',
      '//',
      '@',
      ':',
      'evil.example',
      '\t',
      '\n',
      '?',
      '#',
      'https:',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((all) => `/console${all.join('')}`),
        ),
        (to) => {
          const url = new URL(pathWithin(to), origin)
          expect(url.origin).toBe(origin)
          expect(url.pathname).toMatch(/^\/console(\/|$)/)
          expect(pathWithin(pathWithin(to))).toBe(pathWithin(to))
        },
      ),
    )
  })
})

test('nothing but a read goes through without the value, wherever it comes from', () => {
  const header = fc.option(fc.oneof(fc.string(), fc.constantFrom(origin, 'same-origin', 'none', csrf)), {
    nil: undefined,
  })
  fc.assert(
    fc.property(
      fc.constantFrom('POST', 'PUT', 'DELETE', 'PATCH', 'get', undefined),
      header,
      header,
      header,
      (method, site, from, value) => {
        const headers = { 'sec-fetch-site': site, origin: from, 'leasegate-csrf': value }
        const isOwn =
          (site === undefined || site === 'same-origin') && (from === undefined || from === origin)
        const refusal = refuseCrossSite({ method, headers }, { origin, csrf })
        expect(refusal?.code).toBe(isOwn && value === csrf ? undefined : 'cross_site')
      },
    ),
  )
})

describe('the cookie', () => {
  const cookie = cookieOf(origin)
  test.each([
    [undefined, []],
    ['', []],
    ['a=b', []],
    ['__Host-leasegate=x', ['x']],
    ['a=b; __Host-leasegate=x;c=d', ['x']],
    ['__Host-leasegate=x; __Host-leasegate=y', ['x', 'y']],
    ['leasegate=x; __host-leasegate=y; __Host-leasegate2=z', []],
  ])('in %o is %j', (header, values) => expect(cookie.valuesIn(header)).toEqual(values))

  test.each([
    ['https://console.example', true],
    ['http://127.0.0.1:8081', true],
    ['http://[::1]:8081', true],
    ['http://localhost', true],
    ['http://localhost.evil.example', false],
    ['http://127.0.0.1.evil.example', false],
    ['http://10.0.0.1', false],
    ['http://0.0.0.0:8081', false],
  ])('may be had at %s: %s', (url, may) => expect(isTrustworthy(url)).toBe(may))
})
