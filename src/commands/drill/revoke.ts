// `leasegate drill revoke`: revokes leases of its own by every scope on a running deployment, measures until they
// are refused everywhere, and ends with one line that says whether the bound was kept.
import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { parseDuration, parseOrigin } from '../../config/scalars.ts'
import type { Config } from '../../config.ts'
import { withStore } from '../lease/with_store.ts'
import { loadStateConfig } from '../state_config.ts'
import { aligned, say, sayJson, snaked, style, UsageError } from '../terminal.ts'
import type { GateAddress } from './connection.ts'
import { drillRevocations } from './drill.ts'
import { openRevoker } from './revoker.ts'
import { auditorLine, judge, shownMs, type Verdict } from './verdict.ts'

interface DrillOptions {
  readonly config: string
  readonly gate: readonly string[]
  readonly control?: string
  readonly bound?: string
  readonly repeat: string
  readonly json?: boolean
}

/** Adds `drill revoke`. */
export function addDrillRevokeCommand(drill: Command): void {
  drill
    .command('revoke')
    .description('revoke canary leases by every scope, and measure until every gate refuses them')
    .option('--gate <url>', 'a gate; repeat for several (default: public_origin)', collect, [])
    .option('--control <url>', 'control listener to revoke at (default: that of the configuration)')
    .option('--bound <duration>', 'within which they have to be refused (default: max_staleness)')
    .option('--repeat <times>', 'revoke each scope so many times', '1')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(drillRevoke)
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value]
}

async function drillRevoke(options: DrillOptions): Promise<void> {
  const config = loadStateConfig(options.config)
  const gates = readGates(options.gate, config)
  const boundMs = readBound(options.bound, config)
  const repeat = readRepeat(options.repeat)
  const control = readControl(options.control)
  const time = `${new Date().toISOString().slice(0, 19)}Z`
  const tell = (line: string) => {
    if (options.json !== true) process.stderr.write(`${style.dim(line)}\n`)
  }
  try {
    const findings = await withStore(config, async (store) => {
      const revoker = await openRevoker(config, store, control)
      tell(`revoking through ${revoker.way}`)
      const run = randomBytes(4).toString('hex')
      return drillRevocations({ config, store, revoker, gates, boundMs, repeat, run, tell })
    })
    report(judge(findings, { time, boundMs, gates: gates.length }), options)
  } catch (error) {
    if (error instanceof UsageError) throw error
    reportBroken((error as Error).message, time, options)
  }
}

function report(verdict: Verdict, { json }: DrillOptions): void {
  if (json === true) sayJson(snaked(verdict))
  else {
    sayTable(verdict)
    for (const { exercise, problems } of verdict.rows) {
      for (const problem of problems) say(`${style.red(exercise)}: ${problem}`)
    }
    if (!verdict.passed)
      say('look at: does each gate use the state store of this configuration, and is its /readyz green?')
    say((verdict.passed ? style.green : style.red)(auditorLine(verdict)))
  }
  if (!verdict.passed) process.exitCode = 1
}

/** Nothing was proven: that is no pass. */
function reportBroken(problem: string, time: string, { json }: DrillOptions): void {
  process.exitCode = 1
  if (json === true) {
    sayJson({ passed: false, time, problem })
    return
  }
  say(problem)
  say(style.red(`FAIL revocation drill ${time}: not done, ${problem.split('\n')[0]}`))
}

function sayTable({ rows }: Verdict): void {
  const table = [
    ['scope', 'acknowledged', 'refused', 'slowest', 'stream cut', '', ''],
    ...rows.map((row) => [
      row.exercise,
      shownMs(row.acknowledgedMs),
      shownMs(row.p50Ms),
      shownMs(row.maxMs),
      shownMs(row.streamCutMs),
      row.streamReasons.join(', '),
      row.problems.length === 0 ? 'ok' : 'FAILED',
    ]),
  ]
  for (const line of aligned(table, [1, 2, 3, 4])) say(line)
}

function readGates(urls: readonly string[], { publicOrigin }: Config): GateAddress[] {
  const { host: authority } = new URL(publicOrigin)
  return [...new Set(urls.length === 0 ? [publicOrigin] : urls)].map((text) => {
    const origin = parseOrigin(text.replace(/\/$/, ''))
    if ('fault' in origin) throw new UsageError(`--gate ${text}: ${origin.fault}`)
    return { url: new URL(origin.value), authority }
  })
}

function readControl(text: string | undefined): string | undefined {
  if (text === undefined || /^https?:\/\/[^/]/.test(text)) return text
  throw new UsageError(
    `--control ${text}: write the URL of a control listener, such as http://127.0.0.1:8081`,
  )
}

function readBound(text: string | undefined, { state }: Config): number {
  if (text === undefined) return state.maxStalenessMs
  const bound = parseDuration(text, '1ms', '60s')
  if ('fault' in bound) throw new UsageError(`--bound: ${bound.fault}`)
  return bound.value
}

function readRepeat(text: string): number {
  const times = Number(text)
  if (!Number.isSafeInteger(times) || times < 1 || times > 1_000) {
    throw new UsageError('--repeat is a number from 1 to 1000')
  }
  return times
}
