// In: what policy was asked and what it said. Out: how another policy differs, and counts. That policy runs in
// a thread of its own (shadow_worker.ts): asking it never waits, never throws, and what is too much is dropped
// and counted. A thread that fails, hangs or takes too much memory is ended. Never decides.
import { Worker } from 'node:worker_threads'
import type { Consultation, PolicyAnswer } from '../ports.ts'
import { answerText } from './answer_text.ts'
import { policyDigest } from './evaluate.ts'
import type { Batch, FromWorker, WorkerSetup } from './shadow_worker.ts'

/** What a shadow policy is asked: what the live one was asked, with its answer. */
export interface Question extends Consultation {
  readonly decisionId: string
  /** Of the policy that gave the answer. */
  readonly policyDigest: string
}

/** One request that the shadow policy would have decided otherwise. */
export interface ShadowDifference {
  readonly question: Question
  /** Of the shadow policy. */
  readonly digest: string
  /** Without an approval; long reasons and long lists of them are cut. */
  readonly answer: PolicyAnswer
}

/** Questions by what became of them, since the start. `fault`: the shadow policy gave no usable answer. */
export interface ShadowCounts {
  readonly same: number
  readonly different: number
  readonly fault: number
  readonly dropped: number
}

export interface ShadowOptions {
  /** Must not throw. */
  readonly onDifference: (difference: ShadowDifference) => void
  /** The thread was ended, and why; nothing runs until the next `use`. Must not throw. */
  readonly onFailed: (reason: string) => void
  readonly limits?: Partial<ShadowLimits>
}

/** What a shadow policy may take. */
export interface ShadowLimits {
  /** Questions that wait for an answer at one time. */
  readonly questions: number
  /** Characters of their inputs together. */
  readonly waitingChars: number
  /** Characters of one input. */
  readonly inputChars: number
  /** Megabytes of the thread's JavaScript heap; WebAssembly has its own bound (evaluate.ts). */
  readonly heapMegabytes: number
  /** Of the watch: a thread silent for `silentTicks` while it is asked, or `startTicks` at its start, is ended. */
  readonly tickMs: number
  readonly silentTicks: number
  readonly startTicks: number
}

const defaults: ShadowLimits = {
  questions: 4096,
  waitingChars: 16 * 1024 * 1024,
  inputChars: 64 * 1024,
  heapMegabytes: 256,
  tickMs: 1000,
  silentTicks: 5,
  startTicks: 30,
}

const batchSize = 64
const batchMs = 10
const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const workerUrl = new URL(`./shadow_worker.${suffix}`, import.meta.url)

/** A thread with one policy, and the batches it has not answered, oldest first. */
interface Running {
  readonly worker: Worker
  readonly digest: string
  readonly watch: NodeJS.Timeout
  readonly unanswered: (readonly Question[])[]
  started: boolean
  silentTicks: number
}

/** Runs one policy in the shadow of another. */
export class ShadowPolicy {
  readonly #options: ShadowOptions
  readonly #limits: ShadowLimits
  readonly #counts = { same: 0, different: 0, fault: 0, dropped: 0 }
  readonly #ending = new Set<Promise<unknown>>()
  #running: Running | undefined
  #wanted = false
  #liveDigest: string | undefined
  #batch: Question[] = []
  #flushing = false
  #waiting = 0
  #waitingChars = 0

  constructor(options: ShadowOptions) {
    this.#options = options
    this.#limits = { ...defaults, ...options.limits }
  }

  /** Read at any time; the numbers only grow. */
  get counts(): ShadowCounts {
    return this.#counts
  }

  /** Digest of the policy that runs; undefined while none does. */
  get digest(): string | undefined {
    return this.#running?.digest
  }

  /**
   * Ends what runs, then runs `module`; undefined: nothing is to run. With `liveDigest` only answers of that
   * policy are compared, and questions that another one answered are dropped.
   */
  use(module: WorkerSetup | undefined, liveDigest?: string): void {
    this.#end()
    this.#wanted = module !== undefined
    this.#liveDigest = liveDigest
    if (module === undefined) return
    try {
      this.#running = this.#start(module)
    } catch (thrown) {
      // Under Node's permission model a thread needs --allow-worker.
      this.#options.onFailed(reasonOf(thrown))
    }
  }

  /** Takes a question, or drops it. Costs the caller no more than a place in a list; the answer comes later. */
  ask(question: Question): void {
    if (!this.#wanted) return
    const { length } = question.input
    const { questions, waitingChars, inputChars } = this.#limits
    const full = this.#waiting >= questions || this.#waitingChars + length > waitingChars
    const foreign = this.#liveDigest !== undefined && question.policyDigest !== this.#liveDigest
    if (this.#running === undefined || full || foreign || length > inputChars) {
      this.#counts.dropped++
      return
    }
    this.#waiting++
    this.#waitingChars += length
    if (this.#batch.push(question) >= batchSize) this.#flush()
    else if (!this.#flushing) {
      this.#flushing = true
      setTimeout(() => this.#flush(), batchMs).unref()
    }
  }

  /** Ends the thread. Nothing is asked any more. */
  async close(): Promise<void> {
    this.use(undefined)
    await Promise.all(this.#ending)
  }

  #start({ wasm, data }: WorkerSetup): Running {
    const setup: WorkerSetup = { wasm, data }
    const worker = new Worker(workerUrl, {
      workerData: setup,
      // Nothing of the gate's secrets or options reaches a policy that is tried out.
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: this.#limits.heapMegabytes },
    })
    worker.unref()
    const running: Running = {
      worker,
      digest: policyDigest(setup),
      watch: setInterval(() => this.#tick(running), this.#limits.tickMs).unref(),
      unanswered: [],
      started: false,
      silentTicks: 0,
    }
    worker.on('message', (message: FromWorker) => this.#heard(running, message))
    worker.on('error', (error) => this.#fail(running, reasonOf(error)))
    worker.once('exit', (code) => this.#fail(running, `the thread ended with code ${code}`))
    return running
  }

  #flush(): void {
    this.#flushing = false
    const batch = this.#batch
    if (this.#running === undefined || batch.length === 0) return
    this.#batch = []
    this.#running.unanswered.push(batch)
    const message: Batch = {
      inputs: batch.map(({ input }) => input),
      answers: batch.map(({ answer }) => answerText(answer)),
    }
    this.#running.worker.postMessage(message)
  }

  #heard(running: Running, message: FromWorker): void {
    if (running !== this.#running) return
    running.started = true
    running.silentTicks = 0
    if (message === 'ready') return
    const batch = running.unanswered.shift() ?? []
    this.#forget(batch)
    this.#counts.same += message.same
    this.#counts.fault += message.faults
    for (const { at, answer } of message.different) {
      if (answer.fault === undefined) this.#counts.different++
      this.#options.onDifference({ question: batch[at]!, digest: running.digest, answer })
    }
  }

  /** Counts ticks, not time: a gate that was itself stopped for a while has not waited. */
  #tick(running: Running): void {
    if (running.started && running.unanswered.length === 0) return
    const { tickMs, silentTicks, startTicks } = this.#limits
    const patience = running.started ? silentTicks : startTicks
    if (++running.silentTicks > patience) {
      this.#fail(running, `no answer for ${(patience * tickMs) / 1000} s`)
    }
  }

  #fail(running: Running, reason: string): void {
    if (running !== this.#running) return
    this.#end()
    this.#options.onFailed(reason)
  }

  #end(): void {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    clearInterval(running.watch)
    const lost = [...running.unanswered, this.#batch]
    this.#batch = []
    for (const batch of lost) {
      this.#counts.dropped += batch.length
      this.#forget(batch)
    }
    const ending = running.worker.terminate()
    this.#ending.add(ending)
    void ending.finally(() => this.#ending.delete(ending))
  }

  #forget(batch: readonly Question[]): void {
    this.#waiting -= batch.length
    for (const { input } of batch) this.#waitingChars -= input.length
  }
}

/** One short line about what a thread threw. */
function reasonOf(thrown: unknown): string {
  const message = thrown instanceof Error ? thrown.message : 'unknown failure'
  return message.split('\n', 1)[0]!.slice(0, 200)
}
