// In: both stores. Out: how long a revocation takes to be acknowledged, how long after that another process
// refuses the lease, and what looking for a revocation costs among a thousand and among a million.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { redisServerPath } from '../scripts/redis.ts'
import type { Revocation } from '../src/ports.ts'
import { RevocationView } from '../src/stores/view.ts'
import { startRedis } from '../test/support/redis.ts'
import { type Percentiles, percentiles, printTable, round, writeResult } from './numbers.ts'
import { message } from './process.ts'
import { open, type Place, type Refused, revokedLease } from './revocation_store.ts'

/** Milliseconds. */
interface Propagation {
  /** From the call of `revoke` to its acknowledgement. */
  readonly acknowledged_ms: Percentiles
  /** From the acknowledgement to the refusal in the other process; 0 where the refusal came first. */
  readonly refused_ms: Percentiles
}

/** `count` revocations per store; the look-up is measured with views of these sizes. */
export async function measureRevocation(count: number, sizes: readonly number[]): Promise<object> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  try {
    const result: Record<string, Propagation> = {}
    result.embedded = await propagation({ path: join(dir, 'state.db') }, count)
    if (redisServerPath() === undefined) console.log('no redis-server on PATH: Redis is not measured')
    else {
      const server = await startRedis()
      result.redis = await propagation({ url: server.url }, count).finally(() => server.stop())
    }
    printTable(
      ['revocation', 'acknowledged p50 ms', 'p99', 'refused elsewhere p50 ms', 'p99'],
      Object.entries(result).map(([store, { acknowledged_ms, refused_ms }]) => [
        store,
        acknowledged_ms.p50,
        acknowledged_ms.p99,
        refused_ms.p50,
        refused_ms.p99,
      ]),
    )
    const lookUps = sizes.map((size) => ({ entries: size, find_ns: findNs(size) }))
    printTable(
      ['revocations in the view', 'look-up ns'],
      lookUps.map(({ entries, find_ns }) => [entries, find_ns]),
    )
    return { ...result, look_up: lookUps }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function propagation(place: Place, count: number): Promise<Propagation> {
  const store = await open(place)
  const peer = fork(join(import.meta.dirname, 'revocation_peer.ts'), [JSON.stringify(place)])
  try {
    await message(peer)
    const acknowledged = new Float64Array(count)
    const refused = new Float64Array(count)
    for (let n = 0; n < count; n++) {
      const value = `lse_${n}`
      const heard = message(peer)
      const calledNs = process.hrtime.bigint()
      await store.revocations.revoke(entry(value))
      const doneNs = process.hrtime.bigint()
      const answer = (await heard) as Refused
      if (answer.value !== value) throw new Error('the other process saw another revocation')
      acknowledged[n] = Number(doneNs - calledNs) / 1e6
      refused[n] = Math.max(0, Number(BigInt(answer.atNs) - doneNs) / 1e6)
      // Away from the rhythm of the poll, so that every phase of it is met.
      await sleep(1 + ((n * 7) % 11))
    }
    return { acknowledged_ms: percentiles(acknowledged), refused_ms: percentiles(refused) }
  } finally {
    peer.disconnect()
    await store.close()
  }
}

function entry(value: string): Revocation {
  const at = revokedLease(value).issuedAt + 1
  return { scope: 'lease', value, cutoff: at, expiresAt: 9_999_999_999, reason: 'benchmark', by: 'bench', at }
}

/** Nanoseconds to learn that a lease is not revoked, in a view of `size` others. */
function findNs(size: number): number {
  const view = new RevocationView()
  for (let n = 0; n < size; n++) view.put(entry(`lse_other_${n}`))
  const leases = Array.from({ length: 1_000 }, (_, n) => revokedLease(`lse_${n}`))
  const batches = new Float64Array(200)
  for (let batch = 0; batch < batches.length; batch++) {
    const began = performance.now()
    for (const { revocationKeys, issuedAt } of leases) {
      if (view.find(revocationKeys, issuedAt) !== undefined) throw new Error('a live lease is refused')
    }
    batches[batch] = ((performance.now() - began) * 1e6) / leases.length
  }
  return round(percentiles(batches).p50)
}

if (import.meta.main) writeResult('revocation', await measureRevocation(300, [1_000, 1_000_000]))
