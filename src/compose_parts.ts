// The part of compose.ts that opens what gate and broker share: configuration in; audit, store, policy and keys
// out, and whether they are fit for traffic. Opens in dependency order. Decides nothing.
import type { Server } from 'node:http'
import { Actions } from './approval/actions.ts'
import type { Notices } from './approval/notices.ts'
import { createSealer } from './approval/seal.ts'
import type { BrokerObserver } from './broker/observer.ts'
import { composeGiven, type GivenPolicies } from './compose_given.ts'
import { type ComposedIdentity, composeIdentity } from './compose_identity.ts'
import { composeNotices } from './compose_notify.ts'
import { type ComposedPolicy, composePolicy } from './compose_policy.ts'
import { openStore } from './compose_store.ts'
import { failOverRisk } from './config/redis.ts'
import type { Config } from './config.ts'
import { clockIsClose, maxClockOffset, tellOffset } from './enforce/clock.ts'
import type { Backend } from './enforce/operation.ts'
import { openCanary } from './http/canary.ts'
import type { Readiness } from './http/health.ts'
import { type Keys, openKeys } from './lease/keys.ts'
import type { ProofOptions } from './lease/proof.ts'
import { openNonces } from './lease/shared_nonces.ts'
import { type KeyEvent, openSigningKeys, type SigningKeys } from './lease/signing_keys.ts'
import { isSuspension, type Store } from './ports.ts'
import { openSecretFile } from './secret_file.ts'
import { type AuditFile, openAuditFile } from './telemetry/audit_file.ts'
import { createBrokerObserver } from './telemetry/broker.ts'
import type { Logger } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import { createObserver, type GateObserver } from './telemetry/observer.ts'
import { inputRecorder } from './telemetry/policy_input.ts'
import { createShadow } from './telemetry/shadow.ts'
import { createUsageCounter } from './telemetry/usage.ts'
import { version } from './version.ts'
import { workerNumber } from './worker_number.ts'
import type { GivenPolicy } from './workers/messages.ts'

/** What this process is. */
export interface Roles {
  readonly gate: boolean
  readonly broker: boolean
}

/** Ways out of what has been opened, in the order of opening. */
export type Closers = (() => unknown)[]

/** What one of several workers has from its supervisor. */
export interface Supervised {
  readonly policy: GivenPolicy
}

export interface Parts {
  readonly config: Config
  readonly roles: Roles
  readonly log: Logger
  /** What the gate forwards to: the configured backends and its own canary. */
  readonly backends: readonly Backend[]
  readonly metrics: Metrics
  readonly audit: AuditFile
  readonly policy: ComposedPolicy
  /** Undefined in a worker's supervisor, and where the gate is one process. */
  readonly given: GivenPolicies | undefined
  readonly store: Store
  /** What waits for a human. */
  readonly actions: Actions
  /** Told whenever a draft has been released in this process. */
  readonly released: (() => void)[]
  /** Undefined in a gate without a broker. */
  readonly identity: ComposedIdentity | undefined
  /** Undefined where this process neither signs nor reads the local broker's keys from their file. */
  readonly signing: SigningKeys | undefined
  readonly keys: Keys
  /** How DPoP proofs are checked, at the gate and at the broker. */
  readonly proofs: ProofOptions
  readonly observer: GateObserver
  readonly brokerObserver: BrokerObserver
  /** Who is to be told about actions. */
  readonly notices: Notices
  /** The listeners whose certificates are read again at a reload. */
  readonly secured: Map<keyof Config['tls'], Server>
  /** What else a reload is for. */
  readonly reloads: (() => void)[]
}

/** Opens everything; what is to be closed is added to `closers` as it is opened. */
export async function openParts(
  config: Config,
  log: Logger,
  roles: Roles,
  closers: Closers,
  supervised?: Supervised,
): Promise<Parts> {
  const backends = [...config.backends, ...(await openOwnBackends(config, roles, closers))]
  const metrics = createMetrics({ backends, version })
  const audit = await openAuditFile(config.audit.file, {
    onError: (error) => log.error({ err: error }, 'the audit file cannot be written'),
    onLost: (count) => metrics.auditLost(count),
    shared: config.workers > 1,
  })
  closers.push(() => audit.close())
  const risk = config.state.store === 'redis' ? failOverRisk(config.state.redis) : undefined
  if (risk !== undefined && supervised === undefined) log.warn(risk)
  const store = await openStore(config, (error) => log.warn({ err: error }, 'the state store has a fault'))
  closers.push(() => store.close())
  const actions = new Actions(store.records, createSealer(await openSecretFile(config.approvals.keyFile)))
  const usage = createUsageCounter({
    leases: store.leases,
    onError: (error) => log.warn({ err: error }, 'the usage of leases is not up to date'),
  })
  closers.push(() => usage.close())
  // What happens to the gate, and not to a request, is recorded once: by the supervisor.
  const told = supervised === undefined ? {} : { told: 'elsewhere' as const }
  const shadow = createShadow({ audit, metrics, log, ...told })
  closers.push(() => shadow.close())
  const observer = createObserver({
    audit,
    metrics,
    log,
    requests: config.log.requests,
    recordInput: inputRecorder(config.audit.policyInput),
    shadow,
    usage,
  })
  const brokerObserver = createBrokerObserver({ audit, metrics, log })
  const given = supervised && (await composeGiven(supervised.policy, { log, metrics, shadow }))
  const policy = given ?? (await composePolicy({ config, log, metrics, observer, shadow, store }))
  closers.push(() => policy.close())
  const identity = roles.broker ? await composeIdentity({ config, log, metrics, audit, store }) : undefined
  if (identity !== undefined) closers.push(() => identity.close())
  const { signing, keys } = await openAllKeys(config, log, roles, closers)
  const nonces = await openNonces(store.secrets)
  closers.push(() => nonces.close())
  const proofs = { replay: store.replay, nonces, nonceRequired: config.proofs.nonce === 'required' }
  if (supervised === undefined) {
    closers.push(store.revocations.watch((entry) => isSuspension(entry) || observer.revoked(entry)))
  }
  metrics.revocationAge(() => store.revocations.ageMs(Date.now()) / 1000)
  metrics.revocationEntries(() => store.revocations.size())
  metrics.clockOffset(() => Math.abs(store.clockOffset()))
  metrics.storeUp(() => store.fault() === undefined)
  metrics.revocationMalformed(() => store.revocations.malformed())
  metrics.auditFault(() => audit.fault() !== undefined)
  return {
    config,
    roles,
    log,
    backends,
    metrics,
    audit,
    policy,
    given,
    store,
    actions,
    released: [],
    identity,
    signing,
    keys,
    proofs,
    observer,
    brokerObserver,
    notices: composeNotices(config),
    secured: new Map(),
    reloads: [],
  }
}

/** What a gate serves without being told to. */
async function openOwnBackends({ workers }: Config, roles: Roles, closers: Closers): Promise<Backend[]> {
  if (!roles.gate) return []
  const canary = await openCanary({ worker: workerNumber(), workers })
  closers.push(() => canary.close())
  return [canary.backend]
}

/** The keys that sign, and those that check: a broker alone checks nothing but its own tokens. */
async function openAllKeys(config: Config, log: Logger, roles: Roles, closers: Closers) {
  const { keyFile, rotateKeysMs } = config.broker
  const listed = roles.gate ? config.issuers : []
  const { profile } = config.broker
  const own = roles.broker && !listed.some(({ issuer }) => issuer === profile.issuer) ? [profile] : []
  const issuers = [...listed, ...own]
  let signing: SigningKeys | undefined
  if (roles.broker || issuers.some(({ jwks }) => 'local' in jwks)) {
    const onEvent = (event: KeyEvent) => tellKeys(event, log)
    signing = await openSigningKeys(keyFile, { onEvent, ...(roles.broker && { rotateMs: rotateKeysMs }) })
    closers.push(signing.close.bind(signing))
  }
  const local = signing?.public.bind(signing)
  const keys = await openKeys(issuers, local === undefined ? {} : { local })
  closers.push(() => keys.close())
  return { signing, keys }
}

function tellKeys(event: KeyEvent, log: Logger): void {
  if (event.type === 'fault') log.error({ fault: event.fault }, 'the signing keys stay those before')
  else log.info({ kid: event.signer, published: event.published }, 'the signing keys have changed')
}

/** Everything that has to hold before traffic should be sent here. */
export function readiness({ config, store, policy, audit, identity, keys, signing }: Parts): Readiness[] {
  const ageMs = Math.round(store.revocations.ageMs(Date.now()))
  const { maxStalenessMs } = config.state
  const fault = audit.fault()
  const trouble = store.fault()
  const away = trouble === undefined ? '' : `; ${trouble}`
  return [
    {
      name: 'revocations',
      ready: ageMs <= maxStalenessMs,
      detail: [
        `view is ${ageMs} ms old, bound ${maxStalenessMs} ms, ${store.revocations.size()} entries${away}`,
        ...store.revocations.faults(),
      ].join('; '),
    },
    clockReadiness(store.clockOffset()),
    ...policy.readiness(),
    ...(identity?.readiness() ?? []),
    { name: 'audit', ready: fault === undefined, detail: fault ?? 'records are written' },
    ...(signing === undefined ? [] : [{ name: 'signing keys', ready: true, detail: describeKeys(signing) }]),
    // One issuer that is down must not take the others' traffic away: its own tokens get 503.
    ...keys.status().map((status, _, all) => ({
      name: `keys of ${status.issuer}`,
      ready: all.some((each) => each.keys > 0),
      detail: `${status.keys} usable`,
    })),
  ]
}

function clockReadiness(offset: number): Readiness {
  const detail = `${tellOffset(offset)} the state store's, bound ${maxClockOffset} s`
  const ready = clockIsClose(offset)
  return { name: 'clock', ready, detail: ready ? detail : `synchronise the clock: it is ${detail}` }
}

function describeKeys(signing: SigningKeys): string {
  const published = signing.public()
  const { kid } = signing.signer()
  const next = published.slice(published.findIndex((key) => key.kid === kid) + 1)
  const ahead = next.length === 0 ? '' : `, ${next.map((key) => key.kid).join(' and ')} next`
  return `${kid} signs${ahead}, ${published.length} published`
}
