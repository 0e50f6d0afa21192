// Who is who: no spelling makes two people of one, and nobody is named by a name that is a group's.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { foldName, isSamePerson, namedAs } from '../../src/approval/people.ts'
import { type Behind, whyNot } from '../../src/approval/rules.ts'
import { person } from '../support/waiting_actions.ts'

describe('two spellings of one name', () => {
  test.each([
    ['another case', 'ALICE@Example.COM', 'alice@example.com'],
    ['full-width letters', 'ａｌｉｃｅ@example.com', 'alice@example.com'],
    ['a composed and a decomposed letter', 'zo\u00eb', 'zoe\u0308'],
    ['a sharp s', 'STRASSE', 'straße'],
    ['a final sigma', 'ΟΔΟΣ', 'οδος'],
    ['a long s and a Kelvin sign', '\u017fa\u212a', 'sak'],
    ['a zero-width space', 'ali\u200bce', 'alice'],
    ['a bidi override', '\u202ealice', 'alice'],
    ['a soft hyphen and a variation selector', 'al\u00adice\ufe0f', 'alice'],
    ['spaces around it', ' alice\u00a0', 'alice'],
    ['a ligature', 'ﬁona', 'FIONA'],
  ])('%s: one person', (_, a, b) => {
    expect(foldName(a)).toBe(foldName(b))
    expect(isSamePerson(person(a), person(b))).toBe(true)
  })

  test('fold alike in every case and Unicode form', () => {
    const forms = ['NFC', 'NFD', 'NFKC', 'NFKD'] as const
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        const folded = foldName(name)
        expect(foldName(folded)).toBe(folded)
        for (const form of forms) expect(foldName(name.normalize(form))).toBe(folded)
        expect(foldName(name.toLowerCase())).toBe(folded)
        expect(foldName(name.toUpperCase())).toBe(folded)
      }),
      { numRuns: 500 },
    )
  })

  test('people of different names are different people, unless a provider says otherwise', () => {
    expect(isSamePerson(person('alice'), person('alicia'))).toBe(false)
    expect(isSamePerson(person('zoe'), person('zoë'))).toBe(false)
    expect(isSamePerson(person('alice', { subject: '1' }), person('a.smith', { subject: '1' }))).toBe(true)
    const elsewhere = person('a.smith', { subject: '1', issuer: 'https://other.example' })
    expect(isSamePerson(person('alice', { subject: '1' }), elsewhere)).toBe(false)
  })
})

describe('whom policy names', () => {
  test.each<[string, string, string[], string[], boolean]>([
    ['by name', 'erin', [], ['erin'], true],
    ['by group', 'erin', ['owners'], ['group:owners'], true],
    ['not in another case', 'Erin', [], ['erin'], false],
    ['not by part of a group', 'erin', ['own'], ['group:owners'], false],
    ['not where a group is called as a person is', 'mallory', ['erin'], ['erin'], false],
    ['not where a person calls themselves a group', 'group:owners', [], ['group:owners'], false],
    ['nor where a group calls itself one', 'mallory', ['group:owners'], ['group:owners'], false],
    ['not where policy names nobody', 'erin', ['owners'], [], false],
  ])('%s', (_, user, groups, approvers, named) => {
    expect(namedAs(person(user, { groups }), approvers)).toBe(named ? approvers[0] : undefined)
  })
})

describe('who may not decide, whatever policy says', () => {
  const behind: Behind = {
    user: 'alice@example.com',
    login: { issuer: 'https://login.example', subject: 'sub-1' },
    delegates: ['agent:support-triage', 'agent:planner', 'bob@example.com'],
  }
  const all = { approvers: ['group:crm-owners'] }

  test.each([
    ['the requester', person('alice@example.com'), [], 'requester'],
    ['the requester in another case', person('Alice@EXAMPLE.com'), [], 'requester'],
    ['the requester in another Unicode form', person('ａlice@example.com'), [], 'requester'],
    ['the requester by their login', person('a.smith', { subject: 'sub-1' }), [], 'requester'],
    ['the requester by another name of their login', person('a.smith'), ['ALICE@example.com'], 'requester'],
    [
      'a program of that name',
      person('alice@example.com', { issuer: 'leasegate:operators' }),
      [],
      'requester',
    ],
    ['the agent', person('agent:support-triage'), [], 'delegate'],
    ['the agent without its kind', person('Support-Triage'), [], 'delegate'],
    ['an agent that handed the lease on', person('planner'), [], 'delegate'],
    ['a user among the delegates', person('BOB@example.com'), [], 'delegate'],
    ['who is not named', person('mallory', { groups: ['others'] }), [], 'not_named'],
  ] as const)('%s', (_, who, aliases, why) => {
    expect(whyNot({ person: who, aliases }, all, behind)).toBe(why)
  })

  test('anybody else whom policy names may', () => {
    expect(whyNot({ person: person('carol'), aliases: ['c.jones'] }, all, behind)).toBeUndefined()
  })
})
