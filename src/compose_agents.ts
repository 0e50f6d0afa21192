// The part of compose.ts that serves agents: in this process, or in several workers that this one supervises.
// Parts in; one thing that listens, is ready, is measured and ends out. Decides nothing.
import { composeProxy, type GateSide } from './compose_gate.ts'
import type { Closers, Parts } from './compose_parts.ts'
import type { Listen } from './config.ts'
import { bind } from './http/bind.ts'
import type { Readiness } from './http/health.ts'
import { metricsContentType, renderMetrics } from './telemetry/merged_metrics.ts'
import { WorkerPool } from './workers/pool.ts'

/** The agents' listener, wherever it is. */
export interface AgentsSide {
  /** Resolves once it accepts, everywhere. */
  listen(): Promise<Listen>
  /** What the workers have to say for themselves; nothing where there are none. */
  readiness(): Promise<readonly Readiness[]>
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>
  /** Stops accepting, drains within `limits.drain`. */
  close(): Promise<void>
}

/** Nothing of it runs before `listen`. */
export function composeAgents(parts: Parts, closers: Closers, side: GateSide): AgentsSide {
  return parts.config.workers === 1 ? inThisProcess(parts, closers, side) : inWorkers(parts)
}

function inThisProcess(parts: Parts, closers: Closers, side: GateSide): AgentsSide {
  const { config, metrics, secured } = parts
  const proxy = composeProxy(parts, closers, side)
  secured.set('proxy', proxy.server)
  return {
    listen: () => bind(proxy.server, 'proxy', config.listen.proxy),
    readiness: async () => [],
    metrics: () => metrics.render(),
    close: () => proxy.close(config.limits.drainMs),
  }
}

function inWorkers({ config, log, metrics, policy, reloads }: Parts): AgentsSide {
  const pool = new WorkerPool({
    config,
    policy: () => policy.given(),
    onLost(worker, failure, delayMs) {
      metrics.workerRestarted()
      log.error({ worker, failure, again_in_ms: delayMs }, 'a worker ended and is replaced')
    },
    onHung: (worker) => log.error({ worker }, 'a worker does not answer and is ended'),
    onNoise: (worker) => log.error({ worker }, 'a worker said what is not understood'),
  })
  reloads.push(() => pool.reload())
  policy.watch(() => pool.give(policy.given()))
  metrics.workers(() => pool.states)
  return {
    listen: () => pool.listen(),
    readiness: () => pool.readiness(),
    async metrics() {
      const merged = await pool.metrics(await metrics.snapshot())
      return { contentType: metricsContentType, body: renderMetrics(merged) }
    },
    close: () => pool.close(config.limits.drainMs),
  }
}
