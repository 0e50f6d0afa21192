// What a lease has left, as policy sees it before a call. In: what the store said of each limit. Out: the same by
// name, and a memory of it that is good for a second. Changes nothing; asks the store where nothing is known.
import type { Grant, Lease } from '../lease/lease.ts'
import type { Budgets, Remaining } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { within } from './deadline.ts'
import { type GrantLimits, grantLimits, limitsOf, type NamedLimit, nothing } from './limits.ts'

/** What the grant that covers a call has left; undefined is what it does not limit. */
export interface BudgetLeft {
  readonly calls: bigint | undefined
  readonly bytes: bigint | undefined
  /** Millionths. */
  readonly amount: bigint | undefined
  /** Calls that the rate would let through at once. */
  readonly rate: bigint | undefined
}

const memoryMs = 1_000

/** What this process was last told of each grant of each token; nothing that is older than a second. */
export class LeftMemory {
  readonly #seen = new WeakMap<Grant, { readonly left: BudgetLeft; readonly atMs: number }>()
  readonly #clock: () => number

  /** `clock` in milliseconds. */
  constructor(clock: () => number) {
    this.#clock = clock
  }

  remember(grant: Grant, left: BudgetLeft): void {
    this.#seen.set(grant, { left, atMs: this.#clock() })
  }

  recall(grant: Grant): BudgetLeft | undefined {
    const seen = this.#seen.get(grant)
    if (seen === undefined) return undefined
    const age = this.#clock() - seen.atMs
    return age >= 0 && age <= memoryMs ? seen.left : undefined
  }

  forget(grant: Grant): void {
    this.#seen.delete(grant)
  }
}

/** The four of a grant out of the limits of a call. */
export function leftOf(named: readonly NamedLimit[], remaining: readonly Remaining[]): BudgetLeft {
  const of = (name: NamedLimit['name']) => remaining[named.findIndex((each) => each.name === name)]?.left
  return { calls: of('calls'), bytes: of('bytes'), amount: of('amount'), rate: of('max_rate') }
}

/** Where what is left is looked up. */
export interface LeftSources {
  readonly budgets: Pick<Budgets, 'look'>
  readonly left: LeftMemory
  /** Bound on each reading of a store, milliseconds. */
  readonly deadlineMs: number
}

/** Asks the store. Never rejects: a store that cannot answer is `evidence_unavailable`. */
export async function lookUp(
  lease: Lease,
  grant: Grant,
  { budgets, left, deadlineMs }: LeftSources,
): Promise<BudgetLeft | Refusal> {
  const named = grantLimits(lease, limitsOf(grant) as GrantLimits, nothing)
  try {
    const remaining = await within(deadlineMs, budgets.look(named.map(({ limit }) => limit)))
    const found = leftOf(named, remaining)
    left.remember(grant, found)
    return found
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'the budget cannot be read now',
      cause: error instanceof Error ? error.message : 'unknown',
    })
  }
}
