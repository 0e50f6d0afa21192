// In: revocations and suspensions, from whichever store and process. Out: the in-memory answer to "is this
// lease revoked, or suspended?" and how old that answer may be. It never does I/O, never weakens an entry,
// never drops one before it has expired.
import type { Lease } from '../lease/lease.ts'
import type { Revocation, Suspension } from '../ports.ts'
import { type Entry, isSuspension, keyOf, merge } from './entry.ts'

/** Every revocation and suspension this process has seen. */
export class RevocationView {
  readonly #revocations = new Map<string, Revocation>()
  /** By lease. */
  readonly #suspensions = new Map<string, Suspension>()
  readonly #listeners = new Set<(entry: Entry) => void>()

  get size(): number {
    return this.#revocations.size + this.#suspensions.size
  }

  /** The first entry that kills a lease issued at `issuedAt`. Allocates nothing. */
  find(keys: readonly string[], issuedAt: number): Revocation | undefined {
    if (this.#revocations.size === 0) return undefined
    for (let i = 0; i < keys.length; i++) {
      const entry = this.#revocations.get(keys[i]!)
      // Negated, so that a lease whose `issuedAt` is not a number is revoked rather than spared.
      if (entry !== undefined && !(entry.cutoff < issuedAt)) return entry
    }
    return undefined
  }

  /** Merges an entry in; listeners hear of what changed the view. */
  put(entry: Entry): void {
    if (isSuspension(entry)) this.#merge(this.#suspensions, entry.lease, entry)
    else this.#merge(this.#revocations, keyOf(entry), entry)
  }

  #merge<E extends Entry>(entries: Map<string, E>, key: string, entry: E): void {
    const known = entries.get(key)
    const merged = merge(known, entry)
    if (merged === known) return
    entries.set(key, merged)
    for (const listener of this.#listeners) tell(listener, merged)
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
    const gone: string[] = []
    for (const entry of this.entries()) {
      if (entry.expiresAt < before) gone.push(keyOf(entry))
    }
    for (const key of gone) this.#revocations.delete(key)
    for (const [lease, entry] of this.#suspensions) {
      if (entry.expiresAt < before) this.#suspensions.delete(lease)
    }
    return gone
  }

  *entries(): Generator<Entry> {
    yield* this.#revocations.values()
    yield* this.#suspensions.values()
  }

  /** Calls back after each change. Returns the way out. */
  watch(listener: (entry: Entry) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** A listener that throws is a bug: it surfaces as an uncaught exception and never holds up the view. */
function tell(listener: (entry: Entry) => void, entry: Entry): void {
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
