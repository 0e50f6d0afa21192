// The normal form of URLs that `htu` is compared in: what RFC 3986 calls equal comes out as one text, and
// everything else stays apart.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { normalHtu } from '../../src/lease/htu.ts'

const usual = 'https://gate.example/crm/customers/9821'

describe('equal after RFC 3986 §6.2.2 and §6.2.3', () => {
  test.each([
    ['itself', usual],
    ['upper-case scheme and host', 'HTTPS://GATE.Example/crm/customers/9821'],
    ['the default port', 'https://gate.example:443/crm/customers/9821'],
    ['an empty port', 'https://gate.example:/crm/customers/9821'],
    ['an encoded letter', 'https://gate.example/%63rm/customers/9821'],
    ['an encoded tilde, digit and hyphen', 'https://gate.example/crm/customers/%39%38%32%31'],
    ['dot segments', 'https://gate.example/a/../crm/./customers/b/../9821'],
    ['encoded dot segments', 'https://gate.example/a/%2e%2E/crm/%2E/customers/9821'],
    ['a query', `${usual}?a=b`],
    ['a fragment', `${usual}#a`],
    ['both', `${usual}?a#b?c#d`],
  ])('%s', (_, text) => {
    expect(normalHtu(text)).toBe(usual)
  })

  test.each([
    ['https://gate.example', 'https://gate.example/'],
    ['https://gate.example/a/..', 'https://gate.example/'],
    ['https://gate.example/a/.', 'https://gate.example/a/'],
    ['https://gate.example/../../a', 'https://gate.example/a'],
    ['https://gate.example/a//b', 'https://gate.example/a//b'],
    ['https://gate.example/a%2fb%3a', 'https://gate.example/a%2Fb%3A'],
    ['http://[2001:DB8::1]:80/a', 'http://[2001:db8::1]/a'],
    ['https://gate.example:80/', 'https://gate.example:80/'],
  ])('%s is %s', (text, normal) => {
    expect(normalHtu(text)).toBe(normal)
  })
})

describe('no URL with one reading', () => {
  test.each([
    '',
    'gate.example',
    '/crm',
    '//gate.example/crm',
    'https:/gate.example/',
    'https:gate.example',
    'https:///crm',
    'ftp://gate.example/',
    'wss://gate.example/',
    'javascript://gate.example/',
    'https://user@gate.example/',
    'https://user:pass@gate.example/',
    'https://gate.example\\crm',
    'https://gate.example/a\\b',
    'https://gate.example/a b',
    ' https://gate.example/',
    'https://gate.example/ ',
    'https://gate.example/\t',
    'https://gate.example/\n',
    'https://gate.example/%',
    'https://gate.example/%6',
    'https://gate.example/%zz',
    'https://gate.example/ä',
    'https://gäte.example/',
    'https://gate.example:443x/',
    'https://gate.example:-1/',
    'https://%67ate.example/',
    'https://gate.example/#ä',
  ])('%j', (text) => {
    expect(normalHtu(text)).toBeUndefined()
  })
})

const segment = fc.string({
  unit: fc.constantFrom(...'aB9.-_~!$&()*+,;=:@', '%2F', '%41', '%7e', '%25'),
  maxLength: 6,
})
const path = fc.array(segment, { maxLength: 6 }).map((segments) => `/${segments.join('/')}`)
const url = fc
  .tuple(fc.constantFrom('http', 'HTTPS'), fc.constantFrom('gate.example', 'A.b:443', '[::1]:80', 'h:'), path)
  .map(([scheme, host, rest]) => `${scheme}://${host}${rest}`)

test('normalising is idempotent, and leaves no dot segment, no lower-case triplet, no encoded letter', () => {
  fc.assert(
    fc.property(url, (text) => {
      const normal = normalHtu(text)!
      expect(normalHtu(normal)).toBe(normal)
      expect(normal).not.toMatch(/\/\.{1,2}(?:\/|$)/)
      expect(normal).not.toMatch(/%(?:[0-9a-f]?[a-f]|4[1-9A-F]|7E)/)
    }),
  )
})

test('encoding an unreserved character, in either letter case, changes nothing', () => {
  fc.assert(
    fc.property(path, fc.nat(), fc.boolean(), (text, at, upper) => {
      const characters = text.replaceAll(/%[0-9A-Fa-f]{2}/g, 'x')
      const index = at % characters.length
      const character = characters[index]!
      const hex = character.charCodeAt(0).toString(16)
      const written = /[A-Za-z0-9._~-]/.test(character) ? `%${upper ? hex.toUpperCase() : hex}` : character
      const encoded = `${characters.slice(0, index)}${written}${characters.slice(index + 1)}`
      expect(normalHtu(`https://gate.example${encoded}`)).toBe(normalHtu(`https://gate.example${characters}`))
    }),
  )
})

test('agrees with the URL parser of the platform wherever that one knows the same rules', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'B', '.', '..', '9', '~', '%2E', '%2F'), { maxLength: 8 }),
      (segments) => {
        const text = `https://gate.example/${segments.join('/')}`
        expect(normalHtu(text)).toBe(new URL(text).href)
      },
    ),
  )
})

test('any text has a normal form or none, and never throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(['string', 'undefined']).toContain(typeof normalHtu(text))
      expect(['string', 'undefined']).toContain(typeof normalHtu(`https://${text}`))
    }),
  )
})
