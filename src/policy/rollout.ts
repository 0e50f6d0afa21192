// In: the history of activations and the published sets. Out: where a rollback leads, which set a prefix
// names, whether a gate has what it should have. Pure.
import type { Activation, PublishedSet } from '../ports.ts'

/** Activations that a store remembers; a rollback leads back no further. */
export const historyLength = 1000

const digestForm = /^sha256:[0-9a-f]{64}$/

/** Whether text is a digest as `policyDigest` writes it. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && digestForm.test(text)
}

/**
 * The digests that rollbacks lead to, one after the other: each takes back the latest activation that has
 * not been taken back, so an activation after a rollback leads back to where the rollback led. `history`
 * is newest first, as the store gives it; empty where there is nothing to go back to.
 */
export function rollbackPath(history: readonly Activation[]): string[] {
  const standing: string[] = []
  for (const { kind, digest } of history.toReversed()) {
    if (kind === 'rollback') standing.pop()
    // What a rollback led to may be older than the history that is kept.
    if (standing.at(-1) !== digest) standing.push(digest)
  }
  return standing.slice(0, -1).reverse()
}

/** The digests that `text` may mean: all of one, or its first hex digits with or without `sha256:`. */
export function digestsNamed(text: string, sets: readonly PublishedSet[]): string[] {
  const prefix = text.startsWith('sha256:') ? text : `sha256:${text}`
  return sets.map(({ digest }) => digest).filter((digest) => digest.startsWith(prefix))
}

/** What a gate that follows activations last heard from the state store. */
export interface Following {
  /** The newest activation; absent while nothing has been activated. */
  readonly active?: Activation
  /** Why what is active now cannot be known. */
  readonly fault?: string
}

/** Whether the live policy is certainly the one that was activated, or nothing was. */
export function isConverged({ active, fault }: Following, liveDigest: string): boolean {
  return fault === undefined && (active === undefined || active.digest === liveDigest)
}

/** One line for people: the live digest, the active one, and what keeps them apart. */
export function describeFollowing({ active, fault }: Following, liveDigest: string): string {
  const doubt = fault === undefined ? '' : `; ${fault}`
  if (active === undefined) return `${liveDigest} from the policy directory, nothing is activated${doubt}`
  if (active.digest !== liveDigest) return `${liveDigest} stays live, active is ${active.digest}${doubt}`
  return `${liveDigest}, activation ${active.number} by ${active.by}${doubt}`
}
