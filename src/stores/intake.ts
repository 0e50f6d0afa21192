// In: what a store holds, key and text, as it is found there. Out: a view of it, and how much of it could not be
// read. Nothing is passed over: a text that cannot be read counts as the strongest its key could mean, and where
// the key cannot be read either, the view counts as incomplete.
import { Unavailable } from '../ports.ts'
import { concernOf } from './doubtful.ts'
import { type Entry, keyOf } from './entry.ts'
import { RevocationView } from './view.ts'

/** Keys remembered of entries that make the view incomplete; of more there is a count alone. */
const remembered = 200
const none: readonly string[] = []

export interface IntakeOptions {
  /** Reads one text of the store; throws for what it cannot read. */
  readonly decode: (text: string) => Entry
  /** Told what `faults` says, when that has changed. */
  readonly onFault: (fault: Error) => void
}

/** Takes stored entries into a view. */
export class Intake {
  readonly view = new RevocationView()
  readonly #options: IntakeOptions
  readonly #unreadable = new Set<string>()
  #more = 0
  #told = ''

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** Before everything that the store holds is taken in once more. */
  begin(): void {
    this.#unreadable.clear()
    this.#more = 0
  }

  /** Takes in the text that stands under `key`. `generation` as in `RevocationView.put`. */
  take(key: string, text: string, generation?: number): void {
    this.#unreadable.delete(key)
    const entry = this.read(text)
    const belongs = entry !== undefined && standsUnder(key, entry)
    if (entry !== undefined) this.view.put(entry, belongs ? generation : undefined)
    if (belongs) return
    if (concernOf(key) !== undefined) this.view.doubt(key)
    else if (this.#unreadable.size < remembered) this.#unreadable.add(key)
    else this.#more++
  }

  /** The entry that a text stands for; undefined when it cannot be read. */
  read(text: string): Entry | undefined {
    try {
      return this.#options.decode(text)
    } catch (error) {
      if (error instanceof Unavailable) return undefined
      throw error
    }
  }

  /** Nothing stands under `key` any more. What was taken as revoked stays so: nobody has said what it was. */
  gone(key: string): void {
    this.#unreadable.delete(key)
  }

  /** Keys to look at again, until none is left: somebody may have put them right. */
  get unreadable(): readonly string[] {
    return this.#unreadable.size === 0 ? none : [...this.#unreadable]
  }

  /** Whether so many were put right that another look at everything has to tell what is left. */
  get needsLook(): boolean {
    return this.#more > 0 && this.#unreadable.size < remembered / 2
  }

  /** Whether everything that was taken in could be honoured. */
  get isComplete(): boolean {
    return this.#unreadable.size + this.#more === 0
  }

  /** How many entries could not be read, by what became of them. */
  malformed(): { readonly takenAsRevoked: number; readonly unreadable: number } {
    return { takenAsRevoked: this.view.doubtful, unreadable: this.#unreadable.size + this.#more }
  }

  /** One sentence for each sort of entry that could not be read, and what to do about it. */
  faults(): readonly string[] {
    const { takenAsRevoked, unreadable } = this.malformed()
    const faults: string[] = []
    if (unreadable > 0) {
      const what = 'of a scope that this version does not know, or under a damaged key'
      faults.push(
        `stored revocations ${what}: ${unreadable}; update Leasegate, or delete them from the store`,
      )
    }
    if (takenAsRevoked > 0) {
      const what = 'taken as in force for good because they cannot be read'
      faults.push(`stored revocations ${what}: ${takenAsRevoked}; revoke the same again to replace them`)
    }
    return faults
  }

  /** Tells of the faults when they are others than before. */
  report(): void {
    const faults = this.faults().join('; ')
    if (faults !== this.#told && faults !== '') this.#options.onFault(new Unavailable(faults))
    this.#told = faults
  }
}

/** Whether an entry stands where it belongs. A store keeps keys as UTF-8, which has no lone surrogates. */
export function standsUnder(key: string, entry: Entry): boolean {
  const own = keyOf(entry)
  return own === key || own.toWellFormed() === key
}
