// How commands talk to people: colour only on a terminal that wants it, columns, and one sort of error.
import { userInfo } from 'node:os'

/** What was asked cannot be done as asked; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const colourful = process.stdout.isTTY === true && process.env.NO_COLOR === undefined

/** SGR styles by name; plain text when the output is not a terminal or NO_COLOR is set. */
export const style = {
  bold: (text: string) => sgr(1, text),
  dim: (text: string) => sgr(2, text),
  green: (text: string) => sgr(32, text),
  red: (text: string) => sgr(31, text),
  yellow: (text: string) => sgr(33, text),
  cyan: (text: string) => sgr(36, text),
}

function sgr(code: number, text: string): string {
  return colourful ? `\x1b[${code}m${text}\x1b[0m` : text
}

/** Prints one line. */
export function say(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** Prints a value for programs. */
export function sayJson(value: unknown): void {
  say(JSON.stringify(value, null, 2))
}

/**
 * `value` with the names of its members as audit records write them: `issuedAt` becomes `issued_at`. What is in
 * `details` keeps its names: they are those of a token.
 */
export function snaked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snaked)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      name === 'details' ? inner : snaked(inner),
    ]),
  )
}

/** Label and value in two columns. */
export function sayFacts(facts: readonly (readonly [string, string])[]): void {
  const width = Math.max(...facts.map(([label]) => label.length))
  for (const [label, value] of facts) say(`  ${style.dim(label.padEnd(width))}  ${value}`)
}

/** Rows in columns as wide as their widest cell; the columns in `right` are flush right, for figures. */
export function aligned(rows: readonly (readonly string[])[], right: readonly number[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  )
}

/** `1 backend`, `2 backends`. */
export function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`
}

/** Seconds as `4m 12s`. */
export function duration(seconds: number): string {
  if (seconds <= 0) return 'over'
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [Math.floor(seconds) % 60, 's'],
  ] as const
  const shown = parts.filter(([amount]) => amount > 0).slice(0, 2)
  return shown.map(([amount, unit]) => `${amount}${unit}`).join(' ') || '0s'
}

/** `5m`, `90s`, `1h` in seconds. Throws a UsageError that shows the form. */
export function parseDuration(text: string): number {
  const [, amount, unit] = /^([1-9][0-9]{0,5})(s|m|h)$/.exec(text) ?? []
  if (amount === undefined) throw new UsageError(`'${text}' is not a duration: write 90s, 5m or 1h`)
  return Number(amount) * { s: 1, m: 60, h: 3_600 }[unit as 's' | 'm' | 'h']
}

/** Why a file cannot be read, for people. */
export function unreadable(thrown: unknown): string {
  const { code } = thrown as NodeJS.ErrnoException
  return code === 'ENOENT' ? 'no such file' : `cannot be read: ${code ?? 'unknown failure'}`
}

/** Who runs this, for records: the system's name, or its number where it has no name, as in containers. */
export function operator(): string {
  try {
    return `cli:${userInfo().username}`
  } catch {
    return `cli:${process.getuid?.() ?? 'unknown'}`
  }
}
