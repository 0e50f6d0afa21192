// `leasegate lease list`: which leases there are, two lines each, for 80 columns; with --unused those that nobody needs.
import type { Command } from 'commander'
import { readLeaseQuery } from '../../broker/lease_query.ts'
import { findLeases, lastUse, lifeStates } from '../../broker/lease_search.ts'
import { type KnownLease, leaseView } from '../../broker/lease_view.ts'
import { isRefusal } from '../../refusals.ts'
import { loadStateConfig } from '../state_config.ts'
import { count, duration, say, sayJson, style } from '../terminal.ts'
import { stateText, taskOf } from './lease_text.ts'
import { failure, withStore } from './with_store.ts'

interface ListOptions {
  readonly config: string
  readonly agent?: string
  readonly user?: string
  readonly task?: string
  readonly session?: string
  readonly state?: string
  readonly unused?: boolean
  readonly olderThan?: string
  readonly limit: string
  readonly json?: boolean
}

/** Adds `lease list`. */
export function addListCommand(lease: Command): void {
  lease
    .command('list')
    .description('leases, newest first')
    .option('--agent <agent>')
    .option('--user <user>')
    .option('--task <[system:]id>')
    .option('--session <id>')
    .option('--state <state>', lifeStates.join(' | '))
    .option('--unused', 'active ones without a call for a while')
    .option('--older-than <duration>', 'how long a while; with --unused, 10m by default')
    .option('--limit <n>', 'at most this many', '20')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs: as GET /leases answers')
    .action(list)
}

async function list({ config, json, ...options }: ListOptions): Promise<void> {
  const search = readLeaseQuery(queryOf(options))
  if (isRefusal(search)) throw failure(search)
  const now = Date.now() / 1000
  const { leases } = await withStore(loadStateConfig(config), (store) => findLeases(search, store, now))
  if (json === true) sayJson(leases.map((known) => leaseView(known)))
  else if (leases.length === 0) say(style.dim('no leases'))
  else for (const known of leases) sayLease(known, now, options.unused === true)
}

/** The options under the names of the API. */
function queryOf({ olderThan, unused, ...rest }: Omit<ListOptions, 'config' | 'json'>): [string, string][] {
  const query = { ...rest, unused: unused === true ? 'true' : undefined, older_than: olderThan }
  return Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
}

function sayLease(known: KnownLease, now: number, unused: boolean): void {
  const { record, state, usage } = known
  const { id, user, agent, stage, maxExpiresAt } = record
  const idle = unused ? style.yellow(`  unused for ${duration(now - lastUse(known))}`) : ''
  const calls = style.dim(`  ${count(usage?.calls ?? 0, 'call')}`)
  say(`${style.bold(id)}  ${stateText(state, maxExpiresAt - now)}${calls}${idle}`)
  say(`  ${user} via ${agent}  ${taskOf(record)}  ${stage}`)
}
