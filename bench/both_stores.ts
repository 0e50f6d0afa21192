// In: what is to be measured on a store. Out: the same for the embedded one and, where there is a server, for Redis.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redisServerPath } from '../scripts/redis.ts'
import type { Store } from '../src/ports.ts'
import { openEmbedded } from '../src/stores/embedded.ts'
import { openRedis } from '../src/stores/redis.ts'
import { startRedis } from '../test/support/redis.ts'

const maxStalenessMs = 2_000

/** Runs `measure` on a new store of each kind, which it closes itself. */
export async function onBothStores<T>(measure: (store: Store) => Promise<T>): Promise<Record<string, T>> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  try {
    const result = {
      embedded: await measure(await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs })),
    }
    if (redisServerPath() === undefined) {
      console.log('no redis-server on PATH: Redis is not measured')
      return result
    }
    const server = await startRedis()
    // Busy neighbours may hold it up longer than a gate would wait; nobody gives anything back to a new server.
    const patient = { commandTimeoutMs: 5_000, settleMs: 0 }
    const store = await openRedis({ url: server.url, prefix: '', maxStalenessMs, ...patient })
    return { ...result, redis: await measure(store).finally(() => server.stop()) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
