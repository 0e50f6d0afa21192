// One run of a policy's tests, judged. In: a reading of the directory and what the caller asks for. Out: results,
// what is wrong, as text and as JSON. Never prints, never writes.
import { type Diagnostic, isError, PolicyError } from '../../policy/diagnostic.ts'
import type { Reading } from '../../policy/source.ts'
import type { PolicySources } from '../../policy/sources.ts'
import { coveredPercent, type FileCoverage, type TestResult } from '../../policy/test_report.ts'
import { testSources } from '../../policy/toolchain.ts'
import { count, snaked, UsageError } from '../terminal.ts'
import { percent } from './coverage_text.ts'

/** What is asked of a run. */
export interface RunOptions {
  readonly run?: string
  /** Percent; less is a "no". */
  readonly minCoverage?: number
  readonly signal: AbortSignal
}

/** What a run came to. */
export interface TestRun {
  readonly ok: boolean
  /** Of the policy, not of its tests. */
  readonly diagnostics: readonly Diagnostic[]
  readonly tests: readonly TestResult[]
  readonly coverage: readonly FileCoverage[]
  /** What is wrong with the run as a whole, a sentence each. */
  readonly problems: readonly string[]
  /** Texts of the policy's files. */
  readonly files: Readonly<Record<string, string>>
}

const ofTests: ReadonlySet<string> = new Set(['test_failed', 'engines_differ', 'test_timeout'])

/** Runs the tests. Throws a UsageError for a pattern that is none; rejects when aborted. */
export async function runPolicyTests(reading: Reading, options: RunOptions): Promise<TestRun> {
  let sources: PolicySources
  try {
    sources = reading.sources()
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    return judged({ diagnostics: thrown.diagnostics, tests: [], coverage: [], files: {} }, [])
  }
  const { run, signal } = options
  const how = { explain: true, signal, ...(run === undefined ? {} : { run }) }
  const { diagnostics, report } = await testSources(sources, how)
  const pattern = diagnostics.find(({ code }) => code === 'pattern_invalid')
  if (pattern !== undefined) throw new UsageError(`--run: ${pattern.message}`)
  const { tests = [], coverage = [] } = report ?? {}
  const found = {
    diagnostics: diagnostics.filter(({ code }) => !ofTests.has(code)),
    tests,
    coverage,
    files: sources.files,
  }
  return judged(found, found.diagnostics.some(isError) ? [] : problemsOf(found, sources, options))
}

function judged(found: Omit<TestRun, 'ok' | 'problems'>, problems: readonly string[]): TestRun {
  const failed = found.tests.some(({ failure }) => failure !== undefined)
  return { ...found, problems, ok: !failed && problems.length === 0 && !found.diagnostics.some(isError) }
}

function problemsOf(
  { tests, coverage }: Pick<TestRun, 'tests' | 'coverage'>,
  { wasm }: PolicySources,
  { run, minCoverage }: RunOptions,
): string[] {
  if (wasm !== undefined) return ['no test found: a module compiled elsewhere is tested where it is built']
  if (tests.length === 0) return [run === undefined ? 'no test found' : `no test matches ${run}`]
  // A test that brought the run to a halt left nothing to measure.
  if (minCoverage === undefined || coveredPercent(coverage) >= minCoverage) return []
  return [`coverage of ${percent(coverage)} is below the minimum of ${minCoverage} %`]
}

/** `37 tests passed in both engines, 100 % of the lines reached`, or how many failed. */
export function summary({ tests, coverage }: TestRun): string {
  const failed = tests.filter(({ failure }) => failure !== undefined).length
  const reached = coverage.length === 0 ? '' : `, ${percent(coverage)} of the lines reached`
  return failed === 0
    ? `${count(tests.length, 'test')} passed in both engines${reached}`
    : `${failed} of ${count(tests.length, 'test')} failed${reached}`
}

/** The run as `--json` prints it. */
export function testJson({ ok, diagnostics, tests, coverage, problems }: TestRun): object {
  const failed = tests.filter(({ failure }) => failure !== undefined).length
  return {
    ok,
    diagnostics: snaked(diagnostics),
    problems,
    totals: {
      tests: tests.length,
      passed: tests.length - failed,
      failed,
      ...(coverage.length === 0 ? {} : { coverage_percent: coveredPercent(coverage) }),
    },
    tests: tests.map(({ opa, wasm, failure, ...test }) => ({
      ...test,
      ok: failure === undefined,
      opa: verdictJson(opa),
      wasm: verdictJson(wasm),
      ...(failure === undefined ? {} : { failure }),
    })),
    coverage: coverage.map((file) => ({ ...file, percent: coveredPercent([file]) })),
  }
}

function verdictJson(verdict: TestResult['opa']): object | null {
  return verdict === undefined ? null : { passed: verdict.passed, duration_ms: verdict.durationMs }
}
