// A Redis that comes back older than it was, or whose clock and the clocks of its gates do not agree.
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { keyOf } from '../../src/stores/entry.ts'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import { scripts } from '../../src/stores/scripts.ts'
import { startFaultProxy } from '../support/fault_proxy.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { eventually, found } from './contract.ts'
import { nowSeconds, revocation, suspension } from './samples.ts'
import { suspended } from './suspensions_contract.ts'

const prefix = 'gate:'
const hash = `${prefix}{leasegate}:revocations`
const stream = `${prefix}{leasegate}:feed`
const daySeconds = 24 * 3600

let redis: TestRedis
let admin: Redis
const stores: Store[] = []

const open = async (over: Partial<RedisStoreOptions> = {}) => {
  const bounds = { maxStalenessMs: 2000, heartbeatMs: 50, commandTimeoutMs: 2000, settleMs: 0 }
  const store = await openRedis({ url: redis.url, prefix, ...bounds, ...over })
  stores.push(store)
  return store
}
const sometimeProven = async (store: Store) => {
  const since = Date.now()
  await eventually(() => store.revocations.ageMs(Date.now()) < Date.now() - since).toBe(true)
}

beforeEach(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url, { protocol: 2 })
  admin.on('error', () => {})
})
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
  admin.disconnect()
  await redis.stop()
})

describe('a Redis that comes back as it was before', () => {
  it('and gives ids anew, because its clock is behind its stream, hides no entry from who had read others', async () => {
    const way = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    await admin.xadd(stream, '9999999999999-0', 'previous', '0-0')
    const cutOff = await open({ url: `redis://${way.host}:${way.port}` })
    await admin.save()
    await cutOff.revocations.revoke(revocation('lse_lost'))
    await sometimeProven(cutOff)
    await way.turn('refuse')
    await redis.kill()
    await redis.restart()
    const other = await open()
    expect(found(other, 'lse_lost')).toBeUndefined()
    await other.revocations.revoke(revocation('lse_other'))
    await way.turn('open')
    await eventually(() => found(cutOff, 'lse_other')).toBeDefined()
    await eventually(() => found(other, 'lse_lost')).toBeDefined()
    expect(found(await open(), 'lse_lost')).toBeDefined()
    await way.close()
  })

  const bornMs = async () => Number(await admin.eval(scripts.leasegateBorn.lua, 1, 'born'))

  it('is as young as one that comes up empty', async () => {
    expect(await bornMs()).toBe(0)
    await eventually(bornMs).toBeGreaterThan(0)
    await admin.save()
    await redis.kill()
    await redis.restart()
    await eventually(() => admin.ping().catch(String)).toBe('PONG')
    expect(await bornMs()).toBe(0)
    await eventually(bornMs).toBeGreaterThan(0)
  })

  it('is so, too, once it has taken over from another', async () => {
    const primary = await startRedis()
    try {
      await bornMs()
      await admin.replicaof('127.0.0.1', primary.port)
      await admin.replicaof('NO', 'ONE')
      expect(await bornMs()).toBe(0)
    } finally {
      await primary.stop()
    }
  })
})

describe('a gate whose clock is forty days ahead', () => {
  const ahead = { now: () => Date.now() + 40 * daySeconds * 1000 }
  const live = revocation('lse_live', { expiresAt: nowSeconds() + 31 * daySeconds })
  const over = revocation('lse_over', { expiresAt: nowSeconds() - 3600 })

  it('takes nothing that is in force from the server, or from itself', async () => {
    const right = await open()
    await right.revocations.revoke(live)
    await right.revocations.revoke(over)
    await right.revocations.suspend(suspension('lse_suspended'))
    // Nobody is there to give anything back.
    await right.close()
    const wrong = await open(ahead)
    await eventually(() => admin.hexists(hash, keyOf(over))).toBe(0)
    expect(await admin.hlen(hash)).toBe(2)
    expect(found(wrong, 'lse_live')).toBeDefined()
    expect(suspended(wrong, 'lse_suspended')).toBeDefined()
  })

  it('gives back what the server has lost and is in force', async () => {
    const wrong = await open(ahead)
    await wrong.revocations.revoke(live)
    await admin.flushall()
    await eventually(() => admin.hexists(hash, keyOf(live))).toBe(1)
  })
})
