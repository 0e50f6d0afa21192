// In: what OPA's Go engine says about each test, and the module that has them as entry points. Out: the report of
// both engines. Runs in the toolchain's child process; asks for the trace of what failed, and of nothing else.
import { type Engine, openEngine } from './evaluate.ts'
import type { Tree } from './sources.ts'
import type {
  Answer,
  Asked,
  Failure,
  FileCoverage,
  TestReport,
  TestResult,
  Trace,
  Verdict,
} from './test_report.ts'

/** Where a test stands; its entry point in the module. */
export interface TestPlace {
  readonly entrypoint: string
  readonly file: string
  readonly line: number
  readonly column: number
}

/** The members of regoc's reply to `test`; absent when there is no test (regoc/test.go). */
export interface TestReply {
  readonly wasm?: string
  readonly tests?: readonly Test[]
  readonly coverage?: readonly FileCoverage[]
}

interface Test extends TestPlace {
  readonly pass: boolean
  readonly value?: unknown
  readonly table?: boolean
  readonly cases?: readonly string[]
  readonly error?: string
  readonly timedOut?: boolean
  readonly millis: number
}

/** The members of its reply to `trace` (regoc/trace.go). */
export interface TraceReply {
  readonly wasm?: string
  readonly traces?: readonly (Omit<Trace, 'asked'> & {
    readonly entrypoint: string
    readonly case?: string
    readonly asked: readonly Question[]
  })[]
}

interface Question {
  readonly id: number
  readonly ref: string
  readonly input?: unknown
  readonly value?: unknown
  readonly error?: string
}

/** The tests to trace, and of tables the rows. */
interface Failed {
  readonly entrypoints: readonly string[]
  readonly cases: Readonly<Record<string, readonly string[]>>
}

export interface OpinionOptions {
  readonly data: Tree
  readonly explain: ((failed: Failed) => Promise<TraceReply>) | undefined
  /** Called before each test, and with null after the last. */
  readonly announce: (running: (TestPlace & { readonly engine: string }) | null) => void
}

interface Row {
  readonly entrypoint: string
  readonly result: TestResult
}

// Beyond, a report is no longer read; most of what fails together fails for one reason.
const maxExplained = 20

/** Runs every test a second time, on the engine that decides in production, and puts both verdicts together. */
export async function secondOpinion(
  reply: TestReply,
  { data, explain, announce }: OpinionOptions,
): Promise<TestReport> {
  const { tests = [], coverage = [], wasm = '' } = reply
  if (tests.length === 0) return { tests: [], coverage }
  const engine = await openEngine({ wasm: Buffer.from(wasm, 'base64'), data })
  const rows = tests.flatMap((test) => {
    // It would not end there either, and nothing could interrupt it.
    if (test.timedOut === true) return resultsOf(test)
    announce({ ...placeOf(test), engine: 'WebAssembly' })
    return resultsOf(test, evaluated(engine, test.entrypoint))
  })
  announce(null)
  if (explain === undefined) return { tests: rows.map(({ result }) => result), coverage }
  return { tests: await explained(rows, data, explain), coverage }
}

/** What the gate's engine makes of an entry point. */
interface Evaluated extends Answer {
  readonly millis: number
}

function evaluated(engine: Engine, entrypoint: string): Evaluated {
  const began = performance.now()
  const answer = answerOf(engine, entrypoint)
  return { ...answer, millis: performance.now() - began }
}

function answerOf(engine: Engine, entrypoint: string): Answer {
  try {
    const [row] = engine.evaluate(entrypoint) as readonly { readonly result: unknown }[]
    return row === undefined ? {} : { value: row.result }
  } catch (thrown) {
    return { error: thrown instanceof Error ? thrown.message : 'unknown failure' }
  }
}

/** One result per test, or per row of a table. */
function resultsOf(test: Test, wasm?: Evaluated): Row[] {
  if (test.table !== true || test.error !== undefined) {
    const verdicts = [
      verdict(test.pass, test.millis),
      wasm && verdict(wasm.value === true, wasm.millis),
    ] as const
    return [row(test, {}, verdicts, test.error ?? wasm?.error)]
  }
  const found = [test.value, wasm?.value].map((value) => (value ?? {}) as Tree)
  const cases = [...new Set([...(test.cases ?? []), ...found.flatMap((rows) => Object.keys(rows))])].sort()
  if (cases.length === 0) {
    const none = [verdict(false, test.millis), wasm && verdict(false, wasm.millis)] as const
    return [row(test, {}, none, wasm?.error ?? 'has no case')]
  }
  return cases.map((name) => {
    const [opa, gate] = found.map((rows) => Object.hasOwn(rows, name) && rows[name] === true)
    const verdicts = [
      verdict(opa!, test.millis / cases.length),
      wasm && verdict(gate!, wasm.millis / cases.length),
    ] as const
    return row(test, { case: name }, verdicts, wasm?.error)
  })
}

function verdict(passed: boolean, durationMs: number): Verdict {
  return { passed, durationMs }
}

function row(
  test: Test,
  name: { readonly case?: string },
  [opa, wasm]: readonly [Verdict, Verdict | undefined],
  error: string | undefined,
): Row {
  const { entrypoint, ...place } = placeOf(test)
  const path = entrypoint.split('/')
  const failure = failureOf(test, opa, wasm, error)
  const result: TestResult = {
    package: path.slice(0, -1).join('.'),
    name: path.at(-1)!,
    ...name,
    ...place,
    opa,
    ...(wasm === undefined ? {} : { wasm }),
    ...(failure === undefined ? {} : { failure }),
  }
  return { entrypoint, result }
}

function failureOf(
  test: Test,
  opa: Verdict,
  wasm: Verdict | undefined,
  error: string | undefined,
): Failure | undefined {
  if (test.timedOut === true) return { code: 'test_timeout', message: 'did not end within 5 s in OPA' }
  // A builtin that fails is an error in OPA's tests and merely undefined in Wasm: no test may rest on that.
  if (test.error !== undefined) return { code: 'test_failed', message: `fails: ${test.error}` }
  if (opa.passed !== wasm?.passed) {
    const word = (passed: boolean): string => (passed ? 'passes' : 'fails')
    const cause = error === undefined ? '' : `: ${error}`
    const message = `${word(opa.passed)} in OPA and ${word(wasm?.passed === true)} in WebAssembly${cause}`
    return { code: 'engines_differ', message }
  }
  if (opa.passed) return undefined
  return { code: 'test_failed', message: error ?? '' }
}

function placeOf({ entrypoint, file, line, column }: TestPlace): TestPlace {
  return { entrypoint, file, line, column }
}

/** The results, with the traces of those that failed. */
async function explained(
  rows: readonly Row[],
  data: Tree,
  explain: NonNullable<OpinionOptions['explain']>,
): Promise<TestResult[]> {
  const failed = rows
    .filter(({ result: { failure } }) => failure !== undefined && failure.code !== 'test_timeout')
    .slice(0, maxExplained)
  if (failed.length === 0) return rows.map(({ result }) => result)
  const entrypoints = [...new Set(failed.map(({ entrypoint }) => entrypoint))]
  const cases = Object.groupBy(failed, ({ entrypoint }) => entrypoint)
  const { traces = [], wasm } = await explain({
    entrypoints,
    cases: Object.fromEntries(
      entrypoints.map((name) => [name, cases[name]!.flatMap(({ result }) => result.case ?? [])]),
    ),
  })
  const engine =
    wasm === undefined ? undefined : await openEngine({ wasm: Buffer.from(wasm, 'base64'), data })
  return rows.map(({ entrypoint, result }) => {
    const trace = traces.find((found) => found.entrypoint === entrypoint && found.case === result.case)
    if (result.failure === undefined || trace === undefined) return result
    const { failed, steps, dropped } = trace
    const asked = trace.asked.map((question) => askedOf(question, engine))
    return { ...result, failure: { ...result.failure, trace: { failed, steps, dropped, asked } } }
  })
}

/** Puts a question to the gate's engine, and lets it compare the answers: it knows a set from an array. */
function askedOf({ id, ref, input, value, error }: Question, engine: Engine | undefined): Asked {
  const opa: Answer = error !== undefined ? { error } : value === undefined ? {} : { value }
  const wasm = engine === undefined ? {} : answerOf(engine, `leasegate_asked/value_${id}`)
  const same = engine !== undefined && answerOf(engine, `leasegate_asked/same_${id}`).value === true
  return { ref, ...(input === undefined ? {} : { input }), opa, wasm, same: same && error === undefined }
}
