// In: the table of revocations and suspensions in a SQLite file that several processes write. Out: a view of
// them all and its age. It looks for others' commits with `PRAGMA data_version`, which costs about 1 µs, and
// reads the rows above the last one it has seen. It never puts an entry into the view before its COMMIT.
import { setImmediate } from 'node:timers/promises'
import type { LookUpKeys } from '../lease/key_hash.ts'
import type { Revocation, Revocations, Suspension } from '../ports.ts'
import { decodeEntry, type Entry, encodeEntry, keyOf, merge } from './entry.ts'
import { Intake } from './intake.ts'
import { keepSeconds } from './lifetimes.ts'
import { purgeTables, type Sql } from './sql.ts'
import { Freshness, moment } from './view.ts'

/** Rows taken in at once: so many hold up the event loop for two or three milliseconds. */
const pageRows = 1000
/** Steps of a purge between two turns of the event loop. */
const purgeSteps = 16

/** How a view of the table is kept. */
export interface PolledOptions {
  /** The wall clock, milliseconds. */
  readonly now: () => number
  /** Whether each `confirm` looks for others' writes. */
  readonly strict: boolean
  /** Told of entries that cannot be read, once for each state of affairs. */
  readonly onError: (error: Error) => void
}

/** The view of the revocations table, kept fresh by `PRAGMA data_version`. */
export class PolledRevocations implements Revocations {
  readonly #sql: Sql
  readonly #now: () => number
  readonly #strict: boolean
  readonly #intake: Intake
  readonly #freshness = new Freshness()
  /** The wall clock as if nobody had set it since. */
  #version: unknown
  #seq = 0

  constructor(sql: Sql, { now, strict, onError }: PolledOptions) {
    this.#sql = sql
    this.#now = now
    this.#strict = strict
    this.#intake = new Intake({ decode: decodeEntry, onFault: onError })
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
      // One that cannot be read is replaced: this entry is later, and says what holds.
      const known = row === undefined ? undefined : this.#intake.read(String(row.entry))
      const stronger = merge(known, entry)
      if (stronger !== known) this.#replace(key, stronger)
      return stronger
    })
    this.#intake.view.put(merged)
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

  /**
   * Takes in a page of what others have committed. True: there was no more, and what the view has was complete
   * as of the start, unless there are entries that cannot be honoured.
   */
  poll(): boolean {
    const start = moment(this.#now)
    const version = this.#sql.all('PRAGMA data_version')[0]?.data_version
    if (version !== this.#version) {
      // The version is read before the rows: a commit in between shows again at the next look.
      const newer = `SELECT seq, key, entry FROM revocations WHERE seq > ? ORDER BY seq LIMIT ${pageRows}`
      const rows = this.#sql.all(newer, this.#seq)
      for (const { seq, key, entry } of rows) {
        this.#intake.take(String(key), String(entry))
        this.#seq = Number(seq)
      }
      if (rows.length === pageRows) return false
      this.#lookAgain()
      if (this.#intake.needsLook) return this.#startAnew()
      this.#version = version
    }
    if (this.#intake.isComplete) this.#freshness.prove(start)
    return true
  }

  /** Takes in all that there is, page by page, with a turn of the event loop after each. */
  async load(): Promise<void> {
    while (!this.poll()) await setImmediate()
  }

  #startAnew(): false {
    this.#intake.begin()
    this.#seq = 0
    return false
  }

  /** Whether somebody has put right or deleted what could not be read. */
  #lookAgain(): void {
    for (const key of this.#intake.unreadable) {
      const [row] = this.#sql.all('SELECT entry FROM revocations WHERE key = ?', key)
      if (row === undefined) this.#intake.gone(key)
      else this.#intake.take(key, String(row.entry))
    }
    this.#intake.report()
  }

  suspension(lease: { readonly id: string; readonly ancestors: readonly string[] }): Suspension | undefined {
    return this.#intake.view.suspension(lease)
  }

  find(keys: LookUpKeys, issuedAt: number): Revocation | undefined {
    return this.#intake.view.find(keys, issuedAt)
  }

  confirm(): Promise<void> | undefined {
    return this.#strict ? this.load() : undefined
  }

  ageMs(nowMs: number): number {
    return this.#freshness.ageMs(nowMs)
  }

  size(): number {
    return this.#intake.view.size
  }

  watch(listener: (entry: Entry) => void): () => void {
    return this.#intake.view.watch(listener)
  }

  malformed(): { readonly takenAsRevoked: number; readonly unreadable: number } {
    return this.#intake.malformed()
  }

  faults(): readonly string[] {
    return this.#intake.faults()
  }

  /** Forgets what has expired at `now` (seconds), here and in every table. */
  async purge(now: number): Promise<void> {
    let steps = 0
    for (const _ of this.#intake.view.purge(now - keepSeconds)) {
      if (++steps % purgeSteps === 0) await setImmediate()
    }
    await purgeTables(this.#sql, now)
    // `data_version` says nothing of what this process has deleted.
    this.#lookAgain()
  }
}
