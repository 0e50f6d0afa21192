// The only file that constructs things: configuration in; stores, keys, policy, pipeline and listeners out.
// Opens in dependency order and, if a later part fails, closes what was opened. Decides nothing.
import type { Server } from 'node:http'
import type { Config, Listen } from './config.ts'
import type { Gate } from './enforce/gate.ts'
import type { Backend } from './enforce/operation.ts'
import { RecentCallCounter } from './enforce/recent.ts'
import { createRouter } from './enforce/route.ts'
import { bind } from './http/bind.ts'
import { createControlListener } from './http/control.ts'
import { createForwarder } from './http/forward.ts'
import { createHealthListener, type Readiness } from './http/health.ts'
import { InFlight } from './http/in_flight.ts'
import { createProxyListener } from './http/listen.ts'
import { newTraceparent } from './http/trace.ts'
import { createUpgrader } from './http/upgrade.ts'
import { newId } from './lease/ids.ts'
import { type Keys, openKeys } from './lease/keys.ts'
import { type LocalKey, openLocalKey } from './lease/local_key.ts'
import { createStatusLists } from './lease/status_list.ts'
import { createVerifier } from './lease/verify.ts'
import { activatedSource } from './policy/activated.ts'
import { type BundleSource, bundleSource } from './policy/bundle_source.ts'
import { formatDiagnostic } from './policy/diagnostic.ts'
import { type LivePolicy, openPolicy, type PolicyEvent } from './policy/live.ts'
import { describeFollowing, type Following, isConverged } from './policy/rollout.ts'
import { directorySource, type PolicySource } from './policy/source.ts'
import type { Store } from './ports.ts'
import { openSecretFile } from './secret_file.ts'
import { openEmbedded } from './stores/embedded.ts'
import { openRedis } from './stores/redis.ts'
import { type AuditFile, openAuditFile } from './telemetry/audit_file.ts'
import type { Logger } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import { createObserver, type GateObserver } from './telemetry/observer.ts'
import { inputRecorder } from './telemetry/policy_input.ts'
import { version } from './version.ts'

/** A gate that serves. */
export interface RunningGate {
  readonly proxy: Listen
  readonly control: Listen
  readonly metrics: Listen
  readonly policyDigest: () => string
  /** Goes on in a new audit file and reads the policy again; for SIGHUP. What fails is logged. */
  reload(): Promise<void>
  /** Stops accepting, drains within `limits.drain`, then closes everything. */
  close(): Promise<void>
}

/** The state store that the configuration names. */
export function openStore(config: Config, onError?: (error: Error) => void): Promise<Store> {
  const { state } = config
  return state.store === 'embedded'
    ? openEmbedded({ path: state.path, maxStalenessMs: state.maxStalenessMs })
    : openRedis({
        url: state.url,
        prefix: state.prefix,
        maxStalenessMs: state.maxStalenessMs,
        ...(onError === undefined ? {} : { onError }),
      })
}

/** Starts everything and listens. Rejects, with nothing left open, when a part cannot start. */
export async function startGate(config: Config, log: Logger): Promise<RunningGate> {
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const parts = await open(config, log, closers)
    const bound = await listen(parts, closers)
    const { policy, audit } = parts
    const reload = async () => {
      await audit.reopen().catch((error) => log.error({ err: error }, 'the audit file stays the old one'))
      await policy.reloadNow()
    }
    return { ...bound, policyDigest: () => policy.current.digest, reload, close }
  } catch (error) {
    // What failed first is what has to be mended; a part that cannot close after it is only noise.
    await close().catch(() => {})
    throw error
  }
}

interface Parts {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly audit: AuditFile
  readonly policy: LivePolicy
  readonly following: () => Following
  /** Undefined: policy does not come in bundles. */
  readonly bundle: BundleSource | undefined
  readonly store: Store
  readonly key: LocalKey
  readonly keys: Keys
  readonly inFlight: InFlight
  readonly observer: GateObserver
}

async function open(config: Config, log: Logger, closers: (() => unknown)[]): Promise<Parts> {
  const metrics = createMetrics({ backends: config.backends, version })
  const audit = await openAuditFile(config.audit.file, {
    onError: (error) => log.error({ err: error }, 'the audit file cannot be written'),
    onLost: (count) => metrics.auditLost(count),
  })
  closers.push(() => audit.close())
  const observer = createObserver({
    audit,
    metrics,
    log,
    requests: config.log.requests,
    recordInput: inputRecorder(config.audit.policyInput),
  })
  const store = await openStore(config, (error) => log.warn({ err: error }, 'the state store has a fault'))
  closers.push(() => store.close())
  const { source, following, bundle } = policySource(config, { store, log })
  const policy = await openPolicy({
    source,
    onEvent: (event) => policyChanged(event, { log, metrics, observer }),
  })
  closers.push(() => policy.close())
  metrics.policyInfo(policy.current.digest)
  metrics.policyConverged(() => isConverged(following(), policy.current.digest))
  const key = await openLocalKey(config.broker.keyFile)
  const keys = await openKeys(config.issuers, { local: key.publicJwk })
  closers.push(() => keys.close())
  const inFlight = new InFlight(store.revocations, Date.now)
  closers.push(() => inFlight.close())
  closers.push(store.revocations.watch((entry) => observer.revoked(entry)))
  return { config, log, metrics, audit, policy, following, bundle, store, key, keys, inFlight, observer }
}

interface PolicyPlace {
  readonly source: PolicySource
  /** What is known of activations: nothing, unless they are followed. */
  readonly following: () => Following
  readonly bundle?: BundleSource
}

/** Where policy comes from: bundles, activations or the directory. */
function policySource({ policy }: Config, { store, log }: Pick<Parts, 'store' | 'log'>): PolicyPlace {
  const { dir, bundle: settings } = policy
  const reload = policy.reload === 'on_change' ? 'on_change' : 'never'
  if (settings !== undefined) {
    const onFault = (fault: string): void =>
      log.warn({ fault }, 'the policy bundle was not renewed; the policy before decides on')
    const bundle = bundleSource({ ...settings, reload, onFault })
    return { source: bundle, following: () => ({}), bundle }
  }
  const directory = directorySource(dir, { reload })
  if (policy.reload !== 'on_activate') return { source: directory, following: () => ({}) }
  const source = activatedSource(store.policySets, directory)
  return { source, following: source.following }
}

function policyChanged(
  event: PolicyEvent,
  { log, metrics, observer }: Pick<Parts, 'log' | 'metrics' | 'observer'>,
): void {
  metrics.policyReload(event.type)
  if (event.type === 'reloaded') {
    const { digest, activation } = event
    metrics.policyInfo(digest)
    observer.policy({ digest, ...(activation === undefined ? {} : { activation }) })
    log.info({ policy_digest: digest, activated_by: activation?.by }, 'policy reloaded')
    for (const warning of event.warnings ?? [])
      log.warn({ warning: formatDiagnostic(warning) }, 'policy warning')
  } else {
    const rejected = event.diagnostics.map(formatDiagnostic)
    observer.policy({ rejected })
    log.error({ rejected }, 'policy rejected; the one before stays live')
  }
}

/** The pipeline's view of the world. */
function composeGate(parts: Parts): Gate {
  const { config, store, keys, policy, observer } = parts
  const { publicOrigin, backends, issuers, limits } = config
  const verifier = createVerifier({ issuers, keys, statusLists: createStatusLists({ keys }) })
  const recent = new RecentCallCounter()
  const { maxStalenessMs } = config.state
  return {
    publicOrigin,
    publicScheme: new URL(publicOrigin).protocol.slice(0, -1),
    issuers: issuers.map(({ issuer }) => issuer),
    backends,
    rules: {
      authorities: new Set([authorityOf(publicOrigin), ...backends.flatMap(({ hosts }) => hosts)]),
      headerBytes: limits.headerBytes,
      headerFields: limits.headerFields,
      targetBytes: limits.targetBytes,
      encodedSlash: backends.some(({ operations }) => operations.some((each) => each.allowEncodedSlash)),
      via: config.via,
    },
    router: createRouter(backends),
    audiences: audiencesOf(config),
    verifier,
    evidence: {
      revocations: store.revocations,
      approvals: store.approvals,
      recent,
      maxStalenessMs,
      inspectedBodyBytes: limits.inspectedBodyBytes,
      deadlineMs: limits.gatherMs,
      clock: Date.now,
    },
    policy: () => policy.current,
    commits: {
      budgets: store.budgets,
      approvals: store.approvals,
      revocations: store.revocations,
      intents: observer,
      recent,
      readsOnFault: config.audit.readsOnFault,
      deadlineMs: limits.gatherMs,
    },
    newDecisionId: (nowMs) => newId('dec_', nowMs),
    newTraceparent,
    observer,
  }
}

/** The authority of an origin as clients write it in Host. */
function authorityOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2).toLowerCase()
}

/** What `aud` may be: the gate's origin as each issuer calls it, or the one backend's identifier. */
function audiencesOf(config: Config): ReadonlyMap<Backend | undefined, readonly string[]> {
  const gate = [config.publicOrigin, ...config.issuers.map(({ audience }) => audience)]
  const audiences = new Map<Backend | undefined, readonly string[]>([[undefined, gate]])
  for (const backend of config.backends) {
    const scheme = new URL(config.publicOrigin).protocol
    const own = backend.hosts.map((host) => `${scheme}//${host}`)
    if (backend.pathPrefix !== undefined) own.push(`${config.publicOrigin}${backend.pathPrefix}`)
    audiences.set(backend, [...gate, ...own])
  }
  return audiences
}

async function listen(parts: Parts, closers: (() => unknown)[]) {
  const { config, store, key, metrics, inFlight } = parts
  const operatorToken = await openSecretFile(config.control.tokenFile)
  const forwarder = createForwarder(config.backends, {
    onUpstream: (backend, event) => parts.log.debug({ backend: backend.name, event }, 'backend connection'),
  })
  closers.push(() => forwarder.close())
  const upgrader = createUpgrader()
  closers.push(() => upgrader.close())
  metrics.revocationAge(() => store.revocations.ageMs(Date.now()) / 1000)
  metrics.revocationEntries(() => store.revocations.size())
  metrics.openStreams(() => inFlight.size)
  const { bundle } = parts
  if (bundle !== undefined) metrics.bundleAge(() => bundleAgeSeconds(bundle))
  metrics.auditFault(() => parts.audit.fault() !== undefined)
  const proxy = createProxyListener(
    composeGate(parts),
    { forwarder, upgrader, inFlight, bodyIdleMs: config.limits.bodyIdleMs },
    config.limits,
  )
  const control = createControlListener({
    store,
    operatorToken,
    jwks: () => ({ keys: [key.publicJwk] }),
    now: () => Date.now() / 1000,
    onBug: (error) => parts.log.error({ err: error }, 'a bug on the control listener; answered 500'),
  })
  const health = createHealthListener({ metrics: () => metrics.render(), readiness: () => readiness(parts) })
  const bound = {
    metrics: await bind(health, 'metrics', config.listen.metrics),
    control: await bind(control, 'control', config.listen.control),
    proxy: await bind(proxy.server, 'proxy', config.listen.proxy),
  }
  closers.push(() => Promise.all([closeServer(health), closeServer(control)]))
  closers.push(() => proxy.close(config.limits.drainMs))
  return bound
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

function bundleAgeSeconds(bundle: BundleSource): number {
  return (Date.now() - bundle.status().confirmedAtMs) / 1000
}

/** `; bundle 2026-11-22.3, confirmed 12 s ago`; empty where policy does not come in bundles. */
function bundleDetail(bundle: BundleSource | undefined): string {
  if (bundle === undefined) return ''
  const { revision, fault } = bundle.status()
  const seconds = Math.round(bundleAgeSeconds(bundle))
  const state =
    fault === undefined ? `confirmed ${seconds} s ago` : `not confirmed for ${seconds} s: ${fault}`
  return `; bundle ${revision === '' ? 'without a revision' : revision}, ${state}`
}

/** Everything that has to hold before traffic should be sent here. */
function readiness(parts: Parts): Readiness[] {
  const { config, store, audit, keys } = parts
  const ageMs = Math.round(store.revocations.ageMs(Date.now()))
  const { maxStalenessMs } = config.state
  const fault = audit.fault()
  return [
    {
      name: 'revocations',
      ready: ageMs <= maxStalenessMs,
      detail: `view is ${ageMs} ms old, bound ${maxStalenessMs} ms, ${store.revocations.size()} entries`,
    },
    { name: 'policy', ready: true, detail: policyDetail(parts) },
    { name: 'audit', ready: fault === undefined, detail: fault ?? 'records are written' },
    // One issuer that is down must not take the others' traffic away: its own tokens get 503.
    ...keys.status().map((status, _, all) => ({
      name: `keys of ${status.issuer}`,
      ready: all.some((each) => each.keys > 0),
      detail: `${status.keys} usable`,
    })),
  ]
}

/** A policy in place is ready whatever became of its successor: only the detail tells. */
function policyDetail({ config, policy, following, bundle }: Parts): string {
  const { digest, lastError } = policy.status()
  const follows = config.policy.reload === 'on_activate'
  const live = follows ? describeFollowing(following(), digest) : digest
  const stays = follows || lastError === undefined ? '' : ' stays live'
  const rejected = lastError === undefined ? '' : `; the newest was rejected: ${lastError}`
  return `${live}${stays}${rejected}${bundleDetail(bundle)}`
}
