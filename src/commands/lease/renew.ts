// `leasegate lease renew`: a further token of a lease that `lease issue` signed. The grant stays as it is, and so
// does its end. A lease of the broker is renewed by its agent, where policy is asked again.
import type { Command } from 'commander'
import { leaseState } from '../../broker/lease_state.ts'
import { issueTime } from '../../broker/times.ts'
import type { Config } from '../../config.ts'
import type { LeaseDetail } from '../../lease/allow.ts'
import { type IssuedLease, issueLease } from '../../lease/issue.ts'
import type { Stage } from '../../lease/lease.ts'
import { openLocalKey } from '../../lease/local_key.ts'
import type { LeaseRecord, Store } from '../../ports.ts'
import { isRefusal } from '../../refusals.ts'
import { loadStateConfig } from '../state_config.ts'
import { parseDuration, say, sayFacts, sayJson, snaked, style } from '../terminal.ts'
import { grantFacts } from './lease_text.ts'
import { failure, requireLease, withStore } from './with_store.ts'

interface RenewOptions {
  readonly config: string
  readonly ttl: string
  readonly json?: boolean
}

/** Adds `lease renew`. */
export function addRenewCommand(lease: Command): void {
  lease
    .command('renew')
    .description('sign a further token of an active lease that `lease issue` signed')
    .argument('<id>', 'lse_…')
    .option('--ttl <duration>', 'life of the token, at most 5m and never beyond the lease', '5m')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(renew)
}

async function renew(id: string, options: RenewOptions): Promise<void> {
  const ttlSeconds = parseDuration(options.ttl)
  const config = loadStateConfig(options.config)
  const now = Math.floor(Date.now() / 1000)
  const { token, record } = await withStore(config, async (store) =>
    renewFrom(await requireLease(id, store), { ttlSeconds, now }, config, store),
  )
  if (options.json === true) return sayJson(snaked({ token, lease: record }))
  say(`${style.green('renewed')} ${style.bold(id)}`)
  sayFacts(grantFacts(record, now))
  say(`\n${token}`)
}

/** Signs first and hands out last: in between the store says whether the lease is still active. */
async function renewFrom(
  record: LeaseRecord,
  { ttlSeconds, now }: { readonly ttlSeconds: number; readonly now: number },
  config: Config,
  store: Store,
): Promise<Pick<IssuedLease, 'token' | 'record'>> {
  const issuedAt = issueTime(store, now)
  if (isRefusal(issuedAt)) throw failure(issuedAt)
  const { state } = leaseState(record, store.revocations, now)
  if (state !== 'active') throw new Error(`the lease is ${state}`)
  const issuer = config.issuers.find((each) => 'local' in each.jwks && each.issuer === record.issuer)
  const { id, decision, binding } = record
  if (issuer === undefined || decision !== undefined || binding !== undefined) {
    throw new Error(`${id} was not signed by \`lease issue\` here: its agent renews it at the broker`)
  }
  const ttl = Math.min(ttlSeconds, config.broker.ttlSeconds)
  const context = {
    ...issuer,
    audience: record.audience,
    key: await openLocalKey(config.broker.keyFile),
    now: Math.floor(issuedAt),
  }
  const issued = await issueLease({ ...termsOf(record), ttlSeconds: ttl }, context)
  if (isRefusal(issued)) throw failure(issued)
  const renewed = await store.leases.renew(id, { issuedAt: issued.claims.iat, expiresAt: issued.claims.exp })
  if (renewed === undefined) throw new Error('the lease is not active any more')
  return { token: issued.token, record: renewed }
}

/** The terms of a lease as they were granted; signing reads them as strictly as any gate does. */
function termsOf(record: LeaseRecord) {
  return {
    renews: record,
    user: record.user,
    agent: {
      id: record.agent,
      version: record.agentVersion,
      env: record.agentEnv,
      profile: record.profile,
      ...(record.profileVersion !== '' && { profileVersion: record.profileVersion }),
    },
    clientId: record.clientId,
    tenant: record.tenant,
    task: record.task,
    details: record.details as readonly LeaseDetail[],
    stage: record.stage as Stage,
    ancestors: record.ancestors,
    delegatedBy: record.delegatedBy,
  }
}
