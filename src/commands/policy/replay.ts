// `leasegate policy replay`: recorded decisions in, what a candidate policy would have said instead out.
// Reads audit files and the candidate; never asks a gate, never changes anything.
import { statSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { PolicyError } from '../../policy/diagnostic.ts'
import { timeOf } from '../../policy/recorded.ts'
import { openRehearsal, type Rehearsal } from '../../policy/rehearsal.ts'
import { Replay, type ReplayReport } from '../../policy/replay.ts'
import { auditLines } from '../../telemetry/audit_lines.ts'
import { startProgress } from '../progress.ts'
import { loadStateConfig } from '../state_config.ts'
import { say, sayJson, snaked, style, UsageError } from '../terminal.ts'
import { requireDirectory, sayDiagnostics } from './directory.ts'
import { sayReport } from './replay_report.ts'

const failures = ['newly-allowed', 'newly-denied', 'changed'] as const
type Failure = (typeof failures)[number]

interface ReplayOptions {
  readonly candidate: string
  readonly config: string
  readonly audit?: readonly string[]
  /** Milliseconds since 1970. */
  readonly since?: number
  readonly until?: number
  readonly failOn: readonly Failure[]
  readonly examples: number
  readonly json?: boolean
}

/** Adds `policy replay`. */
export function addReplayCommand(policy: Command): void {
  policy
    .command('replay')
    .description('make recorded decisions again under a candidate policy')
    .requiredOption('--candidate <dir>', 'policy directory to rehearse')
    .option('-c, --config <file>', 'configuration file, which names the audit file', 'config.yaml')
    .option('--audit <file...>', 'audit files in its place, rotated and .gz ones too')
    .option('--since <moment>', '24h, 7d, 2026-03-14 or 2026-03-14T09:30 (UTC)', parseMoment)
    .option('--until <moment>', 'up to, not including', parseMoment)
    .addOption(
      new Option('--fail-on <change...>', 'exit 1 when there is one')
        .choices(failures)
        .default([], 'nothing'),
    )
    .option('--examples <n>', 'decisions to name of each sort', parseCount, 3)
    .option('--json', 'for programs')
    .action(run)
}

async function run(options: ReplayOptions): Promise<void> {
  requireDirectory(options.candidate)
  const files = options.audit ?? [loadStateConfig(options.config).audit.file]
  const sizes = files.map(sizeOf)
  const candidate = await openOrDiagnose(options)
  if (candidate === undefined) return
  const replay = new Replay({ ...candidate, examples: options.examples })
  const total = sizes.reduce((sum, size) => sum + size)
  const progress = startProgress('replaying', total)
  try {
    let before = 0
    for (const [at, file] of files.entries()) {
      await replayFile(replay, file, options, (bytes, lines) => progress.update(before + bytes, lines))
      before += sizes[at]!
    }
  } finally {
    progress.end()
  }
  conclude(replay.report(), files, options)
}

/** The candidate; without one, its diagnostics have been said and the exit code is 1. */
async function openOrDiagnose({ candidate, json }: ReplayOptions): Promise<Rehearsal | undefined> {
  try {
    return await openRehearsal(candidate)
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    const { diagnostics } = thrown
    if (json === true) sayJson(snaked({ ok: false, diagnostics }))
    else sayDiagnostics(candidate, diagnostics)
    process.exitCode = 1
    return undefined
  }
}

async function replayFile(
  replay: Replay,
  file: string,
  { since, until }: ReplayOptions,
  onProgress: (bytes: number, records: number) => void,
): Promise<void> {
  const from = since === undefined ? '' : new Date(since).toISOString()
  const to = until === undefined ? '~' : new Date(until).toISOString()
  try {
    for await (const { first, lines, bytesRead } of auditLines(file)) {
      for (const [at, line] of lines.entries()) {
        const time = timeOf(line)
        // A line that does not say when it was written may belong here.
        if (time === undefined || (time >= from && time < to)) replay.add(line, () => `${file}:${first + at}`)
      }
      onProgress(bytesRead, replay.records)
    }
  } catch (thrown) {
    // What follows is unknown, and a report without it would look whole.
    throw new UsageError(`${file}: cannot be read to its end: ${messageOf(thrown)}`)
  }
}

/** Says what was found, and what of it `--fail-on` forbids. */
function conclude(report: ReplayReport, files: readonly string[], options: ReplayOptions): void {
  const { failOn, json } = options
  const counts: Readonly<Record<Failure, number>> = {
    'newly-allowed': report.newlyAllowed,
    'newly-denied': report.newlyDenied,
    changed: report.changed,
  }
  const failed = failOn.filter((failure) => counts[failure] > 0)
  // Nothing changed is a finding; nothing replayed is none.
  const blind = failOn.length > 0 && report.replayed === 0
  const ok = failed.length === 0 && !blind
  if (json === true) sayJson(snaked({ ok, failed, files, ...report }))
  else {
    sayReport(report, files, (decisionId) => explainCommand(decisionId, options))
    for (const failure of failed)
      say(`${style.red('fail')} ${counts[failure].toLocaleString('en')} ${failure}`)
    if (blind) say(`${style.red('fail')} nothing was replayed, so nothing is known`)
  }
  if (!ok) process.exitCode = 1
}

/** Asks the candidate, about records of the same files. */
function explainCommand(decisionId: string, { candidate, audit, config }: ReplayOptions): string {
  const where = audit?.map((file) => ` --audit ${file}`) ?? [config === 'config.yaml' ? '' : ` -c ${config}`]
  return `leasegate policy explain ${decisionId} --dir ${candidate}${where.join('')}`
}

function sizeOf(file: string): number {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) throw new UsageError(`${file}: no such file; name audit files with --audit`)
  if (!stat.isFile()) throw new UsageError(`${file}: not a file`)
  return stat.size
}

const units = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `24h` ago, or a date with or without a time, in UTC unless it says otherwise; milliseconds since 1970. */
function parseMoment(text: string): number {
  const [, amount, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? []
  if (amount !== undefined) return Date.now() - Number(amount) * units[unit as keyof typeof units]
  const [, date, time = 'T00:00', zone = 'Z'] =
    /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)?(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? []
  const moment = Date.parse(`${date}${time}${zone}`)
  if (Number.isNaN(moment)) throw new InvalidArgumentError('Write 24h, 7d, 2026-03-14 or 2026-03-14T09:30.')
  return moment
}

function parseCount(text: string): number {
  if (!/^(?:0|[1-9]\d{0,3})$/.test(text)) throw new InvalidArgumentError('Write a whole number up to 9999.')
  return Number(text)
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : 'unknown failure'
}
