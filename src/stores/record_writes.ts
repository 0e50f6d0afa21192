// In: writes of records, as their owners ask for them. Out: nothing, or a bug that throws before anything is
// written: a store could only do half of them, or read them in two ways. Shared by both adapters.
import type { RecordWrite } from '../ports.ts'

/** As the port promises. */
const mostLists = 8

/** Throws a `TypeError` for what no owner of a record may ask. Never says the text. */
export function checkWrites(writes: readonly RecordWrite[]): void {
  const seen = new Set<string>()
  for (const { kind, id, expect, expiresAt, at, lists = [] } of writes) {
    const name = `${kind}:${id}`
    const isCounted = Number.isSafeInteger(expect) && expect >= 0
    if (!isCounted || !Number.isFinite(expiresAt) || !Number.isFinite(at)) {
      throw new TypeError(`the record ${name} is written with a number that is none`)
    }
    if (lists.length > mostLists || new Set(lists).size < lists.length) {
      throw new TypeError(`the record ${name} is to be in too many lists, or in one twice`)
    }
    if (seen.has(name)) throw new TypeError(`the record ${name} is written twice at once`)
    seen.add(name)
  }
}
