// In: a number of revocations. Out: what a process pays to open a store that holds so many: time, memory, and the
// longest turn of its event loop; all with one reason, and each with its own.
import { fork } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { redisServerPath } from '../scripts/redis.ts'
import type { Revocation } from '../src/ports.ts'
import { encodeEntry, keyOf } from '../src/stores/entry.ts'
import { revokeArguments } from '../src/stores/revocation_scripts.ts'
import { startRedis } from '../test/support/redis.ts'
import { printTable } from './numbers.ts'
import { message } from './process.ts'
import type { Loaded } from './revocation_loader.ts'
import { open, type Place, spread } from './revocation_store.ts'

/** The same, by store and reasons. */
export interface Load extends Loaded {
  readonly store: 'embedded' | 'redis'
  readonly reasons: (typeof kinds)[number]
}

const kinds = ['same', 'different'] as const

/** Fills both stores, one after the other, and opens each in a process of its own. */
export async function measureLoad(dir: string, count: number): Promise<Load[]> {
  const loads: Load[] = []
  for (const reasons of kinds) {
    const entryAt = (n: number): Revocation => {
      const reason = `INC-${n}: the laptop it ran on was stolen, says the help desk`
      return reasons === 'same' ? spread(n) : { ...spread(n), reason }
    }
    const path = join(dir, reasons, 'state.db')
    mkdirSync(join(dir, reasons))
    await fillEmbedded(path, count, entryAt)
    loads.push({ store: 'embedded', reasons, ...(await load({ path })) })
    if (redisServerPath() === undefined) continue
    const server = await startRedis()
    try {
      await fillRedis(server.url, count, entryAt)
      loads.push({ store: 'redis', reasons, ...(await load({ url: server.url })) })
    } finally {
      await server.stop()
    }
  }
  printTable(
    ['opened with revocations', 'store', 'reasons', 'ms', 'cpu ms', 'view MB', 'all MB', 'longest turn ms'],
    loads.map((each) => [
      each.entries,
      each.store,
      each.reasons,
      each.load_ms,
      each.cpu_ms,
      each.rss_mb,
      each.rss_before_gc_mb,
      each.longest_turn_ms,
    ]),
  )
  return loads
}

async function load(place: Place): Promise<Loaded> {
  const script = join(import.meta.dirname, 'revocation_loader.ts')
  const child = fork(script, [JSON.stringify(place)], { execArgv: ['--expose-gc'] })
  return (await message(child)) as Loaded
}

/** As revoking them one by one would leave it; that would take minutes. */
async function fillEmbedded(path: string, count: number, entryAt: (n: number) => Revocation): Promise<void> {
  await (await open({ path })).close()
  const db = new DatabaseSync(path)
  db.exec('BEGIN')
  const insert = db.prepare('INSERT INTO revocations (key, keep_until, entry) VALUES (?, ?, ?)')
  for (let n = 0; n < count; n++) {
    const entry = entryAt(n)
    insert.run(keyOf(entry), entry.expiresAt, encodeEntry(entry))
  }
  db.exec('COMMIT')
  db.close()
}

async function fillRedis(url: string, count: number, entryAt: (n: number) => Revocation): Promise<void> {
  const client = new Redis(url)
  const batch = 1000
  for (let first = 0; first < count; first += batch) {
    const fields = Array.from({ length: Math.min(batch, count - first) }, (_, i) => {
      const entry = entryAt(first + i)
      return [keyOf(entry), revokeArguments(entry).join(' ')]
    })
    await client.hset('leasegate-bench:{leasegate}:revocations', ...fields.flat())
  }
  client.disconnect()
}
