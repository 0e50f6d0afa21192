// In: revocation entries, from whichever store and process. Out: the in-memory answer to "is this lease
// revoked?" and how old that answer may be. It never does I/O, never weakens an entry, never drops one
// before it has expired.

import { type Lease, type RevocationScope, revocationKey, revocationScopes } from '../lease/lease.ts'
import { type Revocation, type Suspension, Unavailable } from '../ports.ts'

/** The key an entry stands under; see `revocationKeys` for the ones a lease is looked up by. */
export function keyOf(entry: Revocation): string {
  return revocationKey(entry.scope, entry.value, entry.issuer)
}

/**
 * The stronger of two entries for one key: the later cutoff (with its reason), the later expiry. Returns
 * `known` itself when `added` changes nothing. Commutative in cutoff and expiry, idempotent.
 */
export function merge(known: Revocation | undefined, added: Revocation): Revocation {
  if (known === undefined) return added
  if (covers(known, added)) return known
  const later = added.cutoff > known.cutoff ? added : known
  return { ...later, expiresAt: Math.max(known.expiresAt, added.expiresAt) }
}

/** Whether `known` already revokes all that `added` would, for as long. */
export function covers(known: Revocation, added: Revocation): boolean {
  return known.cutoff >= added.cutoff && known.expiresAt >= added.expiresAt
}

/** The text both stores keep. Throws a `RangeError` for a time that is not finite. */
export function encodeEntry(entry: Revocation): string {
  for (const name of ['cutoff', 'expiresAt', 'at'] as const) {
    if (!Number.isFinite(entry[name])) throw new RangeError(`revocation: ${name} is not a finite number`)
  }
  return JSON.stringify(entry)
}

/** Reads `encodeEntry` back. Throws `Unavailable` for anything else: a guess could miss a revocation. */
export function decodeEntry(text: string): Revocation {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Unavailable('a stored revocation is not JSON')
  }
  if (!isEntry(value)) throw new Unavailable('a stored revocation is malformed')
  return value
}

function isEntry(value: unknown): value is Revocation {
  if (typeof value !== 'object' || value === null) return false
  const entry = value as Partial<Record<keyof Revocation, unknown>>
  const texts = [entry.value, entry.reason, entry.by, entry.issuer ?? '']
  const times = [entry.cutoff, entry.expiresAt, entry.at]
  return (
    revocationScopes.includes(entry.scope as RevocationScope) &&
    texts.every((text) => typeof text === 'string') &&
    times.every((time) => Number.isFinite(time))
  )
}

/** Every revocation this process has seen, by key. */
export class RevocationView {
  readonly #entries = new Map<string, Revocation>()
  readonly #suspensions = new Map<string, Suspension>()
  readonly #listeners = new Set<(entry: Revocation) => void>()

  get size(): number {
    return this.#entries.size
  }

  /** The first entry that kills a lease issued at `issuedAt`. Allocates nothing. */
  find(keys: readonly string[], issuedAt: number): Revocation | undefined {
    if (this.#entries.size === 0) return undefined
    for (let i = 0; i < keys.length; i++) {
      const entry = this.#entries.get(keys[i]!)
      // Negated, so that a lease whose `issuedAt` is not a number is revoked rather than spared.
      if (entry !== undefined && !(entry.cutoff < issuedAt)) return entry
    }
    return undefined
  }

  /** Merges an entry in; listeners hear of it when it changed the view. */
  put(entry: Revocation): void {
    const key = keyOf(entry)
    const known = this.#entries.get(key)
    const merged = merge(known, entry)
    if (merged === known) return
    this.#entries.set(key, merged)
    for (const listener of this.#listeners) tell(listener, merged)
  }

  /** Takes a suspension in, unless a later version stands there. */
  putSuspension(entry: Suspension): void {
    const known = this.#suspensions.get(entry.lease)
    if (known === undefined || known.version < entry.version) this.#suspensions.set(entry.lease, entry)
  }

  /** The suspension in force for a lease or one of its ancestors. Allocates nothing. */
  suspension({ id, ancestors }: Pick<Lease, 'id' | 'ancestors'>): Suspension | undefined {
    if (this.#suspensions.size === 0) return undefined
    const own = this.#suspensions.get(id)
    if (own?.suspended === true) return own
    for (let i = 0; i < ancestors.length; i++) {
      const entry = this.#suspensions.get(ancestors[i]!)
      if (entry?.suspended === true) return entry
    }
    return undefined
  }

  /** Forgets what expired before `before` (seconds) and returns its keys. */
  purge(before: number): string[] {
    for (const [lease, entry] of this.#suspensions) {
      if (entry.expiresAt < before) this.#suspensions.delete(lease)
    }
    const gone: string[] = []
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt < before) gone.push(key)
    }
    for (const key of gone) this.#entries.delete(key)
    return gone
  }

  entries(): IterableIterator<[string, Revocation]> {
    return this.#entries.entries()
  }

  /** Calls back after each change. Returns the way out. */
  watch(listener: (entry: Revocation) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** A listener that throws is a bug: it surfaces as an uncaught exception and never holds up the view. */
function tell(listener: (entry: Revocation) => void, entry: Revocation): void {
  try {
    listener(entry)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/** One instant on two clocks: the wall clock and one that only ever moves forward. Milliseconds. */
export interface Moment {
  readonly wallMs: number
  readonly steadyMs: number
}

/** Reads both clocks. Take it *before* asking the store: what the answer proves holds as of then. */
export function moment(now: () => number): Moment {
  return { wallMs: now(), steadyMs: performance.now() }
}

/** When the view was last proven complete. */
export class Freshness {
  #wallMs = Number.NEGATIVE_INFINITY
  #steadyMs = Number.NEGATIVE_INFINITY

  prove(at: Moment): void {
    this.#wallMs = at.wallMs
    this.#steadyMs = at.steadyMs
  }

  /**
   * Milliseconds since then, by whichever clock says more: a wall clock set back cannot make a stale view
   * look fresh, and a suspended machine, whose steady clock stood still, wakes up stale.
   */
  ageMs(nowMs: number): number {
    return Math.max(nowMs - this.#wallMs, performance.now() - this.#steadyMs)
  }
}
