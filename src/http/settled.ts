// Exchanges that stay open, found by every key a revocation of their lease could stand under: killing one lease
// of a hundred thousand looks at its own exchanges and at no other.
import type { Open } from './in_flight.ts'

/** A set of open exchanges with an index. */
export class Settled {
  readonly #all = new Set<Open>()
  readonly #byKey = new Map<string, Set<Open>>()

  get size(): number {
    return this.#all.size
  }

  add(open: Open): void {
    this.#all.add(open)
    for (const key of open.lease.revocationKeys) {
      const under = this.#byKey.get(key)
      if (under === undefined) this.#byKey.set(key, new Set([open]))
      else under.add(open)
    }
  }

  /** No-op for one that is not there. */
  delete(open: Open): void {
    if (!this.#all.delete(open)) return
    for (const key of open.lease.revocationKeys) {
      const under = this.#byKey.get(key)
      under?.delete(open)
      if (under?.size === 0) this.#byKey.delete(key)
    }
  }

  /** Those that a revocation under `key` could name. */
  under(key: string): Iterable<Open> {
    return this.#byKey.get(key) ?? []
  }

  [Symbol.iterator](): Iterator<Open> {
    return this.#all.values()
  }
}
