// Calls that stay open: who is woken, and by what; nobody takes all the seats or waits longer than they asked, and
// everybody gets up at once when the gate ends. Wakes are counted between timers, so that no pause passes for one.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { WaitingRoom } from '../../src/enforce/waiting.ts'

const of = (lease: string) => ({ action: 'act_1', lease })
const seat = of('lse_1')
const forLong = 600_000
const nobody = async () => undefined

describe('a waiting room', () => {
  test('has seats for other leases when one has taken all of its own', async () => {
    const room = new WaitingRoom({ all: 10, ofLease: 2 })
    const mine = [1, 2].map(() => room.wait(of('lse_1'), forLong, nobody))
    expect(await room.wait(of('lse_1'), forLong, async () => 'said')).toBeUndefined()
    expect(await room.wait(of('lse_2'), forLong, async () => 'said')).toBe('said')
    room.close()
    expect(await Promise.all(mine)).toEqual([undefined, undefined])
  })

  test('has no more seats than it has, and each is free again after whoever got up', async () => {
    const room = new WaitingRoom({ all: 2, ofLease: 2 })
    const both = ['lse_1', 'lse_2'].map((lease) => room.wait(of(lease), 300, nobody))
    expect(await room.wait(of('lse_3'), forLong, async () => 'said')).toBeUndefined()
    await Promise.all(both)
    await expect(room.wait(of('lse_3'), forLong, () => Promise.reject(new Error('away')))).rejects.toThrow(
      'away',
    )
    expect(await room.wait(of('lse_3'), forLong, async () => 'said')).toBe('said')
  })

  test('lets nobody wait longer because looking takes long', async () => {
    let looks = 0
    const slow = async () => {
      looks++
      await sleep(500)
      return undefined
    }
    expect(await new WaitingRoom().wait(of('lse_1'), 600, slow)).toBeUndefined()
    expect(looks).toBe(1)
  })

  test('that is closed lets everybody go and nobody in', async () => {
    const room = new WaitingRoom()
    const waiting = room.wait(of('lse_1'), forLong, nobody)
    room.close()
    expect(await waiting).toBeUndefined()
    expect(await room.wait(of('lse_1'), forLong, async () => 'said')).toBeUndefined()
  })
})

/** Lets everything run that waits for nothing. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await null
}

test('who waits for an action looks as soon as it is changed here, and at no change of another', async () => {
  const room = new WaitingRoom()
  let looks = 0
  let said: string | undefined
  const waited = room.wait(seat, 60_000, async () => {
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
  const waited = [1, 2, 3].map((number) => room.wait(seat, 60_000, async () => number))
  room.wake('act_1')
  expect(await Promise.all(waited)).toEqual([1, 2, 3])
})
