// `npm run bench:revocation`: how long a revocation takes to be in effect everywhere (propagation.ts), what looking
// for one costs among a thousand and among a million, and what a process pays to load a million, into
// bench/results/revocation.json.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RevocationView } from '../src/stores/view.ts'
import { percentiles, printTable, round, writeResult } from './numbers.ts'
import { measurePropagation } from './propagation.ts'
import { measureLoad } from './revocation_load.ts'
import { entry, revokedLease, spread } from './revocation_store.ts'
import { measureWorkerRevocations } from './worker_revocations.ts'

/** `count` revocations per set-up; the look-up is measured with views of these sizes. */
export async function measureRevocation(count: number, sizes: readonly number[]): Promise<object> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  try {
    const set_ups = {
      embedded_2_workers: await measureWorkerRevocations(count),
      ...(await measurePropagation(count)),
    }
    return { set_ups, look_up: lookUpAmong(sizes), load: await measureLoad(dir, sizes.at(-1)!) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

interface LookUp {
  readonly entries: number
  /** Of leases alone, or of every scope, with an issuer and without. */
  readonly scopes: 'lease' | 'all'
  /** Nanoseconds to learn that a lease is not revoked: fourteen keys. */
  readonly find_ns: number
}

function lookUpAmong(sizes: readonly number[]): LookUp[] {
  const lookUps = sizes.flatMap((entries) =>
    (['lease', 'all'] as const).map((scopes) => ({ entries, scopes, find_ns: findNs(entries, scopes) })),
  )
  printTable(
    ['revocations in the view', 'of scopes', 'look-up ns'],
    lookUps.map(({ entries, scopes, find_ns }) => [entries, scopes, find_ns]),
  )
  return lookUps
}

function findNs(size: number, scopes: LookUp['scopes']): number {
  const view = new RevocationView()
  for (let n = 0; n < size; n++) view.put(scopes === 'lease' ? entry(`lse_other_${n}`) : spread(n))
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

if (import.meta.main) {
  writeResult('revocation', await measureRevocation(1_000, [1_000, 1_000_000]))
  // Left to itself, Node has spun for ever in the clean-up of its own handles (`Environment::CleanupHandles`, 24.21).
  process.exit()
}
