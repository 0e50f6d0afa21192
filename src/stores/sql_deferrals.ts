// In: a way to run SQL. Out: the deferral and secret ports on it. Each change is one transaction. It never sees
// a file or a driver: embedded.ts does.
import { randomBytes } from 'node:crypto'
import type { Deferral, Deferrals, Secrets } from '../ports.ts'
import { decodeDeferral, type KeptDeferral, polled, shown } from './kept_deferrals.ts'
import { keepSeconds } from './lifetimes.ts'
import type { Sql } from './sql.ts'

/** Deferrals. One that has expired is kept for a while, so that its poll can be told so. */
export function sqlDeferrals(sql: Sql): Deferrals {
  const get = (id: string): KeptDeferral | undefined => {
    const [row] = sql.all('SELECT deferral FROM deferrals WHERE id = ?', id)
    return row && decodeDeferral(String(row.deferral))
  }
  const update = (kept: KeptDeferral): void => {
    const text = JSON.stringify(kept)
    sql.run('UPDATE deferrals SET state = ?, deferral = ? WHERE id = ?', kept.state, text, kept.id)
  }
  const change = (id: string, from: Deferral['state'], to: Partial<Deferral>): Promise<boolean> =>
    sql.write(() => {
      const kept = get(id)
      if (kept?.state !== from) return false
      update({ ...kept, ...to })
      return true
    })
  return {
    async put(deferral) {
      const { id, state, createdAt, expiresAt } = deferral
      const text = JSON.stringify({ ...deferral, polledAt: createdAt } satisfies KeptDeferral)
      const insert = 'INSERT INTO deferrals VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING'
      const values = [id, state, createdAt, expiresAt, expiresAt + keepSeconds, text]
      await sql.write(() => sql.run(insert, ...values))
    },
    async get(id) {
      const kept = get(id)
      return kept && shown(kept)
    },
    poll: (id, now) =>
      sql.write(() => {
        const found = get(id)
        if (found === undefined) return undefined
        const { kept, tooFast } = polled(found, now)
        update(kept)
        return { deferral: shown(kept), tooFast }
      }),
    settle: (id, to, settled) => change(id, 'pending', { state: to, settled }),
    expire: (id) => change(id, 'pending', { state: 'expired' }),
    redeem: (id) => change(id, 'approved', { state: 'redeemed' }),
    async pending(now, limit) {
      const query = `SELECT deferral FROM deferrals WHERE state = 'pending' AND expires_at > ?
        ORDER BY created_at, id LIMIT ?`
      const rows = sql.all(query, now, Math.max(0, Math.floor(limit)))
      return rows.map(({ deferral }) => shown(decodeDeferral(String(deferral))))
    },
  }
}

/** Secrets, made once. */
export function sqlSecrets(sql: Sql): Secrets {
  const known = (name: string) =>
    sql.all('SELECT secret FROM secrets WHERE name = ?', name)[0]?.secret as Uint8Array | undefined
  const make = (name: string) =>
    sql.write(() => {
      sql.run('INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO NOTHING', name, randomBytes(32))
      return known(name)!
    })
  return { shared: async (name) => known(name) ?? make(name) }
}
