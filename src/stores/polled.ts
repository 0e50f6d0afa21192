// In: the table of revocations and suspensions in a SQLite file that several processes write. Out: a view of
// them all and its age. It looks for others' commits with `PRAGMA data_version`, which costs about 1 µs, and
// reads the rows above the last one it has seen. It never puts an entry into the view before its COMMIT.
import type { Revocation, Revocations, Suspension } from '../ports.ts'
import { decodeEntry, type Entry, encodeEntry, keyOf, merge } from './entry.ts'
import { keepSeconds } from './lifetimes.ts'
import { purgeTables, type Sql } from './sql.ts'
import { Freshness, moment, RevocationView } from './view.ts'

/** The view of the revocations table, kept fresh by `PRAGMA data_version`. */
export class PolledRevocations implements Revocations {
  readonly #sql: Sql
  readonly #now: () => number
  readonly #strict: boolean
  readonly #view = new RevocationView()
  readonly #freshness = new Freshness()
  #version: unknown
  #seq = 0

  constructor(sql: Sql, { now, strict }: { readonly now: () => number; readonly strict: boolean }) {
    this.#sql = sql
    this.#now = now
    this.#strict = strict
  }

  revoke(entry: Revocation): Promise<void> {
    return this.#write(entry)
  }

  suspend(entry: Suspension): Promise<void> {
    return this.#write(entry)
  }

  async #write(entry: Entry): Promise<void> {
    const key = keyOf(entry)
    encodeEntry(entry)
    const merged = await this.#sql.write(() => {
      const [row] = this.#sql.all('SELECT entry FROM revocations WHERE key = ?', key)
      const known = row === undefined ? undefined : decodeEntry(String(row.entry))
      const stronger = merge(known, entry)
      if (stronger !== known) this.#replace(key, stronger)
      return stronger
    })
    this.#view.put(merged)
  }

  /** A new row, not an update: it takes a new `seq`, and that is how other processes find it. */
  #replace(key: string, entry: Entry): void {
    this.#sql.run(
      'INSERT OR REPLACE INTO revocations (key, keep_until, entry) VALUES (?, ?, ?)',
      key,
      entry.expiresAt + keepSeconds,
      encodeEntry(entry),
    )
  }

  /** Takes in what others have committed. When it returns, the view was complete as of its start. */
  poll(): void {
    const start = moment(this.#now)
    const version = this.#sql.all('PRAGMA data_version')[0]?.data_version
    if (version !== this.#version) {
      // The version is read before the rows: a commit in between shows again at the next look.
      const newer = 'SELECT seq, entry FROM revocations WHERE seq > ? ORDER BY seq'
      for (const row of this.#sql.all(newer, this.#seq)) {
        this.#view.put(decodeEntry(String(row.entry)))
        this.#seq = Number(row.seq)
      }
      this.#version = version
    }
    this.#freshness.prove(start)
  }

  suspension(lease: { readonly id: string; readonly ancestors: readonly string[] }): Suspension | undefined {
    return this.#view.suspension(lease)
  }

  find(keys: readonly string[], issuedAt: number): Revocation | undefined {
    return this.#view.find(keys, issuedAt)
  }

  confirm(): Promise<void> | undefined {
    return this.#strict ? this.#confirm() : undefined
  }

  async #confirm(): Promise<void> {
    this.poll()
  }

  ageMs(nowMs: number): number {
    return this.#freshness.ageMs(nowMs)
  }

  size(): number {
    return this.#view.size
  }

  watch(listener: (entry: Entry) => void): () => void {
    return this.#view.watch(listener)
  }

  /** Forgets what has expired, here and in every table. */
  async purge(): Promise<void> {
    const now = this.#now() / 1000
    this.#view.purge(now - keepSeconds)
    await purgeTables(this.#sql, now)
  }
}
