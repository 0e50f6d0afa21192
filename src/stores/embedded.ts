// In: the path of one SQLite file that all processes of this machine share. Out: a `Store`. A revocation is
// on disk and in this process's view before `revoke` resolves; the other processes see it at their next
// poll. The only importer of node:sqlite. It never waits unboundedly and never serves from a lost file.
import { chmodSync, closeSync, mkdirSync, openSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Store, Unavailable } from '../ports.ts'
import { PolledRevocations } from './polled.ts'
import { migrations, type Sql, type SqlValue, sqlApprovals, sqlBudgets, sqlReplay } from './sql.ts'
import { sqlDeferrals, sqlLeases, sqlSecrets } from './sql_leases.ts'
import { sqlPolicySets } from './sql_sets.ts'

/** How to open the embedded store. Times are milliseconds. */
export interface EmbeddedOptions {
  readonly path: string
  /** `ping` rejects when the view is older. */
  readonly maxStalenessMs: number
  /** How often other processes' writes are looked for; default 5. One look costs about 4 µs. */
  readonly pollMs?: number
  /** The wall clock. */
  readonly now?: () => number
}

/** How long a write waits for another process's transaction before it is `Unavailable`. */
const busyMs = 500
const purgeEveryMs = 60_000

/** Opens (or creates) the file, loads every revocation, starts to poll. Throws `Unavailable`. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Store> {
  const now = options.now ?? Date.now
  const file = new SqliteFile(options.path)
  try {
    await file.prepare()
    const revocations = new PolledRevocations(file, now)
    revocations.poll()
    await revocations.purge()
    return compose(file, revocations, { ...options, now })
  } catch (error) {
    file.close()
    throw unavailable(error)
  }
}

function compose(
  file: SqliteFile,
  revocations: PolledRevocations,
  { maxStalenessMs, pollMs = 5, now }: EmbeddedOptions & { now: () => number },
): Store {
  // A look that fails leaves the view to age; the gate refuses once it is too old.
  const polling = setInterval(() => attempt(() => revocations.poll()), pollMs).unref()
  const purging = setInterval(() => void revocations.purge().catch(() => {}), purgeEveryMs).unref()
  return {
    kind: 'embedded',
    revocations,
    leases: sqlLeases(file),
    budgets: sqlBudgets(file, now),
    approvals: sqlApprovals(file),
    replay: sqlReplay(file),
    deferrals: sqlDeferrals(file),
    secrets: sqlSecrets(file),
    policySets: sqlPolicySets(file),
    async ping() {
      file.all('SELECT count(*) FROM (SELECT 1 FROM revocations LIMIT 1)')
      if (revocations.ageMs(now()) > maxStalenessMs) throw new Unavailable('the revocation view is stale')
    },
    async close() {
      clearInterval(polling)
      clearInterval(purging)
      file.close()
    },
  }
}

/** One connection, and the certainty that it still leads to the file that other processes open. */
class SqliteFile implements Sql {
  readonly #path: string
  readonly #db: DatabaseSync
  readonly #identity: Stats
  readonly #statements = new Map<string, StatementSync>()

  constructor(path: string) {
    this.#path = resolve(path)
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

  /** WAL with a sync per commit, and the schema. Waits for another process that is doing the same. */
  async prepare(): Promise<void> {
    const mode = await this.#patiently(
      () => this.#db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode,
    )
    if (mode !== 'wal') throw new Unavailable('the state file must be on a local disk: no WAL here')
    this.#db.exec('PRAGMA synchronous = FULL')
    await this.write(() => {
      const version = Number(this.all('PRAGMA user_version')[0]?.user_version)
      if (version > migrations.length) throw new Unavailable('the state file is from a newer Leasegate')
      for (const migration of migrations.slice(version)) this.#db.exec(migration)
      this.#db.exec(`PRAGMA user_version = ${migrations.length}`)
    })
  }

  all(sql: string, ...values: SqlValue[]): Record<string, unknown>[] {
    return this.#answer(() => this.#statement(sql).all(...values))
  }

  run(sql: string, ...values: SqlValue[]): number {
    return this.#answer(() => Number(this.#statement(sql).run(...values).changes))
  }

  write<T>(work: () => T): Promise<T> {
    return this.#patiently(() => {
      this.#requireSameFile()
      this.#db.exec('BEGIN IMMEDIATE')
      try {
        const result = work()
        this.#db.exec('COMMIT')
        return result
      } catch (error) {
        attempt(() => this.#db.exec('ROLLBACK'))
        throw error
      }
    })
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }

  #answer<T>(work: () => T): T {
    this.#requireSameFile()
    try {
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

function attempt(work: () => void): void {
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

/** SQLite's own words for a code (they carry no data), or the system error's; a bug stays what it is. */
function unavailable(error: unknown): unknown {
  if (error instanceof Unavailable || !(error instanceof Error)) return error
  if ('errstr' in error) return new Unavailable(`state file: ${error.errstr}`)
  return 'code' in error ? new Unavailable(`state file: ${error.code}`) : error
}
