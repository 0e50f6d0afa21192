// What an operator types after --allow: one reading, or a sentence about what is wrong.
import { describe, expect, test } from 'vitest'
import { parseAllow } from '../../src/lease/allow.ts'

describe('constraints behind a grant', () => {
  test.each([
    ['update billing:invoice/* max_calls=20 max_amount=250.00', { max_calls: 20, max_amount: '250.00' }],
    [
      'read crm:customer/* max_rate=20/1m burst 5 max_bytes=1000',
      { max_rate: '20/1m burst 5', max_bytes: 1000 },
    ],
    ['read crm:customer/* up to restricted max_risk=low', { max_risk: 'low' }],
  ])('%s', (text, constraints) => {
    expect(parseAllow(text)).toMatchObject({ ok: true, detail: { constraints } })
  })

  test('belong to the resource where they stand in it', () => {
    const allow = parseAllow('read crm:customer/max_calls=1')
    expect(allow).toMatchObject({ ok: true, detail: { identifier: 'crm:customer/max_calls=1' } })
    expect(allow).not.toHaveProperty('detail.constraints')
  })

  test.each([
    ['one nobody knows', 'read crm:a/* max_tokens=3', "'max_tokens' is not one of max_calls"],
    ['one without a name', 'read crm:a/* =3', "'' is not one of max_calls"],
    ['one of Object', 'read crm:a/* toString=3', "'toString' is not one of max_calls"],
    ['one twice', 'read crm:a/* max_calls=3 max_calls=4', "'max_calls' stands there twice"],
    ['no calls', 'read crm:a/* max_calls=0', 'write max_calls: a whole number, above 0'],
    ['calls in words', 'read crm:a/* max_calls=many', 'write max_calls: a whole number'],
    ['calls below nothing', 'read crm:a/* max_calls=-1', 'write max_calls: a whole number'],
    ['an amount with an exponent', 'read crm:a/* max_amount=1e3', 'max_amount: a decimal'],
    ['a rate without a time', 'read crm:a/* max_rate=20', 'max_rate: calls per time'],
    ['words after the last', 'read crm:a/* max_calls=3 please', 'write max_calls: a whole number'],
  ])('%s is refused', (_, text, problem) => {
    expect(parseAllow(text)).toMatchObject({ ok: false, problem: expect.stringContaining(problem) })
  })
})
