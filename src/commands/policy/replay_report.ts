// In: what a replay found. Out: the same for people, the most frequent first, with the next command to run.
// Never: a character of a record that a terminal would act on.
import { type Cause, effects, type Flip, type NotReplayed, type ReplayReport } from '../../policy/replay.ts'
import type { Effect } from '../../ports.ts'
import { visible } from '../../telemetry/line.ts'
import { say, style } from '../terminal.ts'

const shownFlips = 20
const shownDetails = 5

const causes: Readonly<Record<Cause, string>> = {
  not_asked: 'ended before policy was asked, and would again:',
  recorded_before: 'recorded before inputs were kept',
  off: 'recorded without input (audit.policy_input.record)',
  too_large: 'with an input that was too large to record (audit.policy_input.max_size)',
  redacted: 'redacted, and the candidate reads it (audit.policy_input.redact):',
  damaged: 'damaged:',
}

const colours: Readonly<Record<Effect, (text: string) => string>> = {
  allow: style.green,
  draft: style.cyan,
  hold: style.yellow,
  deny: style.red,
}

/** The command that opens an example, by its decision id. */
export type Explain = (decisionId: string) => string

/** Prints a report. */
export function sayReport(report: ReplayReport, files: readonly string[], explain: Explain): void {
  say(`candidate ${report.digest}`)
  say(`${number(report.replayed)} of ${number(report.records)} records replayed from ${files.join(', ')}`)
  sayEffects(report)
  sayFlips(report, explain)
  const { otherReasons, faults } = report
  if (otherReasons.count > 0) {
    say(`\n${number(otherReasons.count)} with the same effect for other reasons`)
    sayExamples(otherReasons.examples, explain)
  }
  for (const fault of faults) {
    say(
      `\n${style.red('fault')} ${shown(fault.name)}: ${number(fault.count)} denied because the candidate failed`,
    )
  }
  sayNotReplayed(report.notReplayed)
}

/** Effects before by effects after, as far as they occur. */
function sayEffects({ effects: counts, replayed, changed }: ReplayReport): void {
  if (replayed === 0) return
  say()
  const width = Math.max(
    ...effects.flatMap((before) => effects.map((after) => number(counts[before][after]).length)),
    5,
  )
  say(style.dim(`  ${'was \\ is'.padEnd(8)}  ${effects.map((after) => after.padStart(width)).join('  ')}`))
  for (const before of effects) {
    const row = effects.map((after) => {
      const cell = (counts[before][after] === 0 ? '.' : number(counts[before][after])).padStart(width)
      return before === after || counts[before][after] === 0 ? cell : colours[after](cell)
    })
    say(`  ${before.padEnd(8)}  ${row.join('  ')}`)
  }
  if (changed === 0) say(`\n${style.green('ok')} every decision has the same effect`)
}

function sayFlips({ flips, otherFlips, changed }: ReplayReport, explain: Explain): void {
  if (changed === 0) return
  say(`\n${number(changed)} with another effect`)
  for (const flip of flips.slice(0, shownFlips)) sayFlip(flip, explain)
  const hidden = flips.slice(shownFlips)
  const rest = hidden.reduce((sum, flip) => sum + flip.count, otherFlips)
  if (rest > 0) say(style.dim(`  and ${number(rest)} more decisions of other sorts (--json lists them)`))
}

function sayFlip({ agent, verb, operation, before, after, count, examples }: Flip, explain: Explain): void {
  const change = `${colours[before](before)} → ${colours[after](after)}`
  say(`  ${number(count).padStart(7)}  ${change}  ${shown(agent)}  ${shown(verb)}  ${shown(operation)}`)
  sayExamples(examples, explain)
}

/** The first as the command that explains it, the others by name. */
function sayExamples([first, ...others]: readonly string[], explain: Explain): void {
  if (first === undefined) return
  const more = others.length === 0 ? '' : style.dim(`  also ${others.map(visible).join(' ')}`)
  say(`           ${explain(visible(first))}${more}`)
}

function sayNotReplayed(parts: readonly NotReplayed[]): void {
  const total = parts.reduce((sum, part) => sum + part.count, 0)
  if (total === 0) return
  say(`\n${number(total)} not replayed`)
  for (const { name, count, of, rest } of parts) {
    const details = of.filter((each) => each.name !== '')
    const hidden = details.slice(shownDetails).reduce((sum, each) => sum + each.count, rest)
    const listed = details.slice(0, shownDetails).map(sayDetail)
    if (hidden > 0) listed.push(`others ${number(hidden)}`)
    say(`  ${number(count).padStart(7)}  ${[causes[name], listed.join(', ')].join(' ').trimEnd()}`)
  }
}

/** A place stands for one line; anything else is told with its count. */
function sayDetail({ name, count }: NotReplayed['of'][number]): string {
  return count === 1 ? shown(name) : `${shown(name)} ${number(count)}`
}

function shown(text: string): string {
  return text.split(' ').map(visible).join(' ')
}

function number(amount: number): string {
  return amount.toLocaleString('en')
}
