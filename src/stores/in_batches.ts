// In: items that each want a round trip or some of a CPU, as many as there are. Out: the same, done some at a time,
// so that whoever does it can go on proving that its view is complete. It never drops one that could not be done.

/** How much is done at once. */
export interface Batches<T> {
  readonly size: number
  readonly work: (items: readonly T[]) => Promise<unknown>
}

/** Does one batch after the other. */
export class InBatches<T> {
  readonly #batches: Batches<T>
  #left: Iterator<T> | undefined
  #batch: T[] = []

  constructor(batches: Batches<T>) {
    this.#batches = batches
  }

  get isDone(): boolean {
    return this.#left === undefined
  }

  /** From now on these, and no others. */
  begin(items: Iterator<T>): void {
    this.#left = items
    this.#batch = []
  }

  /** Goes on for about `ms`. Rejects when the work does; its batch comes first the next time. */
  async some(ms: number): Promise<void> {
    const until = performance.now() + ms
    while (this.#left !== undefined) {
      while (this.#batch.length < this.#batches.size) {
        const next = this.#left.next()
        if (next.done === true) break
        this.#batch.push(next.value)
      }
      if (this.#batch.length === 0) this.#left = undefined
      else await this.#batches.work(this.#batch)
      this.#batch = []
      if (performance.now() > until) return
    }
  }
}
