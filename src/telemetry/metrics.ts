// Every metric of the gate. In: what happened. Out: /metrics. Never: a label value from a request. Each comes from
// the configuration or from a table of the code; what is in neither is counted as "none".
import type { DecisionVerb } from '../approval/observer.ts'
import type { LifecycleVerb } from '../broker/lifecycle.ts'
import type { StepName } from '../enforce/gate.ts'
import type { Backend } from '../enforce/operation.ts'
import type { RevocationScope } from '../lease/lease.ts'
import type { ShadowCounts } from '../policy/shadow.ts'
import type { Effect, Revocations } from '../ports.ts'
import type { RefusalCode } from '../refusals.ts'
import { countDecisions, createCounters } from './counters.ts'
import { createGauges } from './gauges.ts'
import { DurationHistogram } from './histogram.ts'
import { type MetricSnapshot, metricsContentType, renderMetrics } from './merged_metrics.ts'
import { metricTable } from './metric_table.ts'
import { MetricRegistry } from './registry.ts'

/** What is counted about one finished request; undefined is what it did not get to. */
export interface DecisionLabels {
  readonly backend: string | undefined
  readonly verb: string | undefined
  readonly effect: Effect
  readonly code: RefusalCode | undefined
}

/** What became of an order about leases, or of an attempt to decide. */
export type OrderResult = 'done' | 'repeated' | RefusalCode

/** What became of a sign-in: done, refused to the person, or impossible for everybody. */
export type SignInResult = 'signed_in' | 'refused' | 'unavailable'

/** What became of an attempt to tell somebody. */
export type NoticeResult = 'sent' | 'failed' | 'given_up' | 'gone'

/** Where the gate counts. Durations are seconds. Nothing here throws or waits. */
export interface Metrics {
  /** Once per request, whatever became of it. */
  decision(labels: DecisionLabels): void
  /** From the first byte of the head being parsed to the end of the answer. */
  request(backend: string | undefined, seconds: number): void
  /** One step of the pipeline. */
  step(name: StepName, seconds: number): void
  /** From handing a request to the backend's connection to the end of its answer. */
  upstream(backend: string, seconds: number): void
  /** The following are read at each scrape. */
  openStreams(read: () => number): void
  revocationAge(readSeconds: () => number): void
  revocationEntries(read: () => number): void
  noticesWaiting(read: () => number): void
  clockOffset(readSeconds: () => number): void
  storeUp(read: () => boolean): void
  revocationMalformed(read: Revocations['malformed']): void
  auditFault(read: () => boolean): void
  approvalsPending(read: () => number): void
  policyConverged(read: () => boolean): void
  bundleAge(readSeconds: () => number): void
  /** Points by agent; agents come from the configuration. */
  blastRadius(read: () => ReadonlyMap<string, number>): void
  /** The digest of the policy that is live from now on. */
  policyInfo(digest: string): void
  policyReload(result: 'reloaded' | 'rejected'): void
  agentsReload(result: 'reloaded' | 'rejected'): void
  /** A request was denied because policy gave no usable answer. */
  policyFault(): void
  auditLost(records: number): void
  /** A call that no backend has seen stays spent. */
  budgetNotGivenBack(): void
  /** One request to the broker. `endpoint` and `grant` are words of the code, never of the request. */
  brokerRequest(endpoint: string, grant: string | undefined, code: RefusalCode | undefined): void
  /** One order about leases. Every label is a word of the code; `scope` of an order that could be read. */
  revocationRequest(verb: LifecycleVerb, scope: RevocationScope | undefined, result: OrderResult): void
  leaseIssued(): void
  /** One attempt to tell somebody about an action. */
  notice(result: NoticeResult): void
  /** One sign-in at the console, steps up too. */
  signIn(result: SignInResult): void
  /** One attempt of a person to decide. Every label is a word of the code. */
  approvalDecision(verb: DecisionVerb, result: OrderResult): void
  /** From asking a human to their answer, or to the end of their time, seconds. */
  approvalWait(outcome: 'approved' | 'refused' | 'expired', seconds: number): void
  /** A policy in shadow: both are read at each scrape. `running` is undefined while none is wanted. */
  shadow(
    source: string,
    read: { readonly counts: () => ShadowCounts; readonly running: () => boolean | undefined },
  ): void
  /** One decision that a policy in shadow would have made otherwise. */
  shadowDifference(source: string, live: Effect, shadow: Effect): void
  /** How many workers there are in each state; without it the gate is one process. Read at each scrape. */
  workers(read: () => Readonly<Record<string, number>>): void
  workerRestarted(): void
  /** Everything counted so far, for another process to add up. */
  snapshot(): Promise<MetricSnapshot[]>
  /** The exposition in the Prometheus text format. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>
}

/** Fine where policy and verification are (10 µs to 1 ms), coarse above. */
const stepBuckets = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1, 5]
const requestBuckets = [5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** People: from a glance to a week. */
const waitBuckets = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400, 604_800]

/** In the order of the pipeline. */
const steps: readonly StepName[] = [
  'receive',
  'route',
  'authenticate',
  'gather',
  'decide',
  'commit',
  'outbound',
  'forward',
]

/** Registers everything in a registry of its own. `backends` gives the values that labels may have. */
export function createMetrics(options: {
  readonly backends: readonly Backend[]
  readonly version: string
}): Metrics {
  const registry = new MetricRegistry()
  const names = [...options.backends.map(({ name }) => name), 'none']
  const known = new Set(names)
  const durations = createDurations(names)
  const histograms = () => Object.values(durations).map((histogram) => histogram.snapshot())
  return {
    ...createGauges(registry, options.version),
    ...createCounters(registry),
    decision: countDecisions(registry, options.backends),
    request: (backend, seconds) => {
      durations.request.observe(backend !== undefined && known.has(backend) ? backend : 'none', seconds)
    },
    step: (name, seconds) => durations.step.observe(name, seconds),
    approvalWait: (outcome, seconds) => durations.approvalWait.observe(outcome, seconds),
    upstream: (backend, seconds) => durations.upstream.observe(backend, seconds),
    snapshot: async () => [...(await registry.snapshot()), ...histograms()],
    render: async () => {
      const body = `${await registry.text()}\n${renderMetrics(histograms())}`
      return { contentType: metricsContentType, body }
    },
  }
}

function createDurations(backends: readonly string[]) {
  const { request, step, upstream, approvalWait } = metricTable
  return {
    request: new DurationHistogram({ ...request, values: backends, buckets: requestBuckets }),
    step: new DurationHistogram({ ...step, values: steps, buckets: stepBuckets }),
    upstream: new DurationHistogram({ ...upstream, values: backends, buckets: requestBuckets }),
    approvalWait: new DurationHistogram({
      ...approvalWait,
      values: ['approved', 'refused', 'expired'],
      buckets: waitBuckets,
    }),
  }
}
