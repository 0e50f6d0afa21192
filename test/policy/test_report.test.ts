// What a run of tests is shown as: text, coverage, JUnit. Results go in as the engines report them.
import { describe, expect, it } from 'vitest'
import { coverageLines, percent } from '../../src/commands/policy/coverage_text.ts'
import { prettyJson } from '../../src/commands/policy/pretty.ts'
import { junit } from '../../src/commands/policy/test_junit.ts'
import { failureLines } from '../../src/commands/policy/test_text.ts'
import {
  type Asked,
  coveredPercent,
  type Failure,
  type Step,
  type TestResult,
  type Trace,
  testDiagnostics,
  testName,
} from '../../src/policy/test_report.ts'

const as = (text: string) => text
const paint = { bold: as, dim: as, red: as, yellow: as, cyan: as }
const at = { file: 'a_test.rego', line: 3, column: 1 }
const passed = { passed: true, durationMs: 1.5 }
const missed = { passed: false, durationMs: 0.5 }
const good: TestResult = { package: 'a_test', name: 'test_a', ...at, opa: passed, wasm: passed }
const files = { 'a_test.rego': 'package a_test\n\ntest_a if a.b == 1\n' }

function bad(failure: Partial<Failure> = {}): TestResult {
  const { code = 'test_failed', message = '', ...rest } = failure
  return { ...good, opa: missed, wasm: missed, failure: { code, message, ...rest } }
}

function traceOf(trace: Partial<Trace>): TestResult {
  return bad({ trace: { failed: [], steps: [], dropped: 0, asked: [], ...trace } })
}

function textOf(test: TestResult, verbose = false): string {
  return failureLines(test, { dir: 'policies', files, paint, verbose }).join('\n')
}

const step: Step = {
  rule: 'data.a.permitted',
  file: 'a.rego',
  line: 7,
  held: false,
  times: 1,
  failed: [],
  steps: [],
}

describe('a test', () => {
  it.each([
    ['by its name', {}, 'test_a'],
    ['and its case', { case: 'a "b"' }, 'test_a["a \\"b\\""]'],
    ['and a case that would move the cursor', { case: '\x1b[2J' }, 'test_a["\\u001b[2J"]'],
  ])('is named %s', (_, more, name) => {
    expect(testName({ ...good, ...more })).toBe(name)
  })

  it('that failed is a diagnostic; one that passed is none', () => {
    const differs = bad({ code: 'engines_differ', message: 'passes in OPA and fails in WebAssembly' })
    expect(testDiagnostics([good, bad(), differs])).toEqual([
      { ...at, code: 'test_failed', message: 'test_a' },
      { ...at, code: 'engines_differ', message: 'test_a passes in OPA and fails in WebAssembly' },
    ])
  })
})

describe('a failure shows', () => {
  it('nothing where the test passed', () => {
    expect(textOf(good)).toBe('')
  })

  it('the line of the test, when it was not traced', () => {
    expect(textOf(bad())).toBe(`policies/a_test.rego:3:1: error: test_a [test_failed]
  3 | test_a if a.b == 1
    | ^`)
  })

  it('the expression that failed, and what it names', () => {
    const failed = [{ ...at, column: 11, text: 'a.b == 1', values: { 'a.b': '2', a: `{${'x'.repeat(80)}}` } }]
    expect(textOf(traceOf({ failed }))).toBe(`policies/a_test.rego:3:11: error: test_a [test_failed]
  3 | test_a if a.b == 1
    |           ^
  where   a.b = 2`)
    expect(textOf(traceOf({ failed }), true)).toContain('xxx')
  })

  it('the input, and one answer where both engines agree', () => {
    const asked: Asked = {
      ref: 'data.a.b',
      input: { verb: 'read' },
      opa: { value: 2 },
      wasm: { value: 2 },
      same: true,
    }
    expect(textOf(traceOf({ asked: [asked] }))).toContain(`
  asked   data.a.b
  input   {"verb": "read"}
  got     2`)
  })

  it.each<[string, Pick<Asked, 'opa' | 'wasm'>, string, string]>([
    ['values', { opa: { value: [1] }, wasm: { value: [2] } }, '[1]', '[2]'],
    ['undefined', { opa: {}, wasm: { value: null } }, 'undefined', 'null'],
    ['an error', { opa: { error: 'eval_conflict' }, wasm: {} }, 'error: eval_conflict', 'undefined'],
  ])('both answers where they differ: %s', (_, answers, opa, wasm) => {
    const agreed: Asked = { ref: 'data.a.agreed', opa: { value: 1 }, wasm: { value: 1 }, same: true }
    const text = textOf(traceOf({ asked: [{ ref: 'data.a.b', ...answers, same: false }, agreed] }))
    expect(text).toContain(`  input   undefined\n  OPA     ${opa}\n  Wasm    ${wasm}`)
    expect(text).not.toContain('agreed')
  })

  it('each rule with what it failed at first, then what else failed, then the rules below', () => {
    const condition = { file: 'a.rego', column: 2 }
    const text = textOf(
      traceOf({
        steps: [
          {
            ...step,
            failed: [
              { ...condition, line: 8, text: 'input.x', values: { 'input.x': 'undefined' } },
              { ...condition, line: 9, text: 'other' },
            ],
            steps: [{ ...step, rule: 'data.a.held', line: 20, held: true, times: 3 }],
          },
        ],
        dropped: 2,
      }),
    )
    expect(text).toContain(`
  rules
    ✗ permitted  policies/a.rego:8  input.x  input.x = undefined
      policies/a.rego:9  other
      ✓ held ×3  policies/a.rego:20
    … and 2 more rules that were entered`)
  })

  it('forty rules, and all with --verbose', () => {
    const trace = traceOf({ steps: Array.from({ length: 45 }, () => step) })
    expect(textOf(trace)).toContain('… 5 more lines: --verbose')
    expect(textOf(trace).match(/✗/g)).toHaveLength(40)
    expect(textOf(trace, true).match(/✗/g)).toHaveLength(45)
  })

  it('no control character of what it quotes', () => {
    const failed = [{ ...at, text: '\x1b]0;t', values: { '\x1b[2J': '\x9b2J' } }]
    const asked = [{ ref: '\x1b[1m', input: '\x9b', opa: { error: '\x1b[3m' }, wasm: {}, same: false }]
    const hostile = { ...step, rule: 'data.\x1b', failed, steps: [] }
    expect(textOf(traceOf({ failed, asked, steps: [hostile] }))).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
  })
})

describe('JSON for people', () => {
  it.each([
    ['what fits stays on one line', { a: [1, 'x'], b: null }, 40, ['{"a": [1, "x"], "b": null}']],
    ['nothing is lost of nothing', [[], {}], 1, ['[', '  [],', '  {}', ']']],
    [
      'lines are filled',
      { a: 1, b: 2, c: { d: 'long enough' }, e: 3 },
      20,
      ['{', '  "a": 1, "b": 2,', '  "c": {', '    "d": "long enough"', '  },', '  "e": 3', '}'],
    ],
  ])('%s', (_, value, width, lines) => {
    expect(prettyJson(value, width)).toEqual(lines)
    expect(JSON.parse(prettyJson(value, width).join('\n'))).toEqual(value)
  })
})

describe('coverage', () => {
  const source = Array.from({ length: 12 }, (_, row) => `line ${row + 1}`).join('\n')
  const file = { file: 'a.rego', lines: 10, covered: 7, uncovered: [[3, 4] as const, [10, 10] as const] }

  it.each([
    ['is of all lines together', [file, { lines: 10, covered: 10 }], 85],
    ['is whole where there is no line', [{ lines: 0, covered: 0 }], 100],
  ])('%s', (_, files, expected) => {
    expect(coveredPercent(files)).toBe(expected)
  })

  it('is rounded down, so that 100 % is every line', () => {
    expect(percent([{ file: 'a.rego', lines: 1000, covered: 999, uncovered: [[1, 1]] }])).toBe('99 %')
  })

  it('marks what no test reached, with two lines around it', () => {
    expect(coverageLines('p/a.rego', file, `${source}\n`, { paint, verbose: false })).toEqual([
      'p/a.rego  70 %  7 of 10 lines',
      '   1 | line 1',
      '   2 | line 2',
      '✗  3 | line 3',
      '✗  4 | line 4',
      '   5 | line 5',
      '   6 | line 6',
      '     ⋮',
      '   8 | line 8',
      '   9 | line 9',
      '✗ 10 | line 10',
      '  11 | line 11',
      '  12 | line 12',
    ])
  })

  it('shows no source of a file that was reached throughout, and all of it with --verbose', () => {
    const whole = { ...file, covered: 10, uncovered: [] }
    expect(coverageLines('a.rego', whole, source, { paint, verbose: false })).toHaveLength(1)
    expect(coverageLines('a.rego', whole, source, { paint, verbose: true })).toHaveLength(13)
  })
})

describe('JUnit', () => {
  const run = { tests: [], diagnostics: [], problems: [], detail: () => 'detail' }

  it('has a suite per file, a case per test, and their totals', () => {
    const other = { ...good, file: 'b_test.rego', package: 'b_test', case: 'x' }
    expect(junit({ ...run, tests: [good, bad(), other] })).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="leasegate policy test" tests="3" failures="1" errors="0" time="0.007">
  <testsuite name="a_test.rego" tests="2" failures="1" errors="0" time="0.004">
    <testcase name="test_a" classname="a_test" file="a_test.rego" line="3" time="0.003"/>
    <testcase name="test_a" classname="a_test" file="a_test.rego" line="3" time="0.001">
      <failure type="test_failed" message="does not hold">detail</failure>
    </testcase>
  </testsuite>
  <testsuite name="b_test.rego" tests="1" failures="0" errors="0" time="0.003">
    <testcase name="test_a[&quot;x&quot;]" classname="b_test" file="b_test.rego" line="3" time="0.003"/>
  </testsuite>
</testsuites>
`)
  })

  it('has an error for what kept tests from running, and for a run that is wrong as a whole', () => {
    const diagnostics = [{ ...at, code: 'rego_parse_error', message: 'unexpected }' }]
    const text = junit({ ...run, diagnostics, problems: ['no test found'] })
    expect(text).toContain('<testsuites name="leasegate policy test" tests="2" failures="0" errors="2"')
    expect(text).toContain('<error type="rego_parse_error" message="unexpected }">')
    expect(text).toContain('<error type="policy test" message="no test found">no test found</error>')
  })

  it.each([
    ['markup', `<a href="x">&'</a>`, '&lt;a href=&quot;x&quot;&gt;&amp;&apos;&lt;/a&gt;'],
    ['the end of a CDATA section', ']]>', ']]&gt;'],
    ['control characters', 'a\u0000b\u001bc\u007f', 'a\ufffdb\ufffdc\u007f'],
    ['half a surrogate pair', '\ud800x\udc00', '\ufffdx\ufffd'],
    ['what is no character', '\uffff', '\ufffd'],
    ['a character beyond the first 65,536', '\u{1f512}', '\u{1f512}'],
  ])('escapes %s', (_, raw, escaped) => {
    const text = junit({ ...run, tests: [bad({ message: raw })], detail: () => raw })
    expect(text).toContain(`message="${escaped}">${escaped}</failure>`)
  })

  it('keeps line breaks of a name as such: XML would make spaces of them', () => {
    expect(junit({ ...run, tests: [bad({ message: 'a\n\tb' })] })).toContain('message="a&#10;&#9;b"')
  })
})
