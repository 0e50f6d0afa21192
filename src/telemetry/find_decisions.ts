// In: an audit file, which records are meant, and how much may be read. Out: rows, newest first, and where to go on; or
// everything that a file says of one decision. Reads backwards in blocks, and lets others run between two of them.
import { type AuditSlice, openAuditSlice, type PlacedLine } from './audit_backwards.ts'
import {
  actionOf,
  type DecisionRow,
  decisionRow,
  fits,
  needlesOf,
  type RowFilter,
  readLine,
} from './decision_row.ts'

/** Bytes that one page may read: some forty thousand records. */
export const maxReadBytes = 64 * 1024 * 1024

/** One page. */
export interface DecisionPage {
  readonly rows: readonly DecisionRow[]
  /** Where the next page begins; undefined: there is nothing older. */
  readonly next: { readonly file: string; readonly offset: number } | undefined
}

export interface DecisionsAsked {
  readonly filter: RowFilter
  readonly limit: number
  /** Undefined: from the end. */
  readonly before: { readonly file: string; readonly offset: number } | undefined
  /** A further condition, for who may see what. */
  readonly isSeen?: (row: DecisionRow) => boolean
}

/**
 * One page of the rows of requests that have ended. `elsewhere`: `before` is no place in this file: it was rotated, or
 * cut. Rejects with the system's error.
 */
export async function findDecisions(
  path: string,
  asked: DecisionsAsked,
): Promise<DecisionPage | 'elsewhere'> {
  const slice = await openAuditSlice(path)
  try {
    const { before } = asked
    if (before !== undefined) {
      const known = before.file === slice.file && (await slice.beginsLine(before.offset))
      if (!known) return 'elsewhere'
    }
    return await readPage(slice, asked)
  } finally {
    await slice.close()
  }
}

async function readPage(
  slice: AuditSlice,
  { filter, limit, before, isSeen }: DecisionsAsked,
): Promise<DecisionPage> {
  const needles = needlesOf(filter).map((needle) => Buffer.from(needle))
  const rows: DecisionRow[] = []
  let bytes = 0
  let place: number | undefined
  for await (const lines of slice.backwards(before?.offset)) {
    for (const line of lines) {
      place = line.offset
      bytes += line.bytes.length
      const row = rowOf(line, needles)
      if (row === undefined || !fits(row, filter) || isSeen?.(row) === false) continue
      rows.push(row)
      if (rows.length === limit) return { rows, next: nextOf(slice, place) }
    }
    if (bytes >= maxReadBytes && place !== undefined) return { rows, next: nextOf(slice, place) }
  }
  return { rows, next: undefined }
}

function nextOf({ file }: AuditSlice, offset: number): DecisionPage['next'] {
  return offset === 0 ? undefined : { file, offset }
}

function rowOf({ bytes }: PlacedLine, needles: readonly Buffer[]): DecisionRow | undefined {
  return needles.every((needle) => bytes.includes(needle)) ? decisionRow(bytes.toString('utf8')) : undefined
}

/** Everything that a file says of one decision. */
export interface DecisionStory {
  /** The last record of it, whole. */
  readonly record: Readonly<Record<string, unknown>>
  /** Written before it was forwarded. */
  readonly intents: readonly Readonly<Record<string, unknown>>[]
  /** Other lines that name it, or the action that it led to: approvals above all. Oldest first. */
  readonly events: readonly Readonly<Record<string, unknown>>[]
}

/** Lines of a story that are kept: the newest. */
const maxStoryLines = 200

/** Reads the whole file, backwards. Undefined: it has no record of it. Rejects with the system's error. */
export async function findStory(path: string, decisionId: string): Promise<DecisionStory | undefined> {
  const lines = await linesNaming(path, [decisionId])
  const records = lines.filter((line) => line.decision_id === decisionId && line.event === undefined)
  const record = records.find((line) => !isIntent(line)) ?? records[0]
  // A request to the broker is a decision as well, told in an event of its own.
  const told = record ?? lines.find((line) => line.decision_id === decisionId)
  if (told === undefined) return undefined
  const actions = [...new Set(lines.flatMap((line) => actionOf(line) ?? []))]
  const named = actions.length === 0 ? lines : await linesNaming(path, [decisionId, ...actions])
  return {
    record: told,
    intents: records.filter((line) => isIntent(line) && line !== told),
    events: named.filter((line) => line.event !== undefined && !isSame(line, told)).toReversed(),
  }
}

/** Parsed, newest first. */
async function linesNaming(path: string, ids: readonly string[]): Promise<Record<string, unknown>[]> {
  const needles = ids.map((id) => Buffer.from(JSON.stringify(id)))
  const found: Record<string, unknown>[] = []
  const slice = await openAuditSlice(path)
  try {
    for await (const lines of slice.backwards()) {
      for (const { bytes } of lines) {
        if (!needles.some((needle) => bytes.includes(needle))) continue
        const line = readLine(bytes.toString('utf8'))
        if (line !== undefined) found.push(line)
        if (found.length === maxStoryLines) return found
      }
    }
    return found
  } finally {
    await slice.close()
  }
}

function isIntent({ outcome }: Record<string, unknown>): boolean {
  return typeof outcome === 'object' && outcome !== null && 'ended' in outcome && outcome.ended === 'intent'
}

function isSame(one: object, other: object): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
