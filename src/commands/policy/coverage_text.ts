// What the tests reached, as people read it. In: coverage of a file and its text. Out: lines. Pure.
import { coveredPercent, type FileCoverage } from '../../policy/test_report.ts'
import { type Paint, shown } from './excerpt.ts'

/** How coverage is shown. */
export interface CoverageOptions {
  readonly paint: Paint
  /** The whole source, not only what is around uncovered lines. */
  readonly verbose: boolean
}

const around = 2

/** Rounded down: 100 is every line. */
export function percent(coverage: readonly FileCoverage[]): string {
  return `${Math.floor(coveredPercent(coverage))} %`
}

/** The file with its percentage, then its source with a mark before each line that no test reached. */
export function coverageLines(
  name: string,
  coverage: FileCoverage,
  source: string,
  { paint, verbose }: CoverageOptions,
): string[] {
  const { covered, lines, uncovered } = coverage
  const head = `${paint.bold(name)}  ${percent([coverage])}  ${paint.dim(`${covered} of ${lines} lines`)}`
  if (uncovered.length === 0 && !verbose) return [head]
  const text = source.split('\n')
  if (text.at(-1) === '') text.pop()
  const digits = String(text.length).length
  const rows = text.flatMap((line, at) => {
    const number = at + 1
    const within = (margin: number): boolean =>
      uncovered.some(([first, last]) => first - margin <= number && number <= last + margin)
    if (!verbose && !within(around)) return []
    const label = String(number).padStart(digits)
    const row = within(0)
      ? paint.red(`✗ ${label} | ${shown(line)}`)
      : `  ${paint.dim(`${label} |`)} ${shown(line)}`
    return [{ number, row }]
  })
  const gap = paint.dim(`  ${' '.repeat(digits)} ⋮`)
  const body = rows.flatMap(({ number, row }, at) =>
    at > 0 && rows[at - 1]!.number !== number - 1 ? [gap, row] : [row],
  )
  return [head, ...body]
}
