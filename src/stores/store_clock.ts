// In: what the clock of the store said, and when it was asked. Out: that clock at any time, without asking again,
// and how far this process's is from it. It never reads the wall clock: setting that changes nothing here.

/** The clock of a store on another machine, milliseconds since 1970. NaN until it has been heard. */
export class StoreClock {
  #aheadOfSteadyMs = Number.NaN

  /** It said `saidMs` between `askedMs` and now, by the steady clock: half of that is how wrong this may be. */
  hear(saidMs: number, askedMs: number): void {
    this.#aheadOfSteadyMs = saidMs - (askedMs + performance.now()) / 2
  }

  /** What it says now. */
  nowMs(): number {
    return this.#aheadOfSteadyMs + performance.now()
  }
}
