// The part of compose.ts that makes the gate: parts in, the agents' listener out, not yet bound. Decides nothing.
import { repeatApprovals } from './approval/repeated.ts'
import { approvalsOf } from './approval/use.ts'
import type { Closers, Parts } from './compose_parts.ts'
import type { Config } from './config.ts'
import type { Gate } from './enforce/gate.ts'
import { LeftMemory } from './enforce/left.ts'
import type { Backend } from './enforce/operation.ts'
import { RecentCallCounter } from './enforce/recent.ts'
import { createRouter } from './enforce/route.ts'
import { WaitingRoom } from './enforce/waiting.ts'
import { createForwarder, type Forwarder } from './http/forward.ts'
import { InFlight } from './http/in_flight.ts'
import { createProxyListener } from './http/listen.ts'
import type { PerformParts } from './http/perform.ts'
import { newTraceparent } from './http/trace.ts'
import { createUpgrader } from './http/upgrade.ts'
import { newId } from './lease/ids.ts'
import { createProofVerifier } from './lease/proof.ts'
import { proofAlgorithms } from './lease/proof_text.ts'
import { createStatusLists } from './lease/status_list.ts'
import { createVerifier } from './lease/verify.ts'

/** What requests are performed with, whoever they come from. */
export interface GateSide extends PerformParts {
  readonly forwarder: Forwarder
}

/** The pipeline with its way to the backends. */
export function composeGateSide(parts: Parts, closers: Closers, recent = new RecentCallCounter()): GateSide {
  const { config, store, metrics, log } = parts
  const inFlight = new InFlight({
    revocations: store.revocations,
    maxStalenessMs: config.state.maxStalenessMs,
    clock: Date.now,
    clockOffset: store.clockOffset,
  })
  closers.push(() => inFlight.close())
  metrics.openStreams(() => inFlight.size)
  const forwarder = createForwarder(parts.backends, {
    onUpstream: (backend, event) => log.debug({ backend: backend.name, event }, 'backend connection'),
  })
  closers.push(() => forwarder.close())
  const waiting = new WaitingRoom()
  parts.actions.watch((id) => waiting.wake(id))
  return { gate: composeGate(parts, recent, waiting), forwarder, inFlight }
}

/** The agents' listener; the caller binds and closes it. */
export function composeProxy(
  { config }: Parts,
  closers: Closers,
  { gate, forwarder, inFlight }: GateSide,
): ReturnType<typeof createProxyListener> {
  const { limits, tls } = config
  const upgrader = createUpgrader()
  closers.push(() => upgrader.close())
  const parts = { forwarder, upgrader, inFlight, bodyIdleMs: limits.bodyIdleMs }
  const listener = createProxyListener(gate, parts, limits, tls.proxy)
  const close = (graceMs: number) => {
    // Who waits for a human is told to ask again, instead of being cut.
    gate.humans.waiting.close()
    return listener.close(graceMs)
  }
  return { ...listener, close }
}

/** The pipeline's view of the world. */
function composeGate(parts: Parts, recent: RecentCallCounter, waiting: WaitingRoom): Gate {
  const { config, store, keys, policy, proofs, observer, metrics, log } = parts
  const { publicOrigin, backends, issuers, limits } = config
  const left = new LeftMemory(Date.now)
  const repeats = repeatApprovals(store.records)
  const verifier = createVerifier({ issuers, keys, statusLists: createStatusLists({ keys }) })
  const { maxStalenessMs } = config.state
  const audiences = audiencesOf(config, parts.backends)
  return {
    publicOrigin,
    publicScheme: new URL(publicOrigin).protocol.slice(0, -1),
    issuers: issuers.map(({ issuer }) => issuer),
    backends,
    proofAlgorithms,
    certificateBound: config.tls.proxy?.clientCa !== undefined,
    rules: {
      authorities: new Set([authorityOf(publicOrigin), ...backends.flatMap(({ hosts }) => hosts)]),
      headerBytes: limits.headerBytes,
      headerFields: limits.headerFields,
      targetBytes: limits.targetBytes,
      encodedSlash: backends.some(({ operations }) => operations.some((each) => each.allowEncodedSlash)),
      via: config.via,
    },
    router: createRouter(parts.backends),
    audiences,
    everyAudience: [...new Set([...audiences.values()].flat())],
    verifier,
    proofs: createProofVerifier(proofs),
    evidence: {
      revocations: store.revocations,
      budgets: store.budgets,
      left,
      recent,
      maxStalenessMs,
      inspectedBodyBytes: limits.inspectedBodyBytes,
      deadlineMs: limits.gatherMs,
      clock: Date.now,
      clockOffset: store.clockOffset,
    },
    policy: () => policy.current,
    humans: {
      actions: parts.actions,
      findRepeat: repeats.find,
      notices: parts.notices,
      newActionId: (nowMs) => newId('act_', nowMs),
      waiting,
      maxBodyBytes: config.approvals.maxBodyBytes,
      maxWaitSeconds: config.approvals.maxWaitSeconds,
      maxPending: config.approvals.maxPending,
    },
    commits: {
      budgets: store.budgets,
      rates: config.rates,
      left,
      notGivenBack: (error) => {
        metrics.budgetNotGivenBack()
        log.warn({ err: error }, 'what a call had spent could not be given back')
      },
      approvals: approvalsOf(parts.actions, repeats.use),
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
function audiencesOf(
  config: Config,
  backends: readonly Backend[],
): ReadonlyMap<Backend | undefined, readonly string[]> {
  const gate = [config.publicOrigin, ...config.issuers.map(({ audience }) => audience)]
  const audiences = new Map<Backend | undefined, readonly string[]>([[undefined, gate]])
  for (const backend of backends) {
    const scheme = new URL(config.publicOrigin).protocol
    const own = backend.hosts.map((host) => `${scheme}//${host}`)
    if (backend.pathPrefix !== undefined) own.push(`${config.publicOrigin}${backend.pathPrefix}`)
    audiences.set(backend, [...gate, ...own])
  }
  return audiences
}
