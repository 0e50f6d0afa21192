// Counts by name, in bounded memory. In: names, one after the other. Out: how often each came, most first;
// names beyond the bound are counted together, never dropped.

/** How often a name came. */
export interface Count<Name> {
  readonly name: Name
  readonly count: number
}

/** Counts with a bound on how many different names are told apart. */
export class Tally {
  readonly #counts = new Map<string, number>()
  readonly #maxNames: number
  #rest = 0

  constructor(maxNames: number) {
    this.#maxNames = maxNames
  }

  add(name: string): void {
    const count = this.#counts.get(name)
    if (count !== undefined) this.#counts.set(name, count + 1)
    else if (this.#counts.size < this.#maxNames) this.#counts.set(name, 1)
    else this.#rest++
  }

  /** Most first; among equals, in the order they came. */
  counts(): Count<string>[] {
    return [...this.#counts].map(([name, count]) => ({ name, count })).toSorted((a, b) => b.count - a.count)
  }

  /** Of names that came after the bound was reached. */
  get rest(): number {
    return this.#rest
  }

  get total(): number {
    return this.#rest + [...this.#counts.values()].reduce((sum, count) => sum + count, 0)
  }
}
