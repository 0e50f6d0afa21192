// In: the byte budget of one exchange and what was reserved of it. Out: whether so many more bytes may pass. Over
// all processes of the store never more pass than the budget holds: what is reserved here is spent there. What is
// left at the end is given back.
import type { Budgets, Total } from '../ports/budgets.ts'
import type { RefusalFacts } from '../refusals.ts'

/** Where bytes are paid for. */
type ByteBudgets = Pick<Budgets, 'spend' | 'giveBack'>

/** What of a byte budget is set aside at a time, so that the store is not asked for every chunk. */
const stretchBytes = 262_144

/** The byte budget as one exchange uses it. Both of its directions may share it. */
export interface ByteMeter {
  /** Takes `bytes` of what is reserved; false: too little is, and nothing was taken. */
  take(bytes: number): boolean
  /**
   * Reserves until `bytes` can be taken; false: the budget has not got that many. Who asks must `take`
   * afterwards, and ask again when the other direction was faster. Rejects with `Unavailable` as the store does.
   */
  more(bytes: number): Promise<boolean>
  /**
   * The exchange is over: the unused part is given back, and nothing can be taken any more. `unseen`: no backend has
   * seen the call, so what was taken for it comes back as well.
   */
  end(unseen?: boolean): void
  /** What its caller is told where the budget has too little. */
  readonly short: RefusalFacts
}

export interface MeterParts {
  readonly budgets: ByteBudgets
  /** The counter. */
  readonly total: Omit<Total, 'take'>
  /** Bytes of it that have been spent beforehand. */
  readonly reserved: bigint
  readonly short: RefusalFacts
  /** Hears of a part that could not be given back: it stays spent. */
  readonly onError: (error: Error) => void
}

/** Opens it for one exchange. */
export function openMeter(parts: MeterParts): ByteMeter {
  return new Meter(parts)
}

class Meter implements ByteMeter {
  readonly #parts: MeterParts
  #left: number
  #taken = 0
  #over = false
  /** The last asking: one at a time, or two directions would both reserve what one of them needs. */
  #asked: Promise<unknown> = Promise.resolve()

  constructor(parts: MeterParts) {
    this.#parts = parts
    this.#left = Number(parts.reserved)
    if (!Number.isSafeInteger(this.#left) || this.#left < 0) throw new RangeError('not a number of bytes')
  }

  get short(): RefusalFacts {
    return this.#parts.short
  }

  take(bytes: number): boolean {
    // Negated, so that what is no number is refused.
    if (this.#over || !(bytes <= this.#left)) return false
    this.#left -= bytes
    this.#taken += bytes
    return true
  }

  more(bytes: number): Promise<boolean> {
    const asking = this.#asked.then(() => this.#reserve(bytes))
    this.#asked = asking.catch(() => undefined)
    return asking
  }

  end(unseen = false): void {
    if (this.#over) return
    this.#over = true
    this.#giveBack(unseen ? this.#left + this.#taken : this.#left)
    this.#left = 0
  }

  /** A stretch; else all there is, if that is enough; else, when others were faster, what is needed and no more. */
  async #reserve(bytes: number): Promise<boolean> {
    const missing = () => bytes - this.#left
    let stretch = Math.max(missing(), stretchBytes)
    for (let tries = 0; tries < 3; tries++) {
      if (this.#over || !Number.isSafeInteger(stretch)) return false
      if (missing() <= 0) return true
      const spent = await this.#parts.budgets.spend([{ ...this.#parts.total, take: BigInt(stretch) }])
      if (spent.spent) return this.#reserved(stretch)
      const left = Number(spent.remaining[0]?.left ?? 0n)
      if (left < missing()) return false
      stretch = tries === 0 ? Math.min(left, stretch) : missing()
    }
    return false
  }

  #reserved(bytes: number): boolean {
    // The exchange ended while the store was asked.
    if (this.#over) this.#giveBack(bytes)
    else this.#left += bytes
    return !this.#over
  }

  #giveBack(bytes: number): void {
    if (bytes === 0) return
    const { budgets, total, onError } = this.#parts
    budgets.giveBack([{ ...total, take: BigInt(bytes) }]).catch(onError)
  }
}
