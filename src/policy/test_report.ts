// What the tests of a policy came to, as plain data: verdicts of both engines, what a failed test went through,
// and which lines were reached. Never evaluates anything.
import type { Diagnostic } from './diagnostic.ts'
import type { ConditionTrace, RuleTrace } from './trace.ts'

/** All tests that ran, and the coverage of the files that hold no tests. */
export interface TestReport {
  /** By package, name, case. */
  readonly tests: readonly TestResult[]
  readonly coverage: readonly FileCoverage[]
}

/** One test; one row of it, where it is a table (`test_x[case]`). */
export interface TestResult {
  /** `leasegate.authz_test`. */
  readonly package: string
  /** `test_x`. */
  readonly name: string
  readonly case?: string
  /** Relative to the policy directory. */
  readonly file: string
  readonly line: number
  readonly column: number
  /** What OPA's Go engine says, and the engine of the gate; absent when it was not asked. */
  readonly opa?: Verdict
  readonly wasm?: Verdict
  /** Absent exactly when both passed it. */
  readonly failure?: Failure
}

export interface Verdict {
  readonly passed: boolean
  /** Rows of a table share that of the table evenly. */
  readonly durationMs: number
}

export interface Failure {
  readonly code: 'test_failed' | 'engines_differ' | 'test_timeout'
  readonly message: string
  /** Absent when the test was not traced: it was over its time, or many others failed before it. */
  readonly trace?: Trace
}

/** What happened from where the expression began that failed last (regoc/trace.go). */
export interface Trace {
  /** Conditions of the test itself. */
  readonly failed: readonly Condition[]
  readonly steps: readonly Step[]
  /** Rules entered that are not among `steps`, because there were too many. */
  readonly dropped: number
  readonly asked: readonly Asked[]
}

/** One body of a rule that was entered, `times` in a row with the same outcome. */
export interface Step extends Pick<RuleTrace, 'rule' | 'file' | 'line'> {
  readonly held: boolean
  readonly times: number
  readonly failed: readonly Condition[]
  readonly steps: readonly Step[]
}

/** A condition that did not hold; its text is in one line. */
export interface Condition extends Pick<ConditionTrace, 'line' | 'column' | 'text'> {
  readonly file: string
  /** What it looked at when it failed last, as Rego terms: fields of the input, variables. */
  readonly values?: Readonly<Record<string, string>>
}

/** A reference from the test to a rule of the policy, asked again on its own in both engines. */
export interface Asked {
  readonly ref: string
  /** Absent when undefined. */
  readonly input?: unknown
  readonly opa: Answer
  readonly wasm: Answer
  /** Whether both answers are the same value; sets and numbers compared as Rego does. */
  readonly same: boolean
}

/** No member at all: undefined. */
export interface Answer {
  readonly value?: unknown
  readonly error?: string
}

/** A line counts when it holds a rule's head or an expression; it is covered when all of them were reached. */
export interface FileCoverage {
  readonly file: string
  readonly lines: number
  readonly covered: number
  /** Ranges of lines, first and last. */
  readonly uncovered: readonly (readonly [number, number])[]
}

/** Percent of the lines, 0 to 100; 100 when there is none. */
export function coveredPercent(coverage: readonly Pick<FileCoverage, 'lines' | 'covered'>[]): number {
  const lines = coverage.reduce((sum, file) => sum + file.lines, 0)
  const covered = coverage.reduce((sum, file) => sum + file.covered, 0)
  return lines === 0 ? 100 : (100 * covered) / lines
}

/** `test_x`, or `test_x[case]` for a row of a table. */
export function testName(test: Pick<TestResult, 'name' | 'case'>): string {
  return test.case === undefined ? test.name : `${test.name}[${JSON.stringify(test.case)}]`
}

/** One diagnostic per test that failed. */
export function testDiagnostics(tests: readonly TestResult[]): Diagnostic[] {
  return tests.flatMap(({ failure, file, line, column, ...test }) => {
    if (failure === undefined) return []
    const { code, message } = failure
    const text = message === '' ? testName(test) : `${testName(test)} ${message}`
    return [{ file, line, column, code, message: text }]
  })
}
