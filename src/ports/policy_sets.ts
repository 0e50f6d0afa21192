// Published policies, and which of them gates follow. Part of ports.ts; times are seconds since 1970.

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
