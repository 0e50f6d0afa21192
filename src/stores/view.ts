// In: revocations and suspensions, from whichever store and process. Out: the in-memory answer to "is this
// lease revoked, or suspended?" and how old that answer may be. It never does I/O, never weakens an entry,
// never drops one before it has expired.
import type { LookUpKeys } from '../lease/key_hash.ts'
import type { Lease } from '../lease/lease.ts'
import type { Revocation, Suspension } from '../ports.ts'
import { doubtfulSuspension, suspendedLease } from './doubtful.ts'
import { covers, type Entry, isSuspension, keyOf, merge, suspensionKey } from './entry.ts'
import { RevocationTable } from './table.ts'

/** What is known of a lease's suspension. */
interface Held {
  readonly entry: Suspension
  /** The last one that could be read, while `entry` stands for one that cannot. */
  readonly known?: Suspension
  readonly isDoubtful: boolean
  readonly seen: number | undefined
}

/** Every revocation and suspension this process has seen. */
export class RevocationView {
  readonly #revocations = new RevocationTable()
  /** By lease. */
  readonly #suspensions = new Map<string, Held>()
  readonly #listeners = new Set<(entry: Entry) => void>()

  get size(): number {
    return this.#revocations.size + this.#suspensions.size
  }

  /** Entries that hold because what the store has under their key cannot be read. */
  get doubtful(): number {
    let count = this.#revocations.doubtful
    for (const { isDoubtful } of this.#suspensions.values()) if (isDoubtful) count++
    return count
  }

  /** The first entry that kills a lease issued at `issuedAt`. Allocates nothing unless there is one. */
  find(keys: LookUpKeys, issuedAt: number): Revocation | undefined {
    return this.#revocations.find(keys, issuedAt)
  }

  /**
   * Merges an entry in; listeners hear of what changed the view. `generation`: the number of the look at the
   * store that came upon it, for `unseen`.
   */
  put(entry: Entry, generation?: number): void {
    if (isSuspension(entry)) this.#hold(entry, generation)
    else if (this.#revocations.put(entry, generation)) this.#tell(keyOf(entry))
  }

  /**
   * The store has something under this key that cannot be read: taken as the strongest revocation or suspension
   * there is, until an entry that can be read is put there. The key has to be legible (`concernOf`).
   */
  doubt(key: string): void {
    const lease = suspendedLease(key)
    if (lease === undefined) {
      if (this.#revocations.doubt(key)) this.#tell(key)
      return
    }
    const held = this.#suspensions.get(lease)
    const known = held?.isDoubtful === true ? held.known : held?.entry
    this.#suspensions.set(lease, {
      entry: doubtfulSuspension(lease),
      ...(known !== undefined && { known }),
      isDoubtful: true,
      seen: held?.seen,
    })
    if (held?.isDoubtful !== true) this.#tell(key)
  }

  /** Whether what holds under a key holds because the store's entry cannot be read. */
  isDoubtful(key: string): boolean {
    const lease = suspendedLease(key)
    if (lease === undefined) return this.#revocations.isDoubtful(key)
    return this.#suspensions.get(lease)?.isDoubtful === true
  }

  #hold(added: Suspension, generation: number | undefined): void {
    const held = this.#suspensions.get(added.lease)
    const known = held?.isDoubtful === true ? held.known : held?.entry
    const entry = merge(known, added)
    const seen = generation !== undefined && covers(added, entry) ? generation : held?.seen
    this.#suspensions.set(added.lease, { entry, isDoubtful: false, seen })
    if (held?.isDoubtful === true || entry !== known) this.#tell(keyOf(added))
  }

  #tell(key: string): void {
    if (this.#listeners.size === 0) return
    const lease = suspendedLease(key)
    const entry = lease === undefined ? this.#revocations.get(key) : this.#suspensions.get(lease)?.entry
    if (entry === undefined) return
    for (const listener of this.#listeners) tell(listener, entry)
  }

  /** The suspension in force for a lease or one of its ancestors. Allocates nothing. */
  suspension({ id, ancestors }: Pick<Lease, 'id' | 'ancestors'>): Suspension | undefined {
    if (this.#suspensions.size === 0) return undefined
    const own = this.#suspensions.get(id)?.entry
    if (own?.suspended === true) return own
    for (let i = 0; i < ancestors.length; i++) {
      const entry = this.#suspensions.get(ancestors[i]!)?.entry
      if (entry?.suspended === true) return entry
    }
    return undefined
  }

  /** Forgets what expired before `before` (seconds), in steps of microseconds; the keys of each step. */
  *purge(before: number): Generator<string[]> {
    yield* this.#revocations.purge(before)
    const gone: string[] = []
    for (const [lease, { entry }] of this.#suspensions) {
      if (!(entry.expiresAt < before)) continue
      this.#suspensions.delete(lease)
      gone.push(suspensionKey(lease))
    }
    yield gone
  }

  /**
   * Entries in force at `now` (seconds) that look `generation` at the store has not come upon as strong as they
   * are. Not those in doubt: what cannot be read is left to who can.
   */
  *unseen(generation: number, now: number): Generator<Entry> {
    yield* this.#revocations.unseen(generation, now)
    for (const { entry, isDoubtful, seen } of this.#suspensions.values()) {
      if (!isDoubtful && seen !== generation && entry.expiresAt > now) yield entry
    }
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
  #distrustedMs = Number.NEGATIVE_INFINITY

  prove(at: Moment): void {
    if (at.steadyMs <= this.#distrustedMs) return
    this.#wallMs = at.wallMs
    this.#steadyMs = at.steadyMs
  }

  /** What was asked from `steadyMs` up to now has proven nothing. */
  distrust(steadyMs: number): void {
    this.#distrustedMs = performance.now()
    const back = Math.max(0, this.#steadyMs - steadyMs)
    this.#steadyMs -= back
    this.#wallMs -= back
  }

  /**
   * Milliseconds since then, by whichever clock says more: a wall clock set back cannot make a stale view
   * look fresh, and a suspended machine, whose steady clock stood still, wakes up stale.
   */
  ageMs(nowMs: number): number {
    return Math.max(nowMs - this.#wallMs, performance.now() - this.#steadyMs)
  }
}
