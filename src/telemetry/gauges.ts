// In: where to read how things are. Out: the metrics that are read at each scrape. Never: a label value from a request.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Revocations } from '../ports.ts'
import { type MetricRow, metricTable } from './metric_table.ts'
import type { Metrics } from './metrics.ts'
import type { MetricRegistry } from './registry.ts'

type GaugeSetters = Pick<
  Metrics,
  | 'openStreams'
  | 'revocationAge'
  | 'revocationEntries'
  | 'clockOffset'
  | 'noticesWaiting'
  | 'storeUp'
  | 'revocationMalformed'
  | 'auditFault'
  | 'approvalsPending'
  | 'policyConverged'
  | 'bundleAge'
  | 'blastRadius'
  | 'policyInfo'
  | 'workers'
  | 'shadow'
>

/** What is read at each scrape; 0, or nothing, until it is said where. */
export function createGauges(registry: MetricRegistry, version: string): GaugeSetters {
  const number = (row: MetricRow) =>
    registry.read(
      row,
      () => 0,
      (source, tell) => tell(source()),
    )
  const flag = (row: MetricRow) =>
    registry.read<() => boolean>(
      row,
      () => false,
      (source, tell) => tell(source() ? 1 : 0),
    )
  registry.gauge(metricTable.build)(1, { version, node: process.version })
  const policy = registry.gauge(metricTable.policyInfo)
  watchEventLoop(registry)
  return {
    openStreams: number(metricTable.openStreams),
    revocationAge: number(metricTable.revocationAge),
    revocationEntries: number(metricTable.revocationEntries),
    clockOffset: number(metricTable.clockOffset),
    noticesWaiting: number(metricTable.noticesWaiting),
    bundleAge: number(metricTable.bundleAge),
    approvalsPending: number(metricTable.approvalsPending),
    storeUp: flag(metricTable.storeUp),
    auditFault: flag(metricTable.auditFault),
    policyConverged: flag(metricTable.policyConverged),
    policyInfo: (digest) => policy(1, { digest }),
    revocationMalformed: malformedGauge(registry),
    blastRadius: blastRadiusGauge(registry),
    workers: workersGauge(registry),
    shadow: shadowGauges(registry),
  }
}

function malformedGauge(registry: MetricRegistry): Metrics['revocationMalformed'] {
  const none: Revocations['malformed'] = () => ({ takenAsRevoked: 0, unreadable: 0 })
  return registry.read(metricTable.revocationMalformed, none, (source, tell) => {
    const { takenAsRevoked, unreadable } = source()
    tell(takenAsRevoked, { fate: 'taken_as_revoked' })
    tell(unreadable, { fate: 'unreadable' })
  })
}

function blastRadiusGauge(registry: MetricRegistry): Metrics['blastRadius'] {
  const none = (): ReadonlyMap<string, number> => new Map()
  return registry.read(metricTable.blastRadius, none, (source, tell) => {
    for (const [agent, points] of source()) tell(points, { agent })
  })
}

function workersGauge(registry: MetricRegistry): Metrics['workers'] {
  const none = (): Readonly<Record<string, number>> => ({})
  return registry.read(metricTable.workers, none, (source, tell) => {
    for (const [state, count] of Object.entries(source())) tell(count, { state })
  })
}

function shadowGauges(registry: MetricRegistry): Metrics['shadow'] {
  const sources = new Map<string, Parameters<Metrics['shadow']>[1]>()
  registry.told(metricTable.shadowDecisions, (tell) => {
    for (const [source, { counts }] of sources) {
      for (const [result, count] of Object.entries(counts())) tell(count, { source, result })
    }
  })
  registry.told(metricTable.shadowRunning, (tell) => {
    for (const [source, { running }] of sources) {
      const runs = running()
      if (runs !== undefined) tell(runs ? 1 : 0, { source })
    }
  })
  return (source, read) => void sources.set(source, read)
}

/** How late timers run since the last scrape: above a few milliseconds, everything on this core waits. */
function watchEventLoop(registry: MetricRegistry): void {
  const resolutionMs = 10
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  registry.told(metricTable.eventLoopDelay, (tell) => {
    for (const quantile of [0.5, 0.99, 1]) {
      // Node reports the whole interval between two samples; the delay is what exceeds the resolution.
      const nanoseconds = delay.percentile(quantile * 100) - resolutionMs * 1e6
      tell(delay.count === 0 ? 0 : Math.max(0, nanoseconds / 1e9), { quantile })
    }
    delay.reset()
  })
}
