// Decimals with one reading: what is not written plainly is no amount.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amountText, parseAmount, wholeUnits } from '../../src/lease/amount.ts'

const largest = 10n ** 18n - 1n

describe('an amount', () => {
  test.each([
    ['0', 0n],
    ['250', 250_000_000n],
    ['250.00', 250_000_000n],
    ['0.000001', 1n],
    ['0.1', 100_000n],
    ['999999999999.999999', largest],
  ])('%s is read exactly', (text, millionths) => {
    expect(parseAmount(text)).toBe(millionths)
  })

  test.each([
    ['', 'nothing'],
    ['-1', 'a sign'],
    ['+1', 'a sign'],
    ['1e3', 'an exponent'],
    ['01', 'a leading zero'],
    ['00', 'two zeros'],
    ['.5', 'no whole part'],
    ['1.', 'no fraction after the point'],
    ['1,5', 'a comma'],
    ['1_000', 'a separator'],
    ['0x10', 'another base'],
    ['1.0000001', 'seven digits after the point'],
    ['1000000000000', 'thirteen digits'],
    [' 1', 'a space'],
    ['1\n', 'a line break'],
    ['١', 'digits of another script'],
    ['１', 'wide digits'],
    ['NaN', 'no number'],
    ['Infinity', 'no end'],
  ])('%j is none: %s', (text) => {
    expect(parseAmount(text)).toBeUndefined()
  })

  test('comes back from its text', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: largest }), (millionths) => {
        expect(parseAmount(amountText(millionths))).toBe(millionths)
      }),
    )
  })

  test.each([
    [0n, 0n, 0n],
    [1n, 0n, 1n],
    [1_000_000n, 1n, 1n],
    [2_500_000n, 2n, 3n],
  ])('%s millionths are at least %s whole ones and at most %s', (millionths, least, most) => {
    expect([wholeUnits(millionths), wholeUnits(millionths, true)]).toEqual([least, most])
  })

  test.each([
    [0n, '0'],
    [1n, '0.000001'],
    [500_000n, '0.5'],
    [250_000_000n, '250'],
  ])('%s millionths are written %s', (millionths, text) => {
    expect(amountText(millionths)).toBe(text)
  })
})
