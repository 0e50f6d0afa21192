// `leasegate revoke`: one write to the state store; every gate on it refuses from then on.
import { type Command, Option } from 'commander'
import { leaseState } from '../broker/lease_state.ts'
import { revokeAll } from '../broker/lifecycle.ts'
import type { RevocationScope } from '../lease/lease.ts'
import type { Revocation, Store } from '../ports.ts'
import { isRefusal } from '../refusals.ts'
import { failure, withStore } from './lease/with_store.ts'
import { loadStateConfig } from './state_config.ts'
import { count, operator, say, sayJson, snaked, style, UsageError } from './terminal.ts'

const flags: Readonly<Record<RevocationScope, string>> = {
  lease: '--lease <id>',
  agent: '--agent <agent>',
  agent_version: '--agent-version <agent@version>',
  user: '--user <user>',
  task: '--task <[system:]id>',
  session: '--session <id>',
  token: '--token <jti>',
}

/** Adds `revoke`. */
export function addRevokeCommand(program: Command): void {
  const command = program
    .command('revoke')
    .description(
      'kill a lease, every lease of an agent, version, user, task or session issued so far, or one token',
    )
    .requiredOption('--reason <text>', 'why; kept in the record')
    .option('--issuer <issuer>', 'only leases of this issuer')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
  for (const flag of Object.values(flags)) command.addOption(new Option(flag))
  command.action(revoke)
}

type RevokeOptions = { config: string; reason: string; issuer?: string; json?: boolean } & Record<
  string,
  string
>

async function revoke(options: RevokeOptions): Promise<void> {
  const scopes = (Object.keys(flags) as RevocationScope[]).filter(
    (scope) => valueIn(options, scope) !== undefined,
  )
  const scope = scopes[0]
  if (scope === undefined || scopes.length > 1) {
    throw new UsageError(`name exactly one of ${Object.values(flags).join(', ')}`)
  }
  const ask = {
    scope,
    value: valueIn(options, scope)!,
    reason: options.reason,
    by: operator(),
    ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
  }
  await withStore(loadStateConfig(options.config), async (store) => {
    const revoked = await revokeAll(ask, store, Date.now() / 1000)
    if (isRefusal(revoked)) throw failure(revoked)
    const { entry } = revoked
    const killed = await countKilled(entry, store)
    if (options.json === true) sayJson(snaked({ ...entry, recordedLeases: killed }))
    else sayRevoked(entry, killed)
  })
}

function sayRevoked({ scope, value, reason }: Revocation, killed: number): void {
  say(`${style.red('revoked')} ${scope} ${style.bold(value)}  ${style.dim(reason)}`)
  if (killed > 0) say(`  ends ${count(killed, 'recorded lease')}`)
  // Records are of leases, so nothing can be said of a single token.
  else if (scope === 'token') return
  // All may be over, or another issuer's; a misspelt name looks just the same.
  else say(style.yellow(`  ends no recorded lease: is the ${scope} spelt as in \`leasegate lease list\`?`))
}

/** How many of the newest thousand recorded leases are over because of `entry`. */
async function countKilled(entry: Revocation, { leases, revocations }: Store): Promise<number> {
  const now = Date.now() / 1000
  const records = await leases.list({ limit: 1_000 })
  return records.filter((record) => {
    const { revocation } = leaseState(record, revocations, now)
    return revocation?.scope === entry.scope && revocation.value === entry.value
  }).length
}

function valueIn(options: RevokeOptions, scope: RevocationScope): string | undefined {
  return options[scope === 'agent_version' ? 'agentVersion' : scope]
}
