// Calls of the last minute, by lease and by agent: what policy's rate limits look at.
import { expect, test } from 'vitest'
import { RecentCallCounter } from '../../src/enforce/recent.ts'
import { leaseOf, now } from '../support/evidence.ts'

const lease = leaseOf()
const sibling = leaseOf({ id: 'lse_2' })

test('calls count for the lease, and for every lease of the agent', () => {
  const recent = new RecentCallCounter()
  recent.add(lease, now)
  recent.add(sibling, now)
  expect(recent.seen(lease, now)).toEqual({ lease: 1, agent: 2 })
})

test('an agent of another issuer is another agent', () => {
  const recent = new RecentCallCounter()
  recent.add(leaseOf({ issuer: 'https://other.example' }), now)
  expect(recent.seen(lease, now)).toEqual({ lease: 0, agent: 0 })
})

test('calls are forgotten a minute later, not earlier', () => {
  const recent = new RecentCallCounter()
  recent.add(lease, now)
  recent.add(lease, now + 30)
  expect(recent.seen(lease, now + 59).lease).toBe(2)
  expect(recent.seen(lease, now + 89).lease).toBe(1)
  expect(recent.seen(lease, now + 600).lease).toBe(0)
})

test('calls are not forgotten when the clock goes back', () => {
  const recent = new RecentCallCounter()
  recent.add(lease, now)
  expect(recent.seen(lease, now - 3_600).lease).toBe(1)
})

test('the keys idle for longest make room', () => {
  const recent = new RecentCallCounter({ maxKeys: 3 })
  recent.add(lease, now)
  recent.add(sibling, now + 10)
  recent.add(leaseOf({ id: 'lse_3' }), now + 10)
  expect(recent.seen(lease, now + 10)).toEqual({ lease: 0, agent: 3 })
  expect(recent.seen(sibling, now + 10).lease).toBe(1)
})

test('workers that tell each other count the same, whoever is told when', () => {
  const workers = [1, 2, 3].map(() => new RecentCallCounter({ shared: true }))
  const tell = (from: number) => {
    const counted = workers[from]!.take()
    for (const [index, worker] of workers.entries()) if (index !== from) worker.absorb(counted)
  }
  workers[0]!.add(lease, 1_000)
  workers[0]!.add(lease, 1_001)
  workers[1]!.add(lease, 1_015)
  tell(0)
  tell(1)
  tell(0)
  for (const worker of workers) expect(worker.seen(lease, 1_020)).toEqual({ lease: 3, agent: 3 })
  // What is older than a minute is gone from all, also where it was told late.
  for (const worker of workers) expect(worker.seen(lease, 1_073)).toEqual({ lease: 1, agent: 1 })
})

test('a worker that begins is told everything that still counts', () => {
  const counter = new RecentCallCounter({ shared: true })
  for (const now of [1_000, 1_030, 1_059]) counter.add(lease, now)
  const successor = new RecentCallCounter()
  successor.absorb(counter.known())
  for (const now of [1_059, 1_075, 1_095, 1_200]) {
    expect(successor.seen(lease, now)).toEqual(counter.seen(lease, now))
  }
})

test('one that is alone keeps nothing to tell', () => {
  const counter = new RecentCallCounter()
  counter.add(lease, 1_000)
  expect(counter.take()).toEqual([])
})
