// START HERE: an action that waits for a human. A call that policy held, or a draft, exactly as the agent sent it,
// with who may say yes and who did. Types and the steps of its life; pure. Every change is a step below, written
// with compare-and-set (actions.ts), so that two people and two gates never both have the last word.
import type { Lease, Stage, Task } from '../lease/lease.ts'
import type { Terms } from './terms.ts'

/** `hold`: the agent calls again once it is approved. `draft`: a gate executes it once it is released. */
export type ActionKind = 'hold' | 'draft'

/**
 * What is stored of its life. `expired`: the clock says it before it is stored (expiry.ts). `used`: an approved call
 * has gone through. `executing`: a gate has begun, and nobody else ever will. `executed`: the backend has answered.
 * `failed`: it was refused, or nobody knows whether the backend has seen it.
 */
export type ActionState =
  | 'pending'
  | 'approved'
  | 'refused'
  | 'withdrawn'
  | 'expired'
  | 'used'
  | 'executing'
  | 'executed'
  | 'failed'

/** Somebody who decides: as leases name users, and as the identity provider knows them. */
export interface Person {
  readonly user: string
  readonly issuer: string
  readonly subject: string
  readonly groups: readonly string[]
}

/** One person's yes to exactly this fingerprint. */
export interface Yes {
  readonly by: Pick<Person, 'user' | 'issuer' | 'subject'>
  /** The name among the approvers that they decided under: their own, or a `group:` of theirs. */
  readonly as: string
  readonly at: number
  readonly reason: string
  /** What showed that it was them: their session, or a passkey for this very action. */
  readonly shownBy: 'session' | 'passkey' | 'token'
  /** What they let be repeated; it comes about as far as everybody who says yes lets it (repeats.ts). */
  readonly repeat?: { readonly calls: number; readonly seconds: number }
}

/** What the gate decided on, as far as it may be shown in lists; bytes and query are in the sealed call. */
export interface ActionFacts {
  readonly backend: string
  /** As mapped, e.g. `DELETE /customers/{id}`. */
  readonly operation: string
  readonly verb: string
  readonly resource: string
  readonly sensitivity: string
  readonly risk: string
  readonly method: string
  /** Path as the agent sent it. */
  readonly path: string
  readonly contentType: string | undefined
  readonly bodyBytes: number
  /** `sha-256:` + base64url. */
  readonly bodyDigest: string
}

/** What an action means under the operation map; its fingerprint names bytes alone. */
export type Meaning = Pick<ActionFacts, 'verb' | 'resource' | 'sensitivity' | 'risk'>

/** Whether two mean the same: the map may have changed since people looked. */
export function isSameMeaning(a: Meaning, b: Meaning): boolean {
  return (
    a.verb === b.verb && a.resource === b.resource && a.sensitivity === b.sensitivity && a.risk === b.risk
  )
}

/** Under which lease: for the record, for lists and for who may not approve. */
export interface ActionLease {
  readonly id: string
  readonly issuer: string
  readonly user: string
  readonly agent: Pick<Lease['agent'], 'id' | 'version' | 'env' | 'profile'>
  readonly task: Task
  readonly session: string
  readonly stage: Stage
}

/** What became of an executed draft. */
export interface ActionOutcome {
  /** Of the execution; it has an audit record of its own. */
  readonly decisionId: string
  /** Undefined: no answer came. */
  readonly status: number | undefined
  /** The refusal that ended it. */
  readonly code: string | undefined
  readonly bytes: number
  /** Whether the answer was small enough to be kept for the agent. */
  readonly kept: boolean
  readonly at: number
}

export interface Action {
  /** `act_…` */
  readonly id: string
  readonly kind: ActionKind
  readonly state: ActionState
  /** Names the exact action (fingerprint.ts). A draft that is replaced has another one. */
  readonly fingerprint: string
  readonly createdAt: number
  readonly expiresAt: number
  /** Of the call that was held. */
  readonly decisionId: string
  readonly what: ActionFacts
  readonly lease: ActionLease
  readonly said: {
    readonly effect: 'hold' | 'draft'
    readonly reasons: readonly string[]
    readonly policyDigest: string
  }
  readonly terms: Terms
  readonly yes: readonly Yes[]
  /** Who ended it and why: a refusal, a withdrawal. */
  readonly ended?: { readonly by: string; readonly at: number; readonly reason: string }
  readonly outcome?: ActionOutcome
  /** While it is executing: when the gate that executes it last said so. */
  readonly aliveAt?: number
}

/** States in which nobody can decide any more. */
const over: readonly ActionState[] = ['refused', 'withdrawn', 'expired', 'used', 'executed', 'failed']

/** Its state at `now`: time that has run out refuses, unless a gate has begun. */
export function stateOf({ state, expiresAt }: Action, now: number): ActionState {
  const waits = state === 'pending' || state === 'approved'
  // Negated, so that an end which is no number is over.
  return waits && !(now < expiresAt) ? 'expired' : state
}

/** Whether it is done with, one way or the other. */
export function isOver(action: Action, now: number): boolean {
  return over.includes(stateOf(action, now))
}
