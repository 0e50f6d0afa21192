// The store behind Sentinel: the same promises, and what a fail-over to a replica that has lost acknowledged
// entries does to them.
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { keyOf } from '../../src/stores/entry.ts'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import type { TestRedis } from '../support/redis.ts'
import { addressOf, adminOf, type SentinelSet, startSentinel } from '../support/redis_topologies.ts'
import { eventually, found, storeContract } from './contract.ts'
import { revocation, suspension } from './samples.ts'
import { suspended } from './suspensions_contract.ts'

const shared = await startSentinel()
afterAll(() => shared.stop())

const bounds = { maxStalenessMs: 2000, heartbeatMs: 100, commandTimeoutMs: 5000, settleMs: 0 }
const optionsOf = ({ name, sentinels, password }: SentinelSet) => ({
  sentinel: { name, nodes: sentinels.map(addressOf) },
  password,
  ...bounds,
})

let prefixes = 0

storeContract('redis', async () => {
  const prefix = `test-${prefixes++}:`
  const end = async () => {
    const admin = adminOf(await shared.primary(), shared.password)
    await admin.del('none', ...(await admin.keys(`${prefix}*`)))
    admin.disconnect()
  }
  return { open: (over) => openRedis({ ...optionsOf(shared), prefix, ...over }), end }
})

describe('the Redis store behind Sentinel', () => {
  const prefix = 'gate:'
  const hash = `${prefix}{leasegate}:revocations`
  let set: SentinelSet
  let next = startSentinel()
  const stores: Store[] = []

  const open = async (over: Partial<RedisStoreOptions> = {}) => {
    const store = await openRedis({ ...optionsOf(set), commandTimeoutMs: 1000, prefix, ...over })
    stores.push(store)
    return store
  }
  const fresh = (store: Store) => eventually(() => store.revocations.ageMs(Date.now())).toBeLessThan(400)
  const keysAt = async (server: TestRedis) => {
    const admin = adminOf(server, set.password)
    return (await admin.hkeys(hash).finally(() => admin.disconnect())).toSorted()
  }
  /** The primary dies; the replica that follows it has nothing of what came after `cutReplicas`. */
  const failOver = async () => {
    const old = await set.primary()
    await old.kill()
    return set.promotedAfter(old)
  }

  beforeEach(async () => {
    set = await next
    // A set takes seconds to come about: the next one does so meanwhile.
    next = startSentinel()
  })
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
    await set.stop()
  })
  afterAll(async () => (await next).stop())

  it('gives a new primary everything back that it has lost, each gate what it has seen', async () => {
    const [a, b] = [await open(), await open()]
    await a.revocations.revoke(revocation('lse_before'))
    await eventually(() => found(b, 'lse_before')).toBeDefined()
    await set.cutReplicas()
    await a.revocations.revoke(revocation('lse_a'))
    await b.revocations.revoke(revocation('agent:x', { scope: 'agent' }))
    await b.revocations.suspend(suspension('lse_b'))
    const after = await failOver()
    const lost = [keyOf(revocation('lse_a')), keyOf(revocation('agent:x', { scope: 'agent' }))]
    await eventually(() => keysAt(after)).toEqual(
      [keyOf(revocation('lse_before')), ...lost, keyOf(suspension('lse_b'))].toSorted(),
    )
    for (const store of [a, b, await open()]) {
      await fresh(store)
      for (const value of ['lse_before', 'lse_a']) expect(found(store, value)).toBeDefined()
      expect(found(store, 'agent:x', { scope: 'agent' })).toBeDefined()
      expect(suspended(store, 'lse_b')).toBeDefined()
    }
    await b.revocations.revoke(revocation('lse_after'))
    await eventually(() => found(a, 'lse_after')).toBeDefined()
  })

  it('does not serve from a new primary before the others have had time to give back what it has lost', async () => {
    const store = await open()
    await set.cutReplicas()
    await store.revocations.revoke(revocation('lse_lost'))
    await failOver()
    const anew = await open({ settleMs: 2000 })
    expect(found(anew, 'lse_lost')).toBeDefined()
  })

  it('is not deceived by a new primary whose stream is ahead again when the gates come back', async () => {
    const store = await open()
    await set.cutReplicas()
    await store.revocations.revoke(revocation('lse_lost'))
    const old = await set.primary()
    await old.kill()
    const after = await set.promotedAfter(old)
    // Another gate's entries, younger than all that this one has read.
    const other = await open()
    for (const value of ['lse_1', 'lse_2', 'lse_3']) await other.revocations.revoke(revocation(value))
    await eventually(() => keysAt(after)).toContain(keyOf(revocation('lse_lost')))
    for (const value of ['lse_1', 'lse_2', 'lse_3', 'lse_lost']) {
      await eventually(() => found(store, value)).toBeDefined()
      await eventually(() => found(other, value)).toBeDefined()
    }
  })
})

describe('a store behind Sentinel', () => {
  const prefix = 'shared:'
  const open = (over: Partial<RedisStoreOptions> = {}) => openRedis({ ...optionsOf(shared), prefix, ...over })

  it('does not open with a name that the sentinels do not know', async () => {
    const sentinel = { ...optionsOf(shared).sentinel, name: 'other' }
    await expect(open({ sentinel })).rejects.toMatchObject({
      name: 'Unavailable',
      message: /^Redis at the primary other of the sentinels .*: the sentinels know no primary of that name$/,
    })
  })

  it('does not open with a wrong password of the servers, and does not tell it', async () => {
    const error = await open({ password: 'wrong-battery' }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'Unavailable', message: /cannot be used: WRONGPASS$/ })
  })

  it('opens though one sentinel is gone and another is frozen', async () => {
    const [, frozen, other] = shared.sentinels
    frozen!.freeze()
    const nodes = [{ host: '127.0.0.1', port: 1 }, addressOf(frozen!), addressOf(other!)]
    const store = await open({ sentinel: { ...optionsOf(shared).sentinel, nodes } })
    await expect(store.ping()).resolves.toBeUndefined()
    frozen!.thaw()
    await store.close()
  })

  it('leaves a primary that the sentinels have replaced, though it still answers', async () => {
    const store = await open()
    const old = await shared.primary()
    const sentinel = adminOf(shared.sentinels[0]!)
    await sentinel.call('SENTINEL', 'FAILOVER', shared.name)
    sentinel.disconnect()
    const admin = adminOf(await shared.promotedAfter(old), shared.password)
    await eventually(() => store.revocations.revoke(revocation('lse_1')).catch(String)).toBeUndefined()
    await eventually(() => admin.hkeys(`${prefix}{leasegate}:revocations`)).toContain(
      keyOf(revocation('lse_1')),
    )
    admin.disconnect()
    await store.close()
  })
})
