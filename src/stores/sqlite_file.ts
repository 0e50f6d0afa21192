// In: the path of a SQLite file that all processes of this machine may have open. Out: its rows, and transactions that
// are on disk when they resolve. The only importer of node:sqlite. It never waits unboundedly, and never reads or
// writes a file that is no longer the one under that path.
import { chmodSync, closeSync, mkdirSync, openSync, type Stats, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../ports.ts'
import { GroupCommit } from './group_commit.ts'
import type { Sql, SqlValue } from './sql.ts'

/** How long a write waits for another process's transaction before it is `Unavailable`. */
const busyMs = 500

/** One connection, and the certainty that it still leads to the file that other processes open. */
export class SqliteFile implements Sql {
  readonly #path: string
  readonly #db: DatabaseSync
  readonly #identity: Stats
  readonly #statements = new Map<string, StatementSync>()
  readonly #group = new GroupCommit((work) => this.#commit(work))
  readonly #unhurried = new GroupCommit((work) => this.#land(work))
  readonly #writes: 'durable' | 'soon'
  #log: Promise<FileHandle> | undefined
  #unsynced = false
  #torn = false

  /** `durable`: a write is on disk when it resolves; `soon`: `sync` brings it there. */
  constructor(path: string, writes: 'durable' | 'soon') {
    this.#path = resolve(path)
    this.#writes = writes
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 })
      closeSync(openSync(this.#path, 'a', 0o600))
      this.#identity = statSync(this.#path)
      if ((this.#identity.mode & 0o077) !== 0) chmodSync(this.#path, 0o600)
      // SQLite blocks the event loop while it waits, so it waits little and `write` waits the rest.
      this.#db = new DatabaseSync(this.#path, { timeout: 5 })
    } catch (error) {
      throw unavailable(error)
    }
  }

  /**
   * WAL, and the schema. `NORMAL`: SQLite syncs at checkpoints only, `sync` does the rest without holding up the
   * event loop or the other processes. Waits for another process that is doing the same.
   */
  async prepare(steps: readonly string[]): Promise<void> {
    const mode = await this.#patiently(
      () => this.#db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode,
    )
    if (mode !== 'wal') throw new Unavailable('the state file must be on a local disk: no WAL here')
    // A checkpoint syncs on the event loop: a quarter as often as SQLite would.
    this.#db.exec('PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000')
    await this.write(() => {
      const version = Number(this.all('PRAGMA user_version')[0]?.user_version)
      if (version > steps.length) throw new Unavailable('the state file is from a newer Leasegate')
      for (const migration of steps.slice(version)) this.#db.exec(migration)
      this.#db.exec(`PRAGMA user_version = ${steps.length}`)
    })
  }

  all(sql: string, ...values: SqlValue[]): Record<string, unknown>[] {
    return this.#answer(() => this.#statement(sql).all(...values))
  }

  run(sql: string, ...values: SqlValue[]): number {
    return this.#answer(() => Number(this.#statement(sql).run(...values).changes))
  }

  write<T>(work: () => T): Promise<T> {
    return this.#group.add(work)
  }

  writeSoon<T>(work: () => T): Promise<T> {
    return this.#unhurried.add(work)
  }

  async #commit(work: () => void): Promise<void> {
    await this.#land(work)
    if (this.#writes === 'durable') await this.sync()
  }

  async #land(work: () => void): Promise<void> {
    await this.#patiently(() => this.#transact(work))
    this.#unsynced = true
  }

  #transact(work: () => void): void {
    this.#requireSameFile()
    if (this.#torn) this.#mend()
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#db.exec('COMMIT')
    } catch (error) {
      attempt(() => this.#db.exec('ROLLBACK'))
      throw error
    }
  }

  /** Brings what is committed to the disk, off the event loop. */
  async sync(): Promise<void> {
    if (!this.#unsynced) return
    this.#unsynced = false
    try {
      await (await this.#openLog()).datasync()
    } catch (error) {
      // Used ids may be lost in a power cut anyway.
      this.#torn = this.#writes === 'durable'
      throw unavailable(error)
    }
  }

  /** What follows a hole in the log is lost with it in a power cut, so all of the log goes to the main file first. */
  #mend(): void {
    const [row] = this.#db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').all()
    if (row?.busy !== 0) throw new Unavailable('the state file could not be brought to the disk')
    this.#torn = false
  }

  async close(): Promise<void> {
    if (this.#db.isOpen) this.#db.close()
    const log = await this.#log?.catch(() => undefined)
    await log?.close()
  }

  /** Open for good: a descriptor hears of each failed write, also one that the kernel did by itself. */
  #openLog(): Promise<FileHandle> {
    this.#log ??= open(`${this.#path}-wal`, 'r').catch((error: unknown) => {
      this.#log = undefined
      throw error
    })
    return this.#log
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }

  #answer<T>(work: () => T): T {
    try {
      // A transaction has asked when it began.
      if (!this.#db.isTransaction) this.#requireSameFile()
      return work()
    } catch (error) {
      throw unavailable(error)
    }
  }

  /**
   * A deleted or replaced file still answers through our descriptor, but nobody else reads or writes it:
   * a revocation would be acknowledged into nothing.
   */
  #requireSameFile(): void {
    const found = statSync(this.#path, { throwIfNoEntry: false })
    if (found === undefined || found.ino !== this.#identity.ino || found.dev !== this.#identity.dev) {
      throw new Unavailable('the state file was moved or deleted')
    }
  }

  async #patiently<T>(work: () => T): Promise<T> {
    const deadline = performance.now() + busyMs
    for (;;) {
      try {
        return work()
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) throw unavailable(error)
      }
      await sleep(2)
    }
  }
}

/** Does `work`, or leaves it where the file does not answer. */
export function attempt(work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof Unavailable) && sqliteCode(error) === undefined) throw error
  }
}

/** SQLITE_BUSY and SQLITE_LOCKED with their extended codes (sqlite.org/rescode.html). */
function isBusy(error: unknown): boolean {
  const code = sqliteCode(error)
  return code !== undefined && ((code & 0xff) === 5 || (code & 0xff) === 6)
}

function sqliteCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  return typeof code === 'number' ? code : undefined
}

/** `Unavailable`, in SQLite's own words for a code (they carry no data) or the system's; a bug stays what it is. */
export function unavailable(error: unknown): unknown {
  if (error instanceof Unavailable || !(error instanceof Error)) return error
  if ('errstr' in error) return new Unavailable(`state file: ${error.errstr}`)
  return 'code' in error ? new Unavailable(`state file: ${error.code}`) : error
}
