// In: a way to run SQL. Out: the lease, deferral and secret ports on it. Each change is one transaction. It never
// sees a file or a driver: embedded.ts does.
import { randomBytes } from 'node:crypto'
import type {
  Deferral,
  Deferrals,
  LeaseRecord,
  Leases,
  LeaseUsage,
  LeaseUse,
  Secrets,
  TransitionResult,
} from '../ports.ts'
import { keepSeconds, leaseKeepSeconds } from './lifetimes.ts'
import type { Sql } from './sql.ts'

/** Leases; a `task` filter is written `system:id`, as in revocations. */
export function sqlLeases(sql: Sql): Leases {
  const get = (id: string): LeaseRecord | undefined => {
    const [row] = sql.all('SELECT record FROM leases WHERE id = ?', id)
    return row === undefined ? undefined : (JSON.parse(String(row.record)) as LeaseRecord)
  }
  const put = (record: LeaseRecord): void => {
    const { id, issuedAt, maxExpiresAt, agent, user, task, session, tenant, state, login } = record
    const keepUntil = maxExpiresAt + leaseKeepSeconds
    sql.run(
      `INSERT OR REPLACE INTO leases
         (id, issued_at, keep_until, agent, user, task, session, tenant, state, record)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[id, issuedAt, keepUntil, agent, user, `${task.system}:${task.id}`, session, tenant, state],
      JSON.stringify(record),
    )
    if (login === undefined) return
    sql.run(
      `INSERT INTO logins VALUES (?, ?, ?, ?)
         ON CONFLICT (issuer, subject, user) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until)`,
      ...[login.issuer, login.subject, user, keepUntil],
    )
  }
  return {
    put: (record) => sql.write(() => put(record)),
    get: async (id) => get(id),
    renew: (id, expiresAt) =>
      sql.write(() => {
        const record = get(id)
        if (record?.state !== 'active') return undefined
        const renewals = record.renewals + 1
        const renewed = { ...record, renewals, expiresAt: Math.max(record.expiresAt, expiresAt) }
        put(renewed)
        return renewed
      }),
    transition: (id, { from, to, at, by, reason }) =>
      sql.write((): TransitionResult => {
        const record = get(id)
        if (record === undefined) return { outcome: 'unknown' }
        if (record.state === to) return { outcome: 'unchanged', record }
        if (!from.includes(record.state)) return { outcome: 'conflict', record }
        const changed = { ...record, state: to, version: record.version + 1, changed: { at, by, reason } }
        put(changed)
        return { outcome: 'changed', record: changed }
      }),
    async list({ limit, liveAt, ...filter }) {
      const { agent, user, task, session, tenant, state } = filter
      const wanted = Object.entries({ agent, user, task, session, tenant, state }).flatMap(
        ([column, value]) => (value === undefined ? [] : [{ column, value }]),
      )
      const where = wanted.map(({ column }) => `AND ${column} = ?`).join(' ')
      const rows = sql.all(
        `SELECT record FROM leases WHERE keep_until > ? ${where} ORDER BY issued_at DESC, id DESC LIMIT ?`,
        liveAt === undefined ? 0 : liveAt + leaseKeepSeconds,
        ...wanted.map(({ value }) => value),
        Math.max(0, Math.floor(limit)),
      )
      return rows.map((row) => JSON.parse(String(row.record)) as LeaseRecord)
    },
    addUsage: (uses) =>
      sql.write(() => {
        for (const use of uses) addUse(sql, use)
      }),
    async usage(id) {
      const [row] = sql.all('SELECT usage FROM lease_usage WHERE id = ?', id)
      return row === undefined ? undefined : (JSON.parse(String(row.usage)) as LeaseUsage)
    },
    async usersOf({ issuer, subject }) {
      const rows = sql.all('SELECT user FROM logins WHERE issuer = ? AND subject = ?', issuer, subject)
      return rows.map(({ user }) => String(user))
    },
  }
}

function addUse(sql: Sql, { id, ...use }: LeaseUse): void {
  const [lease] = sql.all('SELECT keep_until FROM leases WHERE id = ?', id)
  if (lease === undefined) return
  const [row] = sql.all('SELECT usage FROM lease_usage WHERE id = ?', id)
  const sum = row === undefined ? use : addUsage(JSON.parse(String(row.usage)) as LeaseUsage, use)
  sql.run(
    'INSERT OR REPLACE INTO lease_usage VALUES (?, ?, ?)',
    id,
    JSON.stringify(sum),
    Number(lease.keep_until),
  )
}

/** Two usages of one lease as one. */
function addUsage(one: LeaseUsage, other: LeaseUsage): LeaseUsage {
  const verbs: Record<string, number> = { ...one.verbs }
  for (const [verb, calls] of Object.entries(other.verbs)) verbs[verb] = (verbs[verb] ?? 0) + calls
  return {
    calls: one.calls + other.calls,
    verbs,
    refusals: one.refusals + other.refusals,
    bytesIn: one.bytesIn + other.bytesIn,
    bytesOut: one.bytesOut + other.bytesOut,
    lastUsedAt: Math.max(one.lastUsedAt, other.lastUsedAt),
  }
}

/** Deferrals. One that has expired is kept for a while, so that its poll can be told so. */
export function sqlDeferrals(sql: Sql): Deferrals {
  const get = (id: string): (Deferral & { polledAt: number }) | undefined => {
    const [row] = sql.all('SELECT deferral, polled_at FROM deferrals WHERE id = ?', id)
    return row && { ...(JSON.parse(String(row.deferral)) as Deferral), polledAt: Number(row.polled_at) }
  }
  const put = ({ polledAt, ...deferral }: Deferral & { polledAt: number }): void => {
    const { id, state, expiresAt } = deferral
    const keepUntil = expiresAt + keepSeconds
    const text = JSON.stringify(deferral)
    sql.run(
      'INSERT OR REPLACE INTO deferrals VALUES (?, ?, ?, ?, ?, ?)',
      id,
      state,
      expiresAt,
      polledAt,
      keepUntil,
      text,
    )
  }
  const change = (id: string, from: Deferral['state'], to: Partial<Deferral>): Promise<boolean> =>
    sql.write(() => {
      const deferral = get(id)
      if (deferral?.state !== from) return false
      put({ ...deferral, ...to })
      return true
    })
  return {
    put: (deferral) => sql.write(() => put({ ...deferral, polledAt: deferral.createdAt })),
    async get(id) {
      const found = get(id)
      if (found === undefined) return undefined
      const { polledAt: _, ...deferral } = found
      return deferral
    },
    poll: (id, now) =>
      sql.write(() => {
        const found = get(id)
        if (found === undefined) return undefined
        const { polledAt, ...deferral } = found
        const tooFast = now - polledAt < deferral.interval
        const interval = tooFast ? deferral.interval + 5 : deferral.interval
        put({ ...deferral, interval, polledAt: now })
        return { deferral: { ...deferral, interval }, tooFast }
      }),
    settle: (id, to, settled) => change(id, 'pending', { state: to, settled }),
    redeem: (id) => change(id, 'approved', { state: 'redeemed' }),
    async pending(now, limit) {
      const query = `SELECT deferral FROM deferrals WHERE state = 'pending' AND expires_at > ?
        ORDER BY expires_at LIMIT ?`
      return sql.all(query, now, limit).map(({ deferral }) => JSON.parse(String(deferral)) as Deferral)
    },
  }
}

/** Secrets, made once. */
export function sqlSecrets(sql: Sql): Secrets {
  return {
    shared: (name) =>
      sql.write(() => {
        sql.run('INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO NOTHING', name, randomBytes(32))
        return sql.all('SELECT secret FROM secrets WHERE name = ?', name)[0]?.secret as Uint8Array
      }),
  }
}
