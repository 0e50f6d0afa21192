// In: a way to run SQL. Out: the records port on it. Each write is one transaction. It never sees a file or a
// driver: embedded.ts does.
import { type Records, type RecordWrite, type StoredRecord, Unavailable } from '../ports.ts'
import { checkWrites } from './record_writes.ts'
import type { Sql } from './sql.ts'

/** Records. One whose time is over is as good as gone, whether it has been purged or not. */
export function sqlRecords(sql: Sql, now: () => number): Records {
  const query = 'SELECT id, version, text FROM records WHERE kind = ? AND id = ? AND keep_until > ?'
  const get = (kind: string, id: string) => sql.all(query, kind, id, now() / 1000).map(recordOf)[0]
  return {
    get: async (kind, id) => get(kind, id),
    async write(writes) {
      checkWrites(writes)
      return sql.write(() => {
        const stands = ({ kind, id, expect }: RecordWrite) => (get(kind, id)?.version ?? 0) === expect
        if (!writes.every(stands)) return false
        for (const write of writes) put(sql, write)
        return true
      })
    },
    async list(kind, list, { limit, before: { at, id = '' } = { at: Number.MAX_VALUE } }) {
      if (!(limit >= 1)) return []
      const rows = sql.all(
        `SELECT records.id, version, text FROM record_lists JOIN records USING (kind, id)
          WHERE kind = ? AND list = ? AND (record_lists.at, id) < (?, ?) AND records.keep_until > ?
          ORDER BY record_lists.at DESC, id DESC LIMIT ?`,
        ...[kind, list, at, id, now() / 1000, Math.min(Number.MAX_SAFE_INTEGER, Math.floor(limit))],
      )
      return rows.map(recordOf)
    },
  }
}

function put(sql: Sql, { kind, id, expect, text, expiresAt, lists = [], at }: RecordWrite): void {
  sql.run('DELETE FROM records WHERE kind = ? AND id = ?', kind, id)
  sql.run('DELETE FROM record_lists WHERE kind = ? AND id = ?', kind, id)
  if (text === undefined) return
  sql.run('INSERT INTO records VALUES (?, ?, ?, ?, ?)', kind, id, expect + 1, text, expiresAt)
  for (const list of lists) {
    sql.run('INSERT INTO record_lists VALUES (?, ?, ?, ?, ?)', kind, list, at, id, expiresAt)
  }
}

function recordOf({ id, version, text }: Record<string, unknown>): StoredRecord {
  if (typeof version !== 'number' || version < 1) throw new Unavailable('a stored record is malformed')
  return { id: String(id), version, text: String(text) }
}
