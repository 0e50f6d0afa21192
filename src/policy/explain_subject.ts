// What can be explained: one or more policy inputs, where they come from, and what is to be said beside them.
// Plain data.

import type { Effect } from '../ports.ts'
import type { PolicyInput } from './input_schema.ts'

/** What the audit record says about a decision. */
export interface Recorded {
  readonly decisionId: string
  readonly time: string
  /** Of the whole request: a check before policy, or a failure after it, has its say too. */
  readonly effect: Effect
  readonly code: string | null
  readonly cause: string | null
  readonly reasons: readonly string[]
  readonly ended: string
  /** What the request was, in one line. */
  readonly request: string
  /** The lease that would have been enough, where a check refused for want of one. */
  readonly missing?: {
    readonly actions: readonly string[]
    readonly identifier: string
    readonly sensitivity: string
  }
  /** Null: a check refused before policy was asked. */
  readonly policy: {
    readonly effect: Effect
    readonly reasons: readonly string[]
    readonly fault: string | null
    readonly digest: string | null
    /** Paths below `input` whose values the record does not hold. */
    readonly redacted: readonly string[]
  } | null
}

/** What `policy explain` was asked about. */
export interface Subject {
  /** Empty where a record holds no input to explain. */
  readonly inputs: readonly PolicyInput[]
  readonly recorded?: Recorded
  /** Assumptions and limits that a reader has to know. */
  readonly notes: readonly string[]
}
