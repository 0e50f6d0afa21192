// In: what is wrong with a configuration file. Out: `ConfigError`, which lists everything at once with file,
// line and column. Never: a value of the file in a message, because values may hold resolved secrets.

/** A position in the configuration: keys and list indexes from the root. */
export type ConfigPath = readonly (string | number)[]

/** One thing to fix. `line` and `column` count from 1 and point at the key, or at the list item. */
export interface ConfigProblem {
  readonly file: string
  readonly line: number
  readonly column: number
  /** e.g. `backends.crm.operations[0].match`; empty for the file as a whole. */
  readonly path: string
  /** Says what is wrong and what to write instead. */
  readonly message: string
}

/** The configuration cannot be used; the process exits 2 without listening. Lists every problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  /** File by file, in the order of each. Never empty. */
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    const ordered = problems.toSorted(
      (a, b) => compare(a.file, b.file) || a.line - b.line || a.column - b.column,
    )
    super(ordered.map(describe).join('\n'))
    this.problems = ordered
  }
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}

function describe({ file, line, column, path, message }: ConfigProblem): string {
  return path === ''
    ? `${file}:${line}:${column}  ${message}`
    : `${file}:${line}:${column}  ${path}: ${message}`
}

/** `['backends', 'crm', 'hosts', 0]` as `backends.crm.hosts[0]`; keys that are not plain words are quoted. */
export function writePath(path: ConfigPath): string {
  return path.map(writeKey).join('').replace(/^\./, '')
}

function writeKey(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  return /^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

/** The known name that `name` is a slip of: at most a third of its letters off; undefined when none is. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const ranked = known.map((candidate) => ({ candidate, slips: editDistance(name, candidate) }))
  const best = ranked.toSorted((a, b) => a.slips - b.slips)[0]
  return best !== undefined && best.slips <= Math.max(2, name.length / 3) ? best.candidate : undefined
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
