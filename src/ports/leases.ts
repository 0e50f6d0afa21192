// Leases as they are stored: the record of each, what may become of it, what was done under it, and requests that
// wait for a human. Part of ports.ts; times are seconds since 1970.
import type { Binding, DelegatingAgent } from '../lease/lease.ts'

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
  /** Only leases that stand after this place, in the order of the list. */
  readonly before?: LeasePlace
  readonly limit: number
}

/** Where a lease stands: newest first, of those of one moment the greater id first. */
export type LeasePlace = Pick<LeaseRecord, 'issuedAt' | 'id'>

export interface Leases {
  /** Inserts or replaces by id, and remembers `login` for `usersOf`. Durable before it resolves. */
  put(record: LeaseRecord): Promise<void>
  get(id: string): Promise<LeaseRecord | undefined>
  /**
   * Notes a further token, issued at `issuedAt`, that lives until `expiresAt`, unless the lease is not `active` any more: then
   * undefined, and nothing is changed. One step over all processes: no token comes after a completion.
   */
  renew(
    id: string,
    token: { readonly issuedAt: number; readonly expiresAt: number },
  ): Promise<LeaseRecord | undefined>
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
  /** Whether a yes needs a reason; absent: it does not. */
  readonly reasonRequired?: boolean
  /** What was asked for, as the broker needs it to decide again (broker/deferred.ts). Holds no token. */
  readonly request: string
  readonly createdAt: number
  readonly expiresAt: number
  /** Seconds between two polls; each poll that comes too early adds five (RFC 8628 §3.5). */
  readonly interval: number
  readonly state: 'pending' | 'approved' | 'denied' | 'expired' | 'redeemed'
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
  /** From `pending` only, when its time is over; exactly one caller ever gets `true`. */
  expire(id: string): Promise<boolean>
  /** From `approved` only; exactly one caller ever gets `true`. */
  redeem(id: string): Promise<boolean>
  /** Oldest first, at most `limit`, those that still wait at `now`. */
  pending(now: number, limit: number): Promise<Deferral[]>
}
