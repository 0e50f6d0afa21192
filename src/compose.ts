// The only file that starts things: configuration in; gate, broker or both out, listening. Its parts open in
// dependency order (compose_parts.ts) and, if a later one fails, what was opened is closed. Decides nothing.
import type { Server } from 'node:http'
import { type AgentsSide, composeAgents } from './compose_agents.ts'
import { composeControl } from './compose_control.ts'
import { composeGateSide, composeProxy, type GateSide } from './compose_gate.ts'
import {
  type Closers,
  openParts,
  type Parts,
  type Roles,
  readiness,
  type Supervised,
} from './compose_parts.ts'
import { composePresence } from './compose_presence.ts'
import { composeReleaser } from './compose_release.ts'
import type { Config, Listen } from './config.ts'
import { RecentCallCounter } from './enforce/recent.ts'
import { bind } from './http/bind.ts'
import { createHealthListener, type Readiness } from './http/health.ts'
import { renewCertificate } from './http/tls.ts'
import type { Logger } from './telemetry/log.ts'
import type { GivenPolicy, WorkerState } from './workers/messages.ts'

export { openStore } from './compose_store.ts'

/** A broker that serves. */
export interface Running {
  readonly control: Listen
  readonly metrics: Listen
  readonly policyDigest: () => string
  /** Goes on in a new audit file, reads certificates, policy and agents again; for SIGHUP. What fails is logged. */
  reload(): Promise<void>
  /** Stops accepting, drains within `limits.drain`, then closes everything. */
  close(): Promise<void>
}

/** A gate that serves, with a broker or without. */
export interface RunningGate extends Running {
  readonly proxy: Listen
}

/** One of several workers: it serves agents, and nobody else. */
export interface RunningWorker extends Pick<Running, 'reload' | 'close'> {
  readonly proxy: Listen
  /** What the other workers are to be told of, and tell of. */
  readonly recent: RecentCallCounter
  state(): Promise<Omit<WorkerState, 'type' | 'number'>>
  /** Decides by this policy from now on. Rejects when it cannot. */
  accept(policy: GivenPolicy): Promise<void>
}

/**
 * Starts a gate, with the broker unless told otherwise; with several workers, these serve the agents. Rejects, with
 * nothing left open, when a part cannot start.
 */
export function startGate(config: Config, log: Logger, { broker } = { broker: true }): Promise<RunningGate> {
  return start(config, log, { gate: true, broker }, async (parts, closers) => {
    const side = composeGateSide(parts, closers)
    const agents = composeAgents(parts, closers, side)
    composeReleaser(parts, closers, side)
    const bound = await listenApart(parts, closers, { agents, side })
    closers.push(() => agents.close())
    const proxy = await agents.listen()
    composePresence(parts, closers, () => everyReadiness(parts, agents))
    return { ...bound, proxy }
  })
}

/** Starts one of several workers. Rejects as `startGate` does. */
export function startWorker(config: Config, log: Logger, policy: GivenPolicy): Promise<RunningWorker> {
  const listen = async (parts: Parts, closers: Closers) => {
    const recent = new RecentCallCounter({ shared: true })
    const proxy = composeProxy(parts, closers, composeGateSide(parts, closers, recent))
    parts.secured.set('proxy', proxy.server)
    closers.push(() => proxy.close(config.limits.drainMs))
    return {
      proxy: await bind(proxy.server, 'proxy', config.listen.proxy),
      recent,
      accept: async (next: GivenPolicy) => parts.given?.accept(next),
      state: async () => ({
        digest: parts.policy.current.digest,
        readiness: readiness(parts),
        metrics: await parts.metrics.snapshot(),
      }),
    }
  }
  return start(config, log, { gate: true, broker: false }, listen, { policy })
}

/** Starts a broker without a gate. Rejects, with nothing left open, when a part cannot start. */
export function startBroker(config: Config, log: Logger): Promise<Running> {
  return start(config, log, { gate: false, broker: true }, async (parts, closers) => {
    const bound = await listenApart(parts, closers)
    composePresence(parts, closers, () => everyReadiness(parts))
    return bound
  })
}

async function start<Bound>(
  config: Config,
  log: Logger,
  roles: Roles,
  listen: (parts: Parts, closers: Closers) => Promise<Bound>,
  supervised?: Supervised,
): Promise<Bound & Pick<Running, 'policyDigest' | 'reload' | 'close'>> {
  const closers: Closers = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const parts = await openParts(config, log, roles, closers, supervised)
    const bound = await listen(parts, closers)
    const { policy, audit, identity } = parts
    const reload = async () => {
      await audit.reopen().catch((error) => log.error({ err: error }, 'the audit file stays the old one'))
      renewCertificates(parts)
      for (const reloadPart of parts.reloads) reloadPart()
      await Promise.all([policy.reloadNow(), identity?.reloadNow()])
    }
    return { ...bound, policyDigest: () => policy.current.digest, reload, close }
  } catch (error) {
    // What failed first is what has to be mended; a part that cannot close after it is only noise.
    await close().catch(() => {})
    throw error
  }
}

/** What cannot be used is logged, and the listener goes on with what it has. */
function renewCertificates({ secured, config: { tls }, log }: Parts): void {
  for (const [name, server] of secured) {
    try {
      renewCertificate(server, tls[name])
    } catch (error) {
      log.error({ err: error }, `the certificate of tls.${name} stays the old one`)
    }
  }
}

/** The listeners beside the agents'. */
async function listenApart(
  parts: Parts,
  closers: Closers,
  gate?: { readonly agents: AgentsSide; readonly side: GateSide },
) {
  const { listen } = parts.config
  const control = await composeControl(parts, closers, gate?.side)
  parts.secured.set('control', control)
  const health = createHealthListener({
    metrics: () => gate?.agents.metrics() ?? parts.metrics.render(),
    readiness: () => everyReadiness(parts, gate?.agents),
  })
  closers.push(() => Promise.all([closeServer(health), closeServer(control)]))
  return {
    metrics: await bind(health, 'metrics', listen.metrics),
    control: await bind(control, 'control', listen.control),
  }
}

/** Of this process and of its workers. */
async function everyReadiness(parts: Parts, agents?: AgentsSide): Promise<readonly Readiness[]> {
  return [...readiness(parts), ...((await agents?.readiness()) ?? [])]
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
