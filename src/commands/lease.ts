// `leasegate lease issue|show|list`: leases to start with, signed by the local broker's key.
import type { Command } from 'commander'
import { type LeaseState, leaseState } from '../broker/lease_state.ts'
import { parseAgent, parseTask } from '../broker/names.ts'
import { openStore } from '../compose.ts'
import type { Config } from '../config.ts'
import { parseAllow } from '../lease/allow.ts'
import { type IssuedLease, issueLease } from '../lease/issue.ts'
import { type Stage, stages } from '../lease/lease.ts'
import { openLocalKey } from '../lease/local_key.ts'
import type { LeaseRecord, Store } from '../ports.ts'
import { isRefusal } from '../refusals.ts'
import { loadStateConfig } from './state_config.ts'
import { duration, parseDuration, say, sayFacts, sayJson, snaked, style, UsageError } from './terminal.ts'

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

/** Adds the lease commands. */
export function addLeaseCommands(program: Command): void {
  const lease = program.command('lease').description('issue and look at leases')
  lease
    .command('issue')
    .description('sign a lease with the local key and print its token')
    .requiredOption('--user <user>', 'on whose behalf')
    .requiredOption('--agent <agent[@version]>', 'who acts')
    .requiredOption('--task <[system:]id>', 'what for: a ticket, a run')
    .requiredOption('--purpose <text>', 'why, in one sentence')
    .requiredOption('--allow <grant...>', "'VERB[,VERB] IDENTIFIER [SENSITIVITY]'; repeat for alternatives")
    .option('--stage <stage>', stages.join(' | '), 'observe')
    .option('--ttl <duration>', 'life of the token, at most 5m', '5m')
    .option('--env <env>', 'environment the agent runs in', 'prod')
    .option('--profile <profile>', 'policy profile of the agent')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(issue)
  lease
    .command('show')
    .argument('<id>', 'lse_…')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(show)
  lease
    .command('list')
    .option('--agent <agent>')
    .option('--user <user>')
    .option('--task <[system:]id>')
    .option('--limit <n>', 'newest first', '20')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(list)
}

async function issue(options: IssueOptions): Promise<void> {
  const config = loadStateConfig(options.config)
  const issued = await withStore(config, (store) => issueFrom(options, config, store))
  if (options.json === true) {
    sayJson(snaked({ token: issued.token, lease: issued.record }))
    return
  }
  say(`${style.green('issued')} ${style.bold(issued.record.id)}`)
  sayRecord(issued.record)
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
      now: Math.floor(Date.now() / 1000),
    },
  )
  if (isRefusal(issued)) throw new UsageError(issued.facts.detail ?? issued.row.title)
  await store.leases.put(issued.record)
  return issued
}

async function show(id: string, options: { config: string; json?: boolean }): Promise<void> {
  const found = await withStore(loadStateConfig(options.config), async (store) => {
    const record = await store.leases.get(id)
    return record && withState(record, store)
  })
  if (found === undefined) throw new Error(`no lease ${id}`)
  if (options.json === true) sayJson(snaked(found))
  else {
    say(style.bold(found.id))
    sayRecord(found)
    sayFacts([['state', describeState(found)]])
  }
}

interface ListOptions {
  readonly config: string
  readonly agent?: string
  readonly user?: string
  readonly task?: string
  readonly limit: string
  readonly json?: boolean
}

async function list(options: ListOptions): Promise<void> {
  const limit = Number(options.limit)
  if (!Number.isSafeInteger(limit) || limit < 1) throw new UsageError('--limit is a number from 1 up')
  const task = options.task === undefined ? undefined : parseTask(options.task)
  const filter = {
    limit,
    ...(options.agent === undefined ? {} : { agent: parseAgent(options.agent).id }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(task === undefined ? {} : { task: `${task.system}:${task.id}` }),
  }
  const records = await withStore(loadStateConfig(options.config), async (store) =>
    (await store.leases.list(filter)).map((record) => withState(record, store)),
  )
  if (options.json === true) sayJson(snaked(records))
  else if (records.length === 0) say(style.dim('no leases'))
  else for (const record of records) sayLine(record)
}

/** A record with what it is worth now. */
type KnownLease = Omit<LeaseRecord, 'state'> & LeaseState

function withState(record: LeaseRecord, { revocations }: Store): KnownLease {
  return { ...record, ...leaseState(record, revocations, Date.now() / 1000) }
}

function describeState({ state, revocation, maxExpiresAt }: KnownLease): string {
  if (revocation !== undefined) return style.red(`revoked by ${revocation.scope}: ${revocation.reason}`)
  const left = duration(maxExpiresAt - Date.now() / 1000)
  return state === 'active' ? style.green(`active, ${left} left`) : style.dim(state)
}

function sayLine(lease: KnownLease): void {
  const { id, user, agent, task, stage } = lease
  const what = `${user} via ${agent}  ${task.system}:${task.id}  ${stage}`
  say(`${style.bold(id)}  ${what}  ${describeState(lease)}`)
}

function sayRecord(record: Omit<LeaseRecord, 'state'>): void {
  const left = (until: number) => duration(until - Date.now() / 1000)
  sayFacts([
    ['who', record.user],
    ['agent', `${record.agent} ${record.agentVersion}`],
    ['what', record.details.map(describeDetail).join(' or ')],
    ['why', `${record.task.system}:${record.task.id} ${record.task.purpose}`],
    ['when', `token ${left(record.expiresAt)}, lease ${left(record.maxExpiresAt)}`],
    ['stage', record.stage],
  ])
}

function describeDetail(detail: unknown): string {
  const { actions, identifier, sensitivity } = detail as {
    actions: string[]
    identifier: string
    sensitivity: string
  }
  return `${actions.join(',')} ${identifier} up to ${sensitivity}`
}

async function withStore<T>(config: Config, use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(config)
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}
