// The port of what leases may use up: totals, which only shrink, and rates, which refill. One call spends from
// all limits of a request at once. Two adapters, one contract suite (test/stores/budgets_contract.ts).

/** A total that is never refilled. Whole numbers of the smallest unit, up to 10^18. */
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
 * A rate by the generic cell rate algorithm: `burst` calls at once, and one more each `periodMs / count`. One
 * call takes one.
 */
export interface Rate {
  readonly kind: 'rate'
  readonly key: string
  readonly count: number
  readonly periodMs: number
  readonly burst: number
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
      /** The first limit that had too little. */
      readonly limit: number
      /** Milliseconds after which a rate would let the call through; undefined: a total is short. */
      readonly retryAfterMs: number | undefined
    }

export interface Budgets {
  /**
   * Takes from all limits or from none, in one step over all processes: however parallel, no total is ever
   * exceeded and no rate either. Totals that were spent are on disk where the store promises that. Throws
   * `Unavailable`; then something may have been taken, never given.
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
