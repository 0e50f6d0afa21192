// The reader that every JWT about an identity goes through: what it lets in has one reading, whatever comes.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jwtFault, onlyAudience, readJwt, readTimes, under } from '../../../src/broker/identity/jwt.ts'
import { isRefusal } from '../../../src/refusals.ts'
import { encode, type Json } from '../../support/tokens.ts'
import { now } from './harness.ts'

const types = new Set([undefined, 'JWT'])
const header = { alg: 'ES256', kid: 'k' }
const compact = (head: Json | string, body: Json | string, signature = 'AAAA') =>
  `${encode(head)}.${encode(body)}.${signature}`

describe('the reader', () => {
  test('never throws, and never says what it was sent', () => {
    const part = fc.oneof(
      fc.string(),
      fc.json().map((text) => encode(text)),
      fc.constantFrom(encode(header), encode({ ...header, typ: 'JWT' }), '', 'AAAA', 'AAA='),
    )
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(part, { maxLength: 5 }).map((parts) => parts.join('.')),
    )
    fc.assert(
      fc.property(texts, (text) => {
        const read = readJwt(text, types)
        if (!isRefusal(read)) return
        expect(read.code).toBe('invalid_request')
        if (text.length > 40) expect(JSON.stringify(read)).not.toContain(text)
      }),
      { numRuns: 500 },
    )
  })

  test('gives exactly the claims that were signed', () => {
    const names = fc
      .string({ minLength: 1 })
      .filter((name) => name.isWellFormed() && !/proto|constructor/.test(name))
    const values = fc.oneof(
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.string().filter((text) => text.isWellFormed()),
    )
    fc.assert(
      fc.property(fc.dictionary(names, values, { noNullPrototype: true }), (claims) => {
        const text = compact({ ...header, typ: 'JWT' }, claims)
        expect(readJwt(text, types)).toEqual({ text, typ: 'JWT', alg: 'ES256', kid: 'k', claims })
      }),
      { numRuns: 200 },
    )
  })

  test('takes a header of known members only, whatever else stands in it', () => {
    const known = new Set(['typ', 'alg', 'kid', 'x5t', 'x5t#S256'])
    const name = fc.string({ minLength: 1, maxLength: 8 }).filter((each) => !known.has(each))
    fc.assert(
      fc.property(name, fc.jsonValue(), (member, value) => {
        expect(isRefusal(readJwt(compact({ ...header, [member]: value }, {}), types))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  test('takes a typ that is asked for, in that very spelling', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (typ) => {
        const read = readJwt(compact({ ...header, typ }, {}), types)
        expect(isRefusal(read)).toBe(typ !== 'JWT')
      }),
      { numRuns: 200 },
    )
    expect(isRefusal(readJwt(compact(header, {}), types))).toBe(false)
    expect(isRefusal(readJwt(compact(header, {}), new Set(['JWT'])))).toBe(true)
  })
})

describe('times', () => {
  const rules = { now, clockTolerance: 5, maxAgeSeconds: 600, maxAheadSeconds: 300 }

  test('are taken only within every bound at once', () => {
    const near = fc.oneof(fc.integer({ min: now - 700, max: now + 400 }), fc.double(), fc.constant(now))
    fc.assert(
      fc.property(near, near, fc.option(near, { nil: undefined }), (iat, exp, nbf) => {
        const claims = nbf === undefined ? { iat, exp } : { iat, exp, nbf }
        const fits =
          now < exp + 5 &&
          exp <= now + 305 &&
          iat <= now + 5 &&
          now < iat + 605 &&
          iat < exp &&
          (nbf === undefined || (nbf > 0 && nbf <= now + 5))
        expect(isRefusal(readTimes(claims, rules))).toBe(!fits)
      }),
      { numRuns: 1000 },
    )
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 0, '1', null, true, [now], {}])(
    'are numbers after 1970: %j is none',
    (value) => {
      for (const name of ['iat', 'exp', 'nbf']) {
        const read = readTimes({ iat: now, exp: now + 60, [name]: value }, rules)
        expect(isRefusal(read) && read.facts.cause).toBe('time_malformed')
      }
    },
  )

  test('pass nothing at a time that is no number', () => {
    expect(isRefusal(readTimes({ iat: now, exp: now + 60 }, { ...rules, now: Number.NaN }))).toBe(true)
  })
})

test.each([
  ['a', 'a'],
  [['a'], 'a'],
  [['a', 'b'], undefined],
  [['a', 'a'], undefined],
  [[], undefined],
  [[['a']], undefined],
  ['', undefined],
  [undefined, undefined],
  [{ 0: 'a', length: 1 }, undefined],
])('the audience of %j is %j', (aud, only) => {
  expect(onlyAudience({ aud })).toBe(only)
})

test('keys that cannot be read now stay a 503 under every code', () => {
  expect(under('invalid_client', jwtFault('keys_unavailable')).code).toBe('evidence_unavailable')
  expect(under('invalid_client', jwtFault('expired')).code).toBe('invalid_client')
})
