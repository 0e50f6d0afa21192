// What the findings of a drill amount to. In: findings. Out: a row for each exercise, and the last line, for an
// auditor. Pure.
import { count } from '../terminal.ts'
import type { DrillFindings, Exercise, Exercised } from './drill.ts'

/** One exercise, over all its repetitions. Milliseconds. */
export interface VerdictRow {
  readonly exercise: Exercise
  /** The slowest acknowledgement; undefined: none came. */
  readonly acknowledgedMs: number | undefined
  /** From acknowledgement to effect, over all connections; undefined: not on all of them within the bound. */
  readonly p50Ms: number | undefined
  readonly maxMs: number | undefined
  /** The slowest end of a stream; undefined: one did not end within the bound, or there were none. */
  readonly streamCutMs: number | undefined
  readonly streamReasons: readonly string[]
  readonly acceptedLate: number
  readonly problems: readonly string[]
}

export interface Verdict {
  readonly passed: boolean
  /** When the drill began, ISO 8601. */
  readonly time: string
  readonly boundMs: number
  readonly scopes: number
  readonly gates: number
  readonly workers: number
  /** The slowest refusal; undefined: somewhere none came within the bound. */
  readonly slowestMs: number | undefined
  readonly acceptedLate: number
  readonly rows: readonly VerdictRow[]
}

/** Judges the findings. */
export function judge(
  { workers, exercises }: DrillFindings,
  { time, boundMs, gates }: Pick<Verdict, 'time' | 'boundMs' | 'gates'>,
): Verdict {
  const names = [...new Set(exercises.map(({ exercise }) => exercise))]
  const rows = names.map((name) =>
    judgeOne(
      name,
      exercises.filter(({ exercise }) => exercise === name),
    ),
  )
  const stops = rows.filter(({ exercise }) => exercise !== 'resume')
  return {
    passed: rows.length > 0 && rows.every(({ problems }) => problems.length === 0),
    time,
    boundMs,
    scopes: stops.filter(({ exercise }) => exercise !== 'suspend').length,
    gates,
    workers,
    slowestMs: largest(stops.map(({ maxMs }) => maxMs)),
    acceptedLate: rows.reduce((sum, row) => sum + row.acceptedLate, 0),
    rows,
  }
}

function judgeOne(exercise: Exercise, exercises: readonly Exercised[]): VerdictRow {
  const results = exercises.map(({ result }) => result)
  const took = results.flatMap(({ tookMs }) => tookMs)
  const cuts = results.flatMap(({ cutMs }) => cutMs)
  const acceptedLate = results.reduce((sum, each) => sum + each.acceptedLate, 0)
  const late = acceptedLate === 0 ? [] : [`${count(acceptedLate, 'call')} accepted after the bound`]
  const open = cuts.filter((cut) => cut === undefined).length
  const uncut = open === 0 ? [] : [`${count(open, 'stream')} open after the bound`]
  return {
    exercise,
    acknowledgedMs: largest(results.map((each) => each.acknowledgedMs)),
    p50Ms: median(took),
    maxMs: largest(took),
    streamCutMs: largest(cuts),
    streamReasons: [...new Set(results.flatMap(({ cutReasons }) => cutReasons))],
    acceptedLate,
    problems: [...new Set([...results.flatMap(({ problems }) => problems), ...late, ...uncut])],
  }
}

function largest(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 || known.length < values.length ? undefined : Math.max(...known)
}

function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.map((value) => value ?? Number.POSITIVE_INFINITY).toSorted((a, b) => a - b)
  const middle = sorted[Math.floor((sorted.length - 1) / 2)]
  return middle === undefined || !Number.isFinite(middle) ? undefined : middle
}

/** The last line: what was done, and what came of it. */
export function auditorLine(verdict: Verdict): string {
  const { passed, time, scopes, gates, workers, slowestMs, boundMs, acceptedLate, rows } = verdict
  const done = `${count(scopes, 'scope')}, ${count(gates, 'gate')}, ${count(workers, 'worker')}`
  const slowest = slowestMs === undefined ? 'not refused everywhere' : `slowest refusal ${shownMs(slowestMs)}`
  const bound = `bound ${boundMs} ms, ${count(acceptedLate, 'call')} accepted after it`
  const failed = rows.filter(({ problems }) => problems.length > 0).map(({ exercise }) => exercise)
  const line = `${passed ? 'PASS' : 'FAIL'} revocation drill ${time}: ${done}, ${slowest}, ${bound}`
  return failed.length === 0 ? line : `${line}; failed: ${failed.join(', ')}`
}

/** `6.1 ms`; `-` where there is nothing to show. */
export function shownMs(ms: number | undefined): string {
  return ms === undefined ? '-' : `${ms.toFixed(1)} ms`
}
