// Calls that stay open while somebody decides: how many there may be, and how they are let go when the gate is told
// to stop. Never waits for ever.

/** Looks at an action that is waited for: a person takes longer than this to see that it worked. */
const lookMs = 250

/** The calls of one process that wait. */
export class WaitingRoom {
  readonly #seats: number
  readonly #wake = new Set<() => void>()
  #taken = 0
  #closed = false

  /** At most `seats` calls wait at a time; the others are told to ask again. */
  constructor(seats = 1_000) {
    this.#seats = seats
  }

  get size(): number {
    return this.#taken
  }

  /**
   * Asks `look` again and again until it says something, `ms` have gone by or the room is closed: then undefined.
   * Undefined at once where there is no seat.
   */
  async wait<T>(ms: number, look: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#taken >= this.#seats) return undefined
    this.#taken++
    try {
      for (let left = ms; left > 0 && !this.#closed; left -= lookMs) {
        await this.#pause(Math.min(left, lookMs))
        const seen = await look()
        if (seen !== undefined) return seen
      }
      return undefined
    } finally {
      this.#taken--
    }
  }

  /** Everybody who waits gets up at once, and nobody sits down any more. */
  close(): void {
    this.#closed = true
    for (const wake of this.#wake) wake()
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#wake.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#wake.add(wake)
    })
  }
}
