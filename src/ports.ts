// What the core asks of the world. Two adapters implement the state ports (stores/embedded.ts,
// stores/redis.ts) and pass one contract suite (test/stores/contract.ts). Times are seconds since 1970
// unless a name says otherwise. A port that cannot answer throws `Unavailable`, never guesses.

import type { Terms } from './approval/terms.ts'
import type { LookUpKeys } from './lease/key_hash.ts'
import type { Lease, RevocationScope } from './lease/lease.ts'
import type { Budgets } from './ports/budgets.ts'
import type { Deferrals, Leases } from './ports/leases.ts'
import type { PolicySets } from './ports/policy_sets.ts'
import type { Records } from './ports/records.ts'

export * from './ports/budgets.ts'
export * from './ports/leases.ts'
export * from './ports/policy_sets.ts'
export * from './ports/records.ts'

/** Thrown by a store that cannot answer in time; the gate turns it into 503 `evidence_unavailable`. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
  /** What whoever asked may be told; absent: that the store did not answer. */
  readonly told: string | undefined

  constructor(message: string, { told }: { readonly told?: string } = {}) {
    super(message)
    this.told = told
  }
}

/**
 * Kills every lease under (`scope`, `value`) issued at or before `cutoff`. A second entry for the same
 * key keeps the later cutoff and the later expiry: a revocation is never weakened.
 */
export interface Revocation {
  readonly scope: RevocationScope
  readonly value: string
  /** Only leases of this issuer; absent: of every issuer. */
  readonly issuer?: string
  readonly cutoff: number
  /** When the longest lease it kills is certainly over and the entry may be purged. */
  readonly expiresAt: number
  readonly reason: string
  /** Who revoked: an operator, `cli:root`, … For the record, never an authority. */
  readonly by: string
  /** When it was acknowledged. */
  readonly at: number
}

/**
 * Whether a lease is suspended. The later `version` wins, whatever order entries arrive in (of two alike, the
 * one that suspends); it is the `version` of the lease's record.
 */
export interface Suspension {
  readonly lease: string
  readonly suspended: boolean
  readonly version: number
  /** When the longest token it concerns is certainly over and the entry may be purged. */
  readonly expiresAt: number
  readonly reason: string
  readonly by: string
  readonly at: number
}

/** What the view holds, the feed carries and nobody forgets. */
export type RevocationEntry = Revocation | Suspension

/** Tells the two apart. */
export function isSuspension(entry: RevocationEntry): entry is Suspension {
  return 'suspended' in entry
}

/** Whether an entry stands for one that the store has and nobody can read: nobody knows when that was acknowledged. */
export function isDoubtful({ at }: RevocationEntry): boolean {
  return at === 0
}

export interface Revocations {
  /** Durable before it resolves. Throws `Unavailable`. */
  revoke(entry: Revocation): Promise<void>
  /** The entry that kills a lease with these keys issued at `issuedAt`, from memory: no I/O. */
  find(keys: LookUpKeys, issuedAt: number): Revocation | undefined
  /** Durable before it resolves, and as fast at every gate as a revocation. Throws `Unavailable`. */
  suspend(entry: Suspension): Promise<void>
  /** The suspension in force for a lease or one it was handed on from, from memory: no I/O. */
  suspension(lease: { readonly id: string; readonly ancestors: readonly string[] }): Suspension | undefined
  /**
   * With strict reading: brings into the view, from the store, what there is about this lease right now.
   * Undefined: the view is enough. Rejects with `Unavailable`.
   */
  confirm(lease: Pick<Lease, 'id' | 'ancestors' | 'revocationKeys'>): Promise<void> | undefined
  /** Milliseconds since the in-memory view was last known to be complete. */
  ageMs(nowMs: number): number
  /** Entries in the view. */
  size(): number
  /** Entries of the store that cannot be read, by what became of them; with the second sort the view is stale. */
  malformed(): { readonly takenAsRevoked: number; readonly unreadable: number }
  /** The same in a sentence for each sort, with what to do about it. Never names whom an entry is about. */
  faults(): readonly string[]
  /** Calls back after an entry has entered the view, whichever process wrote it. Returns the way out. */
  watch(listener: (entry: RevocationEntry) => void): () => void
}

/** Values that all processes of one store share and nobody else knows. */
export interface Secrets {
  /** 32 random bytes under a name, made by whoever asks first. The same for everybody from then on. */
  shared(name: string): Promise<Uint8Array>
}

/** A human's yes that one call relies on. */
export interface Approval {
  /** Of the action, or of the repeat that was granted with it. */
  readonly id: string
  /** `exact`: to this very action. `repeat`: to so many alike. */
  readonly kind: 'exact' | 'repeat'
  readonly approvedBy: readonly string[]
  /** Of its record, when it was looked at. */
  readonly version: number
}

export interface Approvals {
  /**
   * Uses it up, once, over all processes and restarts: false when it is not there any more as it was looked at. Throws
   * `Unavailable`, and then it may have been used. Once `givenUp` it begins no write any more.
   */
  use(approval: Approval, now: number, givenUp: AbortSignal): Promise<boolean>
}

export interface Replay {
  /**
   * Remembers a single-use id. Exactly one caller ever gets `true` before `expiresAt`. Throws `Unavailable`
   * when no more ids can be remembered: what could be replayed is not let in.
   */
  use(id: string, expiresAt: number, now: number): Promise<boolean>
}

/** One adapter, all state ports. */
export interface Store {
  readonly kind: 'embedded' | 'redis'
  readonly revocations: Revocations
  readonly leases: Leases
  readonly budgets: Budgets
  readonly replay: Replay
  readonly deferrals: Deferrals
  readonly secrets: Secrets
  readonly policySets: PolicySets
  readonly records: Records
  /** Why the store does not answer now; undefined while it does. Holds no secret. */
  fault(): string | undefined
  /**
   * Seconds since 1970: the later of the store's clock and of when the newest token of its leases was issued,
   * so that a revocation "up to now" reaches that token whatever was done to clocks. Throws `Unavailable`.
   */
  now(): Promise<number>
  /**
   * Seconds that this process's clock is ahead of the store's, below zero behind it; 0 where both are one. From
   * memory, and at once different when this clock is set.
   */
  clockOffset(): number
  /** Rejects when the store cannot be reached; resolves within its command timeout. For `/readyz`. */
  ping(): Promise<void>
  close(): Promise<void>
}

export type Effect = 'allow' | 'deny' | 'hold' | 'draft'

/** What policy said. A policy that failed (undefined, trap, unknown effect) is `deny` with its `fault`. */
export interface PolicyAnswer {
  readonly effect: Effect
  readonly reasons: readonly string[]
  /** Beside `hold` and `draft`: who has to say yes, and how. */
  readonly approval?: Terms
  /** Why no usable answer came out; for the audit record. */
  readonly fault?: string
}

/** What policy was asked for one request, and what it said: enough to ask it, or another policy, again. */
export interface Consultation {
  /** JSON text of the policy input, whole (policy/input.ts). It can hold secrets: never log it as it is. */
  readonly input: string
  readonly answer: PolicyAnswer
}

/** Compiled policy with its data. Synchronous and total: it never throws. */
export interface Policy {
  /** `sha256:` + hex over the module and the data. */
  readonly digest: string
  /** `input` is the JSON text of the versioned policy input (policy/input.ts). */
  evaluate(input: string): PolicyAnswer
}

/** Where audit records go. One JSON text per record, without the newline. */
export interface AuditSink {
  /** Queues a record; written within one event-loop turn, in order. */
  append(record: string): void
  /** Resolves once the record is on disk (fdatasync); rejects when the sink cannot take it. */
  appendDurably(record: string): Promise<void>
  /** Why records cannot be written now; undefined while all is well. */
  fault(): string | undefined
  close(): Promise<void>
}
