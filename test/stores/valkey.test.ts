// The store on Valkey: the same promises, and what Redis 7.0 cannot do: to acknowledge when it is on disk.
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { missingValkey, valkeyServerPath } from '../../scripts/valkey.ts'
import type { Store } from '../../src/ports.ts'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import { startRedis } from '../support/redis.ts'
import { adminOf } from '../support/redis_topologies.ts'
import { found, storeContract } from './contract.ts'
import { revocation } from './samples.ts'

const binary = valkeyServerPath()
if (binary === undefined) throw new Error(missingValkey)

const bounds = { maxStalenessMs: 2000, heartbeatMs: 100, commandTimeoutMs: 5000 }
const server = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'], binary)
const admin = adminOf(server)
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})
let prefixes = 0

storeContract('redis', async () => {
  const prefix = `test-${prefixes++}:`
  return {
    open: (over) => openRedis({ url: server.url, prefix, settleMs: 0, ...bounds, ...over }),
    end: async () => void (await admin.flushall()),
  }
})

describe('acknowledged on disk', () => {
  const disk = { replicas: 0, disk: true, timeoutMs: 5000 }
  const stores: Store[] = []
  const open = async (over: Partial<RedisStoreOptions> = {}) => {
    const store = await openRedis({ url: server.url, prefix: 'gate:', acknowledge: disk, ...bounds, ...over })
    stores.push(store)
    return store
  }
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
  })

  it('a revocation is there after the server was killed', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_1'))
    await store.close()
    await server.kill()
    await server.restart()
    expect(found(await open(), 'lse_1')).toBeDefined()
  })

  it('one that no disk of a replica has is refused, and stands', async () => {
    const store = await open({ acknowledge: { ...disk, replicas: 1, timeoutMs: 100 } })
    await expect(store.revocations.revoke(revocation('lse_2'))).rejects.toMatchObject({
      told: 'written, but 0 of 1 replicas have it on disk: send it again',
    })
    expect(found(store, 'lse_2')).toBeDefined()
  })

  it('is refused at the start by a server without an append-only file, with the fix', async () => {
    await admin.config('SET', 'appendonly', 'no')
    await expect(open()).rejects.toMatchObject({
      message: /acknowledge\.disk needs an append-only file: set appendonly yes on the server$/,
    })
  })
})
