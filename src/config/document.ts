// In: the text of a YAML file. Out: its plain value, and where in the text every part of it stands.
// Never: duplicate keys, merge keys, custom tags, several documents, or more than a few aliases.
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { ConfigPath } from './problems.ts'

/** Line and column, both from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** A parsed file. `faults` are what keeps it from being YAML as accepted here; then `value` is undefined. */
export interface SourceDocument {
  readonly value: unknown
  readonly faults: readonly (Position & { readonly message: string })[]
  /** Where `path` stands, or the deepest part of it that exists: its key, or the list item. */
  locate(path: ConfigPath): Position
}

/** More than any configuration needs, far less than an expansion bomb. */
const maxAliasCount = 100

/** Parses YAML 1.2 (core schema). Never throws: every fault is in the answer. */
export function parseSource(text: string): SourceDocument {
  const lines = new LineCounter()
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  try {
    const document = parseDocument(text, {
      version: '1.2',
      schema: 'core',
      uniqueKeys: true,
      stringKeys: true,
      merge: false,
      prettyErrors: false,
      logLevel: 'error',
      lineCounter: lines,
    })
    const faults = [...document.errors, ...document.warnings].map((e) => ({
      ...at(e.pos[0]),
      message: e.message,
    }))
    const value = faults.length === 0 ? document.toJS({ maxAliasCount }) : undefined
    return { value, faults, locate: (path) => at(offsetOf(document, path)) }
  } catch (error) {
    const message = error instanceof Error ? error.message : 'not readable as YAML'
    return { value: undefined, faults: [{ line: 1, column: 1, message }], locate: () => at(0) }
  }
}

function offsetOf(document: ReturnType<typeof parseDocument>, path: ConfigPath): number {
  let node: unknown = document.contents
  let offset = 0
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key)
      if (pair === undefined || !isScalar(pair.key)) break
      offset = pair.key.range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node) && typeof key === 'number') {
      const item = node.items[key] as { range?: readonly number[] | null } | undefined
      if (item === undefined) break
      offset = item.range?.[0] ?? offset
      node = item
    } else break
  }
  return offset
}
