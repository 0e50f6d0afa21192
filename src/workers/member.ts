// One worker as the supervisor sees it: a process, what it last said, and how many questions it left unanswered.
// In: messages. Out: messages, and the end of the process. Never starts another; that is pool.ts.
import type { Worker } from 'node:cluster'
import type { Readiness } from '../http/health.ts'
import { type FromWorker, readFromWorker, type ToWorker, type WorkerState } from './messages.ts'

/** What a worker is told of. */
export interface MemberEvents {
  readonly onListening: (at: { readonly host: string; readonly port: number }) => void
  readonly onCalls: (message: Extract<FromWorker, { type: 'calls' }>) => void
  /** It said something that is not understood. */
  readonly onNoise: () => void
  /** Once. `failure` is what it said it dies of, or how it ended. */
  readonly onExit: (failure: string) => void
}

/** One process. */
export class Member {
  readonly startedAt = performance.now()
  /** The agents' listener accepts. */
  listening = false
  /** The latest answer, whenever it came. */
  state: WorkerState | undefined
  /** The pool counts them; an answer ends the count. */
  silences = 0
  readonly #process: Worker
  readonly #waiting = new Map<number, (answered: boolean) => void>()
  #asked = 0
  #failure: string | undefined
  readonly ended: Promise<void>

  constructor(process: Worker, events: MemberEvents) {
    this.#process = process
    process.on('message', (message: unknown) => this.#hear(message, events))
    const { promise, resolve } = Promise.withResolvers<string>()
    // One that could not be started has no exit. Of one that runs this is the channel: a worker that cannot be told
    // anything is one that does not answer, too.
    process.on('error', (error: Error & { readonly code?: string }) => {
      if (this.pid === undefined) resolve(`could not be started: ${error.code ?? error.message}`)
    })
    process.once('exit', (code, signal) => {
      resolve(this.#failure ?? (signal === null ? `ended with ${code}` : `ended by ${signal}`))
    })
    this.ended = promise.then((failure) => {
      for (const settle of this.#waiting.values()) settle(false)
      events.onExit(failure)
    })
  }

  get pid(): number | undefined {
    return this.#process.process.pid
  }

  send(message: ToWorker): void {
    // What cannot be sent shows as silence.
    if (this.#process.isConnected()) this.#process.send(message, () => {})
  }

  /** Whether it answers within `boundMs`; then `state` is the answer. */
  ask(boundMs: number): Promise<boolean> {
    const number = ++this.#asked
    this.send({ type: 'ask', number })
    return new Promise((resolve) => {
      const settle = (answered: boolean) => {
        clearTimeout(timer)
        this.#waiting.delete(number)
        resolve(answered)
      }
      const timer = setTimeout(settle, boundMs, false)
      this.#waiting.set(number, settle)
    })
  }

  kill(): void {
    this.#process.process.kill('SIGKILL')
  }

  #hear(message: unknown, { onListening, onCalls, onNoise }: MemberEvents): void {
    const heard = readFromWorker(message)
    if (heard?.type === 'state') {
      this.state = heard
      this.silences = 0
      this.#waiting.get(heard.number)?.(true)
    } else if (heard?.type === 'listening') {
      this.listening = true
      onListening(heard)
    } else if (heard?.type === 'calls') onCalls(heard)
    else if (heard?.type === 'failed') this.#failure = heard.message
    else onNoise()
  }
}

/** What keeps a worker from being ready; undefined: nothing. `digest`: of the policy that all have to decide by. */
export function faultOf(member: Member | undefined, answered: boolean, digest: string): string | undefined {
  if (member === undefined) return 'it ended and is about to be replaced'
  const { state, listening } = member
  if (!listening) return 'it is starting'
  if (!answered || state === undefined) return `it does not answer`
  if (state.digest !== digest) return `it decides by another policy: ${state.digest}`
  const failing = state.readiness.filter(({ ready }: Readiness) => !ready)
  if (failing.length === 0) return undefined
  return failing.map(({ name, detail }) => `${name}: ${detail}`).join('; ')
}
