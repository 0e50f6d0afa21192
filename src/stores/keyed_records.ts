// In: a few Redis commands. Out: the records port on them; redis.ts lists the keys. What changes is read first, for
// the lists it is in, and written only if all of it still stands. It never sees a connection: redis.ts does, and it
// never guesses about a record that it cannot read.
import { type RecordKind, type Records, type RecordWrite, type StoredRecord, Unavailable } from '../ports.ts'
import { type Commands, type KeyName, lifetimeMs } from './keyed.ts'
import { keepSeconds } from './lifetimes.ts'
import { checkWrites } from './record_writes.ts'
import { type Acknowledged, tooFew } from './redis_acknowledge.ts'

/** Members of a list that are looked at together, at most and at least. */
const page = { most: 200, least: 20 }

/** PEXPIRE takes no more than fits its clock: three centuries are for ever. */
const longestMs = 1e13

/** What may be forgotten by a fail-over: it is written anew soon, or only counted. */
const unhurried: ReadonlySet<RecordKind> = new Set(['gate', 'approver'])

/** Runs the script so that as many have it as have to, and says who does not. */
type RunAcknowledged = (...args: (string | number)[]) => Promise<Acknowledged<unknown>>

/** Of one record, as far as it is there. */
type Fields = readonly (string | null)[]

/**
 * Records. They go by themselves when their time is over, and leave their lists after that. With
 * `acknowledged` a write resolves once as many have it as have to; with too few it is `Unavailable`, and stands.
 */
export function keyedRecords(
  redis: Commands,
  key: KeyName,
  now: () => number,
  acknowledged?: RunAcknowledged,
): Records {
  const recordKey = (kind: RecordKind, id: string) => key('record', kind, id)
  const listKeys = (kind: RecordKind, list: string) => [key('records', kind, list), key('until', kind, list)]
  const read = async (kind: RecordKind, id: string) =>
    recordOf(id, await redis.fields(recordKey(kind, id), 'version', 'lists', 'text'))

  /** Keys and arguments of one write, in the order of the script. */
  const stepOf = (write: RecordWrite, before: readonly string[]) => {
    const { kind, id, expect, text, expiresAt, lists = [], at } = write
    const seconds = now() / 1000
    const ttlMs = Math.min(longestMs, lifetimeMs(expiresAt, seconds))
    const isKept = text !== undefined && ttlMs > 0
    const entering = isKept ? lists : []
    const leaving = before.filter((list) => !entering.includes(list))
    return {
      keys: [recordKey(kind, id), ...[...leaving, ...entering].flatMap((list) => listKeys(kind, list))],
      values: [
        ...[leaving.length, entering.length, id, expect, isKept ? 1 : 0, isKept ? text : ''],
        ...[JSON.stringify(lists), at, expiresAt, ttlMs, seconds - keepSeconds],
      ],
    }
  }
  const run = async (writes: readonly RecordWrite[], args: (string | number)[]): Promise<boolean> => {
    if (acknowledged === undefined || writes.every(({ kind }) => unhurried.has(kind))) {
      return (await redis.run('leasegateRecords', ...args)) === 1
    }
    const { written, missing } = await acknowledged(...args)
    if (written === 1 && missing !== undefined) throw tooFew(missing, 'look before you send it again')
    return written === 1
  }
  return {
    async get(kind, id) {
      return (await read(kind, id))?.record
    },
    async write(writes) {
      checkWrites(writes)
      const before = await Promise.all(
        writes.map(async ({ kind, id }) =>
          stateOf(await redis.fields(recordKey(kind, id), 'version', 'lists')),
        ),
      )
      if (!writes.every(({ expect }, at) => (before[at]?.version ?? 0) === expect)) return false
      const steps = writes.map((write, at) => stepOf(write, before[at]?.lists ?? []))
      const keys = steps.flatMap((step) => step.keys)
      return run(writes, [keys.length, ...keys, ...steps.flatMap((step) => step.values)])
    },
    async list(kind, list, { limit, before }) {
      const [members] = listKeys(kind, list)
      const found: StoredRecord[] = []
      const take = async (ids: readonly string[]) => {
        const kept = await Promise.all(ids.map((id) => read(kind, id)))
        // One that has expired, or has come back elsewhere since, leaves its old place to be cleared away.
        found.push(...kept.flatMap((each) => (each?.lists.includes(list) ? each.record : [])))
      }
      if (before?.id !== undefined) {
        const { at, id } = before
        await take((await redis.tied(members!, at)).filter((each) => each < id))
      }
      const count = Math.min(page.most, Math.max(page.least, Math.floor(limit)))
      for (let start = 0; found.length < limit; start += count) {
        const ids = await redis.newestBefore(members!, before?.at, start, count)
        await take(ids)
        if (ids.length < count) break
      }
      return found.slice(0, Math.max(0, Math.floor(limit)))
    },
  }
}

function recordOf(id: string, [version = null, lists = null, text = null]: Fields) {
  const state = stateOf([version, lists])
  if (state === undefined && text === null) return undefined
  if (state === undefined || text === null) throw new Unavailable(malformed)
  return { record: { id, version: state.version, text }, lists: state.lists }
}

/** Version and lists of a record; undefined: there is none. */
function stateOf([version = null, lists = null]: Fields) {
  if (version === null && lists === null) return undefined
  if (version === null || lists === null || !/^[1-9]\d{0,14}$/.test(version)) throw new Unavailable(malformed)
  return { version: Number(version), lists: namesOf(lists) }
}

const malformed = 'a stored record is malformed'

function namesOf(text: string): string[] {
  let names: unknown
  try {
    names = JSON.parse(text)
  } catch {
    throw new Unavailable(malformed)
  }
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    throw new Unavailable(malformed)
  return names
}
