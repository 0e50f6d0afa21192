// In: a way to run SQL. Out: the budget port on it. All limits of a call are read and written in one transaction.
// Totals are on disk when a spending resolves; rates and what is given back get there with the next write that
// waits for the disk. A refusal touches no disk. It never holds a count in memory.
import type { Budgets, Limit } from '../ports.ts'
import { keepSeconds } from './lifetimes.ts'
import { fits, type Gauge, gaugesOf, refusedOf, remainingOf } from './limits.ts'
import type { Sql } from './sql.ts'

// As text: the driver refuses to hand over what a double would round.
const readTotal = 'SELECT CAST(used AS TEXT) AS used FROM budgets WHERE key = ? AND keep_until > ?'
const writeTotal = `INSERT INTO budgets VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
  SET used = excluded.used, keep_until = max(keep_until, excluded.keep_until)`
const lowerTotal = 'UPDATE budgets SET used = max(0, used - ?) WHERE key = ? AND keep_until > ?'
const readRate = 'SELECT whole_at FROM rates WHERE key = ?'
const writeRate = `INSERT INTO rates VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
  SET whole_at = excluded.whole_at, keep_until = excluded.keep_until`

/** What the counters of one call hold. */
interface Reading {
  readonly gauges: readonly Gauge[]
  readonly held: readonly bigint[]
  /** A rate owes more than it ever may: the clock was set back, or the rate was lowered. */
  readonly ahead: boolean
}

/** Rates go by `now`, the clock of this machine in milliseconds. */
export function sqlBudgets(sql: Sql, now: () => number): Budgets {
  return {
    async spend(limits) {
      const seen = read(sql, limits, now())
      if (!seen.ahead && !hasRoom(seen)) return refusedOf(seen.gauges, seen.held)
      const spend = () => {
        const nowMs = now()
        const { gauges, held, ahead } = read(sql, limits, nowMs)
        const taken = hasRoom({ gauges, held })
        const after = taken ? held.map((value, at) => value + gauges[at]!.take) : held
        if (taken || ahead) write(sql, { gauges, held: after, taken }, nowMs)
        return taken
          ? { spent: true as const, remaining: remainingOf(gauges, after) }
          : refusedOf(gauges, held)
      }
      const durable = limits.some((limit) => limit.kind === 'total' && limit.take > 0n)
      return durable ? sql.write(spend) : sql.writeSoon(spend)
    },
    async look(limits) {
      const seen = read(sql, limits, now())
      if (!seen.ahead) return remainingOf(seen.gauges, seen.held)
      return sql.writeSoon(() => {
        const nowMs = now()
        const { gauges, held } = read(sql, limits, nowMs)
        write(sql, { gauges, held, taken: false }, nowMs)
        return remainingOf(gauges, held)
      })
    },
    async giveBack(totals) {
      gaugesOf(totals, now() / 1000)
      const given = totals.filter(({ take }) => take > 0n)
      if (given.length === 0) return
      await sql.writeSoon(() => {
        for (const { key, take } of given) sql.run(lowerTotal, take, key, now() / 1000)
      })
    },
  }
}

function hasRoom({ gauges, held }: Pick<Reading, 'gauges' | 'held'>): boolean {
  return gauges.every((gauge, at) => fits(gauge, held[at]!))
}

function read(sql: Sql, limits: readonly Limit[], nowMs: number): Reading {
  const gauges = gaugesOf(limits, nowMs / 1000)
  let ahead = false
  const held = gauges.map(({ limit, capacity }) => {
    if (limit.kind === 'total')
      return BigInt(String(sql.all(readTotal, limit.key, nowMs / 1000)[0]?.used ?? 0))
    const owed = BigInt(Number(sql.all(readRate, limit.key)[0]?.whole_at ?? 0) - microseconds(nowMs))
    if (owed > capacity) ahead = true
    return owed > capacity ? capacity : owed > 0n ? owed : 0n
  })
  return { gauges, held, ahead }
}

/**
 * Without `taken` rates alone: one that is ahead of the clock has to be written, or it would lock callers out
 * until the clock has caught up.
 */
function write(
  sql: Sql,
  { gauges, held, taken }: Pick<Reading, 'gauges' | 'held'> & { readonly taken: boolean },
  nowMs: number,
): void {
  for (const [at, { limit, take }] of gauges.entries()) {
    if (limit.kind === 'rate') {
      const wholeAt = microseconds(nowMs) + Number(held[at])
      sql.run(writeRate, limit.key, wholeAt, wholeAt / 1e6 + keepSeconds)
    } else if (taken && take > 0n) {
      sql.run(writeTotal, limit.key, held[at]!, limit.expiresAt + keepSeconds)
    }
  }
}

function microseconds(ms: number): number {
  return Math.floor(ms * 1000)
}
