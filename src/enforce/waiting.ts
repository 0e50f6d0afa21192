// Calls that stay open while somebody decides: how many there may be, how they hear of what this process has written,
// and how they are let go when the gate is told to stop. Never waits for ever.

/** Looks at an action that is waited for: another process may have written what nobody here is woken for. */
const lookMs = 250

/** The calls of one process that wait. */
export class WaitingRoom {
  readonly #seats: number
  /** What ends the pause of each call, and the action that it waits for. */
  readonly #asleep = new Map<() => void, string>()
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
   * Asks `look` about the action `id` again and again until it says something, `ms` have gone by or the room is closed:
   * then undefined. Undefined at once where there is no seat.
   */
  async wait<T>(id: string, ms: number, look: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#taken >= this.#seats) return undefined
    this.#taken++
    const end = performance.now() + ms
    try {
      for (let left = ms; left > 0 && !this.#closed; left = end - performance.now()) {
        // However many wait, they look a thousand times a second together: each look asks the store.
        await this.#pause(id, Math.min(left, Math.max(lookMs, this.#taken)))
        const seen = await look()
        if (seen !== undefined) return seen
      }
      return undefined
    } finally {
      this.#taken--
    }
  }

  /** Those who wait for the action look at once. Who is looking just then sees it a look later. */
  wake(id: string): void {
    for (const [up, waitsFor] of this.#asleep) if (waitsFor === id) up()
  }

  /** Everybody who waits gets up at once, and nobody sits down any more. */
  close(): void {
    this.#closed = true
    for (const up of this.#asleep.keys()) up()
  }

  #pause(id: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const up = () => {
        clearTimeout(timer)
        this.#asleep.delete(up)
        resolve()
      }
      const timer = setTimeout(up, ms)
      this.#asleep.set(up, id)
    })
  }
}
