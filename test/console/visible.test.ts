// What a person sees of text that somebody hostile wrote: every character that hides, reorders or passes for another is
// a mark, and nothing is lost.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hasMarks, plain, visible } from '../../src/console/visible.js'

/** What no page may show as it is: it acts, or it does not show (line feeds are shown as their mark). */
const active = /[\p{C}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/u

/** Text that is likely to hold what matters. */
const nasty = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string(),
      fc.constantFrom(
        '\u202e',
        '\u2066',
        '\u200b',
        '\u0430',
        '\n',
        '\ud800',
        '\ufeff',
        '\u0301',
        '\u00ad',
        'שלום',
        '\u{e0041}',
      ),
    ),
  )
  .map((parts) => parts.join(''))

describe.each([{ names: false }, { names: true }])('with %o', (options) => {
  test('nothing that is shown is active, whatever the text', () => {
    fc.assert(fc.property(nasty, (text) => visible(text, options).every((piece) => !active.test(piece.text))))
  })

  test('no character is lost: the pieces are the text', () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(
          visible(text, options)
            .map(({ raw }) => raw)
            .join(''),
        ).toBe(text)
      }),
    )
  })

  test('what is shown without a mark is what it is', () => {
    fc.assert(
      fc.property(nasty, (text) =>
        visible(text, options).every(
          ({ kind, raw, text: shown }) => (kind === 'plain' || kind === 'rtl') === (raw === shown),
        ),
      ),
    )
  })
})

test.each([
  ['a right-to-left override', 'a\u202eb', ['a', 'U+202E', 'b']],
  ['an isolate', '\u2066x\u2069', ['U+2066', 'x', 'U+2069']],
  ['a zero-width space', 'pay\u200bpal', ['pay', 'U+200B', 'pal']],
  ['a byte order mark', '\ufeffx', ['U+FEFF', 'x']],
  ['a line separator', 'a\u2028b', ['a', 'U+2028', 'b']],
  ['a line feed', 'a\nb', ['a', '\\n', 'b']],
  ['a carriage return', 'a\rb', ['a', 'U+000D', 'b']],
  ['a terminal escape', '\u001b[2J', ['U+001B', '[2J']],
  ['a tag that spells ASCII', 'a\u{e0061}', ['a', 'U+E0061']],
  ['a lone surrogate', 'a\ud800', ['a', 'U+D800']],
  ['a no-break space', 'a\u00a0b', ['a', 'U+00A0', 'b']],
  ['a Cyrillic letter among Latin ones', 'p\u0430y', ['p', '\u0430 U+0430', 'y']],
  [
    'a word of twins alone',
    '\u0440\u0430\u0441\u0435',
    ['\u0440 U+0440', '\u0430 U+0430', '\u0441 U+0441', '\u0435 U+0435'],
  ],
  ['a fullwidth letter', 'a\uff42', ['a', '\uff42 U+FF42']],
  ['a mathematical letter', '\u{1d41a}', ['\u{1d41a} U+1D41A']],
  ['a third mark on one letter', 'e\u0301\u0302\u0303', ['e\u0301\u0302', 'U+0303']],
  ['a mark without a letter', '\u0301x', ['U+0301', 'x']],
])('%s is marked where it stands', (_, text, shown) => {
  expect(visible(text).map((piece) => piece.text)).toEqual(shown)
  expect(hasMarks(text)).toBe(!text.includes('\n'))
})

test.each([
  'Grüße, élan, naïve',
  'Привет, мир',
  '日本語のテキスト',
  'καλημέρα',
  'a – b … “c”',
  '10 000 €',
  'שלום',
])('honest text stays as it is: %s', (text) => {
  expect(hasMarks(text)).toBe(false)
  expect(plain(text)).toBe(text)
})

test('in identifiers everything beyond ASCII is marked', () => {
  expect(plain('crm:customer/ü1', { names: true })).toBe('crm:customer/[ü U+00FC]1')
  expect(hasMarks('crm:customer/9821', { names: true })).toBe(false)
})

test('text that runs from right to left is a piece of its own', () => {
  expect(visible('pay 5 שלום 7').map(({ kind }) => kind)).toEqual(['plain', 'rtl', 'plain'])
})
