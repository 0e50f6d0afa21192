// People decide, on both stores: who may, on what, how often it counts, and that nothing is ever approved without the
// people whom policy asked for, or used twice.
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import type { Action, Person } from '../../src/approval/action.ts'
import { approve, refuseAction, type SaidYes, withdraw } from '../../src/approval/decide.ts'
import { listHabits, noteShown } from '../../src/approval/habits.ts'
import { foldName } from '../../src/approval/people.ts'
import { changeLease } from '../../src/broker/lifecycle.ts'
import { type Records, Unavailable } from '../../src/ports.ts'
import { isRefusal, refuse } from '../../src/refusals.ts'
import { accepted, codeOf } from '../support/evidence.ts'
import { leaseRecord } from '../support/leases.ts'
import {
  alice,
  carol,
  dave,
  now,
  openWorld,
  person,
  type StoreKind,
  terms,
} from '../support/waiting_actions.ts'

const erin = person('erin@example.com', { groups: [] })

function yes({ id, fingerprint }: Action, over: Partial<SaidYes> = {}): SaidYes {
  const confirm = async () => 'session' as const
  return { id, fingerprint, reason: 'looks right', now: now(), confirm, repeat: undefined, ...over }
}

const reasonsOf = (result: unknown) => (isRefusal(result) ? result.facts.reasons : 'no refusal')

describe.each<StoreKind>(['embedded', 'redis'])('people who decide (%s)', async (kind) => {
  const world = await openWorld(kind)
  const { sources } = world
  afterAll(() => world.close())
  const say = (who: Person, held: Action, over: Partial<SaidYes> = {}) =>
    approve(who, yes(held, over), sources)

  describe('a yes', () => {
    test('of somebody whom policy names approves, and keeps who, when, why and how', async () => {
      const held = await world.open()
      const decided = accepted(await say(carol, held))
      expect(decided).toMatchObject({ changed: true, action: { state: 'approved' } })
      const stored = await world.get(held.id)
      expect(stored).toEqual(decided.action)
      const by = { user: carol.user, issuer: carol.issuer, subject: carol.subject }
      expect(stored.yes).toEqual([
        { by, as: 'group:crm-owners', at: expect.any(Number), reason: 'looks right', shownBy: 'session' },
      ])
      const notices = await world.store.records.list('notice', held.id, { limit: 10 })
      expect(notices.map(({ text }) => text)).toEqual(['approved'])
    })

    test('that is said again changes nothing, and asks for no further confirmation', async () => {
      const held = await world.open({ terms: { ...terms, quorum: 2 } })
      accepted(await say(carol, held))
      const before = await world.get(held.id)
      const again = await say(person('CAROL@example.com', { subject: 'another' }), held, {
        confirm: async () => refuse('confirmation_required'),
      })
      expect(accepted(again)).toEqual({ action: before, changed: false })
      expect(before.state).toBe('pending')
    })

    test('counts once for each person, whatever they call themselves and however they come', async () => {
      const held = await world.open({ terms: { ...terms, quorum: 2 } })
      accepted(await say(carol, held))
      accepted(await say({ ...carol, issuer: 'leasegate:operators', subject: carol.user }, held))
      accepted(await say({ ...carol, user: 'c.jones' }, held))
      expect(await world.get(held.id)).toMatchObject({
        state: 'pending',
        yes: [{ by: { user: carol.user } }],
      })
      accepted(await say(dave, held))
      expect(await world.get(held.id)).toMatchObject({ state: 'approved' })
    })

    test('of two people at once counts twice, and neither is lost', async () => {
      const held = await world.open({ terms: { ...terms, quorum: 2 } })
      const both = await Promise.all([say(carol, held), say(dave, held)])
      expect(both.map(codeOf)).toEqual(['accepted', 'accepted'])
      const { state, yes: said } = await world.get(held.id)
      expect(state).toBe('approved')
      expect(said.map(({ by }) => by.user).toSorted()).toEqual([carol.user, dave.user])
    })

    test('of one person in eight places at once counts once', async () => {
      const held = await world.open({ terms: { ...terms, quorum: 2 } })
      const all = await Promise.all(Array.from({ length: 8 }, () => say(carol, held)))
      expect(all.map((each) => accepted(each).changed).filter(Boolean)).toHaveLength(1)
      expect(await world.get(held.id)).toMatchObject({ state: 'pending', yes: [{}] })
    })

    test('is not written when it is not confirmed', async () => {
      const held = await world.open()
      const confirm = async () => refuse('reauthentication_required')
      expect(codeOf(await say(carol, held, { confirm }))).toBe('reauthentication_required')
      expect(await world.get(held.id)).toEqual(held)
    })
  })

  describe('is refused', () => {
    const unpaired = '\ud800'
    test.each<[string, Partial<Action>, Partial<SaidYes>, Person, string, string]>([
      ['the requester', {}, {}, person('alice@example.com'), 'approver_not_allowed', 'requester'],
      ['the requester shouting', {}, {}, person('ALICE@EXAMPLE.COM'), 'approver_not_allowed', 'requester'],
      ['the agent', {}, {}, person('agent:support-triage'), 'approver_not_allowed', 'delegate'],
      ['a stranger', {}, {}, person('eve', { groups: ['x'] }), 'approver_not_allowed', 'not_named'],
      [
        'a fingerprint not shown',
        {},
        { fingerprint: 'sha-256:x' },
        carol,
        'action_state_conflict',
        'changed',
      ],
      ['an empty fingerprint', {}, { fingerprint: '' }, carol, 'action_state_conflict', 'changed'],
      ['a refused action', { state: 'refused' }, {}, carol, 'action_state_conflict', 'refused'],
      ['a cancelled one', { state: 'withdrawn' }, {}, carol, 'action_state_conflict', 'withdrawn'],
      ['a used one', { state: 'used' }, {}, carol, 'action_state_conflict', 'used'],
      ['one under way', { state: 'executing' }, {}, carol, 'action_state_conflict', 'executing'],
      ['one executed', { state: 'executed' }, {}, carol, 'action_state_conflict', 'executed'],
      ['one that failed', { state: 'failed' }, {}, carol, 'action_state_conflict', 'failed'],
      ['a bidi reason', {}, { reason: 'ok \u202egnp' }, carol, 'malformed_request', 'reason_malformed'],
      ['a reason of two lines', {}, { reason: 'a\nb' }, carol, 'malformed_request', 'reason_malformed'],
      ['half a character', {}, { reason: unpaired }, carol, 'malformed_request', 'reason_malformed'],
      ['an empty reason', {}, { reason: '' }, carol, 'malformed_request', 'reason_malformed'],
      ['a long reason', {}, { reason: 'x'.repeat(501) }, carol, 'malformed_request', 'reason_malformed'],
      [
        'no reason where policy wants one',
        { terms: { ...terms, reasonRequired: true } },
        { reason: undefined },
        carol,
        'malformed_request',
        'reason_required',
      ],
    ])('%s', async (_, over, said, who, code, reason) => {
      const held = await world.open(over)
      const result = await say(who, held, said)
      expect([codeOf(result), reasonsOf(result)]).toEqual([code, [reason]])
      expect(await world.get(held.id)).toEqual(held)
    })

    test('where the risk is high and no reason is given', async () => {
      const held = await world.open()
      const risky = await world.open({ what: { ...held.what, risk: 'high' } })
      expect(reasonsOf(await say(carol, risky, { reason: undefined }))).toEqual(['reason_required'])
      expect(codeOf(await say(carol, held, { reason: undefined }))).toBe('accepted')
    })

    test('after its time, by whoever says it', async () => {
      const held = await world.open({ createdAt: now() - 600, expiresAt: now() - 1 })
      expect(codeOf(await say(carol, held))).toBe('action_expired')
      const late = { id: held.id, fingerprint: held.fingerprint, reason: undefined, now: now() }
      expect(codeOf(await refuseAction(carol, late, sources))).toBe('action_expired')
      expect(codeOf(await withdraw(carol, late, sources))).toBe('action_expired')
      expect(await world.get(held.id)).toEqual(held)
    })

    test('for an id that nobody has', async () => {
      const held = await world.open()
      expect(codeOf(await say(carol, { ...held, id: 'act_nobody' }))).toBe('action_unknown')
    })

    test('by the requester under another name, which the record of the lease tells', async () => {
      const login = { issuer: 'https://login.example', subject: 'sub-1' }
      await world.store.leases.put(leaseRecord({ id: 'lse_login', login }))
      const held = await world.open()
      const theirs = await world.open({ lease: { ...held.lease, id: 'lse_login' } })
      const byLogin = await say(person('a.smith', { subject: 'sub-1' }), theirs)
      expect(reasonsOf(byLogin)).toEqual(['requester'])
      // Another lease of the same person, which nobody has a login for: their login is known to be theirs.
      expect(reasonsOf(await say(person('a.smith', { subject: 'sub-1' }), held))).toEqual(['requester'])
    })

    test('by whoever handed the lease on, of whatever issuer', async () => {
      const held = await world.open()
      const foreign = await world.open(
        { lease: { ...held.lease, id: 'lse_foreign', issuer: 'https://other.example' } },
        { delegatedBy: [{ id: 'carol@example.com', version: '1', profile: 'p' }] },
      )
      expect(reasonsOf(await say(carol, foreign))).toEqual(['delegate'])
      expect(codeOf(await say(dave, foreign))).toBe('accepted')
    })
  })

  describe('of a lease that does not go on', () => {
    test.each(['revoke', 'suspend', 'complete'] as const)('%s: 409, and nothing is written', async (verb) => {
      const id = `lse_${verb}`
      const record = leaseRecord({ id, issuedAt: Math.floor(now()) - 60 })
      await world.store.leases.put(record)
      const held = await world.open()
      const theirs = await world.open({ lease: { ...held.lease, id } })
      const order = { verb, by: 'root', reason: 'because', now: now() }
      accepted(await changeLease(record, order, world.store))
      const result = await say(carol, theirs)
      const state = { revoke: 'revoked', suspend: 'suspended', complete: 'completed' }[verb]
      expect([codeOf(result), reasonsOf(result)]).toEqual(['action_state_conflict', [`lease_${state}`]])
      expect(await world.get(theirs.id)).toEqual(theirs)
    })

    test('a draft may be released for as long as policy states, but not once its user is revoked', async () => {
      const ended = Math.floor(now()) - 100
      const over = { issuedAt: ended - 3600, maxExpiresAt: ended, expiresAt: ended }
      await world.store.leases.put(leaseRecord({ id: 'lse_over', ...over }))
      await world.store.leases.put(leaseRecord({ id: 'lse_mallory', user: 'mallory', ...over }))
      const { lease } = await world.open()
      const draft = (id: string, afterLease: number, user = lease.user) =>
        world.open({ kind: 'draft', terms: { ...terms, afterLease }, lease: { ...lease, id, user } })
      expect(reasonsOf(await say(carol, await draft('lse_over', 0)))).toEqual(['lease_expired'])
      expect(reasonsOf(await say(carol, await draft('lse_over', 60)))).toEqual(['lease_expired'])
      expect(codeOf(await say(carol, await draft('lse_over', 3600)))).toBe('accepted')
      await world.store.revocations.revoke({
        ...{ scope: 'user', value: 'mallory', cutoff: now(), expiresAt: now() + 3600 },
        ...{ reason: 'left', by: 'root', at: now() },
      })
      expect(reasonsOf(await say(carol, await draft('lse_mallory', 3600, 'mallory')))).toEqual([
        'lease_revoked',
      ])
    })

    test('a held call is not approved after the lease, whatever policy states for drafts', async () => {
      const ended = Math.floor(now()) - 100
      await world.store.leases.put(
        leaseRecord({ id: 'lse_past', issuedAt: ended - 60, maxExpiresAt: ended, expiresAt: ended }),
      )
      const { lease } = await world.open()
      const held = await world.open({
        terms: { ...terms, afterLease: 3600 },
        lease: { ...lease, id: 'lse_past' },
      })
      expect(reasonsOf(await say(carol, held))).toEqual(['lease_expired'])
    })

    test('nobody decides on a view of revocations that is too old', async () => {
      const held = await world.open()
      const stale = { ...sources, maxStalenessMs: -1 }
      await expect(approve(carol, yes(held), stale)).rejects.toThrow(Unavailable)
      expect(await world.get(held.id)).toEqual(held)
    })

    test('nor on bytes that nobody can be shown', async () => {
      const held = await world.open()
      const changed = { ...held, fingerprint: 'sha-256:sealed-for-another' }
      const kept = (await sources.actions.get(held.id))!
      await sources.actions.change(kept, changed)
      expect(reasonsOf(await say(carol, changed))).toEqual(['unreadable'])
    })
  })

  describe('a no', () => {
    const no = (held: Action, reason?: string) => ({
      id: held.id,
      fingerprint: held.fingerprint,
      reason,
      now: now(),
    })

    test('of one is enough, before and after the quorum, and keeps the reason', async () => {
      const held = await world.open({ terms: { ...terms, quorum: 3 } })
      accepted(await say(carol, held))
      const refused = accepted(await refuseAction(dave, no(held, 'wrong customer'), sources))
      expect(refused.action).toMatchObject({
        state: 'refused',
        ended: { by: dave.user, reason: 'wrong customer' },
      })
      const approved = await world.open()
      accepted(await say(carol, approved))
      expect(accepted(await refuseAction(dave, no(approved), sources)).action.state).toBe('refused')
    })

    test('is for those who could say yes, changes nothing the second time, and cannot be turned', async () => {
      const held = await world.open()
      expect(reasonsOf(await refuseAction(alice, no(held), sources))).toEqual(['requester'])
      accepted(await refuseAction(carol, no(held, 'no'), sources))
      const before = await world.get(held.id)
      expect(accepted(await refuseAction(dave, no(held, 'me too'), sources))).toEqual({
        action: before,
        changed: false,
      })
      expect(reasonsOf(await say(dave, held))).toEqual(['refused'])
    })

    test('and a yes at once: one of them has the last word, and it is the no where both were said', async () => {
      for (let round = 0; round < 5; round++) {
        const held = await world.open()
        const [said, refused] = await Promise.all([say(carol, held), refuseAction(dave, no(held), sources)])
        expect(codeOf(refused)).toBe('accepted')
        expect(['accepted', 'action_state_conflict']).toContain(codeOf(said))
        expect((await world.get(held.id)).state).toBe('refused')
      }
    })
  })

  describe('a yes that is taken back', () => {
    const back = (held: Action) => ({
      id: held.id,
      fingerprint: held.fingerprint,
      reason: undefined,
      now: now(),
    })

    test('makes it pending again where it is missing', async () => {
      const held = await world.open()
      accepted(await say(carol, held))
      accepted(await say(dave, held))
      expect(accepted(await withdraw(carol, back(held), sources)).action.state).toBe('approved')
      const pending = accepted(await withdraw(dave, back(held), sources)).action
      expect(pending).toMatchObject({ state: 'pending', yes: [] })
      expect(accepted(await withdraw(dave, back(held), sources)).changed).toBe(false)
      expect(accepted(await say(dave, held)).action.state).toBe('approved')
    })

    test('is one that nobody else can take back, and nobody after it is used', async () => {
      const held = await world.open()
      accepted(await say(erin, held))
      expect(reasonsOf(await withdraw(person('eve', { groups: [] }), back(held), sources))).toEqual([
        'not_named',
      ])
      expect(accepted(await withdraw(carol, back(held), sources)).changed).toBe(false)
      const kept = (await sources.actions.get(held.id))!
      await sources.actions.change(kept, { ...kept.action, state: 'used' })
      expect(reasonsOf(await withdraw(erin, back(held), sources))).toEqual(['used'])
    })

    test('can be taken back by somebody whom policy would not ask any more', async () => {
      const held = await world.open()
      accepted(await say(carol, held))
      const left = { ...carol, groups: [] }
      expect(accepted(await withdraw(left, back(held), sources)).action.state).toBe('pending')
    })
  })

  describe('habits', () => {
    test('a yes within two seconds of being shown it, or without being shown it, is a fast one', async () => {
      const hasty = person('hasty@example.com')
      const calm = person('calm@example.com')
      const at = now()
      for (const [who, shownAt] of [
        [hasty, at - 1],
        [hasty, undefined],
        [calm, at - 2],
        [calm, at - 60],
      ] as const) {
        const held = await world.open()
        if (shownAt !== undefined) {
          await noteShown(sources.records, who, held, shownAt)
          await noteShown(sources.records, who, held, at)
        }
        accepted(await say(who, held, { now: at }))
        accepted(await say(who, held, { now: at }))
      }
      const held = await world.open()
      await noteShown(sources.records, calm, { ...held, fingerprint: 'sha-256:before' }, at - 60)
      accepted(await say({ ...calm, user: 'CALM@example.com' }, held, { now: at }))
      const known = await listHabits(sources.records, 100)
      const of = (name: string) => known.find(({ user }) => foldName(user) === name)
      expect(of('hasty@example.com')).toMatchObject({ yes: 2, no: 0, fastYes: 2 })
      expect(of('calm@example.com')).toMatchObject({ yes: 3, no: 0, fastYes: 1 })
    })
  })

  test('any steps of any people: never approved without its quorum, never used twice', async () => {
    // The provider's word on who has which names.
    const login = { issuer: carol.issuer, subject: carol.subject }
    await world.store.leases.put(leaseRecord({ id: 'lse_of_carol', user: carol.user, login }))
    const people = [
      carol,
      { ...carol, user: 'CAROL@EXAMPLE.COM', subject: 'other' },
      { ...carol, user: 'c.jones' },
      dave,
      erin,
      alice,
      person('Alice@example.com'),
      person('eve', { groups: [] }),
    ]
    const step = fc.record({
      verb: fc.constantFrom('yes', 'yes', 'yes', 'no', 'back', 'use'),
      who: fc.nat(people.length - 1),
      old: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { maxLength: 10 }),
        async (quorum, steps) => {
          const held = await world.open({ terms: { ...terms, quorum } })
          let uses = 0
          const take = async ({ verb, who, old }: (typeof steps)[number]) => {
            const by = people[who]!
            const said = yes(held, old ? { fingerprint: 'sha-256:old' } : {})
            if (verb === 'yes') await approve(by, said, sources)
            if (verb === 'no' && old)
              await refuseAction(by, { ...said, fingerprint: held.fingerprint }, sources)
            if (verb === 'back') await withdraw(by, said, sources)
            if (verb === 'use') {
              const kept = (await sources.actions.get(held.id))!
              if (kept.action.state !== 'approved') return
              standsApproved(kept.action, quorum)
              if (await sources.actions.change(kept, { ...kept.action, state: 'used' })) uses++
            }
          }
          // Two at a time, as people are.
          for (let at = 0; at < steps.length; at += 2) await Promise.all(steps.slice(at, at + 2).map(take))
          expect(uses).toBeLessThanOrEqual(1)
          const last = await world.get(held.id)
          if (last.state === 'approved' || last.state === 'used') standsApproved(last, quorum)
          else if (last.state === 'pending') expect(last.yes.length).toBeLessThan(quorum)
        },
      ),
      { numRuns: kind === 'embedded' ? 150 : 60 },
    )
  })
})

/** By other means than the code: three people exist who may say yes here, and each has one name that tells. */
function standsApproved({ yes: said }: Action, quorum: number): void {
  const real = said.map(({ by: { user, subject } }) =>
    subject === carol.subject || user.toLowerCase() === carol.user ? 'carol' : user,
  )
  expect(new Set(real).size).toBe(said.length)
  expect(said.length).toBeGreaterThanOrEqual(quorum)
  for (const each of real) expect(['carol', dave.user, erin.user]).toContain(each)
}

describe('a store that is gone', () => {
  /** Fails the n-th call, before or after it has had its effect. */
  function failing(real: Records, fails: (call: number) => 'no' | 'before' | 'after'): Records {
    let calls = 0
    const through = async <T>(run: () => Promise<T>): Promise<T> => {
      const how = fails(calls++)
      if (how === 'before') throw new Unavailable('gone')
      const result = await run()
      if (how === 'after') throw new Unavailable('gone')
      return result
    }
    return {
      get: (...args) => through(() => real.get(...args)),
      write: (...args) => through(() => real.write(...args)),
      list: (...args) => through(() => real.list(...args)),
    }
  }

  test.each(['before', 'after'] as const)('%s any call: all of a yes or nothing of it', async (when) => {
    let at = Number.NaN
    let begun = Number.NaN
    let calls = 0
    const records = (real: Records) =>
      failing(real, () => {
        calls++
        return calls - begun === at ? when : 'no'
      })
    const world = await openWorld('embedded', { records })
    const repeat = { calls: 3, seconds: 60 }
    let failures = 0
    for (at = 1; at <= 10; at++) {
      begun = Number.NaN
      const who = person(`p${at}@example.com`)
      const held = await world.open({ terms: { ...terms, repeat } })
      begun = calls
      const result = await approve(who, yes(held, { repeat }), world.sources).catch((error) => error)
      begun = Number.NaN
      const stored = await world.get(held.id)
      const habits = (await listHabits(world.store.records, 100)).find(({ user }) => user === who.user)
      const granted = await world.store.records.get('repeat', held.id.replace('act_', 'rpt_'))
      const isWritten = stored.state === 'approved'
      expect([habits !== undefined, granted !== undefined]).toEqual([isWritten, isWritten])
      if (!isWritten) expect(stored).toEqual(held)
      if (result instanceof Unavailable) failures++
      else expect(isWritten).toBe(true)
      // Whatever happened, it can be said again.
      expect(codeOf(await approve(who, yes(held, { repeat }), world.sources))).toBe('accepted')
      expect(await world.get(held.id)).toMatchObject({ state: 'approved', yes: [{ by: { user: who.user } }] })
    }
    expect(failures).toBeGreaterThan(3)
    await world.close()
  })
})
