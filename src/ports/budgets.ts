// The port of what leases may use up: totals, which only shrink, and rates, which refill. One call spends from
// all limits of a request at once. Two adapters, one contract suite (test/stores/budgets_contract.ts).

/** The most that a total holds: with as much again on top it still fits in 64 bits. */
export const largestTotal = 10n ** 18n

/** The longest that a rate may take from nothing to whole, milliseconds: 31 years. */
export const longestRefillMs = 1e12

/** A total that is never refilled. Whole numbers of the smallest unit, up to `largestTotal`. */
export interface Total {
  readonly kind: 'total'
  /** Names the counter; every gate of the store counts on the same one. */
  readonly key: string
  readonly max: bigint
  /** What this call takes; 0 takes nothing and tells what is left. */
  readonly take: bigint
  /** The counter may be forgotten after this moment, seconds since 1970. */
  readonly expiresAt: number
}

/**
 * A rate by the generic cell rate algorithm: `burst` calls at once, and one more each `periodMs / count`, rounded
 * up to a microsecond. One call takes one. All three are whole and at least 1; from nothing to whole it takes
 * `longestRefillMs` at most.
 */
export interface Rate {
  readonly kind: 'rate'
  readonly key: string
  readonly count: number
  readonly periodMs: number
  readonly burst: number
  /**
   * Wider rates count on the same key, so that it may owe more than this one ever may. Without it such a counter is
   * taken for one whose clock was set back, or whose rate was raised, and cut to what this one may owe.
   */
  readonly shared?: true
}

export type Limit = Total | Rate

/** What a limit has left. */
export interface Remaining {
  /** Of a total, in its unit; of a rate, calls that could be made now. Never below zero. */
  readonly left: bigint
  /** Milliseconds until a rate is whole again; undefined for a total. */
  readonly resetMs: number | undefined
}

/** What came of a spending. `remaining` is in the order of the limits, after the spending. */
export type Spent =
  | { readonly spent: true; readonly remaining: readonly Remaining[] }
  | {
      readonly spent: false
      readonly remaining: readonly Remaining[]
      /** The first total that had too little; where all had enough, the first rate. */
      readonly limit: number
      /** Milliseconds after which all rates would let the call through; undefined: a total is short. */
      readonly retryAfterMs: number | undefined
    }

export interface Budgets {
  /**
   * Takes from all limits or from none, in one step over all processes: however parallel, no total is ever
   * exceeded and no rate either. Totals that were spent are on disk where the store promises that. Throws
   * `Unavailable`; then something may have been taken, never given. Throws `RangeError` for limits that mean
   * nothing: no key or one twice, an amount below 0 or above `largestTotal`, a number that is not finite.
   */
  spend(limits: readonly Limit[]): Promise<Spent>
  /** What is left, without taking anything. */
  look(limits: readonly Limit[]): Promise<readonly Remaining[]>
  /**
   * Returns `take` of each total: what a call had spent that no backend has seen. Never below nothing spent; a
   * counter that is gone stays gone. A reply that is lost costs what was taken, never grants more.
   */
  giveBack(totals: readonly Total[]): Promise<void>
}
