// In: entries that a store has lost or weakened. Out: the same, written to it again, some at a time, so that
// whoever does it can go on proving that its view is complete. It never drops one that could not be written.
import type { Entry } from './entry.ts'

/** Writes under way at once. */
export const batch = 100

/** Writes entries one batch after the other. */
export class GiveBack {
  readonly #write: (entry: Entry) => Promise<void>
  #lost: Iterator<Entry> | undefined
  #writing: Entry[] = []

  constructor(write: (entry: Entry) => Promise<void>) {
    this.#write = write
  }

  get isDone(): boolean {
    return this.#lost === undefined
  }

  /** From now on these, and no others. */
  begin(lost: Iterator<Entry>): void {
    this.#lost = lost
    this.#writing = []
  }

  /** Goes on for about `ms`. Rejects when a write does; its batch comes first the next time. */
  async some(ms: number): Promise<void> {
    const until = performance.now() + ms
    while (this.#lost !== undefined) {
      while (this.#writing.length < batch) {
        const next = this.#lost.next()
        if (next.done === true) break
        this.#writing.push(next.value)
      }
      if (this.#writing.length === 0) this.#lost = undefined
      await Promise.all(this.#writing.map((entry) => this.#write(entry)))
      this.#writing = []
      if (performance.now() > until) return
    }
  }
}
