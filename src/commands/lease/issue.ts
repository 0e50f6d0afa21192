// `leasegate lease issue`: a lease to start with, signed by the local broker's key without asking policy.
import type { Command } from 'commander'
import { parseAgent, parseTask } from '../../broker/names.ts'
import { issueTime } from '../../broker/times.ts'
import type { Config } from '../../config.ts'
import { parseAllow } from '../../lease/allow.ts'
import { type IssuedLease, issueLease } from '../../lease/issue.ts'
import { type Stage, stages } from '../../lease/lease.ts'
import { openLocalKey } from '../../lease/local_key.ts'
import type { Store } from '../../ports.ts'
import { isRefusal } from '../../refusals.ts'
import { loadStateConfig } from '../state_config.ts'
import { parseDuration, say, sayFacts, sayJson, snaked, style, UsageError } from '../terminal.ts'
import { grantFacts } from './lease_text.ts'
import { failure, withStore } from './with_store.ts'

/** What `lease issue` is asked for, as typed. */
export interface IssueOptions {
  readonly config: string
  readonly user: string
  readonly agent: string
  readonly task: string
  readonly purpose: string
  readonly allow: readonly string[]
  readonly stage: string
  readonly ttl: string
  readonly env: string
  readonly profile?: string
  readonly json?: boolean
}

/** Adds `lease issue`. */
export function addIssueCommand(lease: Command): void {
  lease
    .command('issue')
    .description('sign a lease with the local key and print its token')
    .requiredOption('--user <user>', 'on whose behalf')
    .requiredOption('--agent <agent[@version]>', 'who acts')
    .requiredOption('--task <[system:]id>', 'what for: a ticket, a run')
    .requiredOption('--purpose <text>', 'why, in one sentence')
    .requiredOption(
      '--allow <grant...>',
      "'VERB[,VERB] IDENTIFIER [SENSITIVITY] [CONSTRAINT=VALUE]'; repeat for alternatives",
    )
    .option('--stage <stage>', stages.join(' | '), 'observe')
    .option('--ttl <duration>', 'life of the token, at most 5m', '5m')
    .option('--env <env>', 'environment the agent runs in', 'prod')
    .option('--profile <profile>', 'policy profile of the agent')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(issue)
}

async function issue(options: IssueOptions): Promise<void> {
  const config = loadStateConfig(options.config)
  const issued = await withStore(config, (store) => issueFrom(options, config, store))
  if (options.json === true) {
    sayJson(snaked({ token: issued.token, lease: issued.record }))
    return
  }
  say(`${style.green('issued')} ${style.bold(issued.record.id)}`)
  sayFacts(grantFacts(issued.record, Date.now() / 1000))
  say(`\n${issued.token}`)
}

/** Signs what `options` ask for and stores the record. Throws a UsageError that says what is wrong. */
export async function issueFrom(options: IssueOptions, config: Config, store: Store): Promise<IssuedLease> {
  const details = options.allow.map((text) => {
    const allow = parseAllow(text)
    if (!allow.ok) throw new UsageError(`--allow: ${allow.problem}`)
    return allow.detail
  })
  const stage = stages.find((known) => known === options.stage)
  if (stage === undefined) throw new UsageError(`--stage is one of ${stages.join(', ')}`)
  const issuer = config.issuers.find(({ jwks }) => 'local' in jwks)
  if (issuer === undefined) throw new UsageError('no issuer of this gate has `jwks: { local: true }`')
  const { id, version } = parseAgent(options.agent)
  const now = issueTime(store, Date.now() / 1000)
  if (isRefusal(now)) throw failure(now)
  const issued = await issueLease(
    {
      user: options.user,
      agent: {
        id,
        version: version ?? '0',
        env: options.env,
        profile: options.profile ?? id.slice(id.indexOf(':') + 1),
      },
      task: { ...parseTask(options.task), purpose: options.purpose },
      details,
      stage: stage as Stage,
      ttlSeconds: Math.min(parseDuration(options.ttl), config.broker.ttlSeconds),
    },
    {
      ...issuer,
      key: await openLocalKey(config.broker.keyFile),
      now: Math.floor(now),
    },
  )
  if (isRefusal(issued)) throw new UsageError(issued.facts.detail ?? issued.row.title)
  await store.leases.put(issued.record)
  return issued
}
