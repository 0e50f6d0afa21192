// In: a way to run SQL. Out: the port of published policies on it. Each write is one transaction. It never
// looks into a set and never reads one to list them.
import { historyLength } from '../policy/rollout.ts'
import type { Activation, PolicySets, PublishedSet } from '../ports.ts'
import {
  decodeActivation,
  decodePublished,
  encodeActivation,
  historyLimit,
  newestFirst,
  spareSets,
} from './kept_sets.ts'
import type { Sql } from './sql.ts'

/** Published policies and the history of their activations. */
export function sqlPolicySets(sql: Sql): PolicySets {
  const history = (limit: number): Activation[] =>
    sql
      .all('SELECT number, activation FROM policy_history ORDER BY number DESC LIMIT ?', limit)
      .map(({ number, activation }) => decodeActivation(Number(number), String(activation)))
  const list = (): PublishedSet[] =>
    newestFirst(
      sql
        .all('SELECT digest, published FROM policy_sets')
        .map(({ digest, published }) => decodePublished(String(digest), String(published))),
    )
  const isStored = (digest: string): boolean =>
    sql.all('SELECT 1 FROM policy_sets WHERE digest = ?', digest).length > 0
  const forget = (except: string): void => {
    for (const digest of spareSets(list(), history(historyLength))) {
      if (digest !== except) sql.run('DELETE FROM policy_sets WHERE digest = ?', digest)
    }
  }
  return {
    put: ({ digest, packed, publishedAt, by }) =>
      sql.write(() => {
        const known = isStored(digest)
        const published = JSON.stringify({ publishedAt, by })
        sql.run('INSERT OR REPLACE INTO policy_sets VALUES (?, ?, ?)', digest, published, packed)
        forget(digest)
        return !known
      }),
    async get(digest) {
      const [row] = sql.all('SELECT packed FROM policy_sets WHERE digest = ?', digest)
      return row === undefined ? undefined : (row.packed as Uint8Array)
    },
    list: async () => list(),
    activate: ({ expected, ...asked }) =>
      sql.write(() => {
        const [active] = history(1)
        if (expected !== undefined && expected !== active?.digest) return { outcome: 'not_expected', active }
        if (!isStored(asked.digest)) return { outcome: 'not_stored' }
        if (asked.digest === active?.digest) return { outcome: 'unchanged', activation: active }
        const number = (active?.number ?? 0) + 1
        const values = [number, asked.digest, encodeActivation(asked)]
        sql.run('INSERT INTO policy_history VALUES (?, ?, ?)', ...values)
        sql.run('DELETE FROM policy_history WHERE number <= ?', number - historyLength)
        forget(asked.digest)
        return { outcome: 'activated', activation: { ...asked, number } }
      }),
    active: async () => history(1)[0],
    history: async (limit) => history(historyLimit(limit)),
  }
}
