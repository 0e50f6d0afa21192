// A write that the gate keeps as a draft, from its agent's side: look at it, replace it, take it back, and fetch what
// the backend answered once a human has released it. Never executes anything: the gate does.

import { type ApprovalTask, taskIn } from './task.ts'
import { type ApprovalOptions, defaultWaitSeconds, refusalIn, watch } from './waiting.ts'

/** Sends a request about what waits to the gate, with the token of the lease. Throws `LeaseRefused`. */
export type AskGate = (url: string, init?: RequestInit) => Promise<Response>

/** A look at a task that the gate may keep open for so many seconds (RFC 7240 §4.3). */
export function looking(ask: AskGate, url: string, signal?: AbortSignal) {
  return async (waitSeconds: number): Promise<ApprovalTask> => {
    const headers: Record<string, string> = waitSeconds > 0 ? { prefer: `wait=${waitSeconds}` } : {}
    return taskIn(await ask(url, { headers, ...(signal !== undefined && { signal }) }))
  }
}

/** One draft. */
export class Draft {
  /** `act_…`: what to name to a human. */
  readonly id: string
  readonly #url: string
  readonly #ask: AskGate

  constructor(url: string, ask: AskGate) {
    this.id = url.slice(url.lastIndexOf('/') + 1)
    this.#url = url
    this.#ask = ask
  }

  /** How it stands with it now. */
  status(): Promise<ApprovalTask> {
    return looking(this.#ask, this.#url)(0)
  }

  /**
   * Resolves once it has been executed, whatever the backend answered, or at the deadline as it stands then. Throws
   * `ApprovalRefused` with the human's reason, or `LeaseRefused` where it expired, was taken back or failed.
   */
  async wait(options: ApprovalOptions & { readonly signal?: AbortSignal } = {}): Promise<ApprovalTask> {
    const { signal, waitSeconds = defaultWaitSeconds } = options
    const look = looking(this.#ask, this.#url, signal)
    const task = await look(0)
    const isDecided = ({ status, outcome }: ApprovalTask) =>
      status !== 'pending' && (status !== 'approved' || outcome !== undefined)
    if (!isDecided(task)) options.onWaiting?.(task)
    const seen = await watch(task, { look, isDecided, options: { ...options, waitSeconds }, signal })
    const refusal = refusalIn(seen)
    if (refusal !== undefined) throw refusal
    return seen
  }

  /** Puts another body in its place, while nobody has released it. Every yes so far is void. */
  async replace(
    body: string | Uint8Array<ArrayBuffer>,
    contentType = 'application/json',
  ): Promise<ApprovalTask> {
    const headers = { 'content-type': contentType }
    return taskIn(await this.#ask(this.#url, { method: 'PUT', body, headers }))
  }

  /** Takes it back, while no gate has begun with it. Twice is as once. */
  async withdraw(): Promise<ApprovalTask> {
    return taskIn(await this.#ask(`${this.#url}/cancel`, { method: 'POST' }))
  }

  /** What the backend answered, as it came. Throws `LeaseRefused` where there is no answer, or it was too large to keep. */
  response(): Promise<Response> {
    return this.#ask(`${this.#url}/response`)
  }
}
