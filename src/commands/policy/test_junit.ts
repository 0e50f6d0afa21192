// Test results as JUnit XML, which every CI system reads: a suite per file, a case per test. In: a run. Out: the
// document. Pure; whatever stands in a name or a value, what comes out is well-formed XML 1.0.
import { type Diagnostic, formatDiagnostic } from '../../policy/diagnostic.ts'
import { type TestResult, testName } from '../../policy/test_report.ts'

/** What a run came to. */
export interface JunitRun {
  readonly tests: readonly TestResult[]
  /** What kept tests from running; each becomes a case with an error. */
  readonly diagnostics: readonly Diagnostic[]
  /** What is wrong with the run as a whole, such as coverage below the minimum. */
  readonly problems: readonly string[]
  /** The text under a failure. */
  readonly detail: (test: TestResult) => string
}

interface Case {
  readonly file: string
  readonly xml: string
  readonly seconds: number
  readonly outcome?: 'failure' | 'error'
}

/** The document, ending in a line break. */
export function junit({ tests, diagnostics, problems, detail }: JunitRun): string {
  const cases = [
    ...tests.map((test) => testCase(test, detail)),
    ...diagnostics.map((diagnostic) => {
      const { file, line, code, message } = diagnostic
      return errorCase({ file, line, name: code, message, text: formatDiagnostic(diagnostic) })
    }),
    ...problems.map((text) => errorCase({ file: '', line: 0, name: 'policy test', message: text, text })),
  ]
  const suites = [...Map.groupBy(cases, ({ file }) => file)].map(
    ([file, own]) =>
      `  <testsuite${attributes({ name: file === '' ? 'policy' : file, ...totals(own) })}>\n` +
      `${own.map(({ xml }) => xml).join('')}  </testsuite>\n`,
  )
  const head = attributes({ name: 'leasegate policy test', ...totals(cases) })
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites${head}>\n${suites.join('')}</testsuites>\n`
}

function totals(cases: readonly Case[]): Readonly<Record<string, string>> {
  const ended = (outcome: Case['outcome']): string =>
    String(cases.filter((one) => one.outcome === outcome).length)
  const time = cases.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(3)
  return { tests: String(cases.length), failures: ended('failure'), errors: ended('error'), time }
}

function testCase(test: TestResult, detail: (test: TestResult) => string): Case {
  const { file, line, failure } = test
  const seconds = ((test.opa?.durationMs ?? 0) + (test.wasm?.durationMs ?? 0)) / 1000
  const own = {
    name: testName(test),
    classname: test.package,
    file,
    line: String(line),
    time: seconds.toFixed(3),
  }
  if (failure === undefined) return { file, seconds, xml: `    <testcase${attributes(own)}/>\n` }
  const { code, message } = failure
  const told = { type: code, message: message === '' ? 'does not hold' : message }
  return { file, seconds, outcome: 'failure', xml: nested('failure', own, told, detail(test)) }
}

function errorCase(error: {
  readonly file: string
  readonly line: number
  readonly name: string
  readonly message: string
  readonly text: string
}): Case {
  const { file, line, name, message, text } = error
  const own = {
    name,
    classname: file === '' ? 'policy' : file,
    ...(file === '' ? {} : { file, line: String(line) }),
  }
  return { file, seconds: 0, outcome: 'error', xml: nested('error', own, { type: name, message }, text) }
}

function nested(
  element: string,
  own: Readonly<Record<string, string>>,
  told: Readonly<Record<string, string>>,
  text: string,
): string {
  return (
    `    <testcase${attributes(own)}>\n` +
    `      <${element}${attributes(told)}>${escaped(text)}</${element}>\n    </testcase>\n`
  )
}

function attributes(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(
      ([name, value]) =>
        ` ${name}="${escaped(value).replace(/[\t\n\r]/g, (space) => `&#${space.charCodeAt(0)};`)}"`,
    )
    .join('')
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}
// All that XML 1.0 allows; the rest cannot stand in a document even as an entity.
const forbidden = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu

function escaped(text: string): string {
  return text.replace(forbidden, '\ufffd').replace(/[&<>"']/g, (character) => entities[character]!)
}
