// In: a few Redis commands. Out: the records port on them; redis.ts lists the keys. What changes is read first, for
// the lists it is in, and written only if all of it still stands. It never sees a connection: redis.ts does.
import type { RecordKind, Records, RecordWrite, StoredRecord } from '../ports.ts'
import { type Commands, type KeyName, lifetimeMs } from './keyed.ts'

/** Members of a list that are looked at together. */
const page = 200

/** Records. They go by themselves when their time is over, and leave their lists after that. */
export function keyedRecords(redis: Commands, key: KeyName, now: () => number): Records {
  const recordKey = (kind: RecordKind, id: string) => key('record', kind, id)
  const listKeys = (kind: RecordKind, list: string) => [key('records', kind, list), key('until', kind, list)]

  /** Keys and arguments of one write, in the order of the script. */
  const stepOf = (write: RecordWrite, before: readonly string[]) => {
    const { kind, id, expect, text, expiresAt, lists = [], at } = write
    const leaving = before.filter((list) => text === undefined || !lists.includes(list))
    const entering = text === undefined ? [] : lists
    const seconds = now() / 1000
    return {
      keys: [recordKey(kind, id), ...[...leaving, ...entering].flatMap((list) => listKeys(kind, list))],
      values: [
        ...[leaving.length, entering.length, id, expect, text === undefined ? 0 : 1, text ?? ''],
        ...[JSON.stringify(lists), at, expiresAt, Math.max(1, lifetimeMs(expiresAt, seconds)), seconds],
      ],
    }
  }
  return {
    async get(kind, id) {
      return read(id, await redis.hash(recordKey(kind, id)))
    },
    async write(writes) {
      const before = await Promise.all(writes.map(({ kind, id }) => redis.hash(recordKey(kind, id))))
      const stands = writes.every(({ expect }, at) => Number(before[at]!.version ?? 0) === expect)
      if (!stands) return false
      const steps = writes.map((write, at) => stepOf(write, JSON.parse(before[at]!.lists ?? '[]')))
      const keys = steps.flatMap((step) => step.keys)
      const values = steps.flatMap((step) => step.values)
      return (await redis.run('leasegateRecords', keys.length, ...keys, ...values)) === 1
    },
    async list(kind, list, { limit, before }) {
      const [members] = listKeys(kind, list)
      const found: StoredRecord[] = []
      for (let start = 0; found.length < limit; start += page) {
        const ids = await redis.newestBefore(members!, before, start, page)
        const hashes = await Promise.all(ids.map((id) => redis.hash(recordKey(kind, id))))
        found.push(...ids.flatMap((id, at) => read(id, hashes[at]!) ?? []))
        if (ids.length < page) break
      }
      return found.slice(0, Math.max(0, Math.floor(limit)))
    },
  }
}

function read(id: string, { version, text }: Record<string, string>): StoredRecord | undefined {
  return version === undefined || text === undefined ? undefined : { id, version: Number(version), text }
}
