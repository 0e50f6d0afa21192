// `leasegate console`: asks a gate that runs for a link with which somebody signs in once. The link is printed and kept
// nowhere; whoever has it is that person.
import { userInfo } from 'node:os'
import type { Command } from 'commander'
import type { Config } from '../config.ts'
import { askControl } from './control_listener.ts'
import { loadStateConfig } from './state_config.ts'
import { say, sayJson, style, UsageError } from './terminal.ts'

/** Adds `console`. */
export function addConsoleCommand(program: Command): void {
  const collect = (value: string, before: string[]) => [...before, value]
  program
    .command('console')
    .description('make a link that signs somebody in to the console, once, within ten minutes')
    .option('--user <user>', 'whom, as leases name users (default: you, as an administrator)')
    .option('--group <group>', 'a group of theirs, as policy names approvers; may be repeated', collect, [])
    .option('--role <role>', 'operator, auditor or admin; may be repeated', collect, [])
    .option('--control <url>', 'control listener to ask (default: that of the configuration)')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(makeLink)
}

interface ConsoleOptions {
  readonly user?: string
  readonly group: string[]
  readonly role: string[]
  readonly control?: string
  readonly config: string
  readonly json?: boolean
}

async function makeLink(options: ConsoleOptions): Promise<void> {
  const { user, group, role } = options
  const config = loadStateConfig(options.config)
  const isOwn = user === undefined && role.length === 0
  const ask = { user: user ?? userInfo().username, groups: group, roles: isOwn ? ['admin'] : role }
  const link = await askForLink(ask, config, options.control)
  if (options.json === true) return sayJson(link)
  say(link.url)
  say(style.dim(`signs in ${ask.user} once, within ten minutes: send it to nobody else`))
}

/** Whom a link signs in. */
export interface LinkAsk {
  readonly user: string
  readonly groups: readonly string[]
  readonly roles: readonly string[]
}

/** A new link, of the gate that runs; with the operator token, at `control` or where the configuration says. */
export async function askForLink(
  ask: LinkAsk,
  config: Config,
  control?: string,
): Promise<{ readonly url: string; readonly expires_at: unknown }> {
  const { tokenFile } = config.control
  const order = { method: 'POST', path: '/console/links', body: ask, control, tokenFile } as const
  const { url, status, answer } = await askControl(config, order)
  const { url: link, expires_at, detail } = answer
  if (status === 400) throw new UsageError(String(detail))
  if (status >= 400 || typeof link !== 'string') throw new Error(`${url} answers ${status}: ${detail}`)
  return { url: link, expires_at }
}
