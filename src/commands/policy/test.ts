// `leasegate policy test`: every test in OPA's own engine and in the one that serves requests. Prints, writes the
// JUnit file, sets the exit code; what is said of a run is made in test_run.ts and the files of its name.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { directorySource, type Reading } from '../../policy/source.ts'
import { testName } from '../../policy/test_report.ts'
import { say, sayJson, style, UsageError } from '../terminal.ts'
import { coverageLines } from './coverage_text.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'
import { junit } from './test_junit.ts'
import { runPolicyTests, summary, type TestRun, testJson } from './test_run.ts'
import { failureLines, passedLine } from './test_text.ts'
import { watch } from './test_watch.ts'

interface TestOptions {
  readonly json?: boolean
  readonly run?: string
  readonly coverage?: boolean
  readonly minCoverage?: string
  readonly watch?: boolean
  readonly junit?: string
  readonly verbose?: boolean
}

/** Adds `policy test [dir]`. */
export function addTestCommand(policy: Command): void {
  directoryCommand(policy, 'test', "every test, in OPA's own engine and in the one that serves requests")
    .option('--run <pattern>', 'only tests whose data.package.test_name matches (RE2)')
    .option('--coverage', 'show the lines that no test reached')
    .option('--min-coverage <percent>', 'exit 1 below this')
    .option('--watch', 'again after every change')
    .option('--junit <file>', 'also write JUnit XML')
    .option('--verbose', 'cut nothing short; name the tests that pass')
    .action(run)
}

async function run(dir: string, options: TestOptions): Promise<void> {
  const minCoverage = options.minCoverage === undefined ? undefined : parsePercent(options.minCoverage)
  const what = {
    ...(options.run === undefined ? {} : { run: options.run }),
    ...(minCoverage === undefined ? {} : { minCoverage }),
  }
  const once = async (reading: Reading, signal: AbortSignal): Promise<void> => {
    const tested = await runPolicyTests(reading, { ...what, signal })
    signal.throwIfAborted()
    if (options.json === true) sayJson(testJson(tested))
    else sayRun(dir, tested, options)
    if (options.junit !== undefined) writeJunit(options.junit, dir, tested)
    process.exitCode = tested.ok ? 0 : 1
  }
  if (options.watch === true) {
    if (options.json === true) throw new UsageError('--watch is for people: leave out --json')
    await watch(dir, once)
    return
  }
  const { signal } = new AbortController()
  await once(await directorySource(dir, { reload: 'never' }).read(signal), signal)
}

function parsePercent(text: string): number {
  const value = Number(text)
  if (/^\d{1,3}(\.\d+)?$/.test(text) && value <= 100) return value
  throw new UsageError(`--min-coverage: '${text}' is not a percentage from 0 to 100`)
}

function sayRun(dir: string, tested: TestRun, { coverage, verbose = false }: TestOptions): void {
  const { ok, diagnostics, tests, files, problems } = tested
  sayDiagnostics(dir, diagnostics)
  for (const test of tests) {
    if (test.failure !== undefined) {
      for (const line of failureLines(test, { dir, files, paint: style, verbose })) say(line)
      say()
    } else if (verbose) say(passedLine(test, `${test.package}.${testName(test)}`, style))
  }
  if (coverage === true) {
    for (const file of tested.coverage) {
      const source = files[file.file] ?? ''
      for (const line of coverageLines(join(dir, file.file), file, source, { paint: style, verbose }))
        say(line)
    }
  }
  for (const problem of problems) say(`${style.red('error')} ${dir}: ${problem}`)
  if (tests.length > 0) say(`${ok ? style.green('ok') : style.red('failed')} ${dir}: ${summary(tested)}`)
}

function writeJunit(path: string, dir: string, tested: TestRun): void {
  const { files } = tested
  const text = (line: string): string => line
  const paint = { bold: text, dim: text, red: text, yellow: text, cyan: text }
  const document = junit({
    ...tested,
    detail: (test) => failureLines(test, { dir, files, paint, verbose: false }).join('\n'),
  })
  try {
    writeFileSync(path, document)
  } catch (thrown) {
    throw new UsageError(`--junit: ${path} cannot be written (${(thrown as NodeJS.ErrnoException).code})`)
  }
}
