// Bounded repeats, on both stores: within what policy allows, for exactly one kind of call, and never one call more.
import { afterAll, describe, expect, test } from 'vitest'
import type { Action, Person, Yes } from '../../src/approval/action.ts'
import { approve, refuseAction, withdraw } from '../../src/approval/decide.ts'
import { repeatApprovals } from '../../src/approval/repeated.ts'
import {
  findRepeat,
  getRepeat,
  listRepeats,
  type RepeatedCall,
  repeatId,
  repeatState,
  revokeRepeat,
  useRepeat,
} from '../../src/approval/repeats.ts'
import type { Backend, Operation } from '../../src/enforce/operation.ts'
import { isRefusal } from '../../src/refusals.ts'
import { accepted } from '../support/evidence.ts'
import { leaseRecord } from '../support/leases.ts'
import { carol, dave, now, openWorld, type StoreKind, terms } from '../support/waiting_actions.ts'

const most = { calls: 5, seconds: 600 }
const repeatable = { ...terms, repeat: most }

describe.each<StoreKind>(['embedded', 'redis'])('a bounded repeat (%s)', async (kind) => {
  const world = await openWorld(kind)
  const { records } = world.sources
  afterAll(() => world.close())

  const say = (who: Person, held: Action, repeat: Yes['repeat']) =>
    approve(
      who,
      {
        ...{ id: held.id, fingerprint: held.fingerprint, reason: 'a batch of five', now: now() },
        ...{ confirm: async () => 'session' as const, repeat },
      },
      world.sources,
    )
  const callOf = ({ lease, what: { backend, operation, verb, resource } }: Action): RepeatedCall => ({
    ...{ issuer: lease.issuer, lease: lease.id, backend, operation, verb, resource },
  })
  /** An action on a resource of its own. */
  const open = async (over: Partial<Action> = {}) => {
    const { what } = await world.open()
    const resource = `crm:customer/${Math.random()}`
    return world.open({ terms: repeatable, what: { ...what, resource }, ...over })
  }
  const grant = async (repeat: Yes['repeat'] = most) => {
    const held = await open()
    accepted(await say(carol, held, repeat))
    return held
  }

  test('comes with the yes, and lets exactly as many calls through', async () => {
    const held = await open()
    expect(await findRepeat(records, callOf(held), now())).toBeUndefined()
    const { repeat } = accepted(await say(carol, held, { calls: 2, seconds: 60 }))
    const found = await findRepeat(records, callOf(held), now())
    expect(found?.repeat).toEqual(repeat)
    expect(found?.repeat).toMatchObject({
      ...{
        id: repeatId(held.id),
        action: held.id,
        calls: 2,
        callsLeft: 2,
        by: [{ by: { user: carol.user } }],
      },
      ...{ user: 'alice@example.com', agent: 'agent:support-triage', reason: 'a batch of five' },
    })
    expect(await useRepeat(records, repeat!.id, now())).toMatchObject({ callsLeft: 1 })
    expect(await useRepeat(records, repeat!.id, now())).toMatchObject({ callsLeft: 0 })
    expect(await useRepeat(records, repeat!.id, now())).toBeUndefined()
    expect(await findRepeat(records, callOf(held), now())).toBeUndefined()
    expect(repeatState((await getRepeat(records, repeat!.id))!.repeat, now())).toBe('used_up')
  })

  test.each<[string, Partial<RepeatedCall>]>([
    ['another issuer', { issuer: 'https://other.example' }],
    ['another lease', { lease: 'lse_2' }],
    ['another backend', { backend: 'erp' }],
    ['another operation', { operation: 'DELETE /customers/{id}/notes' }],
    ['another verb', { verb: 'update' }],
    ['another resource', { resource: 'crm:customer/other' }],
  ])('is not for %s', async (_, over) => {
    const held = await grant()
    expect(await findRepeat(records, { ...callOf(held), ...over }, now())).toBeUndefined()
  })

  test('used by many at once is used as often as granted, and no more', async () => {
    const held = await grant()
    const uses = await Promise.all(
      Array.from({ length: 20 }, () => useRepeat(records, repeatId(held.id), now())),
    )
    expect(uses.filter((use) => use !== undefined)).toHaveLength(most.calls)
  })

  test('ends with its time, and with its lease at the latest', async () => {
    const held = await grant({ calls: 5, seconds: 10 })
    const later = now() + 11
    expect(await findRepeat(records, callOf(held), later)).toBeUndefined()
    expect(await useRepeat(records, repeatId(held.id), later)).toBeUndefined()
    const issuedAt = Math.floor(now()) - 60
    const endsAt = Math.floor(now()) + 30
    await world.store.leases.put(leaseRecord({ id: 'lse_short', issuedAt, maxExpiresAt: endsAt }))
    const short = await open({ lease: { ...held.lease, id: 'lse_short' } })
    expect(accepted(await say(carol, short, most)).repeat?.expiresAt).toBe(endsAt)
  })

  test.each<[string, Partial<Action>, { calls: number; seconds: number }, string]>([
    ['more calls than policy lets', {}, { calls: 6, seconds: 600 }, 'repeat_not_allowed'],
    ['more time', {}, { calls: 5, seconds: 601 }, 'repeat_not_allowed'],
    ['any where policy lets none', { terms }, { calls: 1, seconds: 1 }, 'repeat_not_allowed'],
    ['one of a draft', { kind: 'draft' }, { calls: 1, seconds: 1 }, 'repeat_not_allowed'],
    ['none at all', {}, { calls: 0, seconds: 60 }, 'repeat_malformed'],
    ['fewer than none', {}, { calls: -1, seconds: 60 }, 'repeat_malformed'],
    ['half a call', {}, { calls: 1.5, seconds: 60 }, 'repeat_malformed'],
    ['no time', {}, { calls: 1, seconds: Number.NaN }, 'repeat_malformed'],
  ])('of %s is refused, and the yes with it', async (_, over, repeat, reason) => {
    const held = await open(over)
    const result = await say(carol, held, repeat)
    expect(isRefusal(result) && result.facts.reasons).toEqual([reason])
    expect((await world.get(held.id)).yes).toEqual([])
    expect(await getRepeat(records, repeatId(held.id))).toBeUndefined()
  })

  test('of two people is what both of them grant', async () => {
    const two = { ...repeatable, quorum: 2 }
    const held = await open({ terms: two })
    expect(accepted(await say(carol, held, { calls: 5, seconds: 60 })).repeat).toBeUndefined()
    expect(await getRepeat(records, repeatId(held.id))).toBeUndefined()
    expect(accepted(await say(dave, held, { calls: 2, seconds: 600 })).repeat).toMatchObject({
      ...{ calls: 2, callsLeft: 2, by: [{ by: { user: carol.user } }, { by: { user: dave.user } }] },
    })
    const { expiresAt, at } = (await getRepeat(records, repeatId(held.id)))!.repeat
    expect(expiresAt - at).toBeCloseTo(60)
    const once = await open({ terms: two })
    accepted(await say(carol, once, undefined))
    expect(accepted(await say(dave, once, most)).repeat).toBeUndefined()
    expect((await world.get(once.id)).state).toBe('approved')
  })

  test('covers a call at the gate only with people who would do today', async () => {
    const gate = repeatApprovals(records)
    const held = await grant({ calls: 1, seconds: 60 })
    const { lease, what } = held
    const operation = { match: what.operation, verb: what.verb } as Operation
    const mapped = { operation, resource: what.resource }
    const backend = { name: what.backend } as Backend
    const evidence = { lease: (await world.sources.actions.call(held))!.lease, backend, mapped, now: now() }
    const call = evidence as Parameters<typeof gate.find>[0]
    expect(await gate.find(call, { ...repeatable, quorum: 2 })).toBeUndefined()
    expect(await gate.find(call, { ...repeatable, approvers: ['group:others'] })).toBeUndefined()
    const found = (await gate.find(call, repeatable))!
    expect(found).toEqual({
      ...{ id: repeatId(held.id), kind: 'repeat', approvedBy: [carol.user], version: 1 },
    })
    expect(lease.id).toBe(evidence.lease.id)
    const { signal } = new AbortController()
    const uses = [await gate.use(found, now(), signal), await gate.use(found, now(), signal)]
    expect(uses).toEqual([true, false])
  })

  test('ends for good when it is revoked', async () => {
    const held = await grant()
    const revoked = { by: 'root', at: now(), reason: 'enough' }
    expect(await revokeRepeat(records, repeatId(held.id), revoked)).toMatchObject({
      changed: true,
      repeat: { revoked },
    })
    expect(await findRepeat(records, callOf(held), now())).toBeUndefined()
    expect(await useRepeat(records, repeatId(held.id), now())).toBeUndefined()
    const again = { by: 'eve', at: now(), reason: 'mine' }
    expect(await revokeRepeat(records, repeatId(held.id), again)).toMatchObject({
      changed: false,
      repeat: { revoked },
    })
    expect(await revokeRepeat(records, 'rpt_nobody', again)).toBeUndefined()
  })

  test.each(['withdraw', 'refuse'] as const)('ends with the yes that it came with: %s', async (verb) => {
    const held = await grant()
    const said = { id: held.id, fingerprint: held.fingerprint, reason: undefined, now: now() }
    accepted(await (verb === 'withdraw' ? withdraw : refuseAction)(carol, said, world.sources))
    expect(await findRepeat(records, callOf(held), now())).toBeUndefined()
    if (verb === 'refuse') return
    expect(accepted(await say(carol, held, { calls: 1, seconds: 60 })).repeat).toMatchObject({ callsLeft: 1 })
    expect(await findRepeat(records, callOf(held), now())).toMatchObject({ repeat: { callsLeft: 1 } })
  })

  test('is listed by its lease, newest first', async () => {
    const held = await grant()
    const newer = await grant()
    const ids = (await listRepeats(records, held.lease.id, { limit: 2 })).map(({ id }) => id)
    expect(ids).toEqual([repeatId(newer.id), repeatId(held.id)])
    expect(await listRepeats(records, 'lse_nobody', { limit: 2 })).toEqual([])
  })
})
