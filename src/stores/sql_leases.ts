// In: a way to run SQL. Out: the lease port on it. Each change is one transaction. It never sees a file or a
// driver: embedded.ts does.
import type { LeaseRecord, Leases, LeaseUse } from '../ports.ts'
import {
  addUsage,
  decodeLease,
  decodeUsage,
  renewed,
  taskOf,
  transitioned,
  usageName,
  usageOf,
} from './kept_leases.ts'
import { leaseKeepSeconds } from './lifetimes.ts'
import type { Sql } from './sql.ts'

/** Leases; a `task` filter is written `system:id`, as in revocations. */
export function sqlLeases(sql: Sql): Leases {
  const get = (id: string): LeaseRecord | undefined => {
    const [row] = sql.all('SELECT record FROM leases WHERE id = ?', id)
    return row === undefined ? undefined : decodeLease(String(row.record))
  }
  return {
    put: (record) =>
      sql.write(() => {
        putLease(sql, record)
        sql.run(noteIssue, record.issuedAt)
      }),
    get: async (id) => get(id),
    renew: (id, { issuedAt, expiresAt }) =>
      sql.write(() => {
        const record = renewed(get(id), expiresAt)
        if (record === undefined) return undefined
        changeLease(sql, record)
        sql.run(noteIssue, issuedAt)
        return record
      }),
    transition: (id, change) =>
      sql.write(() => {
        const result = transitioned(get(id), change)
        if (result.outcome === 'changed') changeLease(sql, result.record)
        return result
      }),
    async list({ limit, liveAt, before, ...filter }) {
      const { agent, user, task, session, tenant, state } = filter
      const wanted = Object.entries({ agent, user, task, session, tenant, state }).flatMap(
        ([column, value]) => (value === undefined ? [] : [{ column, value }]),
      )
      const conditions = wanted.map(({ column }) => `AND ${column} = ?`)
      if (before !== undefined) conditions.push('AND (issued_at, id) < (?, ?)')
      const where = conditions.join(' ')
      const rows = sql.all(
        `SELECT record FROM leases WHERE keep_until > ? ${where} ORDER BY issued_at DESC, id DESC LIMIT ?`,
        liveAt === undefined ? 0 : liveAt + leaseKeepSeconds,
        ...wanted.map(({ value }) => value),
        ...(before === undefined ? [] : [before.issuedAt, before.id]),
        Math.max(0, Math.floor(limit)),
      )
      return rows.map((row) => decodeLease(String(row.record)))
    },
    addUsage: (uses) =>
      sql.write(() => {
        for (const use of uses) addUse(sql, use)
      }),
    async usage(lease) {
      const [row] = sql.all('SELECT usage FROM lease_usage WHERE id = ?', usageName(lease))
      return row === undefined ? undefined : decodeUsage(String(row.usage))
    },
    async usersOf({ issuer, subject }) {
      const query = 'SELECT user FROM logins WHERE issuer = ? AND subject = ? ORDER BY user'
      return sql.all(query, issuer, subject).map(({ user }) => String(user))
    },
  }
}

const noteIssue = 'UPDATE newest_issue SET at = max(at, ?)'

/** When the newest token was issued that any lease has had, seconds since 1970. */
export function newestIssue(sql: Sql): number {
  return Number(sql.all('SELECT at FROM newest_issue')[0]?.at)
}

function putLease(sql: Sql, record: LeaseRecord): void {
  const { id, issuedAt, maxExpiresAt, agent, user, session, tenant, state, login } = record
  const keepUntil = maxExpiresAt + leaseKeepSeconds
  sql.run(
    `INSERT OR REPLACE INTO leases
       (id, issued_at, keep_until, agent, user, task, session, tenant, state, record)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ...[id, issuedAt, keepUntil, agent, user, taskOf(record), session, tenant, state],
    JSON.stringify(record),
  )
  if (login === undefined) return
  sql.run(
    `INSERT INTO logins VALUES (?, ?, ?, ?)
       ON CONFLICT (issuer, subject, user) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until)`,
    ...[login.issuer, login.subject, user, keepUntil],
  )
}

/** Only what a renewal or a transition changes: the other indexes stay as they are. */
function changeLease(sql: Sql, record: LeaseRecord): void {
  const text = JSON.stringify(record)
  sql.run('UPDATE leases SET state = ?, record = ? WHERE id = ?', record.state, text, record.id)
}

function addUse(sql: Sql, use: LeaseUse): void {
  const [lease] = sql.all('SELECT keep_until FROM leases WHERE id = ?', use.id)
  if (lease === undefined) return
  const name = usageName(use)
  const [row] = sql.all('SELECT usage FROM lease_usage WHERE id = ?', name)
  const sum = row === undefined ? usageOf(use) : addUsage(decodeUsage(String(row.usage)), usageOf(use))
  const keepUntil = Number(lease.keep_until)
  sql.run('INSERT OR REPLACE INTO lease_usage VALUES (?, ?, ?)', name, JSON.stringify(sum), keepUntil)
}
