// In: the path of one SQLite file that all processes of this machine share. Out: a `Store`. What is written is
// on disk before it resolves (used ids, in a file beside it, a moment later), a revocation in this process's
// view too; other processes see it at their next poll. It never serves from a view that is too old.
import { type Store, Unavailable } from '../ports.ts'
import { maxReplayIds } from './lifetimes.ts'
import { PolledRevocations } from './polled.ts'
import { migrations } from './sql.ts'
import { sqlBudgets } from './sql_budgets.ts'
import { sqlDeferrals, sqlSecrets } from './sql_deferrals.ts'
import { newestIssue, sqlLeases } from './sql_leases.ts'
import { sqlRecords } from './sql_records.ts'
import { replayMigrations, sqlReplay } from './sql_replay.ts'
import { sqlPolicySets } from './sql_sets.ts'
import { attempt, SqliteFile, unavailable } from './sqlite_file.ts'

/** How to open the embedded store. Times are milliseconds. */
export interface EmbeddedOptions {
  readonly path: string
  /** `ping` rejects when the view is older. */
  readonly maxStalenessMs: number
  /** How often other processes' writes are looked for; default 5. One look costs about 4 µs. */
  readonly pollMs?: number
  /** Whether each `confirm` looks for other processes' writes; default: no, only every `pollMs`. */
  readonly strict?: boolean
  /** Single-use ids remembered at once; beyond that their use is `Unavailable`. Default 1,000,000. */
  readonly maxReplayIds?: number
  /** How often what has expired is forgotten; default every minute. */
  readonly purgeEveryMs?: number
  /** Told of revocations in the file that cannot be read. Never says whom they are about. */
  readonly onError?: (error: Error) => void
  /** The wall clock. */
  readonly now?: () => number
}

const purgeEveryMs = 60_000
/** A power cut takes the used ids of so long with it; the end of a process takes none. */
const replaySyncMs = 100

/** Opens (or creates) the files, loads every revocation, starts to poll. Throws `Unavailable`. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Store> {
  const now = options.now ?? Date.now
  const file = new SqliteFile(options.path, 'durable')
  let replay: SqliteFile | undefined
  try {
    await file.prepare(migrations)
    replay = new SqliteFile(`${options.path}-replay`, 'soon')
    await replay.prepare(replayMigrations)
    const revocations = new PolledRevocations(file, {
      now,
      strict: options.strict === true,
      onError: options.onError ?? (() => {}),
    })
    await revocations.load()
    return compose({ file, replay }, revocations, { ...options, now })
  } catch (error) {
    await Promise.all([replay?.close(), file.close()])
    throw unavailable(error)
  }
}

function compose(
  { file, replay }: { file: SqliteFile; replay: SqliteFile },
  revocations: PolledRevocations,
  options: EmbeddedOptions & { now: () => number },
): Store {
  const { maxStalenessMs, pollMs = 5, now } = options
  // The machine's clock as if nobody had set it since: leases that were issued before it was set back count, and
  // nothing has expired because it was set forward.
  const openedMs = now() - performance.now()
  const unsetMs = () => openedMs + performance.now()
  const purge = () => revocations.purge(Math.min(now(), unsetMs()) / 1000)
  // A look that fails leaves the view to age; the gate refuses once it is too old.
  const polling = setInterval(() => attempt(() => revocations.poll()), pollMs).unref()
  const purging = setInterval(
    () => void purge().catch(() => {}),
    options.purgeEveryMs ?? purgeEveryMs,
  ).unref()
  // What fails is tried again after the next write; a checkpoint or the kernel may be first.
  const syncing = setInterval(() => void replay.sync().catch(() => {}), replaySyncMs).unref()
  return {
    kind: 'embedded',
    revocations,
    leases: sqlLeases(file),
    budgets: sqlBudgets(file, now),
    replay: sqlReplay(replay, options.maxReplayIds ?? maxReplayIds),
    deferrals: sqlDeferrals(file),
    secrets: sqlSecrets(file),
    policySets: sqlPolicySets(file),
    records: sqlRecords(file, now),
    fault: () =>
      revocations.ageMs(now()) > maxStalenessMs
        ? 'the state file cannot be read, or is not the same'
        : undefined,
    // Tokens of other issuers are in no record: what they were issued by is the clock before it was set back.
    now: async () => Math.max(now() / 1000, unsetMs() / 1000, newestIssue(file)),
    clockOffset: () => 0,
    async ping() {
      file.all('SELECT count(*) FROM (SELECT 1 FROM revocations LIMIT 1)')
      if (revocations.ageMs(now()) > maxStalenessMs) throw new Unavailable('the revocation view is stale')
    },
    async close() {
      for (const timer of [polling, purging, syncing]) clearInterval(timer)
      await Promise.all([replay.close(), file.close()])
    },
  }
}
