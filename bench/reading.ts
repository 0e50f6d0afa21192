// What lists of the console cost: pages of 10,000 live leases on SQLite and Redis, and how long the event loop stands
// still while a whole audit file is read for one decision. Prints milliseconds; `npm run bench` does not run it.
//   node bench/reading.ts [MIB]
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { findLeases, type LeaseSearch } from '../src/broker/lease_search.ts'
import type { Store } from '../src/ports.ts'
import { openEmbedded } from '../src/stores/embedded.ts'
import { openRedis } from '../src/stores/redis.ts'
import { findDecisions, findStory } from '../src/telemetry/find_decisions.ts'
import { leaseRecord } from '../test/support/leases.ts'
import { startRedis } from '../test/support/redis.ts'

const leases = 10_000
const pages = 40
const now = Math.floor(Date.now() / 1000)

/** Milliseconds of each of some runs, in order. */
async function timed(runs: number, run: () => Promise<unknown>): Promise<number[]> {
  const took: number[] = []
  for (let at = 0; at < runs; at++) {
    const begun = performance.now()
    await run()
    took.push(performance.now() - begun)
  }
  return took.toSorted((a, b) => a - b)
}

function say(what: string, took: readonly number[]): void {
  const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))]!.toFixed(1)
  console.log(`${what.padEnd(52)} p50 ${at(0.5).padStart(7)} ms   p95 ${at(0.95).padStart(7)} ms`)
}

async function measureLeases(name: string, store: Store): Promise<void> {
  for (let from = 0; from < leases; from += 100) {
    const some = Array.from({ length: 100 }, (_, at) => from + at)
    await Promise.all(
      some.map((number) =>
        store.leases.put(
          leaseRecord({
            id: `lse_${String(number).padStart(6, '0')}`,
            user: `user${number % 500}@example.com`,
            issuedAt: now - Math.floor(number / 10),
            maxExpiresAt: now + 3_600,
          }),
        ),
      ),
    )
  }
  const find = (search: LeaseSearch) => findLeases(search, store, now)
  for (const limit of [100, 500]) {
    let before: LeaseSearch['before']
    const page = async () => {
      const found = await find({ limit, ...(before !== undefined && { before }) })
      before = found.next
    }
    say(`${name}: a page of ${limit}, one after the other`, await timed(pages, page))
  }
  say(`${name}: 100 active`, await timed(pages, () => find({ limit: 100, state: 'active' })))
  say(
    `${name}: a user that few leases are of`,
    await timed(pages, () => find({ limit: 100, text: 'user77@' })),
  )
  say(`${name}: a text that nothing holds`, await timed(10, () => find({ limit: 100, text: 'nowhere' })))
}

async function measureAudit(dir: string, mib: number): Promise<void> {
  const path = join(dir, 'audit.jsonl')
  const file = openSync(path, 'w')
  const line = (id: string) => `${JSON.stringify(recordOf(id))}\n`
  writeSync(file, line('dec_first'))
  const block = line('dec_other').repeat(1_000)
  while (statSync(path).size < mib * 1024 * 1024) writeSync(file, block)
  closeSync(file)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  for (const [what, run] of [
    ['the oldest decision of the file', () => findStory(path, 'dec_first')],
    ['a decision that is not in it', () => findStory(path, 'dec_none')],
    ['a page of 500', () => findDecisions(path, { filter: {}, limit: 500, before: undefined })],
    [
      '64 MiB for a lease that is not in it',
      () => findDecisions(path, { filter: { lease: 'lse_x' }, limit: 500, before: undefined }),
    ],
  ] as const) {
    delay.reset()
    delay.enable()
    const [took] = await timed(1, run)
    delay.disable()
    console.log(
      `${mib} MiB: ${what}: ${took!.toFixed(0)} ms; the event loop stood still for at most ${(delay.max / 1e6).toFixed(1)} ms`,
    )
  }
}

function recordOf(id: string): object {
  return {
    time: new Date().toISOString(),
    decision_id: id,
    lease_id: 'lse_1',
    who: { user: 'alice@example.com' },
    agent: { id: 'agent:support-triage' },
    what: { backend: 'crm', path: '/crm/customers/9821' },
    decision: { effect: 'allow', code: null },
    outcome: { status: 200, ended: 'completed' },
    policy: { effect: 'allow', input: { pad: 'x'.repeat(1_000) } },
  }
}

const dir = mkdtempSync(join(tmpdir(), 'leasegate-reading-'))
try {
  const embedded = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
  await measureLeases('SQLite', embedded)
  await embedded.close()
  const server = await startRedis()
  const redis = await openRedis({
    url: server.url,
    prefix: 'bench:',
    maxStalenessMs: 20_000,
    commandTimeoutMs: 10_000,
  })
  await measureLeases('Redis', redis)
  await redis.close()
  await server.stop()
  await measureAudit(dir, Number(process.argv[2] ?? 1_024))
} finally {
  rmSync(dir, { recursive: true })
}
