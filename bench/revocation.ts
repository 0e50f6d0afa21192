// `npm run bench:revocation`: how long a revocation takes to be in effect everywhere (propagation.ts), and what
// looking for one costs among a thousand and among a million, into bench/results/revocation.json.
import type { Revocation } from '../src/ports.ts'
import { RevocationView } from '../src/stores/view.ts'
import { percentiles, printTable, round, writeResult } from './numbers.ts'
import { measurePropagation } from './propagation.ts'
import { revokedLease } from './revocation_store.ts'

/** `count` revocations per set-up; the look-up is measured with views of these sizes. */
export async function measureRevocation(count: number, sizes: readonly number[]): Promise<object> {
  const set_ups = await measurePropagation(count)
  const lookUps = sizes.map((size) => ({ entries: size, find_ns: findNs(size) }))
  printTable(
    ['revocations in the view', 'look-up ns'],
    lookUps.map(({ entries, find_ns }) => [entries, find_ns]),
  )
  return { set_ups, look_up: lookUps }
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

if (import.meta.main) writeResult('revocation', await measureRevocation(1_000, [1_000, 1_000_000]))
