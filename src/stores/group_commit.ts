// In: pieces of work that each want a transaction. Out: the same work, those that come in together in one
// transaction, because the sync to disk costs as much for one as for a hundred. Work that throws takes
// nothing with it but itself. It never resolves a piece before its transaction has been committed.

/** Runs `work` in one transaction that it commits, or rolls back and throws. */
export type Transact = (work: () => void) => Promise<void>

interface Waiting {
  /** Does the work; again, where the transaction before it failed on account of another piece. */
  run(): void
  resolve(): void
  reject(error: unknown): void
}

/** So many at most: what they hold up, on this process's event loop and in others, stays a few milliseconds. */
const largestGroup = 100

/** Groups work by turns of the event loop. */
export class GroupCommit {
  readonly #transact: Transact
  #waiting: Waiting[] = []
  #running = false

  constructor(transact: Transact) {
    this.#transact = transact
  }

  /** Resolves, after the commit, with what `work` returned; rejects with what it or the commit threw. */
  add<T>(work: () => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let result: { value: T } | undefined
    this.#waiting.push({
      run: () => {
        result = { value: work() }
      },
      resolve: () => resolve(result!.value),
      reject,
    })
    if (!this.#running) {
      this.#running = true
      setImmediate(() => void this.#drain())
    }
    return promise
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#commit(this.#waiting.splice(0, largestGroup))
      // Requests have their turn between two groups.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#running = false
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    if (group.length === 0) return
    let current: Waiting | undefined
    try {
      await this.#transact(() => {
        for (const each of group) {
          current = each
          each.run()
        }
        current = undefined
      })
      for (const { resolve } of group) resolve()
    } catch (error) {
      const failed = current
      // Without one it was the transaction itself, and nobody's work is done.
      for (const each of group) if (failed === undefined || each === failed) each.reject(error)
      if (failed !== undefined) await this.#commit(group.filter((each) => each !== failed))
    }
  }
}
