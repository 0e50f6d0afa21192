// In: a way to run SQL on a file of its own. Out: the replay port on it, and that file's tables. One short
// transaction per id, or per several that come in together. It never holds more ids than it may.
import { type Replay, Unavailable } from '../ports.ts'
import { replayKeepSeconds } from './lifetimes.ts'
import type { Sql } from './sql.ts'

/** Schema steps of the file of used ids. Append, never edit. */
export const replayMigrations: readonly string[] = [
  `CREATE TABLE replay (id TEXT PRIMARY KEY, keep_until REAL NOT NULL) STRICT, WITHOUT ROWID;
   CREATE INDEX replay_keep ON replay (keep_until);
   CREATE TABLE replay_count (ids INTEGER NOT NULL) STRICT; -- counting a million rows takes too long
   INSERT INTO replay_count VALUES (0);
   CREATE TRIGGER replay_came AFTER INSERT ON replay BEGIN UPDATE replay_count SET ids = ids + 1; END;
   CREATE TRIGGER replay_went AFTER DELETE ON replay BEGIN UPDATE replay_count SET ids = ids - 1; END;`,
]

/** Two go for each that comes: the table shrinks while it is used, and no purge ever holds up a request. */
const forget = 'DELETE FROM replay WHERE id IN (SELECT id FROM replay WHERE keep_until < ? LIMIT 2)'
const insert = `INSERT INTO replay SELECT ?, ? WHERE (SELECT ids FROM replay_count) < ?
  ON CONFLICT (id) DO NOTHING`

/** Used ids, at most `maxIds`. One that has expired is refused: it could no longer be remembered. */
export function sqlReplay(sql: Sql, maxIds: number): Replay {
  return {
    async use(id, expiresAt, now) {
      if (!(expiresAt > now)) return false
      const known = await sql.write(() => {
        sql.run(forget, now)
        if (sql.run(insert, id, expiresAt + replayKeepSeconds, maxIds) === 1) return false
        return sql.all('SELECT 1 FROM replay WHERE id = ?', id).length > 0 || undefined
      })
      if (known === undefined) throw new Unavailable('no more single-use ids can be remembered')
      return !known
    },
  }
}
