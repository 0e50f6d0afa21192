// The store on a Redis Cluster: the same promises, and what happens while its slot moves to another server.
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import { slot } from '../../src/stores/redis_connect.ts'
import { addressOf, adminOf, startCluster } from '../support/redis_topologies.ts'
import { eventually, found, storeContract } from './contract.ts'
import { revocation, total } from './samples.ts'

const cluster = await startCluster()
afterAll(() => cluster.stop())

let prefixes = 0
const newPrefix = () => `test-${prefixes++}:`
const nodes = cluster.servers.map(addressOf)
const options = {
  cluster: { nodes },
  maxStalenessMs: 2000,
  heartbeatMs: 100,
  commandTimeoutMs: 5000,
  settleMs: 0,
}

storeContract('redis', async () => {
  const prefix = newPrefix()
  const end = async () => {
    const admin = adminOf(await cluster.owner())
    await admin.del(`${prefix}{leasegate}:none`, ...(await admin.keys(`${prefix}*`)))
    admin.disconnect()
  }
  return { open: (over) => openRedis({ ...options, prefix, ...over }), end }
})

describe('the Redis store on a Cluster', () => {
  const stores: Store[] = []
  const open = async (prefix: string, over: Partial<RedisStoreOptions> = {}) => {
    const store = await openRedis({ ...options, prefix, ...over })
    stores.push(store)
    return store
  }
  const fresh = (store: Store) => eventually(() => store.revocations.ageMs(Date.now())).toBeLessThan(400)

  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
  })

  it('knows the slot of its keys', async () => {
    const admin = adminOf(cluster.servers[0]!)
    expect(await admin.call('CLUSTER', 'KEYSLOT', 'any:{leasegate}:key')).toBe(slot)
    admin.disconnect()
  })

  it('follows the slot to another server: nothing is lost, scripts run there, all gates go on', async () => {
    const prefix = newPrefix()
    const [a, b] = [await open(prefix), await open(prefix)]
    await a.revocations.revoke(revocation('lse_1'))
    await a.budgets.spend([total('k', { max: 5n })])
    await cluster.migrate()
    for (const store of [a, b]) {
      await fresh(store)
      await eventually(() => store.ping().catch(String)).toBeUndefined()
      expect(found(store, 'lse_1')).toBeDefined()
    }
    await eventually(() => b.revocations.revoke(revocation('lse_2')).catch(String)).toBeUndefined()
    await eventually(() => found(a, 'lse_2')).toBeDefined()
    expect(await a.budgets.spend([total('k', { max: 5n })])).toMatchObject({
      spent: true,
      remaining: [{ left: 3n }],
    })
    expect(found(await open(prefix), 'lse_1')).toBeDefined()
  })

  it('while keys are on two servers it answers or refuses, and never takes a half for the whole', async () => {
    const prefix = newPrefix()
    const store = await open(prefix, { commandTimeoutMs: 1000 })
    await store.revocations.revoke(revocation('lse_1'))
    await cluster.migrate(async () => {
      const asked = [store.revocations.revoke(revocation('lse_2')), store.leases.get('lse_1')]
      for (const result of await Promise.allSettled(asked)) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ name: 'Unavailable' })
      }
      expect(found(store, 'lse_1')).toBeDefined()
    })
    await fresh(store)
    await eventually(() => store.revocations.revoke(revocation('lse_3')).catch(String)).toBeUndefined()
    const later = await open(prefix)
    for (const value of ['lse_1', 'lse_3']) expect(found(later, value)).toBeDefined()
  })

  it('opens as long as one of the nodes it is given can be asked', async () => {
    const dead = { host: '127.0.0.1', port: 1 }
    const store = await open(newPrefix(), { cluster: { nodes: [dead, nodes[1]!] } })
    await expect(store.ping()).resolves.toBeUndefined()
  })

  it('grows stale while the owner of its slot is frozen, and comes back with it', async () => {
    const store = await open(newPrefix(), { commandTimeoutMs: 300 })
    const owner = await cluster.owner()
    owner.freeze()
    await eventually(() => store.revocations.ageMs(Date.now())).toBeGreaterThan(1500)
    await expect(store.ping()).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.revocations.revoke(revocation('lse_1'))).rejects.toMatchObject({ name: 'Unavailable' })
    owner.thaw()
    await fresh(store)
    await eventually(() => store.ping().catch(String)).toBeUndefined()
  })

  it('does not open where no node answers, and says which were asked', async () => {
    const nowhere = { nodes: [{ host: '127.0.0.1', port: 1 }] }
    await expect(open(newPrefix(), { cluster: nowhere })).rejects.toMatchObject({
      name: 'Unavailable',
      message: 'Redis at the Cluster of 127.0.0.1:1 cannot be used: ECONNREFUSED',
    })
  })
})
