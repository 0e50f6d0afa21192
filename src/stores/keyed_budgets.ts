// In: a few Redis commands. Out: the budget port on them; redis.ts lists the keys. One script decides and spends.
// A reply lost on the way costs what was taken, never grants it. It never compares an amount as a Lua number.
import type { Budgets, Limit } from '../ports.ts'
import type { Commands, KeyName } from './keyed.ts'
import { lifetimeMs } from './keyed.ts'
import { keepSeconds } from './lifetimes.ts'
import { type Gauge, gaugesOf, refusedOf, remainingOf } from './limits.ts'

/** `now` is the clock of Redis, milliseconds. */
export function keyedBudgets(redis: Pick<Commands, 'run'>, key: KeyName, now: () => number): Budgets {
  const counter = ({ kind, key: name }: Limit) => key(kind === 'total' ? 'budget' : 'rate', name)
  const count = async (gauges: readonly Gauge[], take: 0 | 1) => {
    const keys = gauges.map(({ limit }) => counter(limit))
    const values = gauges.flatMap((gauge) => valuesOf(gauge, now()))
    const reply = await redis.run('leasegateSpend', keys.length, ...keys, take, ...values)
    const [taken, ...held] = reply as [number, ...string[]]
    return { taken: taken === 1, held: held.map(BigInt) }
  }
  return {
    async spend(limits) {
      if (limits.length === 0) return { spent: true, remaining: [] }
      const gauges = gaugesOf(limits, now() / 1000)
      const { taken, held } = await count(gauges, 1)
      return taken ? { spent: true, remaining: remainingOf(gauges, held) } : refusedOf(gauges, held)
    },
    async look(limits) {
      if (limits.length === 0) return []
      const gauges = gaugesOf(limits, now() / 1000)
      return remainingOf(gauges, (await count(gauges, 0)).held)
    },
    async giveBack(totals) {
      gaugesOf(totals, now() / 1000)
      const given = totals.filter(({ take }) => take > 0n)
      if (given.length === 0) return
      const takes = given.map(({ take }) => String(take))
      await redis.run('leasegateGiveBack', given.length, ...given.map(counter), ...takes)
    },
  }
}

/** The arguments of `leasegateSpend` for one counter. */
function valuesOf({ limit, capacity, ceiling, take }: Gauge, nowMs: number): (string | number)[] {
  const room = take > capacity ? '' : String(capacity - take)
  if (limit.kind === 'rate') return [limit.kind, room, String(take), String(ceiling)]
  // What Redis would not take as a lifetime would fail after the count.
  const ttlMs = Math.min(lifetimeMs(limit.expiresAt + keepSeconds, nowMs / 1000), Number.MAX_SAFE_INTEGER)
  return [limit.kind, room, String(take), ttlMs]
}
