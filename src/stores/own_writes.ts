// In: what this process has written to the stream, and what it reads of it. Out: those of its writes that a
// fail-over has lost before anybody read them, to be written again. Others are the feed's: it has read them.
import type { Entry } from './entry.ts'
import { compareIds } from './stream_ids.ts'

/** Writes whose stream entry has not come back yet. */
export class OwnWrites {
  readonly #pending = new Map<string, Entry>()
  /** Of each write that is under way the ids read meanwhile: its own may be among them before its reply is here. */
  readonly #underWay = new Set<Set<string>>()
  readonly #lost = new Set<Entry>()

  /** Writes `entry` by `write`, which gives the id it has in the stream. */
  async write(entry: Entry, write: () => Promise<string>): Promise<void> {
    const readMeanwhile = new Set<string>()
    this.#underWay.add(readMeanwhile)
    try {
      const id = await write()
      if (!readMeanwhile.has(id)) this.#pending.set(id, entry)
    } finally {
      this.#underWay.delete(readMeanwhile)
    }
  }

  /** Takes note of one entry that was read: what should have come before it, and has not, is gone. */
  read(id: string): void {
    for (const readMeanwhile of this.#underWay) readMeanwhile.add(id)
    this.#pending.delete(id)
    this.#lose((own) => compareIds(own, id) < 0)
  }

  /** Ids that are pending now. Take them before asking for the last id of the stream. */
  pending(): ReadonlySet<string> {
    return new Set(this.#pending.keys())
  }

  /** Takes note of the end of the stream: what was `pending` and lies behind it is gone. */
  endsAt(last: string, pending: ReadonlySet<string>): void {
    this.#lose((own) => pending.has(own) && compareIds(own, last) > 0)
  }

  /** What has to be written again; each is forgotten here once `write` has done it. */
  async rewrite(write: (entry: Entry) => Promise<void>): Promise<void> {
    for (const entry of this.#lost) {
      await write(entry)
      this.#lost.delete(entry)
    }
  }

  #lose(isLost: (own: string) => boolean): void {
    for (const [own, entry] of this.#pending) {
      if (!isLost(own)) continue
      this.#pending.delete(own)
      this.#lost.add(entry)
    }
  }
}
