// How policy came to its answer on one input: the reply of regoc's `explain` (regoc/explain.go). Plain data;
// in: nothing, out: the shape. What it says is OPA's Go engine's account, never the effect that counts.

/** Steps down to a value: `input`, `data` or a variable of a rule first, then keys and positions. */
export type Path = readonly (string | number | boolean | null)[]

/** One value that a condition looked at. */
export interface Read {
  /** As an author would write it: `input.request.verb`, `data.profiles["a-b"].stages`, `grant.actions`. */
  readonly name: string
  readonly path: Path
  /** Null unless `defined` and `shown`. */
  readonly value: unknown
  readonly defined: boolean
  /** Which step of `path` is not there; 0 when defined. */
  readonly lacks: number
  /** False: too long to show. */
  readonly shown: boolean
  /** Some members of it were looked at, rather than the whole. */
  readonly within: boolean
}

/** One condition of a rule's body as written, or a value of its head that had to be found. */
export interface ConditionTrace {
  readonly line: number
  readonly column: number
  readonly text: string
  /** `unknown`: it needs a variable that a failed condition would have bound, or was never reached. */
  readonly outcome: 'true' | 'false' | 'unknown'
  /** The values of each failed attempt, the first three and the last: one per grant of a lease, for example. */
  readonly failures: readonly (readonly Read[])[]
  /** The values of the last attempt. */
  readonly reads: readonly Read[]
  /** Strings, numbers and booleans written in it. */
  readonly constants: readonly (string | number | boolean)[]
}

/** One rule that took part, with one set of arguments. */
export interface RuleTrace {
  /** `data.leasegate.authz.permitted` */
  readonly rule: string
  /** The member that a rule with `contains` adds, as written; '' for other rules. */
  readonly key: string
  /** Relative to the policy directory. */
  readonly file: string
  readonly line: number
  readonly column: number
  /** Of its annotation; '' without one. */
  readonly title: string
  readonly description: string
  readonly arguments: readonly Read[]
  readonly holds: boolean
  readonly conditions: readonly ConditionTrace[]
}

/** One evaluation, rules in the order in which they were entered. */
export interface Trace {
  /** The decision; absent when undefined. */
  readonly result?: unknown
  /** Why there is none: rules that disagree, for example. Names file and line. */
  readonly fault?: string
  readonly rules: readonly RuleTrace[]
  /** There was more than fits into its bounds of size and time. */
  readonly incomplete: boolean
}
