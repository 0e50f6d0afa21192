// What nobody decided in time: ended once, whoever looks, in the store and in what is told of it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { endExpired } from '../../src/approval/expiry.ts'
import type { Expired } from '../../src/approval/observer.ts'
import type { Deferral } from '../../src/ports.ts'
import { type ApprovalWorld, now, openWorld } from '../support/waiting_actions.ts'

describe.each(['embedded', 'redis'] as const)('what is over (%s)', (kind) => {
  let world: ApprovalWorld
  let told: Expired[]
  beforeEach(async () => {
    world = await openWorld(kind)
    told = []
  })
  afterEach(() => world.close())

  const look = (at = now()) => {
    const { actions, noticesOf } = world.sources
    const { deferrals } = world.store
    return endExpired({ actions, noticesOf, deferrals, onExpired: (each) => void told.push(each) }, at)
  }
  const pending = async () =>
    (await world.sources.actions.list('pending', { limit: 9 })).map(({ action }) => action.id)
  const past = () => ({ createdAt: now() - 600, expiresAt: now() - 1 })

  test('leaves the list of what waits, is told of once and stays as it ended', async () => {
    const over = await world.open(past())
    const waits = await world.open()
    await Promise.all([look(), look(), look()])
    expect(told).toMatchObject([{ about: { id: over.id, state: 'expired' }, was: 'pending' }])
    expect(await pending()).toEqual([waits.id])
    expect((await world.get(over.id)).state).toBe('expired')
    expect(await world.store.records.list('notice', over.id, { limit: 9 })).toMatchObject([
      { text: 'expired' },
    ])
    await look()
    expect(told).toHaveLength(1)
  })

  test('of a yes that nobody used is told as that; a released draft is for its gate', async () => {
    const used = await world.open({ ...past(), state: 'approved' })
    const draft = await world.open({ ...past(), state: 'approved', kind: 'draft' })
    await look()
    expect(told).toMatchObject([{ about: { id: used.id }, was: 'approved' }])
    expect((await world.get(draft.id)).state).toBe('approved')
  })

  test('is found behind hundreds that wait from one moment', async () => {
    const at = now()
    const over = await world.open({ createdAt: at, expiresAt: at - 1 })
    for (let made = 0; made < 250; made++) await world.open({ createdAt: at })
    await look()
    expect(told.map(({ about }) => about.id)).toEqual([over.id])
  })

  test('is a token request as well', async () => {
    const { deferrals } = world.store
    const made = { clientId: 'triage', key: '', approvers: ['kim'], request: '{}', interval: 5 }
    const waiting: Omit<Deferral, 'id' | 'expiresAt'> = { ...made, createdAt: now() - 60, state: 'pending' }
    await deferrals.put({ ...waiting, id: 'over', expiresAt: now() - 1 })
    await deferrals.put({ ...waiting, id: 'waits', expiresAt: now() + 60 })
    await Promise.all([look(), look()])
    expect(told).toMatchObject([{ about: { kind: 'lease', id: 'over' }, was: 'pending' }])
    expect((await deferrals.get('over'))?.state).toBe('expired')
    expect((await deferrals.get('waits'))?.state).toBe('pending')
    expect(await deferrals.settle('over', 'approved', { by: 'kim', at: 1, reason: '' })).toBe(false)
  })
})
