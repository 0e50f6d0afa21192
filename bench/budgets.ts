// In: both stores. Out: how many spendings a second each takes, alone and 64 at once: of three limits as a request
// has them, of rates alone, refused, and looked at. A spending with a total is durable before it resolves.

import type { Budgets, Limit, Rate, Store, Total } from '../src/ports.ts'
import { onBothStores } from './both_stores.ts'
import { percentiles, printTable, round, writeResult } from './numbers.ts'

interface Rated {
  readonly what: string
  /** Calls under way at once. */
  readonly at_once: number
  readonly per_second: number
  /** CPU time of this process per call, kernel included; Redis has its own beside it. */
  readonly cpu_us: number
  readonly p50_us: number
  readonly p99_us: number
}

/** `count` calls of each sort, alone and 64 at once, on both stores. */
export async function measureBudgets(count: number): Promise<Record<string, readonly Rated[]>> {
  const result = await onBothStores((store) => ratesOf(store, count))
  printTable(
    ['budgets', 'at once', 'per second', 'CPU µs', 'p50 µs', 'p99 µs'],
    Object.entries(result).flatMap(([store, all]) =>
      all.map(({ what, at_once, per_second, cpu_us, p50_us, p99_us }) => [
        `${store}: ${what}`,
        ...[at_once, per_second, cpu_us, p50_us, p99_us],
      ]),
    ),
  )
  return result
}

async function ratesOf(store: Store, count: number): Promise<readonly Rated[]> {
  const { budgets } = store
  try {
    const all: Rated[] = []
    for (const atOnce of [1, 64]) {
      const rated = (what: string, call: (n: number) => Promise<void>) => measured(what, atOnce, count, call)
      const lease = (n: number) => `lse_${atOnce}_${n % 50}`
      all.push(
        await rated('2 totals, 1 rate', (n) =>
          paid(budgets, [calls(lease(n)), bytes(lease(n)), rate(lease(n))]),
        ),
      )
      all.push(await rated('1 total', (n) => paid(budgets, [calls(lease(n))])))
      all.push(await rated('3 rates', (n) => paid(budgets, ['a', 'b', lease(n)].map(rate))))
      all.push(
        await rated('refused of 3', async (n) => {
          const limits = [rate(lease(n)), bytes(lease(n)), { ...calls('none'), max: 0n }]
          if ((await budgets.spend(limits)).spent) throw new Error('an empty budget was spent')
        }),
      )
      all.push(
        await rated('looked at 3', async (n) => {
          await budgets.look([calls(lease(n)), bytes(lease(n)), rate(lease(n))])
        }),
      )
    }
    return all
  } finally {
    await store.close()
  }
}

async function paid(budgets: Budgets, limits: readonly Limit[]): Promise<void> {
  if (!(await budgets.spend(limits)).spent) throw new Error('a budget that has enough was refused')
}

function calls(lease: string): Total {
  const expiresAt = Date.now() / 1000 + 3_600
  return { kind: 'total', key: `calls\nhttps://broker.bench\n${lease}`, max: 10n ** 9n, take: 1n, expiresAt }
}

function bytes(lease: string): Total {
  return { ...calls(lease), key: `bytes\nhttps://broker.bench\n${lease}`, max: 10n ** 18n, take: 65_536n }
}

function rate(lease: string): Rate {
  const limit = { count: 1_000_000, periodMs: 1_000, burst: 1_000_000 }
  return { kind: 'rate', key: `lease\nhttps://broker.bench\n${lease}`, ...limit }
}

async function measured(
  what: string,
  atOnce: number,
  count: number,
  call: (n: number) => Promise<void>,
): Promise<Rated> {
  for (let n = 0; n < 100; n++) await call(n)
  const took = new Float64Array(count)
  let next = 0
  const worker = async () => {
    while (next < count) {
      const n = next++
      const began = performance.now()
      await call(n)
      took[n] = (performance.now() - began) * 1000
    }
  }
  const [began, before] = [performance.now(), process.cpuUsage()]
  await Promise.all(Array.from({ length: atOnce }, worker))
  const { user, system } = process.cpuUsage(before)
  const seconds = (performance.now() - began) / 1000
  const { p50, p99 } = percentiles(took)
  const cpu_us = round((user + system) / count)
  return { what, at_once: atOnce, per_second: round(count / seconds), cpu_us, p50_us: p50, p99_us: p99 }
}

if (import.meta.main) writeResult('budgets', await measureBudgets(5_000))
