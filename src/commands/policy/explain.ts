// `leasegate policy explain`: why a decision is what it is, and the smallest change that would make it a yes.
// Of a decision in the audit file, of a policy input in a file, or of a question in words.
import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Command } from 'commander'
import { z } from 'zod'
import { PolicyError } from '../../policy/diagnostic.ts'
import type { Edited } from '../../policy/edit_text.ts'
import { type Explanation, explain } from '../../policy/explain.ts'
import {
  dataFile,
  explanationJson,
  type HiddenRead,
  hiddenReads,
  type Told,
} from '../../policy/explain_json.ts'
import type { Recorded, Subject } from '../../policy/explain_subject.ts'
import { policyInput } from '../../policy/input_schema.ts'
import { type PolicySources, parsePolicy, readPolicyFiles } from '../../policy/sources.ts'
import type { Path } from '../../policy/trace.ts'
import { parseStrictJson } from '../../strict_json.ts'
import { loadStateConfig } from '../state_config.ts'
import { sayJson, snaked, style, UsageError, unreadable } from '../terminal.ts'
import { requireDirectory, sayDiagnostics } from './directory.ts'
import { readQuestion } from './explain/question.ts'
import { readDecision } from './explain/record.ts'
import { type Manner, say, sayExplanation, sayRecorded } from './explain/show.ts'

interface ExplainOptions {
  readonly config?: string
  readonly audit?: readonly string[]
  readonly dir?: string
  readonly user?: string
  readonly agent?: string
  readonly profile?: string
  readonly stage?: string
  readonly env?: string
  readonly task?: string
  readonly provenance?: string
  readonly grant?: readonly string[]
  readonly body?: string
  readonly json?: boolean
  readonly verbose?: boolean
}

const maxInputBytes = 1024 * 1024

/** Adds `policy explain <subject>`. */
export function addExplainCommand(policy: Command): void {
  const each = (value: string, before: readonly string[] = []) => [...before, value]
  policy
    .command('explain')
    .description('why a decision is what it is, and what would make it a yes')
    .argument('<subject>', "dec_…, a file with a policy input, or with --user: 'read crm:customer/9821'")
    .option('-c, --config <file>', 'configuration file; config.yaml for dec_… and questions')
    .option('--dir <dir>', "policy directory; default: the configuration's, else policies")
    .option('--audit <file>', 'audit file to look in, repeatable', each)
    .option('--user <user>', 'a question: on whose behalf')
    .option('--agent <agent[@version]>', 'a question: who acts')
    .option('--profile <profile>', 'policy profile of the agent')
    .option('--stage <stage>', 'observe for reads, else execute')
    .option('--env <env>', 'environment the agent runs in')
    .option('--task <[system:]id>', 'what for')
    .option(
      '--grant <grant>',
      "'VERB[,VERB] IDENTIFIER [SENSITIVITY]', repeatable; default: what is asked",
      each,
    )
    .option('--provenance <provenance>', 'trusted | untrusted')
    .option('--body <file>', 'JSON body of the request')
    .option('--json', 'for programs')
    .option('--verbose', 'every rule that took part')
    .action(run)
}

async function run(text: string, options: ExplainOptions): Promise<void> {
  const subject = await readSubject(text, options)
  const { dir, sources, fileOf } = await readRules(options, text)
  let explanations: readonly Explanation[]
  try {
    explanations = subject.inputs.length === 0 ? [] : await explain(sources, subject.inputs)
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    if (options.json === true) sayJson(snaked({ ok: false, diagnostics: thrown.diagnostics }))
    else sayDiagnostics(dir, thrown.diagnostics)
    process.exitCode = 2
    return
  }
  const told = explanations.map((explanation, at) => {
    const edited = { input: subject.inputs[at]!, data: sources.data, fileOf }
    return { explanation, edited, hidden: hiddenReads(explanation, subject.recorded) }
  })
  if (options.json === true) sayJson(explanationJson(subject, told))
  else sayAll(subject, told, { dir, verbose: options.verbose === true })
  if (!passes(subject, told)) process.exitCode = 1
}

async function readSubject(text: string, options: ExplainOptions): Promise<Subject> {
  const { user, agent, audit, config = 'config.yaml' } = options
  if (user !== undefined || agent !== undefined) {
    if (user === undefined || agent === undefined) throw new UsageError('a question needs --user and --agent')
    return ask(text, { ...options, user, agent }, config)
  }
  if (text.startsWith('dec_')) return readDecision(text, audit ?? [loadStateConfig(config).audit.file])
  if (/\s/u.test(text)) throw new UsageError(`'${text}' is a question: say who asks with --user and --agent`)
  return { inputs: [policyInputOf(text, await readJson(text))], notes: [] }
}

async function ask(
  text: string,
  options: ExplainOptions & { readonly user: string; readonly agent: string },
  config: string,
): Promise<Subject> {
  const { grant = [], body, provenance = 'untrusted' } = options
  if (!['trusted', 'untrusted'].includes(provenance)) {
    throw new UsageError('--provenance is trusted or untrusted')
  }
  const question = {
    ...options,
    provenance,
    grants: grant,
    now: Math.floor(Date.now() / 1000),
    body: body === undefined ? undefined : await readJson(body),
  }
  return readQuestion(text, question, loadStateConfig(config))
}

async function readJson(file: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (thrown) {
    throw new UsageError(`${file}: ${unreadable(thrown)}`)
  }
  const read = parseStrictJson(text, { maxBytes: maxInputBytes, maxDepth: 64 })
  if (!read.ok) throw new UsageError(`${file}: not the JSON of a policy input or body: ${read.problem}`)
  return read.value
}

function policyInputOf(file: string, value: unknown) {
  const read = policyInput.safeParse(value)
  if (read.success) return read.data
  throw new UsageError(`${file} is no policy input:\n${z.prettifyError(read.error)}`)
}

interface Rules {
  readonly dir: string
  readonly sources: PolicySources
  readonly fileOf: Edited['fileOf']
}

async function readRules({ dir, config, user }: ExplainOptions, text: string): Promise<Rules> {
  const configured = config ?? (user !== undefined || text.startsWith('dec_') ? 'config.yaml' : undefined)
  const place = dir ?? (configured === undefined ? 'policies' : loadStateConfig(configured).policy.dir)
  requireDirectory(place)
  const files = await readPolicyFiles(place)
  const below = relative(process.cwd(), place)
  const shown = below === '' || below.startsWith('..') ? place : below
  const fileOf = (path: Path) => join(shown, dataFile(path, [...files.keys()]))
  return { dir: shown, sources: parsePolicy(files), fileOf }
}

function passes({ inputs, recorded }: Subject, told: readonly Told[]): boolean {
  if (inputs.length === 0 || told.some(({ hidden }) => hidden.length > 0)) return recorded?.effect === 'allow'
  return told.every(
    ({ explanation }) => explanation.answer.effect === 'allow' && explanation.uncovered === undefined,
  )
}

function sayAll({ recorded, notes }: Subject, told: readonly Told[], manner: Manner): void {
  if (recorded !== undefined) sayRecorded(recorded)
  for (const { explanation, edited, hidden } of told) {
    if (told.length > 1) say(style.bold(`— ${edited.input.request.operation}`))
    if (hidden.length > 0) sayHidden(hidden, manner.dir)
    else {
      if (recorded !== undefined) sayDrift(explanation, recorded)
      sayExplanation(explanation, edited, manner)
    }
  }
  for (const note of notes) say(style.dim(`(${note})`))
}

function sayHidden(hidden: readonly HiddenRead[], dir: string): void {
  say(style.yellow('Policy reads what the record leaves out, so how it decided cannot be shown:'))
  for (const { name, file, line } of hidden) say(`  ${name}  ${style.dim(`${dir}/${file}:${line}`)}`)
}

/** The policy here may not be the one that decided then. */
function sayDrift({ answer, digest }: Explanation, { policy }: Recorded): void {
  if (policy === null) return
  if (policy.digest !== digest) {
    say(style.yellow(`The policy here is another one: it is ${digest}. What follows is about this one.`))
  }
  if (policy.effect !== answer.effect) {
    say(style.red(`Today it answers ${answer.effect}, where ${policy.effect} was decided.`))
  }
}
