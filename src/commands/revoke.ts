// `leasegate revoke`: one write to the state store; every gate on it refuses from then on.
import { userInfo } from 'node:os'
import { type Command, Option } from 'commander'
import { makeRevocation } from '../broker/revocation.ts'
import { openStore } from '../compose.ts'
import type { RevocationScope } from '../lease/lease.ts'
import { loadStateConfig, say, sayJson, style, UsageError } from './terminal.ts'

const flags: Readonly<Record<RevocationScope, string>> = {
  lease: '--lease <id>',
  agent: '--agent <agent>',
  agent_version: '--agent-version <agent@version>',
  user: '--user <user>',
  task: '--task <[system:]id>',
  session: '--session <id>',
}

/** Adds `revoke`. */
export function addRevokeCommand(program: Command): void {
  const command = program
    .command('revoke')
    .description('kill a lease, or every lease of an agent, version, user, task or session issued so far')
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
    by: `cli:${operator()}`,
    ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
  }
  const entry = makeRevocation(ask, Math.floor(Date.now() / 1000))
  const store = await openStore(loadStateConfig(options.config))
  try {
    await store.revocations.revoke(entry)
  } finally {
    await store.close()
  }
  if (options.json === true) sayJson(entry)
  else say(`${style.red('revoked')} ${entry.scope} ${style.bold(entry.value)}  ${style.dim(entry.reason)}`)
}

/** The system's name of whoever runs this; its number where it has no name, as in containers. */
function operator(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 'unknown')
  }
}

function valueIn(options: RevokeOptions, scope: RevocationScope): string | undefined {
  return options[scope === 'agent_version' ? 'agentVersion' : scope]
}
