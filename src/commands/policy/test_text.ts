// A failed test as people read it. In: its result and the text of its file. Out: lines: where it failed, what it
// asked policy with which input, what came out, and which rules and conditions led there. Pure.
import { join } from 'node:path'
import type { Answer, Asked, Condition, Step, TestResult, Trace } from '../../policy/test_report.ts'
import { testDiagnostics } from '../../policy/test_report.ts'
import { excerpt, type Paint, shown } from './excerpt.ts'
import { prettyJson } from './pretty.ts'

/** How a failed test is shown. */
export interface FailureOptions {
  /** The policy directory, as the caller named it. */
  readonly dir: string
  /** Texts of the policy's files. */
  readonly files: Readonly<Record<string, string>>
  readonly paint: Paint
  /** Nothing is cut off. */
  readonly verbose: boolean
}

const width = 100
const maxTraceLines = 40
const maxInputLines = 40
const maxValue = 60

/** Nothing for a test that passed. */
export function failureLines(test: TestResult, options: FailureOptions): string[] {
  const { dir, files, paint } = options
  const trace = test.failure?.trace
  return testDiagnostics([test]).flatMap((diagnostic) => {
    const { file, line, column } = trace?.failed.at(-1) ?? test
    const place = { ...diagnostic, file: join(dir, file), line, column }
    const detail = trace === undefined ? [] : traceLines(trace, options)
    return [...excerpt(place, files[file], paint), ...detail.map((text) => `  ${text}`)]
  })
}

function traceLines(trace: Trace, options: FailureOptions): string[] {
  const { paint, verbose } = options
  const tree = trace.steps.flatMap((step) => stepLines(step, options))
  const lines = verbose ? tree : tree.slice(0, maxTraceLines)
  if (lines.length < tree.length) lines.push(`… ${tree.length - lines.length} more lines: --verbose`)
  if (trace.dropped > 0) lines.push(`… and ${trace.dropped} more rules that were entered`)
  const values = trace.failed.length === 0 ? '' : valuesOf(trace.failed.at(-1)!, verbose)
  return [
    ...(values === '' ? [] : [`${paint.bold('where  ')} ${paint.cyan(values)}`]),
    ...shownAsked(trace.asked).flatMap((asked) => askedLines(asked, options)),
    ...(lines.length === 0 ? [] : [paint.bold('rules'), ...lines.map((line) => `  ${line}`)]),
  ]
}

/** Those that the engines answer differently, if any; else the last: the one whose answer was not liked. */
function shownAsked(asked: readonly Asked[]): readonly Asked[] {
  const differing = asked.filter(({ same }) => !same)
  return differing.length > 0 ? differing : asked.slice(-1)
}

function askedLines(asked: Asked, { paint, verbose }: FailureOptions): string[] {
  const label = (name: string): string => paint.bold(name.padEnd(7))
  const below = (name: string, [first = '', ...rest]: readonly string[]): string[] => [
    `${label(name)} ${shown(first)}`,
    ...rest.map((line) => `${' '.repeat(8)}${shown(line)}`),
  ]
  const input = asked.input === undefined ? ['undefined'] : prettyJson(asked.input, width - 10)
  const cut =
    verbose || input.length <= maxInputLines
      ? input
      : [...input.slice(0, maxInputLines), `… ${input.length - maxInputLines} more lines: --verbose`]
  const answers: [string, Answer][] = asked.same
    ? [['got', asked.opa]]
    : [
        ['OPA', asked.opa],
        ['Wasm', asked.wasm],
      ]
  return [
    ...below('asked', [verbose ? asked.ref : short(asked.ref, width)]),
    ...below('input', cut),
    ...answers.flatMap(([name, answer]) => below(name, answerLines(answer))),
  ]
}

function answerLines({ value, error }: Answer): string[] {
  if (error !== undefined) return [`error: ${error}`]
  return value === undefined ? ['undefined'] : prettyJson(value, width - 10)
}

/** A line per rule: what it failed at first, or where it begins; then what else failed, and the rules below it. */
function stepLines(step: Step, options: FailureOptions): string[] {
  const { dir, paint } = options
  const name = step.rule.slice(step.rule.lastIndexOf('.') + 1)
  const times = step.times === 1 ? '' : ` ×${step.times}`
  const mark = step.held ? paint.dim('✓') : paint.red('✗')
  const [first, ...others] = step.held ? [] : step.failed
  const place = (line: number): string => paint.dim(`${join(dir, step.file)}:${line}`)
  const head = `${mark} ${shown(name)}${times}  ${place(first?.line ?? step.line)}`
  const more = others.map((condition) => `${place(condition.line)}  ${conditionText(condition, options)}`)
  const below = step.steps.flatMap((inner) => stepLines(inner, options))
  return [
    first === undefined ? head : `${head}  ${conditionText(first, options)}`,
    ...[...more, ...below].map((line) => `  ${line}`),
  ]
}

function conditionText(condition: Condition, { paint, verbose }: FailureOptions): string {
  const text = shown(verbose ? condition.text : short(condition.text, width))
  const known = valuesOf(condition, verbose)
  return known === '' ? text : `${text}  ${paint.cyan(known)}`
}

/** `grant.actions = ["read"], …`; without the long ones, unless they are asked for. */
function valuesOf({ values = {} }: Condition, verbose: boolean): string {
  const known = Object.entries(values).filter(([, value]) => verbose || value.length <= maxValue)
  return shown(known.map(([name, value]) => `${name} = ${value}`).join(', '))
}

function short(text: string, length: number): string {
  const characters = [...text]
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join('')}…`
}

/** One line for a test that passed, with what it took in each engine. */
export function passedLine(test: TestResult, name: string, paint: Paint): string {
  const took = [test.opa, test.wasm].map((verdict) => `${(verdict?.durationMs ?? 0).toFixed(1)} ms`)
  return `${paint.dim('✓')} ${shown(name)}  ${paint.dim(`${took[0]} in OPA, ${took[1]} in WebAssembly`)}`
}
