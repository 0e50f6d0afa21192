// In: measured values. Out: what is said about them: percentiles, medians, ranges, a table, a file.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Typical and worst case of many durations, in the unit they came in. */
export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

/** Nearest-rank percentiles. Sorts `values`. */
export function percentiles(values: Float64Array): Percentiles {
  values.sort()
  const at = (share: number) => values[Math.min(values.length - 1, Math.floor(values.length * share))]!
  return { p50: round(at(0.5)), p99: round(at(0.99)) }
}

/** The middle one, with the extremes. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  return { median: sorted[sorted.length >> 1]!, min: sorted[0]!, max: sorted.at(-1)! }
}

/** Three significant digits below a thousand, whole numbers above. */
export function round(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(3))
}

/** Times `work(n)` for n = 0, 1, …; microseconds each, ascending. The first tenth more is for warming up. */
export function timeEach(count: number, work: (n: number) => void): Float64Array {
  for (let n = 0; n < count / 10; n++) work(n)
  const took = new Float64Array(count)
  for (let n = 0; n < count; n++) {
    const began = performance.now()
    work(n)
    took[n] = (performance.now() - began) * 1000
  }
  return took.sort()
}

/** Prints rows below their headings, the first column to the left, the others to the right. */
export function printTable(
  headings: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void {
  const table = [headings, ...rows].map((row) => row.map(String))
  const widths = headings.map((_, at) => Math.max(...table.map((row) => row[at]!.length)))
  for (const row of table) {
    console.log(
      row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  '),
    )
  }
}

/** Writes `bench/results/<name>.json`, with the conditions it was measured under. */
export function writeResult(name: string, result: object): void {
  const dir = join(import.meta.dirname, 'results')
  mkdirSync(dir, { recursive: true })
  const conditions = { node: process.version, date: new Date().toISOString() }
  writeFileSync(join(dir, `${name}.json`), `${JSON.stringify({ ...result, ...conditions }, undefined, 2)}\n`)
}
