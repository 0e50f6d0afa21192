// In: a way to run SQL. Out: the budget port on it. All limits of a call are read and written in one transaction.
// Totals are on disk when a spending resolves; rates and what is given back get there with the next write that
// waits for the disk. A refusal touches no disk. It never holds a count in memory.
import type { Budgets, Limit, Spent } from '../ports.ts'
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

/** What the counters of one call hold, in the order of its limits. */
interface Reading {
  readonly gauges: readonly Gauge[]
  readonly held: readonly bigint[]
  /** Rates that owe more than they ever may: the clock was set back, or the rate was raised. */
  readonly ahead: readonly boolean[]
}

/** Rates go by `now`, the clock of this machine in milliseconds. */
export function sqlBudgets(sql: Sql, now: () => number): Budgets {
  return {
    async spend(limits) {
      if (limits.length === 0) return { spent: true, remaining: [] }
      const seen = read(sql, limits, now())
      if (!isAhead(seen) && !hasRoom(seen)) return refusedOf(seen.gauges, seen.held)
      const durable = limits.some((limit) => limit.kind === 'total' && limit.take > 0n)
      const spend = () => take(sql, limits, now())
      return durable ? sql.write(spend) : sql.writeSoon(spend)
    },
    async look(limits) {
      const seen = read(sql, limits, now())
      if (!isAhead(seen)) return remainingOf(seen.gauges, seen.held)
      return sql.writeSoon(() => {
        const nowMs = now()
        const { gauges, held, ahead } = read(sql, limits, nowMs)
        setBack(sql, { gauges, held, ahead }, nowMs)
        return remainingOf(gauges, held)
      })
    },
    async giveBack(totals) {
      gaugesOf(totals, now() / 1000)
      const given = totals.filter((total) => total.take > 0n)
      if (given.length === 0) return
      await sql.writeSoon(() => {
        for (const total of given) sql.run(lowerTotal, total.take, total.key, now() / 1000)
      })
    },
  }
}

function isAhead({ ahead }: Reading): boolean {
  return ahead.includes(true)
}

function hasRoom({ gauges, held }: Reading): boolean {
  return gauges.every((gauge, at) => fits(gauge, held[at]!))
}

function read(sql: Sql, limits: readonly Limit[], nowMs: number): Reading {
  const gauges = gaugesOf(limits, nowMs / 1000)
  const kept = gauges.map(({ limit: { kind, key } }) => {
    if (kind === 'total') return BigInt(String(sql.all(readTotal, key, nowMs / 1000)[0]?.used ?? 0))
    return BigInt(Number(sql.all(readRate, key)[0]?.whole_at ?? 0) - microseconds(nowMs))
  })
  const ahead = gauges.map(({ limit, ceiling }, at) => limit.kind === 'rate' && kept[at]! > ceiling)
  const held = kept.map((each, at) => (ahead[at] ? gauges[at]!.ceiling : each > 0n ? each : 0n))
  return { gauges, held, ahead }
}

/** Inside a transaction: reads, decides, writes. */
function take(sql: Sql, limits: readonly Limit[], nowMs: number): Spent {
  const reading = read(sql, limits, nowMs)
  const { gauges, held } = reading
  if (!hasRoom(reading)) {
    setBack(sql, reading, nowMs)
    return refusedOf(gauges, held)
  }
  const after = held.map((each, at) => each + gauges[at]!.take)
  for (const [at, { limit, take }] of gauges.entries()) {
    if (limit.kind === 'rate') keepRate(sql, limit.key, { owed: after[at]!, nowMs })
    else if (take > 0n) sql.run(writeTotal, limit.key, after[at]!, limit.expiresAt + keepSeconds)
  }
  return { spent: true, remaining: remainingOf(gauges, after) }
}

/** Without this a rate that is ahead would lock callers out until the clock has caught up. */
function setBack(sql: Sql, { gauges, held, ahead }: Reading, nowMs: number): void {
  for (const [at, { limit }] of gauges.entries()) {
    if (ahead[at]) keepRate(sql, limit.key, { owed: held[at]!, nowMs })
  }
}

function keepRate(sql: Sql, key: string, { owed, nowMs }: { owed: bigint; nowMs: number }): void {
  const wholeAt = microseconds(nowMs) + Number(owed)
  sql.run(writeRate, key, wholeAt, wholeAt / 1e6 + keepSeconds)
}

function microseconds(ms: number): number {
  return Math.floor(ms * 1000)
}
