// The supervisor's side of several workers: in, the configuration and the policy; out, processes that all serve
// the agents' listener. One that dies or hangs is replaced, later and later while it keeps dying. Never decides,
// never serves agents itself, never gives up, never spins.
import cluster from 'node:cluster'
import { fileURLToPath } from 'node:url'
import { type PackedConfig, packConfig } from '../config/transfer.ts'
import type { Config, Listen } from '../config.ts'
import { type CountedCalls, RecentCallCounter } from '../enforce/recent.ts'
import type { Readiness } from '../http/health.ts'
import { countersOf, type MetricSnapshot, mergeMetrics } from '../telemetry/merged_metrics.ts'
import { workerVariable } from '../worker_number.ts'
import { faultOf, Member } from './member.ts'
import type { GivenPolicy, ToWorker } from './messages.ts'

/** What the pool tells of. */
export interface PoolEvents {
  /** A worker ended by itself; the next one starts in `delayMs`. */
  readonly onLost: (worker: number, failure: string, delayMs: number) => void
  /** A worker has not answered for so long that it is ended. */
  readonly onHung: (worker: number) => void
  /** A worker said what this version does not understand. */
  readonly onNoise: (worker: number) => void
}

export interface PoolOptions extends PoolEvents {
  readonly config: Config
  /** What a worker that starts is given. */
  readonly policy: () => GivenPolicy
}

/** Of all workers, for `leasegate_workers`. */
export type WorkerStates = Readonly<Record<'ready' | 'unready' | 'starting' | 'silent', number>>

/** How long a worker may take to answer before it counts as silent. */
const answerMs = 1_000
const askEveryMs = 1_000
/**
 * So many questions of the supervisor's own in a row without an answer, and a worker is ended; one that starts is
 * given longer. Counted, not timed: had it been this process that hung, it would have asked nothing meanwhile.
 */
const hungAfter = { serving: 10, starting: 60 }
const firstDelayMs = 100
const maxDelayMs = 5_000
/** A worker that lived so long did not die of how it was started. */
const settledMs = 10_000
/** Beyond `limits.drain`, for what is written at the end. */
const closingMs = 5_000

interface Place {
  member: Member | undefined
  /** Of the last start; grows while it keeps dying at once. */
  delayMs: number
}

/** All workers of one gate. One pool per process: node:cluster is set up once. */
export class WorkerPool {
  readonly #options: PoolOptions
  readonly #packed: PackedConfig
  readonly #places: readonly Place[]
  readonly #recent = new RecentCallCounter()
  readonly #timers: NodeJS.Timeout[] = []
  /** Counters of processes that have ended. */
  #past: MetricSnapshot[] = []
  #states: WorkerStates
  #started: ((outcome: Listen | Error) => void) | undefined
  #closing = false

  constructor(options: PoolOptions) {
    const { workers } = options.config
    this.#options = options
    this.#packed = packConfig(options.config)
    this.#places = Array.from({ length: workers }, () => ({ member: undefined, delayMs: 0 }))
    this.#states = { ready: 0, unready: 0, starting: workers, silent: 0 }
  }

  /** As of the last question to all. */
  get states(): WorkerStates {
    return this.#states
  }

  /** Resolves once every worker accepts connections; rejects with what the first one that cannot dies of. */
  async listen(): Promise<Listen> {
    // One queue of connections that all take from: it outlives each of them, what a dead one had not taken is
    // taken by the others, and a second gate on the same port is told so (bench/README.md has the numbers).
    cluster.schedulingPolicy = cluster.SCHED_NONE
    const suffix = import.meta.filename.endsWith('.ts') ? 'ts' : 'js'
    const exec = fileURLToPath(new URL(`../commands/worker.${suffix}`, import.meta.url))
    cluster.setupPrimary({ exec, args: [], serialization: 'advanced' })
    const outcome = await new Promise<Listen | Error>((resolve) => {
      this.#started = resolve
      for (const worker of this.#places.keys()) this.#start(worker)
      this.#timers.push(setInterval(() => void this.#watch(), askEveryMs))
    })
    this.#started = undefined
    if (outcome instanceof Error) throw outcome
    return outcome
  }

  /** To all, from now on the policy that decides. */
  give(policy: GivenPolicy): void {
    this.#tell({ type: 'policy', policy })
  }

  /** To all: go on in a new audit file, read certificates again. */
  reload(): void {
    this.#tell({ type: 'reload' })
  }

  /** A row per worker. A worker that does not answer in time is not ready. */
  async readiness(): Promise<Readiness[]> {
    const { digest } = this.#options.policy()
    const answered = await this.#ask()
    return this.#places.map(({ member }, index) => {
      const fault = faultOf(member, answered[index] === true, digest)
      const detail = `${member?.pid === undefined ? '' : `process ${member.pid}, `}${fault ?? digest}`
      return { name: `worker ${index + 1}`, ready: fault === undefined, detail }
    })
  }

  /**
   * Of all workers, added up with `own`. Of one that does not answer in time the counters are those of its last
   * answer, and nothing else is told; those of a worker that has ended stay.
   */
  async metrics(own: readonly MetricSnapshot[]): Promise<MetricSnapshot[]> {
    const answered = await this.#ask()
    const workers = this.#places.map(({ member }, index) => {
      const metrics = member?.state?.metrics ?? []
      return answered[index] === true ? metrics : countersOf(metrics)
    })
    return mergeMetrics([own, this.#past, ...workers])
  }

  /** Lets requests under way finish within `graceMs`, then ends every process. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    for (const timer of this.#timers.splice(0)) clearInterval(timer)
    this.#tell({ type: 'close' })
    const members = this.#places.flatMap(({ member }) => member ?? [])
    const overdue = setTimeout(() => {
      for (const member of members) member.kill()
    }, graceMs + closingMs)
    await Promise.all(members.map(({ ended }) => ended))
    clearTimeout(overdue)
  }

  #start(index: number): void {
    try {
      this.#fork(index)
    } catch (error) {
      // No memory for one more process, say.
      this.#startAgain(index, `could not be started: ${error instanceof Error ? error.message : error}`, 0)
    }
  }

  #fork(index: number): void {
    const worker = index + 1
    const process = cluster.fork({ [workerVariable]: String(worker) })
    const member = new Member(process, {
      onListening: (at) => this.#listening(at),
      onCalls: ({ calls }) => this.#share(worker, calls),
      onNoise: () => this.#options.onNoise(worker),
      onExit: (failure) => this.#lost(index, member, failure),
    })
    this.#places[index]!.member = member
    const policy = this.#options.policy()
    member.send({ type: 'start', config: this.#packed, policy, calls: this.#recent.known() })
  }

  #listening(at: Listen): void {
    if (this.#places.every(({ member }) => member?.listening)) this.#started?.(at)
  }

  #lost(index: number, member: Member, failure: string): void {
    this.#places[index]!.member = undefined
    this.#past = mergeMetrics([this.#past, countersOf(member.state?.metrics ?? [])])
    this.#startAgain(index, failure, performance.now() - member.startedAt)
  }

  #startAgain(index: number, failure: string, livedMs: number): void {
    if (this.#closing) return
    if (this.#started !== undefined) {
      this.#started(new Error(failure))
      return
    }
    const place = this.#places[index]!
    place.delayMs =
      livedMs > settledMs ? firstDelayMs : Math.min(maxDelayMs, Math.max(firstDelayMs, place.delayMs * 2))
    this.#options.onLost(index + 1, failure, place.delayMs)
    setTimeout(() => {
      if (!this.#closing) this.#start(index)
    }, place.delayMs).unref()
  }

  async #watch(): Promise<void> {
    const asked = this.#places.map(({ member }) => member)
    const answered = await this.#ask()
    for (const [index, member] of asked.entries()) {
      if (member === undefined || answered[index] === true) continue
      member.silences++
      if (member.silences !== (member.listening ? hungAfter.serving : hungAfter.starting)) continue
      this.#options.onHung(index + 1)
      member.kill()
    }
  }

  /** Asks every worker how it is; whether each answered in time. */
  async #ask(): Promise<boolean[]> {
    const members = this.#places.map(({ member }) => member)
    const answered = await Promise.all(members.map((member) => member?.ask(answerMs) ?? false))
    const { digest } = this.#options.policy()
    const states = { ready: 0, unready: 0, starting: 0, silent: 0 }
    for (const [index, member] of members.entries()) {
      if (member?.listening !== true) states.starting++
      else if (answered[index] === false) states.silent++
      else states[faultOf(member, true, digest) === undefined ? 'ready' : 'unready']++
    }
    this.#states = states
    return answered
  }

  #share(from: number, calls: readonly CountedCalls[]): void {
    this.#recent.absorb(calls)
    for (const [index, { member }] of this.#places.entries()) {
      if (index + 1 !== from) member?.send({ type: 'calls', calls })
    }
  }

  #tell(message: ToWorker): void {
    for (const { member } of this.#places) member?.send(message)
  }
}
