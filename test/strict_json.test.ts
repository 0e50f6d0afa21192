import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type JsonProblem, parseStrictJson } from '../src/strict_json.ts'

const limits = { maxBytes: 4096 }

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values)
}

function nested(open: string, close: string, depth: number): string {
  return open.repeat(depth) + close.repeat(depth)
}

describe('a text that two parsers could read differently is refused', () => {
  const rows: [name: string, input: string | Uint8Array, problem: JsonProblem][] = [
    ['nothing at all', '', 'syntax'],
    ['two values', '1 2', 'syntax'],
    ['a trailing comma', '{"a":1,}', 'syntax'],
    ['a comment', '{"a":1/**/}', 'syntax'],
    ['a single-quoted string', "{'a':1}", 'syntax'],
    ['NaN', '[NaN]', 'syntax'],
    ['a leading zero', '[01]', 'syntax'],
    ['a raw newline in a string', '"a\nb"', 'syntax'],
    ['a byte order mark in bytes', bytes(0xef, 0xbb, 0xbf, 0x31), 'byte_order_mark'],
    ['a byte order mark in text', '\ufeff1', 'byte_order_mark'],
    ['UTF-16', bytes(0xff, 0xfe, 0x31, 0x00), 'not_utf8'],
    ['an overlong slash', bytes(0x22, 0xc0, 0xaf, 0x22), 'not_utf8'],
    ['a surrogate written as UTF-8', bytes(0x22, 0xed, 0xa0, 0x80, 0x22), 'not_utf8'],
    ['a truncated sequence', bytes(0x22, 0xe2, 0x82, 0x22), 'not_utf8'],
    ['a raw lone surrogate', '"\ud800"', 'lone_surrogate'],
    ['an escaped lone surrogate', '"\\ud800"', 'lone_surrogate'],
    ['an escaped low surrogate first', '["\\udc00\\ud800"]', 'lone_surrogate'],
    ['an escaped lone surrogate in a key', '{"\\udfff":1}', 'lone_surrogate'],
    ['a duplicate key', '{"sub":1,"sub":2}', 'duplicate_key'],
    ['a duplicate key with equal values', '{"sub":1,"sub":1}', 'duplicate_key'],
    ['a duplicate key after unescaping', '{"sub":1,"s\\u0075b":2}', 'duplicate_key'],
    ['a duplicate empty key', '{"":1,"":2}', 'duplicate_key'],
    ['a duplicate key deep inside', '[{"a":[{"b":1,"c":{},"b":[]}]}]', 'duplicate_key'],
    ['a duplicate key after a nested object', '{"a":{"b":1},"a":2}', 'duplicate_key'],
    ['__proto__', '{"__proto__":{}}', 'forbidden_key'],
    ['__proto__ behind an escape', '{"\\u005f_proto__":{}}', 'forbidden_key'],
    ['constructor deep inside', '{"a":[{"constructor":1}]}', 'forbidden_key'],
    ['prototype', '{"prototype":1}', 'forbidden_key'],
    ['an integer beyond 2^53', '9007199254740993', 'number_out_of_range'],
    ['a negative integer beyond 2^53', '{"a":-9007199254740992}', 'number_out_of_range'],
    ['an integer beyond 2^53 with an exponent', '[1e16]', 'number_out_of_range'],
    ['an infinite number', '[1e999]', 'number_out_of_range'],
    ['a negative infinite number', '[-1E+400]', 'number_out_of_range'],
    ['33 arrays', nested('[', ']', 33), 'too_deep'],
    ['33 objects', `${'{"a":'.repeat(33)}1${'}'.repeat(33)}`, 'too_deep'],
    ['one byte too many', `"${'x'.repeat(4095)}"`, 'too_large'],
    ['too many bytes in few characters', `"${'€'.repeat(1400)}"`, 'too_large'],
  ]
  test.each(rows)('%s', (_name, input, problem) => {
    expect(parseStrictJson(input, limits)).toEqual({ ok: false, problem })
  })

  test.each([
    ['plain', '{"sub":1,"Sub":2}'],
    ['escaped', '{"sub":1,"\\u0053ub":2}'],
    ['the long s', '{"sub":1,"ſub":2}'],
    ['the Kelvin sign', '{"kid":1,"\u212aid":2}'],
  ])('keys that differ in case only, when asked: %s', (_name, text) => {
    const asked = { ...limits, refuseCaseVariants: true }
    expect(parseStrictJson(text, asked)).toEqual({ ok: false, problem: 'case_variant_key' })
    expect(parseStrictJson(text, limits).ok).toBe(true)
  })
})

describe('a text that has one reading is parsed', () => {
  test.each([
    ['a scalar', 'true'],
    ['space around it', ' \r\n\t{ "a" : [ 1 , -2.5e-3 ] } '],
    ['negative zero', '[-0]'],
    ['the largest safe integer', '[9007199254740991,-9007199254740991]'],
    ['32 levels', nested('[', ']', 32)],
    ['the same key in sibling objects', '[{"a":1},{"a":2}]'],
    ['the same key in parent and child', '{"a":{"a":{"a":1}}}'],
    ['a value that looks like a key', '{"a":"a","b":["a","a","__proto__"]}'],
    ['quotes, braces and backslashes in strings', '{"a\\"{":"\\\\","b":"}]\\","}'],
    ['an escaped surrogate pair', '"\\ud83d\\ude00"'],
    ['exactly the limit', `"${'x'.repeat(4094)}"`],
  ])('%s', (_name, text) => {
    const expected = { ok: true, value: JSON.parse(text) }
    expect(parseStrictJson(text, { ...limits, refuseCaseVariants: true })).toEqual(expected)
    expect(parseStrictJson(new TextEncoder().encode(text), limits)).toEqual(expected)
  })
})

describe('against JSON.parse', () => {
  const generous = { maxBytes: 1 << 20, maxDepth: 1000 }

  test('whatever is accepted is exactly what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const answer = parseStrictJson(text, generous)
        if (answer.ok) expect(answer.value).toEqual(JSON.parse(text))
        else expect(['number_out_of_range', 'forbidden_key', 'lone_surrogate']).toContain(answer.problem)
      }),
    )
  })

  test('values without big numbers and forbidden keys are accepted, however indented', () => {
    const key = fc.string({ unit: 'binary' }).filter((k) => !/^(__proto__|constructor|prototype)$/.test(k))
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constant(null),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.string({ unit: 'binary' }),
        fc.array(tie('any')),
        fc.dictionary(key, tie('any')),
      ),
    })).any
    fc.assert(
      fc.property(value, fc.nat(3), (any, indent) => {
        const text = JSON.stringify(any, null, indent)
        expect(parseStrictJson(text, generous)).toEqual({ ok: true, value: JSON.parse(text) })
      }),
    )
  })

  test('arbitrary text never throws, and is never accepted where JSON.parse refuses', () => {
    const fragment = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '"a"',
      '1',
      'e',
      '-',
      ' ',
      '\\u',
    )
    fc.assert(
      fc.property(
        fc.array(fragment).map((parts) => parts.join('')),
        (text) => {
          let parses = true
          try {
            JSON.parse(text)
          } catch {
            parses = false
          }
          const answer = parseStrictJson(text, generous)
          if (!parses) expect(answer).toEqual({ ok: false, problem: 'syntax' })
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('repeating any key of any object is refused', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.nat()), fc.nat(), (object, pick) => {
        const keys = Object.keys(object).filter((k) => !/^(__proto__|constructor|prototype)$/.test(k))
        fc.pre(keys.length > 0 && keys.length === Object.keys(object).length)
        const again = JSON.stringify(keys[pick % keys.length])
        const text = `${JSON.stringify(object).slice(0, -1)},${again}:0}`
        expect(parseStrictJson(text, generous)).toEqual({ ok: false, problem: 'duplicate_key' })
      }),
    )
  })
})
