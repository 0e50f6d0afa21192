// In: the plain values of the file, valid or not. Out: the parts of it that a relation asks for.
// Never: throws over a part that is missing or of another type; the schema reports those.
import type { ConfigPath } from './problems.ts'

/** Where a relation reports, and where relative paths start. */
export interface RelationScope {
  readonly dir: string
  report(path: ConfigPath, message: string): void
  /** Line of a path, for messages about two places. */
  lineOf(path: ConfigPath): number
}

/** Reports what is wrong between some values of `root`. */
export type Relation = (root: unknown, scope: RelationScope) => void

/** A value of the file and where it stands. */
export interface Found {
  readonly path: ConfigPath
  readonly value: unknown
}

/** Every value under `pattern`, where `*` is any key or index; `base` is the path of `root` itself. */
export function select(root: unknown, pattern: readonly string[], base: ConfigPath = []): Found[] {
  const [key, ...rest] = pattern
  if (key === undefined) return root === undefined ? [] : [{ path: base, value: root }]
  if (key !== '*') return isMapping(root) ? select(root[key], rest, [...base, key]) : []
  if (Array.isArray(root)) return root.flatMap((item, index) => select(item, rest, [...base, index]))
  if (!isMapping(root)) return []
  return Object.entries(root).flatMap(([name, item]) => select(item, rest, [...base, name]))
}

/** The value at a fixed path; undefined when it is not there. */
export function at(root: unknown, path: readonly string[]): unknown {
  return select(root, path)[0]?.value
}

/** The string at a fixed path; undefined when there is none. */
export function textAt(root: unknown, path: readonly string[]): string | undefined {
  const value = at(root, path)
  return typeof value === 'string' ? value : undefined
}

/** True for a mapping of keys, false for lists, strings and the rest. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Reports every value that stands there a second time, with the line of the first. */
export function reportRepeats(found: readonly Found[], scope: RelationScope, message: string): void {
  const first = new Map<unknown, ConfigPath>()
  for (const { path, value } of found) {
    const earlier = first.get(value)
    if (earlier === undefined) first.set(value, path)
    else scope.report(path, `${message} (also at line ${scope.lineOf(earlier)})`)
  }
}
