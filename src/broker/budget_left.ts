// What is left of the budgets of a lease, for whoever looks at it. In: its record, the port of budgets. Out: a row for
// each limit of its details. Looks at the counters that the gate spends from (enforce/limits.ts); takes nothing.
import { grantLimits, limitsOf, nothing } from '../enforce/limits.ts'
import type { LeaseDetail } from '../lease/allow.ts'
import { amountText } from '../lease/amount.ts'
import type { LeaseConstraints } from '../lease/constraints.ts'
import type { Budgets, LeaseRecord } from '../ports.ts'

/** The constraints that are counted. */
type CountedConstraint = 'max_calls' | 'max_amount' | 'max_bytes' | 'max_rate'

/** One limit of a lease. Of a rate, `left` is what could be called at once. */
export interface BudgetRow {
  readonly constraint: CountedConstraint
  /** As it was granted. */
  readonly max: number | string
  /** In the form of `max`; of a rate, a number of calls. */
  readonly left: number | string
}

const constraintOf = {
  calls: 'max_calls',
  amount: 'max_amount',
  bytes: 'max_bytes',
  max_rate: 'max_rate',
} as const satisfies Readonly<Record<string, CountedConstraint>>

/**
 * A row for each limit; details that have the same one share its row. Empty for a lease that nothing limits. Throws
 * `Unavailable`.
 */
export async function budgetLeft(
  record: LeaseRecord,
  budgets: Pick<Budgets, 'look'>,
): Promise<readonly BudgetRow[]> {
  const details = record.details as readonly LeaseDetail[]
  const rows = await Promise.all(details.map(({ constraints }) => rowsOf(record, constraints, budgets)))
  const distinct = new Map(rows.flat().map((row) => [`${row.constraint} ${row.max}`, row]))
  return [...distinct.values()]
}

/** Of one detail: the store is not asked for a counter twice in one step. */
async function rowsOf(
  record: LeaseRecord,
  constraints: LeaseConstraints | undefined,
  budgets: Pick<Budgets, 'look'>,
): Promise<BudgetRow[]> {
  const limits = constraints === undefined ? undefined : limitsOf({ constraints: { ...constraints } })
  if (constraints === undefined || limits === undefined) return []
  const named = grantLimits(record, limits, nothing)
  const remaining = await budgets.look(named.map(({ limit }) => limit))
  return named.map(({ name }, at) => {
    const constraint = constraintOf[name as keyof typeof constraintOf]
    const max = constraints[constraint]!
    const left = remaining[at]!.left
    return {
      constraint,
      max,
      left: constraint === 'max_amount' ? likeWritten(left, String(max)) : Number(left),
    }
  })
}

/** An amount with at least the digits that `written` has after the point: `240.00` of `250.00`. */
function likeWritten(millionths: bigint, written: string): string {
  const digits = (text: string) => text.split('.')[1]?.length ?? 0
  const text = amountText(millionths)
  const missing = digits(written) - digits(text)
  if (missing <= 0) return text
  return `${text}${digits(text) === 0 ? '.' : ''}${'0'.repeat(missing)}`
}
