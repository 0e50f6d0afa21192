// What supervisor and workers tell each other over node:cluster's channel, with its `advanced` serialization: one
// union each way. What a worker says is checked before it is believed; what the supervisor says is not, because
// whoever can write to that channel is the supervisor.
import type { PackedConfig } from '../config/transfer.ts'
import type { CountedCalls } from '../enforce/recent.ts'
import type { Readiness } from '../http/health.ts'
import type { PolicyModule } from '../policy/evaluate.ts'
import type { PolicyEvent } from '../policy/live.ts'
import { isMetrics, type MetricSnapshot } from '../telemetry/merged_metrics.ts'

/** The policy that decides and the candidate beside it, as the supervisor made them. */
export interface GivenPolicy {
  /** Of `module`; a worker computes it again. */
  readonly digest: string
  readonly module: PolicyModule
  readonly candidate?: GivenCandidate
}

/** What became of the candidate last. */
export interface GivenCandidate {
  /** One more with each event. */
  readonly number: number
  readonly event: PolicyEvent
  readonly module: PolicyModule | undefined
}

export type ToWorker =
  | {
      /** First, and once. */
      readonly type: 'start'
      readonly config: PackedConfig
      readonly policy: GivenPolicy
      /** Calls of the last minute, of all workers. */
      readonly calls: readonly CountedCalls[]
    }
  | { readonly type: 'policy'; readonly policy: GivenPolicy }
  /** Answered with `state`. */
  | { readonly type: 'ask'; readonly number: number }
  | { readonly type: 'calls'; readonly calls: readonly CountedCalls[] }
  /** Open the audit file afresh, read certificates again. */
  | { readonly type: 'reload' }
  /** Finish what is under way, then exit. */
  | { readonly type: 'close' }

/** How a worker is. */
export interface WorkerState {
  readonly type: 'state'
  /** Of the `ask` it answers. */
  readonly number: number
  /** Of the policy that decides; undefined before there is one. */
  readonly digest: string | undefined
  readonly readiness: readonly Readiness[]
  readonly metrics: readonly MetricSnapshot[]
}

export type FromWorker =
  | { readonly type: 'listening'; readonly host: string; readonly port: number }
  /** It cannot start or go on, and exits. */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'calls'; readonly calls: readonly CountedCalls[] }
  | WorkerState

/** What a worker said; undefined when it is nothing that this version knows. */
export function readFromWorker(message: unknown): FromWorker | undefined {
  if (!isRecord(message)) return undefined
  const { type } = message
  const isRight = typeof type === 'string' && Object.hasOwn(shapes, type) && shapes[type]!(message)
  // Checked just now.
  return isRight ? (message as object as FromWorker) : undefined
}

type Fields = Readonly<Record<string, unknown>>

const shapes: Readonly<Record<string, (message: Fields) => boolean>> = {
  listening: ({ host, port }) => typeof host === 'string' && Number.isSafeInteger(port),
  failed: ({ message }) => typeof message === 'string',
  calls: ({ calls }) => Array.isArray(calls) && calls.every(isCounted),
  state: ({ number, digest, readiness, metrics }) =>
    Number.isSafeInteger(number) &&
    (digest === undefined || typeof digest === 'string') &&
    Array.isArray(readiness) &&
    readiness.every(isReadiness) &&
    isMetrics(metrics),
}

function isReadiness(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { name, ready, detail } = value
  return typeof name === 'string' && typeof ready === 'boolean' && typeof detail === 'string'
}

function isCounted(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length === 3 &&
    typeof value[0] === 'string' &&
    value.slice(1).every((item) => Number.isSafeInteger(item) && item >= 0)
  )
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}
