// In: revocations and suspensions, the entries that every gate holds in memory. Out: their key, their order, the
// one text both stores keep. It never weakens an entry and never guesses what a text might have meant.
import { type RevocationScope, revocationKey, revocationScopes } from '../lease/lease.ts'
import { isObject } from '../lease/text.ts'
import {
  type RevocationEntry as Entry,
  isSuspension,
  type Revocation,
  type Suspension,
  Unavailable,
} from '../ports.ts'

export type { Entry }
export { isSuspension }

/** The key an entry stands under; see `revocationKeys` for the ones a lease is looked up by. */
export function keyOf(entry: Entry): string {
  return isSuspension(entry)
    ? suspensionKey(entry.lease)
    : revocationKey(entry.scope, entry.value, entry.issuer)
}

/** The key of a lease's suspension. */
export function suspensionKey(lease: string): string {
  return `suspension\n${lease}`
}

/**
 * The higher of two entries for one key stands: the later cutoff, the later version. Of two suspensions with
 * one version the one that suspends does, so that the order of arrival makes no difference.
 */
export function rankOf(entry: Entry): number {
  return isSuspension(entry) ? 2 * entry.version + Number(entry.suspended) : entry.cutoff
}

/**
 * The stronger of two entries for one key: the higher rank (with its reason), the later expiry. Returns
 * `known` itself when `added` changes nothing. Commutative in rank and expiry, idempotent.
 */
export function merge<E extends Entry>(known: E | undefined, added: E): E {
  if (known === undefined) return added
  if (covers(known, added)) return known
  const later = rankOf(added) > rankOf(known) ? added : known
  return { ...later, expiresAt: Math.max(known.expiresAt, added.expiresAt) }
}

/** Whether `known` already says all that `added` would, for as long. */
export function covers(known: Entry, added: Entry): boolean {
  return rankOf(known) >= rankOf(added) && known.expiresAt >= added.expiresAt
}

/** The text both stores keep. Throws a `RangeError` for a time or a version that is not one. */
export function encodeEntry(entry: Entry): string {
  for (const [name, value] of Object.entries(timesOf(entry))) {
    if (!Number.isFinite(value)) throw new RangeError(`${kindOf(entry)}: ${name} is not a finite number`)
  }
  if (isSuspension(entry) && !isVersion(entry.version)) {
    throw new RangeError('suspension: version is not a count')
  }
  return JSON.stringify(entry)
}

function kindOf(entry: Entry): string {
  return isSuspension(entry) ? 'suspension' : 'revocation'
}

function timesOf(entry: Entry): Record<string, number> {
  const { expiresAt, at } = entry
  return isSuspension(entry) ? { expiresAt, at } : { cutoff: entry.cutoff, expiresAt, at }
}

/** Reads `encodeEntry` back. Throws `Unavailable` for anything else: a guess could miss a revocation. */
export function decodeEntry(text: string): Entry {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Unavailable('a stored revocation is not JSON')
  }
  if (isObject(value) && 'suspended' in value) {
    if (isSuspensionValue(value)) return value
    throw new Unavailable('a stored suspension is malformed')
  }
  if (!isRevocation(value)) throw new Unavailable('a stored revocation is malformed')
  return value
}

function isRevocation(value: unknown): value is Revocation {
  if (!isObject(value)) return false
  const entry: Partial<Record<keyof Revocation, unknown>> = value
  return (
    revocationScopes.includes(entry.scope as RevocationScope) &&
    areTexts(entry.value, entry.reason, entry.by, entry.issuer ?? '') &&
    areTimes(entry.cutoff, entry.expiresAt, entry.at)
  )
}

function isSuspensionValue(value: object): value is Suspension {
  const entry: Partial<Record<keyof Suspension, unknown>> = value
  return (
    typeof entry.suspended === 'boolean' &&
    isVersion(entry.version) &&
    areTexts(entry.lease, entry.reason, entry.by) &&
    areTimes(entry.expiresAt, entry.at)
  )
}

function areTexts(...values: unknown[]): boolean {
  return values.every((value) => typeof value === 'string')
}

function areTimes(...values: unknown[]): boolean {
  return values.every((value) => Number.isFinite(value))
}

/** Twice a version and one has to stay exact. */
function isVersion(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 51
}
