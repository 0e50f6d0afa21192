// In: an explanation. Out: lines for a person: the effect, the request, the rules with what failed in them, and
// what would be enough. Names and values come from requests and records: what could steer a terminal is escaped.
import type { Terms } from '../../../approval/terms.ts'
import { isTree } from '../../../policy/edit.ts'
import { type Edited, editText } from '../../../policy/edit_text.ts'
import type { Explanation } from '../../../policy/explain.ts'
import { meaningOf } from '../../../policy/explain_record.ts'
import type { Recorded } from '../../../policy/explain_subject.ts'
import type { PolicyInput } from '../../../policy/input_schema.ts'
import { maxEdits, type Search } from '../../../policy/smallest_change.ts'
import type { ConditionTrace, Read, RuleTrace, Trace } from '../../../policy/trace.ts'
import type { PolicyAnswer } from '../../../ports.ts'
import type { Refusal } from '../../../refusals.ts'
import { count, duration, say as sayPlain, style } from '../../terminal.ts'
import { type Telling, tellingRules } from './telling.ts'

const maxShown = 160

/** Control characters and marks that reorder text; the colours that `style` uses stay. */
const unprintable =
  /(\x1b\[(?:0|1|2|3[1236])m)|[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** How it is told. */
export interface Manner {
  /** Where the rules are. */
  readonly dir: string
  /** Every rule that took part, not only those that a refusal comes from. */
  readonly verbose: boolean
}

/** Prints one explanation: what came out, why, the smallest change, and then, if asked for, all the rest. */
export function sayExplanation(
  { answer, otherAnswer, uncovered, trace, search, digest }: Explanation,
  edited: Edited,
  { dir, verbose }: Manner,
): void {
  const { input } = edited
  sayVerdict(answer, uncovered)
  say(`  ${requestLine(input)}`)
  say(style.dim(`  policy ${digest} in ${dir}`))
  if (trace?.fault !== undefined) say(style.red(`  OPA says: ${trace.fault}`))
  if (otherAnswer !== undefined) {
    say(style.red(`  ENGINES DIFFER: OPA's own engine answers ${JSON.stringify(otherAnswer)}`))
  }
  if (answer.approval !== undefined) say(`  ${waitsFor(answer.approval)}`)
  if (uncovered !== undefined)
    sayHeaded('Built-in check', [`${style.red('false')}  ${uncovered.facts.detail}`])
  const telling = trace === undefined || answer.effect === 'allow' ? [] : tellingRules(trace)
  sayTelling(telling, dir)
  if (search !== undefined) sayChanges(search, edited)
  if (trace === undefined) say('  Compiled elsewhere: there are no rules here to tell about.')
  else sayRest(trace, telling, { dir, verbose })
}

function waitsFor({ approvers, quorum, expiresIn, reasonRequired }: Terms): string {
  const people = quorum === 1 ? 'an approval by' : `approvals by ${quorum} of`
  const reason = reasonRequired ? ', with a reason' : ''
  return `waits for ${people} ${approvers.join(' or ')} within ${duration(expiresIn)}${reason}`
}

/** Prints what the audit record says. */
export function sayRecorded(recorded: Recorded): void {
  const { decisionId, time, effect, code, cause, reasons, ended, request, missing, policy } = recorded
  say(`${style.bold(decisionId)}  ${time}  ${ended}`)
  say(`  ${request}`)
  if (code !== null) say(`  ${code}: ${meaningOf(code)}${cause === null ? '' : ` (${cause})`}`)
  if (policy !== null) {
    say(`  policy said ${[policy.effect, ...policy.reasons, policy.fault ?? []].flat().join(', ')}`)
    say(style.dim(`  under ${policy.digest ?? 'an unknown policy'}`))
  } else {
    say(`  policy was not asked: ${[effect, ...reasons].join(', ')}`)
    if (missing !== undefined) say(`  missing: ${JSON.stringify([{ type: 'lease', ...missing }])}`)
  }
  say()
}

/** Prints one line: what comes from a request can neither steer the terminal nor begin a line of its own. */
export function say(line = ''): void {
  sayPlain(line.replace(unprintable, (found, ours: string | undefined) => ours ?? escaped(found)))
}

/** What the gate would do; policy has its own line where the gate would not have asked it. */
function sayVerdict({ effect, reasons, fault }: PolicyAnswer, uncovered: Refusal | undefined): void {
  const said = [effect, ...reasons].join(', ')
  if (uncovered !== undefined) {
    say(
      `${style.bold(style.red('DENY'))}  ${[uncovered.code, ...(uncovered.facts.reasons ?? [])].join(', ')}`,
    )
    say(`  policy, if it were asked: ${said}`)
  } else {
    const paint = effect === 'allow' ? style.green : effect === 'deny' ? style.red : style.yellow
    say(`${style.bold(paint(effect.toUpperCase()))}  ${reasons.join(', ')}`.trimEnd())
  }
  if (fault !== undefined) say(style.red(`  the policy failed: ${fault}`))
}

function requestLine({ lease, request, context }: PolicyInput): string {
  const { agent, user, stage } = lease
  const who = `${user} via ${agent.id}@${agent.version} (${agent.profile}, ${stage}, ${context.provenance})`
  return `${who}: ${request.verb} ${request.resource} (${request.sensitivity}, ${request.risk} risk)`
}

function sayTelling(telling: readonly Telling[], dir: string): void {
  if (telling.length === 0) return
  const decision = telling[0]!.rule.rule
  sayHeaded('Why', [])
  for (const { rule, conditions } of telling) {
    sayRule(rule, dir)
    for (const condition of conditions) sayCondition(condition, rule.holds || rule.rule === decision)
  }
}

/** What took part beside that: a line each, or how many they are. */
function sayRest({ rules, incomplete }: Trace, telling: readonly Telling[], { dir, verbose }: Manner): void {
  const rest = rules.filter((rule) => telling.every((told) => told.rule !== rule))
  const noun = telling.length === 0 ? 'rule' : 'other rule'
  if (verbose) {
    sayHeaded(telling.length === 0 ? 'Rules' : 'Other rules', [])
    for (const rule of rest.toSorted((a, b) => Number(b.holds) - Number(a.holds))) {
      sayRule(rule, dir)
      for (const condition of rule.conditions) {
        if (!rule.holds && condition.outcome === 'false') sayCondition(condition, true)
      }
    }
  } else {
    say()
    say(style.dim(`${count(rest.length, noun)} took part; --verbose lists them`))
  }
  if (incomplete) say(style.yellow('  there is more than can be shown'))
}

function sayHeaded(heading: string, lines: readonly string[]): void {
  say()
  say(style.bold(heading))
  for (const line of lines) say(`  ${line}`)
}

function sayRule({ rule, key, holds, title, file, line, arguments: given }: RuleTrace, dir: string): void {
  const outcome = holds ? style.green('true ') : style.red('false')
  const named = title === '' ? rule.replace(/^data\./, '') : title
  const name = key === '' ? named : `${named}: ${key}`
  const values = given.map(readText).join(', ')
  say(`  ${outcome}  ${name}  ${style.dim(`${dir}/${file}:${line}`)}${values === '' ? '' : `  ${values}`}`)
}

function sayCondition({ line, text, failures }: ConditionTrace, brief: boolean): void {
  say(`         ${style.dim(String(line))}  ${text.split('\n', 1)[0]}`)
  if (brief) return
  const attempts = failures.map((reads) => reads.filter(isTelling).map(readText))
  const distinct = [...new Set(attempts.map((lines) => lines.join('\n')))].filter((lines) => lines !== '')
  for (const [at, lines] of distinct.entries()) {
    if (at > 0) say(style.dim('             and'))
    for (const shown of lines.split('\n')) say(`             ${shown}`)
  }
}

function isTelling({ defined, within, value }: Read): boolean {
  return !(defined && within && isTree(value))
}

function readText({ name, defined, shown, value }: Read): string {
  if (!defined) return `${name} is undefined`
  const text = shown ? JSON.stringify(value) : '(too long to show)'
  return `${name} = ${text.length > maxShown ? `${text.slice(0, maxShown)}…` : text}`
}

function sayChanges({ changes, complete }: Search, edited: Edited): void {
  say()
  if (changes.length === 0) {
    say(style.bold(`No change of up to ${maxEdits} edits to lease or data was found that would make it pass`))
  }
  if (!complete)
    say(style.dim('  (not every smaller one was tried: there are too many, or the data is large)'))
  if (changes.length === 0) return
  say(style.bold(changes.length === 1 ? 'This would make it pass' : 'Each of these would make it pass'))
  for (const [at, change] of changes.entries()) {
    for (const [index, edit] of change.entries()) {
      say(`  ${index === 0 ? `${at + 1}.` : '  '} ${index === 0 ? '' : 'and '}${editText(edit, edited)}`)
    }
  }
}

function escaped(character: string): string {
  return [...character].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
}
