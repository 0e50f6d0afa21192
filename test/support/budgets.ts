// Totals in memory, counted exactly: what a byte meter asks of a store. Never a rate.
import { setImmediate as turn } from 'node:timers/promises'
import type { Budgets, Limit, Remaining, Spent, Total } from '../../src/ports/budgets.ts'

export interface CountedBudgets extends Budgets {
  /** What is spent of a counter. */
  spent(key: string): bigint
  /** Takes of a counter in order; negative: given back. */
  readonly takes: readonly bigint[]
  /** Every call rejects with it from now on; undefined: no more. */
  broken: Error | undefined
}

/** Every call takes a turn of the event loop, as one to a store does. */
export function countedBudgets(): CountedBudgets {
  const counters = new Map<string, bigint>()
  const takes: bigint[] = []
  const total = (limit: Limit): Total => {
    if (limit.kind === 'rate') throw new Error('rates are not counted here')
    return limit
  }
  const left = ({ key, max }: Total): Remaining => {
    const rest = max - (counters.get(key) ?? 0n)
    return { left: rest < 0n ? 0n : rest, resetMs: undefined }
  }
  const budgets: CountedBudgets = {
    broken: undefined,
    takes,
    spent: (key) => counters.get(key) ?? 0n,
    async spend(limits): Promise<Spent> {
      await turn()
      if (budgets.broken !== undefined) throw budgets.broken
      const totals = limits.map(total)
      const short = totals.findIndex((each) => left(each).left < each.take)
      if (short >= 0) {
        return { spent: false, remaining: totals.map(left), limit: short, retryAfterMs: undefined }
      }
      for (const { key, take } of totals) {
        takes.push(take)
        counters.set(key, (counters.get(key) ?? 0n) + take)
      }
      return { spent: true, remaining: totals.map(left) }
    },
    async look(limits) {
      await turn()
      return limits.map(total).map(left)
    },
    async giveBack(totals) {
      await turn()
      if (budgets.broken !== undefined) throw budgets.broken
      for (const { key, take } of totals) {
        takes.push(-take)
        counters.set(key, (counters.get(key) ?? 0n) - take)
      }
    },
  }
  return budgets
}
