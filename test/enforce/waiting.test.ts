// Calls that wait for a human, without a gate: who is woken, and by what. Counted between timers, so that no pause of
// the room's own can pass for a wake.
import { expect, test } from 'vitest'
import { WaitingRoom } from '../../src/enforce/waiting.ts'

/** Lets everything run that waits for nothing. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await null
}

test('who waits for an action looks as soon as it is changed here, and at no change of another', async () => {
  const room = new WaitingRoom()
  let looks = 0
  let said: string | undefined
  const waited = room.wait('act_1', 60_000, async () => {
    looks++
    return said
  })
  room.wake('act_2')
  await settled()
  expect(looks).toBe(0)
  room.wake('act_1')
  await settled()
  expect(looks).toBe(1)
  said = 'approved'
  room.wake('act_1')
  expect(await waited).toBe('approved')
  expect([looks, room.size]).toEqual([2, 0])
})

test('all who wait for one action are woken by its change', async () => {
  const room = new WaitingRoom()
  const waited = [1, 2, 3].map((number) => room.wait('act_1', 60_000, async () => number))
  room.wake('act_1')
  expect(await Promise.all(waited)).toEqual([1, 2, 3])
})

test('a room without a seat and one that is closed let nobody wait', async () => {
  const look = async () => 'never asked'
  expect(await new WaitingRoom(0).wait('act_1', 60_000, look)).toBeUndefined()
  const closed = new WaitingRoom()
  closed.close()
  expect(await closed.wait('act_1', 60_000, look)).toBeUndefined()
})
