// What a server has to be fit for: it must not evict, must say when it is full, and has to give entries that it has
// lost a second time. Strict reading, and what replicas and disks acknowledge.
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { keyOf } from '../../src/stores/entry.ts'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import { revokeArguments } from '../../src/stores/revocation_scripts.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { adminOf } from '../support/redis_topologies.ts'
import { eventually, found } from './contract.ts'
import { recordWrite, revocation, suspension } from './samples.ts'
import { suspended } from './suspensions_contract.ts'

const prefix = 'gate:'
const hash = `${prefix}{leasegate}:revocations`
const bounds = { maxStalenessMs: 400, heartbeatMs: 100, commandTimeoutMs: 2000 }
const stores: Store[] = []

async function openAt(server: TestRedis, over: Partial<RedisStoreOptions> = {}): Promise<Store> {
  const store = await openRedis({ url: server.url, prefix, ...bounds, ...over })
  stores.push(store)
  return store
}

const age = (store: Store) => eventually(() => store.revocations.ageMs(Date.now()))

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
})

describe('a server with a bound on its memory', async () => {
  const redis = await startRedis(['--maxmemory', '100mb'])
  const admin = adminOf(redis)
  afterAll(async () => {
    admin.disconnect()
    await redis.stop()
  })
  beforeEach(async () => {
    await admin.config('SET', 'maxmemory', '100mb')
  })

  it.each(['allkeys-lru', 'allkeys-random', 'volatile-ttl', 'volatile-lfu'])(
    'is not used with %s, and the message names what to set',
    async (policy) => {
      await admin.config('SET', 'maxmemory-policy', policy)
      await expect(openAt(redis)).rejects.toMatchObject({
        name: 'Unavailable',
        message: expect.stringMatching(new RegExp(`set maxmemory-policy noeviction \\(it is ${policy}\\)$`)),
      })
      await admin.config('SET', 'maxmemory', '0')
      await expect((await openAt(redis)).ping()).resolves.toBeUndefined()
    },
  )

  it('is used with noeviction; when it is full the view grows stale and writes are refused', async () => {
    await admin.config('SET', 'maxmemory-policy', 'noeviction')
    const store = await openAt(redis)
    await store.revocations.revoke(revocation('lse_1'))
    await admin.config('SET', 'maxmemory', '1')
    await age(store).toBeGreaterThan(bounds.maxStalenessMs)
    await expect(store.revocations.revoke(revocation('lse_2'))).rejects.toMatchObject({
      message: 'Redis: OOM',
    })
    await expect(store.ping()).rejects.toMatchObject({ name: 'Unavailable' })
    expect(store.fault()).toBe('Redis: OOM')
    expect(found(store, 'lse_1')).toBeDefined()
    await admin.config('SET', 'maxmemory', '100mb')
    await age(store).toBeLessThan(bounds.maxStalenessMs)
    expect(store.fault()).toBeUndefined()
  })

  it('that has become one that evicts is noticed when it comes back', async () => {
    await admin.config('SET', 'maxmemory-policy', 'noeviction')
    const store = await openAt(redis)
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await eventually(() => store.fault()).toMatch(/set maxmemory-policy noeviction/)
    await age(store).toBeGreaterThan(bounds.maxStalenessMs)
    await admin.config('SET', 'maxmemory-policy', 'noeviction')
    await age(store).toBeLessThan(bounds.maxStalenessMs)
  })
})

describe('strict reading', async () => {
  const redis = await startRedis()
  const admin = adminOf(redis)
  afterAll(async () => {
    admin.disconnect()
    await redis.stop()
  })
  const lease = { id: 'lse_1', ancestors: ['lse_0'], revocationKeys: [keyOf(revocation('lse_1'))] }
  /** As another process would, but for the stream: no feed hears of it. */
  const writeUnheard = (entry: Parameters<typeof keyOf>[0]) =>
    admin.hset(hash, keyOf(entry), revokeArguments(entry).join(' '))

  it('finds what no feed has told of: revocations, suspensions of a lease and of what it was handed on from', async () => {
    const store = await openAt(redis, { strict: true })
    await store.revocations.confirm(lease)
    expect(found(store, 'lse_1')).toBeUndefined()
    await writeUnheard(revocation('lse_1'))
    await writeUnheard(suspension('lse_0'))
    expect(found(store, 'lse_1')).toBeUndefined()
    await store.revocations.confirm(lease)
    expect(found(store, 'lse_1')).toBeDefined()
    expect(store.revocations.suspension(lease)).toMatchObject({ lease: 'lse_0' })
  })

  it('never takes what it cannot read for nothing', async () => {
    const store = await openAt(redis, { strict: true })
    await admin.hset(hash, keyOf(revocation('lse_9')), 'garbage')
    const other = { ...lease, revocationKeys: [keyOf(revocation('lse_9'))] }
    await store.revocations.confirm(other)
    expect(found(store, 'lse_9')).toMatchObject({ cutoff: Number.MAX_SAFE_INTEGER })
    await admin.del(hash)
  })

  it('fails while the server is frozen', async () => {
    const store = await openAt(redis, { strict: true, commandTimeoutMs: 200 })
    redis.freeze()
    await expect(store.revocations.confirm(lease)).rejects.toMatchObject({ message: 'Redis: timed out' })
    redis.thaw()
  })

  it('is not what a store does unless told to', async () => {
    expect((await openAt(redis)).revocations.confirm(lease)).toBeUndefined()
  })
})

describe('acknowledged by replicas', async () => {
  const atOnce = ['--repl-diskless-sync-delay', '0']
  const [primary, replica] = [await startRedis(atOnce), await startRedis()]
  const [admin, follower] = [adminOf(primary), adminOf(replica)]
  afterAll(async () => {
    for (const client of [admin, follower]) client.disconnect()
    replica.thaw()
    await Promise.all([primary.stop(), replica.stop()])
  })
  const linked = () => eventually(() => admin.info('replication')).toMatch(/slave0:.*state=online/)
  const acknowledge = { replicas: 1, disk: false, timeoutMs: 5000 }
  const short = { replicas: 1, disk: false, timeoutMs: 100 }

  beforeEach(async () => {
    replica.thaw()
    await follower.replicaof('127.0.0.1', primary.port)
    await linked()
  })

  it('a revocation resolves when the replica has it', async () => {
    const store = await openAt(primary, { acknowledge })
    await store.revocations.revoke(revocation('lse_1'))
    expect(await follower.hexists(hash, keyOf(revocation('lse_1')))).toBe(1)
    expect(found(store, 'lse_1')).toBeDefined()
  })

  it('one that too few have is refused, stands, and is in effect at every gate', async () => {
    const [a, b] = [await openAt(primary, { acknowledge: short }), await openAt(primary)]
    await follower.replicaof('NO', 'ONE')
    await eventually(() => admin.info('replication')).toMatch(/connected_slaves:0/)
    const message = 'written, but 0 of 1 replicas have it: send it again'
    await expect(a.revocations.revoke(revocation('lse_2'))).rejects.toMatchObject({ message, told: message })
    await expect(a.revocations.suspend(suspension('lse_2'))).rejects.toMatchObject({ told: message })
    for (const store of [a, b]) {
      await eventually(() => found(store, 'lse_2')).toBeDefined()
      await eventually(() => suspended(store, 'lse_2')).toBeDefined()
    }
  })

  it('one that is repeated is not taken for acknowledged because it changes nothing', async () => {
    const entry = revocation('lse_3')
    await (await openAt(primary)).revocations.revoke(entry)
    await follower.replicaof('NO', 'ONE')
    await eventually(() => admin.info('replication')).toMatch(/connected_slaves:0/)
    // A connection that has written nothing would wait for nothing.
    const store = await openAt(primary, { acknowledge: short })
    await expect(store.revocations.revoke(entry)).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.revocations.revoke(entry)).rejects.toMatchObject({ name: 'Unavailable' })
    await follower.replicaof('127.0.0.1', primary.port)
    await linked()
    // A replica that has just come back may need longer than `short` on a loaded machine.
    await eventually(() => store.revocations.revoke(entry).catch(String)).toBeUndefined()
  })

  it('a primary that has to have a replica, and is cut off from it, proves nothing and takes nothing', async () => {
    await admin.config('SET', 'min-replicas-to-write', '1')
    const store = await openAt(primary)
    await follower.replicaof('NO', 'ONE')
    await age(store).toBeGreaterThan(bounds.maxStalenessMs)
    expect(store.fault()).toBe('Redis: NOREPLICAS')
    await expect(store.revocations.revoke(revocation('lse_4'))).rejects.toMatchObject({
      message: 'Redis: NOREPLICAS',
    })
    await follower.replicaof('127.0.0.1', primary.port)
    await age(store).toBeLessThan(bounds.maxStalenessMs)
    await admin.config('SET', 'min-replicas-to-write', '0')
  })

  const heldBy = (kind: string, id: string) =>
    follower.hget(`${prefix}{leasegate}:record:${kind}:${id}`, 'text')
  const alone = async () => {
    await follower.replicaof('NO', 'ONE')
    await eventually(() => admin.info('replication')).toMatch(/connected_slaves:0/)
  }

  it('a record is written when the replica has it, so that what was used up stays so after a fail-over', async () => {
    const { records } = await openAt(primary, { acknowledge })
    expect(await records.write([recordWrite('act_1', { text: 'approved' })])).toBe(true)
    expect(await records.write([recordWrite('act_1', { expect: 1, text: 'used' })])).toBe(true)
    expect(await heldBy('action', 'act_1')).toBe('used')
    await alone()
    const after = await openAt(replica)
    expect(await after.records.write([recordWrite('act_1', { expect: 1, text: 'used' })])).toBe(false)
    expect(await after.records.get('action', 'act_1')).toMatchObject({ version: 2, text: 'used' })
  })

  it('one that too few have is refused and stands: nobody uses it a second time', async () => {
    const { records } = await openAt(primary, { acknowledge: short })
    await (await openAt(primary)).records.write([recordWrite('act_2', { text: 'approved' })])
    await alone()
    const used = recordWrite('act_2', { expect: 1, text: 'used' })
    const message = 'written, but 0 of 1 replicas have it: look before you send it again'
    await expect(records.write([used])).rejects.toMatchObject({ name: 'Unavailable', message, told: message })
    expect(await records.write([used])).toBe(false)
    expect(await records.get('action', 'act_2')).toMatchObject({ version: 2, text: 'used' })
  })

  it('a change that came too late changed nothing, however many have it', async () => {
    const { records } = await openAt(primary, { acknowledge: short })
    await (await openAt(primary)).records.write([recordWrite('act_3')])
    await alone()
    expect(await records.write([recordWrite('act_3')])).toBe(false)
  })

  it('one that is written anew in a moment waits for no replica', async () => {
    const { records } = await openAt(primary, { acknowledge: short })
    await alone()
    expect(await records.write([recordWrite('gate_1', { kind: 'gate' })])).toBe(true)
    const both = [recordWrite('gate_2', { kind: 'gate' }), recordWrite('act_4')]
    await expect(records.write(both)).rejects.toMatchObject({ name: 'Unavailable' })
  })

  it('of fifty that use one thing up at once while the replica is frozen, one does', async () => {
    const { records } = await openAt(primary, { acknowledge })
    await records.write([recordWrite('act_5')])
    replica.freeze()
    const uses = Array.from({ length: 50 }, (_, at) =>
      records.write([recordWrite('act_5', { expect: 1, text: String(at) })]),
    )
    replica.thaw()
    expect((await Promise.all(uses)).filter(Boolean)).toHaveLength(1)
    expect(await heldBy('action', 'act_5')).toBe((await records.get('action', 'act_5'))?.text)
  })

  it('many at once wait together, and hold up nothing else', async () => {
    const store = await openAt(primary, { acknowledge })
    replica.freeze()
    const revoked = Array.from({ length: 50 }, (_, i) =>
      store.revocations.revoke(revocation(`lse_many_${i}`)),
    )
    await expect(store.ping()).resolves.toBeUndefined()
    replica.thaw()
    await Promise.all(revoked)
    const keys = revoked.map((_, i) => keyOf(revocation(`lse_many_${i}`)))
    expect((await follower.hmget(hash, ...keys)).every((value) => value !== null)).toBe(true)
  })
})

describe('acknowledged on disk', () => {
  it('is refused at the start by a server that cannot tell, with the fix', async () => {
    const redis = await startRedis()
    const acknowledge = { replicas: 0, disk: true, timeoutMs: 1000 }
    const opening = openAt(redis, { acknowledge })
    await expect(opening).rejects.toMatchObject({
      message:
        /acknowledge\.disk needs (?:WAITAOF: use Redis 7\.2, Valkey, or disk: false|an append-only file: .*)$/,
    })
    await redis.stop()
  })
})
