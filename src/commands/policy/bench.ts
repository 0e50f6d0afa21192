// `leasegate policy bench`: what a decision costs, by operation, and which rules cost most. In: a policy
// directory, the configuration, perhaps an audit file. Out: a table, or JSON. Never touches a running gate.
import { open } from 'node:fs/promises'
import type { Command } from 'commander'
import { loadConfig } from '../../config/load.ts'
import { type OperationCost, type RuleCosts, timeOperations, timeRules } from '../../policy/bench.ts'
import { type Caller, type InputGroup, inputsOf, recordedInputs } from '../../policy/bench_inputs.ts'
import { policyDigest } from '../../policy/evaluate.ts'
import { readPolicy, type Tree } from '../../policy/sources.ts'
import { buildWithRules } from '../../policy/toolchain.ts'
import { count, say, sayJson, snaked, style, UsageError } from '../terminal.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'

interface BenchOptions extends Caller {
  readonly config: string
  readonly json?: boolean
  readonly count?: string
  readonly inputs?: string
}

const sharedDecisions = 200_000
const leastDecisions = 1_000
const sharedEvaluations = 400_000
const mostInputs = 1_000
const shownRules = 10

/** Adds `policy bench [dir]`. */
export function addBenchCommand(policy: Command): void {
  directoryCommand(policy, 'bench', 'microseconds per decision, and the most expensive rules')
    .option('-c, --config <file>', 'configuration file with the operations', 'config.yaml')
    .option('--inputs <file>', 'inputs recorded in an audit file, instead of one made up per operation')
    .option('--user <user>', 'who asks in made-up inputs; default: the first of data.users')
    .option('--profile <profile>', 'policy profile of the agent in them; default: the first of data.profiles')
    .option('--count <n>', 'decisions per operation')
    .action(run)
}

async function run(dir: string, options: BenchOptions): Promise<void> {
  const most = options.count === undefined ? undefined : parseCount(options.count)
  const groupsFor = await inputSource(options)
  const { diagnostics, wasm, rules, shadow } = await buildWithRules(dir)
  if (wasm === undefined) {
    if (options.json === true) sayJson(snaked({ ok: false, diagnostics }))
    else sayDiagnostics(dir, diagnostics)
    process.exitCode = 1
    return
  }
  const { data } = await readPolicy(dir)
  const groups = groupsFor(data)
  const share = Math.max(leastDecisions, Math.floor(sharedDecisions / groups.length))
  const operations = await timeOperations({ wasm, data }, groups, most ?? share, progress('operations'))
  const each = Math.min(leastDecisions, Math.floor(sharedEvaluations / (rules?.list.length ?? 1)) + 1)
  const costs =
    rules === undefined
      ? undefined
      : await timeRules(
          { module: { wasm: rules.wasm, data }, list: rules.list },
          groups,
          each,
          progress('rules'),
        )
  const marked = shadow === undefined ? {} : { shadow }
  const digest = policyDigest({ wasm, ...marked, data })
  if (options.json === true) sayJson(snaked({ ok: true, digest, operations, ...costs }))
  else report(dir, operations, costs)
}

/** Where inputs come from; what is wrong there is found before anything is compiled. */
async function inputSource(options: BenchOptions): Promise<(data: Tree) => readonly InputGroup[]> {
  if (options.inputs === undefined) {
    const { backends } = loadConfig(options.config, process.env, {
      credentials: 'unused',
      policyDir: 'absent',
    })
    return (data) => inputsOf(backends, data, options)
  }
  const { groups, without, unreadable } = await recordedInputs(await linesOf(options.inputs), mostInputs)
  if (groups.length === 0) throw new UsageError(`${options.inputs}: no record has an input of policy`)
  if (without + unreadable > 0) {
    process.stderr.write(
      `${options.inputs}: ${without} without an input, ${unreadable} not readable, left out\n`,
    )
  }
  return () => groups
}

async function linesOf(file: string): Promise<AsyncIterable<string>> {
  try {
    return (await open(file)).readLines()
  } catch {
    throw new UsageError(`${file}: no audit file that can be read`)
  }
}

function report(dir: string, operations: readonly OperationCost[], costs: RuleCosts | undefined): void {
  sayColumns(
    ['operation', 'answer', 'p50 µs', 'p99 µs'],
    operations.map(({ operation, effects, fault, p50, p99 }) => [
      operation,
      fault ?? effects.join(', '),
      p50.toFixed(1),
      p99.toFixed(1),
    ]),
  )
  if (costs === undefined) return
  const { rules, readingUs, failed } = costs
  say()
  sayColumns(
    ['rule, with all it asks', 'where', 'title', 'p50 µs'],
    rules
      .slice(0, shownRules)
      .map(({ rule, file, line, title, p50 }) => [
        rule,
        `${dir}/${file}:${line}`,
        title ?? '',
        p50.toFixed(1),
      ]),
  )
  say(
    `\n${style.dim(`${count(rules.length, 'rule')}; beside them every evaluation reads its input in ${readingUs} µs`)}`,
  )
  for (const rule of failed) say(`${style.yellow('failed')} ${rule} on one of the inputs, not timed`)
}

/** Columns as wide as what is in them; headings that end in a unit and what is below them to the right. */
function sayColumns(headings: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = headings.map((heading, at) =>
    Math.max(heading.length, ...rows.map((row) => row[at]!.length)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) =>
        headings[at]!.endsWith(' µs') ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!),
      )
      .join('  ')
  say(style.dim(line(headings)))
  for (const row of rows) say(line(row))
}

/** Says on a terminal how far it is; nothing elsewhere. */
function progress(noun: string): (done: number, of: number) => void {
  if (process.stderr.isTTY !== true) return () => undefined
  return (done, of) => {
    process.stderr.write(`\r\x1b[K${done + 1 === of ? '' : `${done} of ${of} ${noun}`}`)
  }
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new UsageError(`--count ${text}: write a number from 1 to 9999999`)
  return Number(text)
}
