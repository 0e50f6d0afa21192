// The only file that constructs things: configuration in; stores, keys, policy, pipeline and listeners out.
// Opens in dependency order and, if a later part fails, closes what was opened. Decides nothing.
import type { Server } from 'node:http'
import { type ComposedPolicy, composePolicy } from './compose_policy.ts'
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
import { jwksEndpoint } from './http/jwks.ts'
import { createProxyListener } from './http/listen.ts'
import { operator } from './http/operators.ts'
import { revocationEndpoints } from './http/revocations.ts'
import { newTraceparent } from './http/trace.ts'
import { createUpgrader } from './http/upgrade.ts'
import { newId } from './lease/ids.ts'
import { type Keys, openKeys } from './lease/keys.ts'
import { type LocalKey, openLocalKey } from './lease/local_key.ts'
import { createStatusLists } from './lease/status_list.ts'
import { createVerifier } from './lease/verify.ts'
import type { Store } from './ports.ts'
import { openSecretFile } from './secret_file.ts'
import { openEmbedded } from './stores/embedded.ts'
import { openRedis } from './stores/redis.ts'
import { type AuditFile, openAuditFile } from './telemetry/audit_file.ts'
import type { Logger } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import { createObserver, type GateObserver } from './telemetry/observer.ts'
import { inputRecorder } from './telemetry/policy_input.ts'
import { createShadow } from './telemetry/shadow.ts'
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
  readonly policy: ComposedPolicy
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
  const shadow = createShadow({ audit, metrics, log })
  closers.push(() => shadow.close())
  const observer = createObserver({
    audit,
    metrics,
    log,
    requests: config.log.requests,
    recordInput: inputRecorder(config.audit.policyInput),
    shadow,
  })
  const store = await openStore(config, (error) => log.warn({ err: error }, 'the state store has a fault'))
  closers.push(() => store.close())
  const policy = await composePolicy({ config, log, metrics, observer, shadow, store })
  closers.push(() => policy.close())
  const key = await openLocalKey(config.broker.keyFile)
  const keys = await openKeys(config.issuers, { local: key.publicJwk })
  closers.push(() => keys.close())
  const inFlight = new InFlight(store.revocations, Date.now)
  closers.push(() => inFlight.close())
  closers.push(store.revocations.watch((entry) => observer.revoked(entry)))
  return { config, log, metrics, audit, policy, store, key, keys, inFlight, observer }
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
  metrics.auditFault(() => parts.audit.fault() !== undefined)
  const proxy = createProxyListener(
    composeGate(parts),
    { forwarder, upgrader, inFlight, bodyIdleMs: config.limits.bodyIdleMs },
    config.limits,
  )
  const control = createControlListener({
    endpoints: [jwksEndpoint(() => [key.publicJwk]), ...revocationEndpoints(store, () => Date.now() / 1000)],
    operators: [operator('operator', operatorToken)],
    publicUrl: config.broker.issuer,
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

/** Everything that has to hold before traffic should be sent here. */
function readiness({ config, store, policy, audit, keys }: Parts): Readiness[] {
  const ageMs = Math.round(store.revocations.ageMs(Date.now()))
  const { maxStalenessMs } = config.state
  const fault = audit.fault()
  return [
    {
      name: 'revocations',
      ready: ageMs <= maxStalenessMs,
      detail: `view is ${ageMs} ms old, bound ${maxStalenessMs} ms, ${store.revocations.size()} entries`,
    },
    ...policy.readiness(),
    { name: 'audit', ready: fault === undefined, detail: fault ?? 'records are written' },
    // One issuer that is down must not take the others' traffic away: its own tokens get 503.
    ...keys.status().map((status, _, all) => ({
      name: `keys of ${status.issuer}`,
      ready: all.some((each) => each.keys > 0),
      detail: `${status.keys} usable`,
    })),
  ]
}
