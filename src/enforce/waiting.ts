// Calls that stay open while somebody decides: how many there may be, how they hear of what this process has written,
// and how they are let go when the gate is told to stop. Never waits for ever.

/** Looks at an action that is waited for: another process may have written what nobody here is woken for. */
const lookMs = 250

/** How many there may be. */
export interface Seats {
  readonly all: number
  /** So that no agent keeps the others from waiting. */
  readonly ofLease: number
}

/** Ids of what a call waits for, and of the lease that it waits under. */
export interface Seat {
  readonly action: string
  readonly lease: string
}

/** The calls of one process that wait. */
export class WaitingRoom {
  readonly #seats: Seats
  /** What ends the pause of each call, and the action that it waits for. */
  readonly #asleep = new Map<() => void, string>()
  /** By lease. */
  readonly #taken = new Map<string, number>()
  #size = 0
  #closed = false

  constructor(seats: Seats = { all: 1_000, ofLease: 50 }) {
    this.#seats = seats
  }

  get size(): number {
    return this.#size
  }

  /**
   * Asks `look` about the action again and again until it says something, `ms` have gone by or the room is closed: then
   * undefined. Undefined at once where there is no seat: such a call is told to ask again.
   */
  async wait<T>(
    { action, lease }: Seat,
    ms: number,
    look: () => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const taken = this.#taken.get(lease) ?? 0
    if (this.#size >= this.#seats.all || taken >= this.#seats.ofLease) return undefined
    this.#seat(lease, 1)
    try {
      const end = performance.now() + ms
      for (let left = ms; left > 0 && !this.#closed; left = end - performance.now()) {
        // However many wait, they look a thousand times a second together: each look asks the store.
        await this.#pause(action, Math.min(left, Math.max(lookMs, this.#size)))
        const seen = await look()
        if (seen !== undefined) return seen
      }
      return undefined
    } finally {
      this.#seat(lease, -1)
    }
  }

  /** Those who wait for the action look at once. Who is looking just then sees it a look later. */
  wake(action: string): void {
    for (const [up, waitsFor] of this.#asleep) if (waitsFor === action) up()
  }

  /** Everybody who waits gets up at once, and nobody sits down any more. */
  close(): void {
    this.#closed = true
    for (const up of this.#asleep.keys()) up()
  }

  #seat(lease: string, change: 1 | -1): void {
    const taken = (this.#taken.get(lease) ?? 0) + change
    if (taken === 0) this.#taken.delete(lease)
    else this.#taken.set(lease, taken)
    this.#size += change
  }

  #pause(action: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const up = () => {
        clearTimeout(timer)
        this.#asleep.delete(up)
        resolve()
      }
      const timer = setTimeout(up, ms)
      this.#asleep.set(up, action)
    })
  }
}
