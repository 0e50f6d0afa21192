// Which published policies a store keeps, and the text of an activation in it: the same for both adapters.
import { historyLength, isDigest, rollbackPath } from '../policy/rollout.ts'
import { type Activation, type PublishedSet, Unavailable } from '../ports.ts'

/** Of each: the sets that were active last, those that rollbacks lead to, those that were published last. */
export const keptSets = 20

/**
 * Digests of the sets that may go: not among the last `keptSets` of any sort. `history` and `published` are
 * whole and newest first.
 */
export function spareSets(published: readonly PublishedSet[], history: readonly Activation[]): string[] {
  const last = (digests: readonly string[]) => [...new Set(digests)].slice(0, keptSets)
  const kept = new Set([
    ...last(history.map(({ digest }) => digest)),
    ...last(rollbackPath(history)),
    ...last(published.map(({ digest }) => digest)),
  ])
  return published.map(({ digest }) => digest).filter((digest) => !kept.has(digest))
}

/** Newest first; in one order where the times are equal. */
export function newestFirst(sets: readonly PublishedSet[]): PublishedSet[] {
  return sets.toSorted((a, b) => b.publishedAt - a.publishedAt || (a.digest < b.digest ? -1 : 1))
}

/** At most as many as are kept, whatever was asked for. */
export function historyLimit(limit: number): number {
  return Math.min(Math.max(0, Math.floor(limit)), historyLength)
}

/** JSON of an activation without its number, which is given to it where it is written. */
export function encodeActivation({ digest, kind, by, at, reason }: Omit<Activation, 'number'>): string {
  return JSON.stringify({ digest, kind, by, at, reason })
}

/** Reads it back. Throws `Unavailable` for anything else. */
export function decodeActivation(number: number, text: string): Activation {
  const value = parse(text, 'activation')
  const { digest, kind, by, at, reason } = value
  if (
    !Number.isSafeInteger(number) ||
    !isDigest(digest) ||
    (kind !== 'activate' && kind !== 'rollback') ||
    typeof by !== 'string' ||
    typeof at !== 'number' ||
    typeof reason !== 'string'
  ) {
    throw new Unavailable('a stored activation is malformed')
  }
  return { number, digest, kind, by, at, reason }
}

/** Reads `{ publishedAt, by }` of a set. Throws `Unavailable` for anything else. */
export function decodePublished(digest: string, text: string): PublishedSet {
  const { publishedAt, by } = parse(text, 'policy set')
  if (!isDigest(digest) || typeof publishedAt !== 'number' || typeof by !== 'string') {
    throw new Unavailable('a stored policy set is malformed')
  }
  return { digest, publishedAt, by }
}

function parse(text: string, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Said below, without what JSON.parse quotes of it.
  }
  throw new Unavailable(`a stored ${what} is malformed`)
}
