// `leasegate approvals`: people decide on what waits without a browser, through the control listener of a gate that runs
// and by its rules. A yes names the fingerprint that `show` has printed: nobody approves what they have not been shown.
import type { Command } from 'commander'
import type { Config } from '../config.ts'
import { isObject } from '../lease/text.ts'
import { listText, showText } from './approvals_text.ts'
import { askControl, type ControlOrder } from './control_listener.ts'
import { loadStateConfig } from './state_config.ts'
import { parseDuration, say, sayJson, style, UsageError } from './terminal.ts'

interface Options {
  readonly as?: string
  readonly control?: string
  readonly config: string
  readonly json?: boolean
}

interface ListOptions extends Options {
  readonly all?: boolean
  readonly lease?: string
}

interface SaidOptions extends Options {
  readonly fingerprint?: string
  readonly reason?: string
  readonly repeat?: string
}

/** Adds `approvals list|show|approve|refuse`. */
export function addApprovalsCommands(program: Command): void {
  const approvals = program.command('approvals').description('what waits for a human: look at it and decide')
  const add = (name: string, description: string) =>
    approvals
      .command(name)
      .description(description)
      .option('--as <name>', 'who decides: an entry of control.operators (default: control.token_file)')
      .option('--control <url>', 'control listener to ask (default: that of the configuration)')
      .option('-c, --config <file>', 'configuration file', 'config.yaml')
      .option('--json', 'for programs: as the control listener answers')
  const fingerprint = 'what was shown; anything else is refused'
  add('list', 'what waits, newest first')
    .option('--all', 'what became of the others as well')
    .option('--lease <id>', 'of this lease')
    .action(list)
  add('show', 'one action and its exact bytes').argument('<id>', 'act_…').action(show)
  add('approve', 'say yes to exactly this')
    .argument('<id>', 'act_…')
    .requiredOption('--fingerprint <fingerprint>', fingerprint)
    .option('--reason <text>', 'why; needed where `show` says so')
    .option('--repeat <calls/duration>', 'let the next ones like it through, such as 5/10m')
    .action((id: string, options: SaidOptions) => decide('approve', id, options))
  add('refuse', 'say no, which ends it')
    .argument('<id>', 'act_…')
    .option('--fingerprint <fingerprint>', `${fingerprint} (default: as it is now)`)
    .option('--reason <text>', 'why; the agent is told')
    .action((id: string, options: SaidOptions) => decide('refuse', id, options))
}

async function list(options: ListOptions): Promise<void> {
  const query = new URLSearchParams({
    ...{ state: options.all === true ? 'all' : 'pending', limit: '200' },
    ...(options.lease !== undefined && { lease: options.lease }),
  })
  const answer = await ask(options, { method: 'GET', path: `/actions?${query}` })
  if (options.json === true) return sayJson(answer)
  const actions = Array.isArray(answer.actions) ? answer.actions.filter(isObject) : []
  if (actions.length === 0) return say(style.dim('nothing waits for you'))
  for (const line of listText(actions, Date.now() / 1000)) say(line)
  if (answer.next !== undefined) say(style.dim('… and more'))
}

async function show(id: string, options: Options): Promise<void> {
  const action = await ask(options, { method: 'GET', path: pathOf(id) })
  if (options.json === true) return sayJson(action)
  for (const line of showText(action, Date.now() / 1000)) say(line)
}

async function decide(verb: 'approve' | 'refuse', id: string, options: SaidOptions): Promise<void> {
  const { reason, repeat } = options
  const body = {
    fingerprint: options.fingerprint ?? (await ask(options, { method: 'GET', path: pathOf(id) })).fingerprint,
    ...(reason !== undefined && { reason }),
    ...(repeat !== undefined && { repeat: readRepeat(repeat) }),
  }
  const action = await ask(options, { method: 'POST', path: `${pathOf(id)}/${verb}`, body })
  if (options.json === true) return sayJson(action)
  say(`${style.bold(id)} is ${String(action.state)}`)
}

function pathOf(id: string): string {
  return `/actions/${encodeURIComponent(id)}`
}

/** `5/10m`. */
function readRepeat(text: string): { calls: number; seconds: number } {
  const [, calls, time] = /^([1-9]\d{0,3})\/(\w+)$/.exec(text) ?? []
  if (calls === undefined || time === undefined) {
    throw new UsageError(`'${text}' is no repeat: write 5/10m for five calls in ten minutes`)
  }
  return { calls: Number(calls), seconds: parseDuration(time) }
}

/** Throws a "no" of the control listener as what it says. */
async function ask(
  options: Options,
  order: Pick<ControlOrder, 'method' | 'path' | 'body'>,
): Promise<Record<string, unknown>> {
  const config = loadStateConfig(options.config)
  const tokenFile = tokenFileOf(options.as, config)
  const { status, answer } = await askControl(config, { ...order, tokenFile, control: options.control })
  if (status < 400) return answer
  const { code, detail, title } = answer
  throw new Error(`${String(code ?? status)}: ${String(detail ?? title ?? 'refused')}`)
}

function tokenFileOf(name: string | undefined, { control }: Config): string {
  if (name === undefined) return control.tokenFile
  const operator = control.operators.find((each) => each.name === name)
  if (operator === undefined) throw new UsageError(`--as ${name}: there is no such name in control.operators`)
  return operator.tokenFile
}
