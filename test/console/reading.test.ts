// The pure parts of the pages: JSON as it was written, what changes by path, time left, rows that do not move, filters.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromBase64, hexRows, sizeInWords, textOf } from '../../src/console/bytes.js'
import { announced, inWords, shareLeft, urgency } from '../../src/console/countdown.js'
import { decisionFilter } from '../../src/console/decision_filter.js'
import { diff } from '../../src/console/diff.js'
import { indented, readJson } from '../../src/console/json.js'
import { grouped, steady } from '../../src/console/steady.js'

function treeOf(text: string) {
  const json = readJson(text)
  if (json === undefined) throw new Error('no JSON')
  return json.tree
}

describe('JSON', () => {
  test('is read where JSON.parse reads it, and means the same', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.parse(indented(treeOf(text)))).toEqual(JSON.parse(text))
      }),
    )
  })

  test('is refused where JSON.parse refuses it', () => {
    const close = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '{', '"', '0', ' ', '\\', '1e'))
      .map(([text, at, put]) => {
        const place = at % (text.length + 1)
        return text.slice(0, place) + put + text.slice(place + 1)
      })
    fc.assert(
      fc.property(fc.oneof(close, fc.string()), (text) => {
        expect(readJson(text) === undefined).toBe(!isJson(text))
      }),
    )
  })

  test.each(['1.0', '12345678901234567890', '1e5', '-0'])('keeps the number %s as it was written', (text) => {
    expect(indented(treeOf(`[${text}]`))).toBe(`[\n  ${text}\n]`)
  })

  test('tells of names that stand twice, however they are written', () => {
    expect(readJson('{"a":1,"b":{"c":1,"\\u0063":2},"a":3}')?.twice).toEqual(['b.c', 'a'])
  })

  test('deeper than any stack, it is no JSON to us', () => {
    expect(readJson('['.repeat(100_000))).toBeUndefined()
    expect(readJson('['.repeat(150) + ']'.repeat(150))).toBeDefined()
  })
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('before and after', () => {
  test.each([
    ['changed', '{"a":1}', '{"a":2}', false, [{ path: 'a', kind: 'changed', before: '1', after: '2' }]],
    ['added', '{}', '{"a":{"b":1}}', false, [{ path: 'a', kind: 'added', after: '{\n  "b": 1\n}' }]],
    ['removed', '{"a":1}', '{}', false, [{ path: 'a', kind: 'removed', before: '1' }]],
    [
      'left alone by a merge',
      '{"a":1,"b":2}',
      '{"b":3}',
      true,
      [{ path: 'b', kind: 'changed', before: '2', after: '3' }],
    ],
    ['removed by a merge', '{"a":1}', '{"a":null}', true, [{ path: 'a', kind: 'removed', before: '1' }]],
    ['nothing to remove', '{}', '{"a":null}', true, []],
    [
      'an item',
      '{"a":[1,2]}',
      '{"a":[1,3,4]}',
      true,
      [
        { path: 'a[1]', kind: 'changed', before: '2', after: '3' },
        { path: 'a[2]', kind: 'added', after: '4' },
      ],
    ],
    [
      'a name with a dot',
      '{"a.b":1}',
      '{"a.b":2}',
      false,
      [{ path: '["a.b"]', kind: 'changed', before: '1', after: '2' }],
    ],
    [
      'a digit beyond what numbers hold',
      '[12345678901234567890]',
      '[12345678901234567891]',
      false,
      [{ path: '[0]', kind: 'changed', before: '12345678901234567890', after: '12345678901234567891' }],
    ],
    ['another way to write a string', '{"a":"\\u0041"}', '{"a":"A"}', false, []],
    [
      '__proto__ like any other',
      '{"__proto__":1}',
      '{"__proto__":2}',
      false,
      [{ path: '__proto__', kind: 'changed', before: '1', after: '2' }],
    ],
  ])('%s', (_, before, after, merge, rows) => {
    expect(diff(treeOf(before), treeOf(after), { merge })).toEqual(rows)
  })

  test('nothing differs from itself', () => {
    fc.assert(
      fc.property(fc.json(), (text) => diff(treeOf(text), treeOf(text), { merge: false }).length === 0),
    )
  })

  test('what differs is told', () => {
    fc.assert(
      fc.property(fc.json(), fc.json(), (before, after) => {
        const same = indented(treeOf(before)) === indented(treeOf(after))
        const rows = diff(treeOf(before), treeOf(after), { merge: false })
        if (rows.length === 0 && !same) expect(JSON.parse(before)).toEqual(JSON.parse(after))
      }),
    )
  })
})

describe('time left', () => {
  test.each([
    [-1, 'over'],
    [0, 'over'],
    [Number.NaN, 'over'],
    [0.2, '1 s'],
    [59, '59 s'],
    [65, '1 min 05 s'],
    [3600, '1 h 0 min'],
    [90_000, '1 d 1 h'],
  ])('%d seconds are %s', (seconds, words) => {
    expect(inWords(seconds)).toBe(words)
  })

  test('the share is never outside 0 to 1', () => {
    fc.assert(
      fc.property(fc.double(), fc.double(), fc.double(), (from, to, now) => {
        const share = shareLeft({ from, to, now })
        expect(share).toBeGreaterThanOrEqual(0)
        expect(share).toBeLessThanOrEqual(1)
      }),
    )
  })

  test.each([
    [500, 'calm', undefined],
    [200, 'soon', 'Less than five minutes are left.'],
    [30, 'last', 'Less than a minute is left.'],
    [0, 'over', 'Time is over.'],
  ])('with %d of 1000 seconds left it is %s', (left, tone, said) => {
    expect(urgency({ from: 0, to: 1000, now: 1000 - left })).toBe(tone)
    expect(announced(left)).toBe(said)
  })
})

describe('bytes', () => {
  test('that are not UTF-8 have no text', () => {
    expect(textOf(Uint8Array.of(255, 254))).toBeUndefined()
    expect(textOf(Uint8Array.of(0xef, 0xbb, 0xbf, 65))).toBe('\ufeffA')
  })

  test('come back from base64, and are shown as hex', () => {
    expect(hexRows(fromBase64('AEH/'))).toEqual([`00000000  00 41 ff${' '.repeat(39)}  ·A·`])
    expect([sizeInWords(1), sizeInWords(2048)]).toEqual(['1 byte', '2.0 KiB (2,048 bytes)'])
  })
})

describe('a list that somebody points at', () => {
  test('keeps its rows and their places; new ones wait', () => {
    const shown = [
      { id: 'a', text: 1 },
      { id: 'b', text: 1 },
    ]
    const { rows, fresh } = steady(shown, [
      { id: 'c', text: 9 },
      { id: 'b', text: 2 },
    ])
    expect(rows).toEqual([
      { id: 'a', text: 1, gone: true },
      { id: 'b', text: 2 },
    ])
    expect(fresh).toBe(1)
  })

  test('shows those that are alike together, where the first one stands', () => {
    const rows = ['x', 'y', 'x'].map((group, id) => ({ id: String(id), group }))
    expect(grouped(rows).map((group) => group.map(({ id }) => id))).toEqual([['0', '2'], ['1']])
  })
})

describe('a filter of decisions', () => {
  const row = {
    time: '',
    decision_id: 'dec_1',
    lease_id: 'lse_1',
    who: { user: 'alice' },
    agent: { id: 'triage', version: '1' },
    what: { backend: 'crm', verb: 'read', resource: 'crm:customer/1', method: 'GET', path: '/customers/1' },
    decision: { effect: 'deny', code: 'policy_denied', reasons: [] },
    outcome: { status: 403, duration_ms: 1, ended: 'refused' },
  }

  test.each([
    ['', '', true],
    ['effect:deny', 'effect=deny', true],
    ['effect:allow', 'effect=allow', false],
    ['lease:lse_1 CUSTOMERS', 'lease=lse_1', true],
    ['user:ali', 'user=ali', false],
    ['ali', '', true],
    ['policy:x', '', false],
  ])('%s', (text, query, matches) => {
    const filter = decisionFilter(text)
    expect(filter.query).toBe(query)
    expect(filter.matches(row)).toBe(matches)
  })
})
