// What the core asks of the world. Two adapters implement the state ports (stores/embedded.ts,
// stores/redis.ts) and pass one contract suite (test/stores/contract.ts). Times are seconds since 1970
// unless a name says otherwise. A port that cannot answer throws `Unavailable`, never guesses.
import type { Binding, DelegatingAgent, RevocationScope } from './lease/lease.ts'

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

export interface Revocations {
  /** Durable before it resolves. Throws `Unavailable`. */
  revoke(entry: Revocation): Promise<void>
  /** The entry that kills a lease with these keys issued at `issuedAt`, from memory: no I/O. */
  find(keys: readonly string[], issuedAt: number): Revocation | undefined
  /** Durable before it resolves, and as fast at every gate as a revocation. Throws `Unavailable`. */
  suspend(entry: Suspension): Promise<void>
  /** The suspension in force for a lease or one it was handed on from, from memory: no I/O. */
  suspension(lease: { readonly id: string; readonly ancestors: readonly string[] }): Suspension | undefined
  /** Milliseconds since the in-memory view was last known to be complete. */
  ageMs(nowMs: number): number
  /** Entries in the view. */
  size(): number
  /** Calls back after an entry has entered the view, whichever process wrote it. Returns the way out. */
  watch(listener: (entry: Revocation) => void): () => void
}

/** What is stored of a lease's life. `expired` is never stored: the clock says it. */
export const storedStates = ['active', 'suspended', 'revoked', 'completed'] as const
export type StoredState = (typeof storedStates)[number]

/** The durable record of one grant: who, which agent, what, why, when. What happened is its `LeaseUsage`. */
export interface LeaseRecord {
  readonly id: string
  readonly issuer: string
  /** Whose agent it is, where one broker serves several; empty: nobody's in particular. */
  readonly tenant: string
  readonly user: string
  /** The user as the identity provider knows them; absent where no provider spoke for them. */
  readonly login?: { readonly issuer: string; readonly subject: string }
  /** What the provider said about them, for policy when it is asked again; absent: nobody did. */
  readonly asserted?: {
    readonly kind: 'user' | 'workflow'
    readonly groups: readonly string[]
    readonly authTime?: number
    readonly acr?: string
  }
  readonly agent: string
  readonly agentVersion: string
  readonly agentEnv: string
  readonly clientId: string
  readonly profile: string
  readonly profileVersion: string
  readonly task: { readonly system: string; readonly id: string; readonly purpose: string }
  readonly session: string
  readonly stage: string
  readonly audience: string
  /** `authorization_details` as granted. */
  readonly details: readonly unknown[]
  /** The key that its tokens are bound to; absent: bearer tokens. */
  readonly binding?: Binding
  /** Leases it was handed on from, nearest first, and the agents that did so. */
  readonly ancestors: readonly string[]
  readonly delegatedBy: readonly DelegatingAgent[]
  /** Of the first token. */
  readonly issuedAt: number
  /** Expiry of the newest token. */
  readonly expiresAt: number
  readonly maxExpiresAt: number
  readonly renewals: number
  readonly state: StoredState
  /** Counts the changes of `state`. */
  readonly version: number
  /** The latest change of `state`; absent while it is the one it was issued with. */
  readonly changed?: { readonly at: number; readonly by: string; readonly reason: string }
  /** Its place in the token status list; absent: it has none. */
  readonly statusIndex?: number
  /** Why it was granted; absent where an operator signed it without asking policy. */
  readonly decision?: {
    readonly id: string
    readonly reasons: readonly string[]
    readonly policyDigest: string
  }
}

/** A change of state that is asked for. */
export interface LeaseTransition {
  /** The states from which it may happen; in `to` itself nothing changes. */
  readonly from: readonly StoredState[]
  readonly to: StoredState
  readonly at: number
  readonly by: string
  readonly reason: string
}

/** `unchanged`: it was in that state already. `conflict`: its state does not allow this. */
export type TransitionResult =
  | { readonly outcome: 'changed' | 'unchanged' | 'conflict'; readonly record: LeaseRecord }
  | { readonly outcome: 'unknown' }

/** Calls under one lease since the last time they were added up. Bytes are body bytes. */
export interface LeaseUse {
  readonly id: string
  /** Who issued it: another issuer may have a lease of the same id. */
  readonly issuer: string
  readonly calls: number
  /** Calls by verb, of those that reached an operation. */
  readonly verbs: Readonly<Record<string, number>>
  readonly refusals: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly lastUsedAt: number
}

/** All calls under one lease, as far as gates have reported them: up to some seconds old. */
export type LeaseUsage = Omit<LeaseUse, 'id' | 'issuer'>

/** Which leases; members that are absent do not limit. */
export interface LeaseFilter {
  readonly agent?: string
  readonly user?: string
  /** `system:id`, as in revocations. */
  readonly task?: string
  readonly session?: string
  readonly tenant?: string
  /** As stored: a lease whose time is over is still `active` here. */
  readonly state?: StoredState
  /** Leases whose time is not over at this moment. */
  readonly liveAt?: number
  readonly limit: number
}

export interface Leases {
  /** Inserts or replaces by id, and remembers `login` for `usersOf`. Durable before it resolves. */
  put(record: LeaseRecord): Promise<void>
  get(id: string): Promise<LeaseRecord | undefined>
  /**
   * Notes a further token that lives until `expiresAt`, unless the lease is not `active` any more: then
   * undefined, and nothing is changed. One step over all processes: no token comes after a completion.
   */
  renew(id: string, expiresAt: number): Promise<LeaseRecord | undefined>
  /** Changes the state in one step over all processes, or says why not. */
  transition(id: string, change: LeaseTransition): Promise<TransitionResult>
  /** Newest first, at most `limit`. */
  list(filter: LeaseFilter): Promise<LeaseRecord[]>
  /** Adds to the usage of each lease; one that is unknown is left out. */
  addUsage(uses: readonly LeaseUse[]): Promise<void>
  /** Undefined: nobody has reported a call. */
  usage(lease: Pick<LeaseUse, 'id' | 'issuer'>): Promise<LeaseUsage | undefined>
  /** Users, as leases name them, that leases were issued to on the word of an identity provider. */
  usersOf(login: { readonly issuer: string; readonly subject: string }): Promise<string[]>
}

/** A token request that waits for a human. `id` is the digest of the deferral code: the code is not stored. */
export interface Deferral {
  readonly id: string
  readonly clientId: string
  /** Thumbprint of the key it was asked with; empty where it was asked without one. */
  readonly key: string
  /** Who has to say yes: people and `group:` names, from policy. */
  readonly approvers: readonly string[]
  /** What was asked for, as the broker needs it to decide again (broker/deferred.ts). Holds no token. */
  readonly request: string
  readonly createdAt: number
  readonly expiresAt: number
  /** Seconds between two polls; each poll that comes too early adds five (RFC 8628 §3.5). */
  readonly interval: number
  readonly state: 'pending' | 'approved' | 'denied' | 'redeemed'
  readonly settled?: { readonly by: string; readonly at: number; readonly reason: string }
}

export interface Deferrals {
  /** Inserts; one that is known stays as it is. */
  put(deferral: Deferral): Promise<void>
  get(id: string): Promise<Deferral | undefined>
  /** Notes a poll at `now`; `tooFast` when the one before it was less than `interval` ago. */
  poll(id: string, now: number): Promise<{ deferral: Deferral; tooFast: boolean } | undefined>
  /** From `pending` only; exactly one caller ever gets `true`. */
  settle(id: string, to: 'approved' | 'denied', settled: NonNullable<Deferral['settled']>): Promise<boolean>
  /** From `approved` only; exactly one caller ever gets `true`. */
  redeem(id: string): Promise<boolean>
  /** Oldest first, at most `limit`, those that still wait at `now`. */
  pending(now: number, limit: number): Promise<Deferral[]>
}

/** Values that all processes of one store share and nobody else knows. */
export interface Secrets {
  /** 32 random bytes under a name, made by whoever asks first. The same for everybody from then on. */
  shared(name: string): Promise<Uint8Array>
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
  /**
   * Remembers a single-use id. Exactly one caller ever gets `true` before `expiresAt`. Throws `Unavailable`
   * when no more ids can be remembered: what could be replayed is not let in.
   */
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
  readonly deferrals: Deferrals
  readonly secrets: Secrets
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
