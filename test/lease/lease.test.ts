import { describe, expect, test } from 'vitest'
import { identifierCovers, sensitivities, sensitivityCovers } from '../../src/lease/lease.ts'

describe('the identifier of a grant', () => {
  test.each([
    ['crm:customer/9821', 'crm:customer/9821', true],
    ['crm:customer/9821', 'crm:customer/98210', false],
    ['crm:customer/9821', 'crm:customer/9821/notes', false],
    ['crm:customer/9821', 'mail:customer/9821', false],
    ['crm:customer/*', 'crm:customer/9821', true],
    ['crm:customer/*', 'crm:customer/9821/notes', true],
    ['crm:customer/*', 'crm:customer', false],
    ['crm:customer/*', 'crm:customer/', false],
    ['crm:customer/*', 'crm:customers/1', false],
    ['crm:customer/*', 'crm:customer%2F9821', false],
  ])('%s and the resource %s: %s', (identifier, resource, covers) => {
    expect(identifierCovers(identifier, resource)).toBe(covers)
  })
})

test('a sensitivity covers itself and all below it', () => {
  const covered = sensitivities.map((ceiling) =>
    sensitivities.filter((asked) => sensitivityCovers(ceiling, asked)),
  )
  expect(covered).toEqual([
    ['public'],
    ['public', 'internal'],
    ['public', 'internal', 'confidential'],
    ['public', 'internal', 'confidential', 'restricted'],
  ])
})
