// In: a way to run SQL. Out: the tables of the embedded store. Each write is one transaction. It never sees a file or a driver: embedded.ts does.
export type SqlValue = string | number | bigint | null | Uint8Array

/** One database. Every method throws `Unavailable` when the database cannot answer. */
export interface Sql {
  /** Rows of one query. */
  all(sql: string, ...values: SqlValue[]): Record<string, unknown>[]
  /** Runs one statement inside `write`; the number of rows it changed. */
  run(sql: string, ...values: SqlValue[]): number
  /** Runs `work` in one immediate transaction and resolves after COMMIT. */
  write<T>(work: () => T): Promise<T>
  /** The same without waiting for the disk: a power cut can undo it until a later `write` has resolved. */
  writeSoon<T>(work: () => T): Promise<T>
}

/** Schema steps; `user_version` counts the ones a file has had. Append, never edit. */
export const migrations: readonly string[] = [
  `CREATE TABLE revocations (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: readers ask for what is above the last one
     key TEXT NOT NULL UNIQUE, keep_until REAL NOT NULL, entry TEXT NOT NULL) STRICT;
   CREATE TABLE leases (
     id TEXT PRIMARY KEY, issued_at REAL NOT NULL, keep_until REAL NOT NULL,
     agent TEXT NOT NULL, user TEXT NOT NULL, task TEXT NOT NULL, record TEXT NOT NULL) STRICT;
   CREATE TABLE budgets (
     key TEXT PRIMARY KEY, used INTEGER NOT NULL, keep_until REAL NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE approvals (
     fingerprint TEXT NOT NULL, id TEXT NOT NULL, open INTEGER NOT NULL,
     expires_at REAL NOT NULL, keep_until REAL NOT NULL, approval TEXT NOT NULL,
     PRIMARY KEY (fingerprint, id)) STRICT, WITHOUT ROWID;
   CREATE TABLE replay (id TEXT PRIMARY KEY, keep_until REAL NOT NULL) STRICT, WITHOUT ROWID;
   CREATE INDEX revocations_keep ON revocations (keep_until);
   CREATE INDEX leases_keep ON leases (keep_until);
   CREATE INDEX budgets_keep ON budgets (keep_until);
   CREATE INDEX approvals_keep ON approvals (keep_until);
   CREATE INDEX replay_keep ON replay (keep_until);
   CREATE INDEX leases_issued ON leases (issued_at, id);
   CREATE INDEX leases_agent ON leases (agent, issued_at, id);
   CREATE INDEX leases_user ON leases (user, issued_at, id);
   CREATE INDEX leases_task ON leases (task, issued_at, id);`,
  `CREATE TABLE policy_sets (
     digest TEXT PRIMARY KEY, published TEXT NOT NULL, packed BLOB NOT NULL) STRICT;
   CREATE TABLE policy_history (
     number INTEGER PRIMARY KEY, digest TEXT NOT NULL, activation TEXT NOT NULL) STRICT;`,
  `CREATE TABLE lease_usage (
     id TEXT PRIMARY KEY, usage TEXT NOT NULL, keep_until REAL NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE logins (
     issuer TEXT NOT NULL, subject TEXT NOT NULL, user TEXT NOT NULL, keep_until REAL NOT NULL,
     PRIMARY KEY (issuer, subject, user)) STRICT, WITHOUT ROWID;
   CREATE TABLE deferrals (
     id TEXT PRIMARY KEY, state TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL,
     keep_until REAL NOT NULL, deferral TEXT NOT NULL) STRICT;
   CREATE TABLE secrets (name TEXT PRIMARY KEY, secret BLOB NOT NULL) STRICT;
   ALTER TABLE leases ADD COLUMN session TEXT NOT NULL DEFAULT '';
   ALTER TABLE leases ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
   ALTER TABLE leases ADD COLUMN state TEXT NOT NULL DEFAULT 'active';
   UPDATE leases SET
     session = coalesce(record ->> 'session', ''), state = coalesce(record ->> 'state', 'active');
   DROP TABLE replay; -- it has a file of its own now
   CREATE INDEX leases_session ON leases (session, issued_at, id);
   CREATE INDEX leases_tenant ON leases (tenant, issued_at, id);
   CREATE INDEX leases_state ON leases (state, issued_at, id);
   CREATE INDEX deferrals_open ON deferrals (state, created_at, id);
   CREATE INDEX lease_usage_keep ON lease_usage (keep_until);
   CREATE INDEX logins_keep ON logins (keep_until);
   CREATE INDEX deferrals_keep ON deferrals (keep_until);`,
  `CREATE TABLE rates ( -- whole_at: microseconds since 1970
     key TEXT PRIMARY KEY, whole_at INTEGER NOT NULL, keep_until REAL NOT NULL) STRICT, WITHOUT ROWID;
   CREATE INDEX rates_keep ON rates (keep_until);`,
  `CREATE TABLE newest_issue (at REAL NOT NULL) STRICT; -- one row
   INSERT INTO newest_issue SELECT coalesce(max(issued_at), 0) FROM leases;`,
  `DROP TABLE approvals; -- they are records now
   CREATE TABLE records (
     kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL,
     keep_until REAL NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
   CREATE TABLE record_lists (
     kind TEXT NOT NULL, list TEXT NOT NULL, at REAL NOT NULL, id TEXT NOT NULL, keep_until REAL NOT NULL,
     PRIMARY KEY (kind, list, at, id)) STRICT, WITHOUT ROWID;
   CREATE INDEX records_keep ON records (keep_until);
   CREATE INDEX record_lists_id ON record_lists (kind, id);
   CREATE INDEX record_lists_keep ON record_lists (keep_until);`,
]

const tables = {
  revocations: 'seq',
  leases: 'id',
  budgets: 'key',
  rates: 'key',
  lease_usage: 'id',
  logins: '(issuer, subject, user)',
  deferrals: 'id',
  records: '(kind, id)',
  record_lists: '(kind, list, at, id)',
} as const

const purgedAtOnce = 200

/** Deletes what nobody can ask for any more, in small transactions so that other writers get their turn. */
export async function purgeTables(sql: Sql, now: number): Promise<void> {
  for (const [table, key] of Object.entries(tables)) {
    const columns = key.replace(/[()]/g, '')
    const batch = `DELETE FROM ${table} WHERE ${key} IN
      (SELECT ${columns} FROM ${table} WHERE keep_until < ? LIMIT ${purgedAtOnce})`
    while ((await sql.write(() => sql.run(batch, now))) === purgedAtOnce);
  }
}
