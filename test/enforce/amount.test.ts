// What a request moves: one number for every reader of it, or a problem.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readAmount } from '../../src/enforce/amount.ts'
import type { AmountSource } from '../../src/enforce/operation.ts'
import { parseAmount } from '../../src/lease/amount.ts'

const total: AmountSource = { from: 'body', path: ['total'] }
const inBody = (text: string, source: AmountSource = total) =>
  readAmount(source, { query: {} }, Buffer.from(text))
const inQuery = (query: Record<string, string>) =>
  readAmount({ from: 'query', name: 'amount' }, { query }, undefined)

describe('an amount in the body', () => {
  test.each([
    ['a string', '{"total":"250.00"}', 250_000_000n],
    ['a number', '{"total":250}', 250_000_000n],
    ['a number with a fraction', '{"total":0.1}', 100_000n],
    ['nothing', '{"total":0}', 0n],
    ['15 significant digits', '{"total":999999999.123456}', 999_999_999_123_456n],
    ['as many digits as a string may have', '{"total":"999999999999.999999"}', 999_999_999_999_999_999n],
  ])('%s', (_, text, value) => {
    expect(inBody(text)).toEqual({ value })
  })

  test('lies at its path', () => {
    const source: AmountSource = { from: 'body', path: ['order', 'sum', 'value'] }
    expect(inBody('{"order":{"sum":{"value":"1"}},"value":"2"}', source)).toEqual({ value: 1_000_000n })
  })

  test.each([
    ['that is missing', '{}'],
    ['of another name', '{"Total":"1"}'],
    ['that every object inherits', '{"a":1}', ['toString']],
    ['below a number', '{"total":5}', ['total', 'text']],
    ['below an array', '{"total":["1"]}', ['total', '0']],
    ['in an array', '[{"total":"1"}]'],
  ])('%s has to be there', (_, text, path = ['total']) => {
    expect(inBody(text, { from: 'body', path })).toEqual({
      problem: expect.stringContaining(`${path.join('.')} of the body has to be there`),
    })
  })

  test('of a request without a body has to be there', () => {
    expect(readAmount(total, { query: {} }, undefined)).toHaveProperty('problem')
  })

  test.each([
    ['null', '{"total":null}'],
    ['true', '{"total":true}'],
    ['an object', '{"total":{}}'],
    ['an object that looks like what a number is read as', '{"total":{"text":"1"}}'],
    ['a list', '{"total":["1"]}'],
    ['a negative number', '{"total":-1}'],
    ['negative zero', '{"total":-0}'],
    ['an exponent', '{"total":1e2}'],
    ['an exponent in a string', '{"total":"1e2"}'],
    ['seven digits after the point', '{"total":0.0000001}'],
    ['16 significant digits as a number', '{"total":9999999999.123456}'],
    ['a number that a double rounds to 1', '{"total":1.0000000000000000001}'],
    ['a number that a double rounds up', '{"total":0.99999999999999999999}'],
    ['a string with a space', '{"total":" 1"}'],
    ['a string in hexadecimal', '{"total":"0x10"}'],
    ['a string with a leading zero', '{"total":"010"}'],
    ['an empty string', '{"total":""}'],
  ])('that is %s is none', (_, text) => {
    expect(inBody(text)).toEqual({ problem: expect.stringContaining('is no amount') })
  })

  test('as a number is the same for readers that keep its digits and those that make a double of it', () => {
    fc.assert(
      fc.property(fc.nat({ max: 999_999_999 }), fc.stringMatching(/^[0-9]{0,8}$/), (whole, fraction) => {
        const literal = fraction === '' ? `${whole}` : `${whole}.${fraction}`
        const read = inBody(`{"total":${literal}}`)
        if ('problem' in read) return
        // What a reader of doubles prints, it has.
        expect(
          parseAmount(
            Number(literal)
              .toFixed(6)
              .replace(/\.?0+$/, ''),
          ),
        ).toBe(read.value)
        expect(parseAmount(literal)).toBe(read.value)
      }),
    )
  })
})

describe('an amount in the query', () => {
  test('is read as it is', () => {
    expect(inQuery({ amount: '12.5' })).toEqual({ value: 12_500_000n })
  })

  test.each([{}, { Amount: '1' }, { amount: '' }, { amount: '1,5' }, { amount: '-1' }])(
    '%j is none',
    (query) => {
      expect(inQuery(query)).toHaveProperty('problem')
    },
  )
})

describe('an amount that readers of query and body as one list could find twice', () => {
  test.each<[string, AmountSource, Record<string, string>, string]>([
    ['in the query beside the body', total, { total: '1' }, '{"total":"1"}'],
    ['in the query in another spelling', total, { Total: '1' }, '{"total":"1"}'],
    ['in the query below its path', { from: 'body', path: ['a', 'b'] }, { a: '1' }, '{"a":{"b":"1"}}'],
    ['in the body beside the query', { from: 'query', name: 'total' }, { total: '1' }, '{"total":"100"}'],
    ['in the body in another spelling', { from: 'query', name: 'a_b' }, { a_b: '1' }, '{"A.B":"100"}'],
  ])('is none: %s', (_, source, query, body) => {
    expect(readAmount(source, { query }, Buffer.from(body))).toEqual({
      problem: expect.stringContaining('may not stand elsewhere as well'),
    })
  })

  test.each(['{"memo":"total"}', '["total"]', '{"order":{"total":5}}', '5'])('is one beside %s', (body) => {
    const source = { from: 'query', name: 'total' } as const
    expect(readAmount(source, { query: { total: '1' } }, Buffer.from(body))).toEqual({ value: 1_000_000n })
  })
})
