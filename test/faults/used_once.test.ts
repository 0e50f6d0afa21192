// Approvals under faults: an action is used once, whoever dies, races or freezes meanwhile. On both stores, with
// processes of their own.
import { renameSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Actions } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Store } from '../../src/ports.ts'
import { actionOf, callOf, yes } from '../approval/samples.ts'
import { killed, type RecordStore, recordChild, recordStore } from '../support/record_stores.ts'

/** Everything on disk before it is acknowledged, so that the server can be killed as well. */
const durable = ['--appendonly', 'yes', '--appendfsync', 'always']
const races = 200

let state: RecordStore
afterEach(() => state.end())

const actionsOf = async () => new Actions((await state.open()).records, createSealer('of no use here'))

/** Actions `act-0`, `act-1` … that people have approved. */
async function approved(count: number): Promise<Actions> {
  const actions = await actionsOf()
  const over = { state: 'approved', yes: [yes] } as const
  for (let at = 0; at < count; at++) await actions.open(actionOf(`act-${at}`, over), callOf())
  return actions
}

/** What using `act-0` comes to: ours, somebody else's, or nobody can tell. */
async function use(actions: Actions): Promise<'used' | 'gone' | 'unavailable'> {
  try {
    const kept = await actions.get('act-0')
    if (kept?.action.state !== 'approved') return 'gone'
    return (await actions.change(kept, { ...kept.action, state: 'used' })) === undefined ? 'gone' : 'used'
  } catch (error) {
    expect(error).toMatchObject({ name: 'Unavailable' })
    return 'unavailable'
  }
}

const soon = { timeout: 20_000, interval: 20 }

describe.each<Store['kind']>(['embedded', 'redis'])('on the %s store', (kind) => {
  it('an action that was used stays used when the process is killed right after the acknowledgement', async () => {
    state = await recordStore(kind, durable)
    const actions = await approved(1)
    const child = await recordChild(state, 'use', 'act', 1)
    expect(await child.work()).toEqual([0])
    await killed(child)
    expect(await use(actions)).toBe('gone')
    expect(await use(await actionsOf())).toBe('gone')
    expect((await actions.get('act-0'))?.action.state).toBe('used')
  })

  it(`of two processes that race for each of ${races} actions, exactly one uses each`, async () => {
    state = await recordStore(kind)
    await approved(races)
    const children = await Promise.all([1, 2].map(() => recordChild(state, 'use', 'act', races)))
    const won = (await Promise.all(children.map((child) => child.work()))) as number[][]
    await Promise.all(children.map(killed))
    expect(won.flat().toSorted((a, b) => a - b)).toEqual(Array.from({ length: races }, (_, at) => at))
  })
})

describe('on SQLite', () => {
  it('nobody uses an action while the file is away, and one does once it is back', async () => {
    state = await recordStore('embedded')
    const actions = await approved(1)
    renameSync(state.path, `${state.path}.away`)
    expect(await use(actions)).toBe('unavailable')
    renameSync(`${state.path}.away`, state.path)
    expect(await use(actions)).toBe('used')
    expect(await use(await actionsOf())).toBe('gone')
  })
})

describe('on Redis', () => {
  it('an action that was used stays used when the server is killed right after the acknowledgement', async () => {
    state = await recordStore('redis', durable)
    const actions = await approved(1)
    expect(await use(actions)).toBe('used')
    await state.redis!.kill()
    expect(await use(actions)).toBe('unavailable')
    await state.redis!.restart()
    await expect.poll(() => use(actions), soon).toBe('gone')
  })

  it('of those who use an action while the server freezes nobody is told that they did, and none does twice', async () => {
    state = await recordStore('redis')
    const [here, there] = [await approved(1), await actionsOf()]
    const kept = (await here.get('act-0'))!
    const next = { ...kept.action, state: 'used' } as const
    state.redis!.freeze()
    const uses = await Promise.allSettled([here, there, here].map((each) => each.change(kept, next)))
    for (const each of uses)
      expect(each).toMatchObject({ status: 'rejected', reason: { name: 'Unavailable' } })
    state.redis!.thaw()
    // What was sent before may be done now: then nobody has it. Otherwise one of these does.
    await expect
      .poll(
        () =>
          there.get('act-0').then(
            (found) => found !== undefined,
            () => false,
          ),
        soon,
      )
      .toBe(true)
    const after = await Promise.all([here, there].map((each) => each.change(kept, next)))
    const mine = after.filter((each) => each !== undefined)
    expect(mine.length).toBeLessThanOrEqual(1)
    expect(await there.get('act-0')).toMatchObject({ version: 2, action: { state: 'used' } })
  })

  it('nobody uses an action while no server is there, and an empty one that comes back knows of none', async () => {
    state = await recordStore('redis')
    const actions = await approved(1)
    await state.redis!.kill()
    expect(await use(actions)).toBe('unavailable')
    await state.redis!.restart()
    await expect.poll(() => use(actions), soon).toBe('gone')
    expect(await actions.get('act-0')).toBeUndefined()
  })
})
