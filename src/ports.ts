// What the core asks of the world. Two adapters implement the state ports (stores/embedded.ts,
// stores/redis.ts) and pass one contract suite (test/stores/contract.ts). Times are seconds since 1970
// unless a name says otherwise. A port that cannot answer throws `Unavailable`, never guesses.
import type { RevocationScope } from './lease/lease.ts'

/** Thrown by a store that cannot answer in time; the gate turns it into 503 `evidence_unavailable`. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
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

export interface Revocations {
  /** Durable before it resolves. Throws `Unavailable`. */
  revoke(entry: Revocation): Promise<void>
  /** The entry that kills a lease with these keys issued at `issuedAt`, from memory: no I/O. */
  find(keys: readonly string[], issuedAt: number): Revocation | undefined
  /** Milliseconds since the in-memory view was last known to be complete. */
  ageMs(nowMs: number): number
  /** Entries in the view. */
  size(): number
  /** Calls back after an entry has entered the view, whichever process wrote it. Returns the way out. */
  watch(listener: (entry: Revocation) => void): () => void
}

/** The durable record of one grant, as issued. */
export interface LeaseRecord {
  readonly id: string
  readonly issuer: string
  readonly user: string
  readonly agent: string
  readonly agentVersion: string
  readonly task: { readonly system: string; readonly id: string; readonly purpose: string }
  readonly session: string
  readonly stage: string
  /** `authorization_details` as granted. */
  readonly details: readonly unknown[]
  readonly issuedAt: number
  /** Expiry of the newest token. */
  readonly expiresAt: number
  readonly maxExpiresAt: number
  readonly state: 'active' | 'suspended' | 'revoked' | 'completed'
}

export interface Leases {
  /** Inserts or replaces by id. */
  put(record: LeaseRecord): Promise<void>
  get(id: string): Promise<LeaseRecord | undefined>
  /** Newest first, at most `limit`. */
  list(filter: { agent?: string; user?: string; task?: string; limit: number }): Promise<LeaseRecord[]>
}

export interface Budgets {
  /**
   * Atomically spends one of `max` under `key`; `false`: none was left and nothing was spent. Exactly
   * `max` calls succeed over all processes, however parallel. Forgotten after `expiresAt`.
   */
  spend(key: string, max: number, expiresAt: number): Promise<{ spent: boolean; left: number }>
}

/** A human's yes to one exact action, named by its fingerprint. */
export interface Approval {
  readonly fingerprint: string
  readonly id: string
  readonly approvedBy: readonly string[]
  readonly expiresAt: number
}

export interface Approvals {
  put(approval: Approval): Promise<void>
  /** The approval while it is unused and unexpired. */
  find(fingerprint: string, now: number): Promise<Approval | undefined>
  /** Uses it up. Exactly one caller ever gets `true`, over all processes and restarts. */
  use(fingerprint: string, now: number): Promise<boolean>
}

export interface Replay {
  /** Remembers a single-use id. Exactly one caller ever gets `true` before `expiresAt`. */
  use(id: string, expiresAt: number, now: number): Promise<boolean>
}

/** A policy that was published, without its content. */
export interface PublishedSet {
  /** `policyDigest` of the content. */
  readonly digest: string
  readonly publishedAt: number
  /** Who published: `cli:root`, … For the record, never an authority. */
  readonly by: string
}

/** A policy that was published: all that a gate needs to load it without a compiler. */
export interface PolicySet extends PublishedSet {
  /** What `packSet` made (policy/set.ts). The store never looks inside: whoever unpacks it verifies it. */
  readonly packed: Uint8Array
}

/** That a published policy became the active one. */
export interface Activation {
  /** Its place in the history: one more than that of the activation before it. */
  readonly number: number
  readonly digest: string
  /** A `rollback` takes the latest activation back that has not been taken back yet (policy/rollout.ts). */
  readonly kind: 'activate' | 'rollback'
  readonly by: string
  readonly at: number
  readonly reason: string
}

export interface ActivationRequest extends Omit<Activation, 'number'> {
  /** Refuse unless this digest is the active one: what was read before is still so. */
  readonly expected?: string
}

/** `unchanged`: it was active already, nothing was written. */
export type ActivationResult =
  | { readonly outcome: 'activated' | 'unchanged'; readonly activation: Activation }
  | { readonly outcome: 'not_stored' }
  | { readonly outcome: 'not_expected'; readonly active: Activation | undefined }

/** Published policies, and which of them gates follow. Never asked on the request path. */
export interface PolicySets {
  /**
   * Inserts or replaces by digest; `true` when it was new. Forgets sets that nobody goes back to
   * (stores/kept_sets.ts), never this one, the active one, or the one a rollback leads to.
   */
  put(set: PolicySet): Promise<boolean>
  /** The packed content of a set, as it was put. */
  get(digest: string): Promise<Uint8Array | undefined>
  /** Newest first. */
  list(): Promise<PublishedSet[]>
  /** Appends to the history, in one order over all processes, or says why not. Durable before it resolves. */
  activate(request: ActivationRequest): Promise<ActivationResult>
  active(): Promise<Activation | undefined>
  /** Newest first, at most `limit`. */
  history(limit: number): Promise<Activation[]>
}

/** One adapter, all state ports. */
export interface Store {
  readonly kind: 'embedded' | 'redis'
  readonly revocations: Revocations
  readonly leases: Leases
  readonly budgets: Budgets
  readonly approvals: Approvals
  readonly replay: Replay
  readonly policySets: PolicySets
  /** Rejects when the store cannot be reached; resolves within its command timeout. For `/readyz`. */
  ping(): Promise<void>
  close(): Promise<void>
}

export type Effect = 'allow' | 'deny' | 'hold' | 'draft'

/** What policy said. A policy that failed (undefined, trap, unknown effect) is `deny` with its `fault`. */
export interface PolicyAnswer {
  readonly effect: Effect
  readonly reasons: readonly string[]
  readonly approval?: { readonly approvers: readonly string[]; readonly expiresIn: number }
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
