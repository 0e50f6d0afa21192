// One lease of an agent: a `fetch` that carries it. Proves possession, asks once for a wider lease where the gate says
// which would do, waits where a human has to approve, and gives up with a typed error. The token goes to the gate and
// the broker alone.
import { type Call, callOf, type LeaseInit } from './call.ts'
import { Draft, looking } from './draft.ts'
import { tellingWhyItEnds } from './ended_stream.ts'
import { ApprovalRequired, type LeaseDetail, type LeaseRefused } from './errors.ts'
import { gateRefusal } from './refusal.ts'
import { type LeaseParts, type LeaseTerms, LeaseTokens } from './tokens.ts'
import { type ApprovalOptions, defaultWaitSeconds, refusalIn, watch } from './waiting.ts'

type Fields = Readonly<Record<string, string>>

/** Where a gate tells what became of what waits. */
const taskPath = /^\/access\/v1\/requests\/[\w-]+(?:\/cancel|\/response)?$/

/** A lease in use. */
export class AgentLease {
  readonly #terms: LeaseTerms
  readonly #parts: LeaseParts
  readonly #tokens: LeaseTokens

  constructor(terms: LeaseTerms, parts: LeaseParts) {
    this.#terms = terms
    this.#parts = parts
    this.#tokens = new LeaseTokens(terms, parts)
  }

  /** `lse_…` once there is one. */
  get id(): string | undefined {
    return this.#tokens.current?.leaseId
  }

  /** What has been granted; empty before the first call. */
  get granted(): readonly LeaseDetail[] {
    return this.#tokens.current?.details ?? []
  }

  /**
   * `fetch` under the lease. Resolves with the backend's answer, whatever its status, or with the 202 of a draft
   * (`draftOf`). Where a human has to approve, it waits and then sends the very same call once more. Throws
   * `LeaseRefused` when the gate or the broker says no: `ApprovalRefused` when a human does, `ApprovalRequired` when
   * nobody has decided in the time that was given; `LeaseUnavailable` when the broker cannot be reached, `TypeError`
   * for an address that the token may not go to. Reading a stream of events throws `LeaseRefused` too, where the gate
   * ends it because the lease ends. Aborting it while it waits takes the request for approval back.
   */
  readonly fetch = async (input: string | URL | Request, init: LeaseInit = {}): Promise<Response> => {
    const call = await callOf(input, init, this.#terms.approval)
    this.#mayGoTo(call.request.url)
    return tellingWhyItEnds(await this.#answered(call))
  }

  /** The draft that a 202 of the gate is about; undefined: the answer is the backend's, or no draft. */
  draftOf({ status, headers }: Response): Draft | undefined {
    const place = headers.get('location') ?? ''
    return status === 202 && this.#isTask(place) ? new Draft(place, this.#ask) : undefined
  }

  /** Ends the lease: the task is done. Afterwards every call is refused, here and at the gate. */
  complete(): Promise<void> {
    return this.#tokens.complete()
  }

  async #answered({ request, repeatable, waits }: Call): Promise<Response> {
    try {
      return await this.#send(request, repeatable, waits === undefined ? {} : preferring(waits, request))
    } catch (error) {
      if (!(error instanceof ApprovalRequired) || waits === undefined) throw error
      const id = await this.#approval(error, waits, request.signal)
      return await this.#send(request, repeatable, { 'lease-approval': id })
    }
  }

  /** The id of the approval, once there is one. */
  async #approval(
    required: ApprovalRequired,
    options: ApprovalOptions,
    signal: AbortSignal,
  ): Promise<string> {
    const { task } = required
    if (task === undefined || !this.#isTask(task.statusEndpoint)) throw required
    try {
      signal.throwIfAborted()
      options.onWaiting?.(task)
      const look = looking(this.#ask, task.statusEndpoint, signal)
      const isDecided = ({ status }: { readonly status: string }) => status !== 'pending'
      const seen = await watch(task, { look, isDecided, options, signal })
      if (seen.status === 'approved') return seen.id
      throw refusalIn(seen, required) ?? required
    } catch (error) {
      // Nobody is there any more to use it.
      if (signal.aborted) {
        this.#ask(`${task.statusEndpoint}/cancel`, { method: 'POST' }).catch(() => {})
      }
      throw error
    }
  }

  readonly #ask = async (url: string, init: RequestInit = {}): Promise<Response> => {
    if (!this.#isTask(url)) throw new TypeError('that is not where the gate of this lease tells what waits')
    return this.#send(new Request(url, { ...init, redirect: 'manual' }), true, {})
  }

  async #send(request: Request, repeatable: boolean, fields: Fields): Promise<Response> {
    const mended = new Set<string>()
    for (;;) {
      const answer = await this.#sendOnce(repeatable ? request.clone() : request, fields)
      const hasNonce = this.#parts.prover.learn(answer)
      const refusal = await gateRefusal(answer)
      if (refusal === undefined) return answer
      const helps = repeatable && !mended.has(refusal.code) && (await this.#mend(refusal, hasNonce))
      if (!helps) throw refusal
      mended.add(refusal.code)
    }
  }

  async #sendOnce(request: Request, fields: Fields): Promise<Response> {
    const { token } = await this.#tokens.token()
    const headers = new Headers(request.headers)
    const credentials = await this.#tokens.credentials(request.method, request.url, token)
    for (const [name, value] of Object.entries({ ...fields, ...credentials })) headers.set(name, value)
    headers.set('lease-task', taskField(this.#terms.task))
    return this.#parts.fetch(new Request(request, { headers }))
  }

  /** Whether another attempt can end otherwise: after a nonce, a fresh token or a wider lease. */
  async #mend({ code, missing }: LeaseRefused, hasNonce: boolean): Promise<boolean> {
    if (code === 'proof_nonce_required') return hasNonce
    if (code === 'lease_expired') {
      this.#tokens.forget()
      return true
    }
    return code === 'outside_lease' && this.#tokens.widen(missing)
  }

  /** Whether an address is the gate's own, below which it tells what waits under this lease. */
  #isTask(url: string): boolean {
    if (!URL.canParse(url)) return false
    const { origin, pathname, search } = new URL(url)
    return origin === new URL(this.#terms.resource).origin && taskPath.test(pathname) && search === ''
  }

  /** A token is shown to the gate that it was asked for, and to nobody else. */
  #mayGoTo(url: string): void {
    const { origin, pathname } = new URL(this.#terms.resource)
    const prefix = pathname === '/' ? '' : pathname
    const target = new URL(url)
    const below = prefix === '' || target.pathname === prefix || target.pathname.startsWith(`${prefix}/`)
    if (target.origin !== origin || !below) {
      throw new TypeError(
        `this lease is for ${this.#terms.resource}, not for ${target.origin}${target.pathname}`,
      )
    }
  }
}

/** A task as a field value: with its system and percent-encoded where it is not plain ASCII, as gates write it. */
function taskField(task: string): string {
  if (/^[\x21-\x7e]*$/.test(task)) return task
  return encodeURIComponent(task.includes(':') ? task : `task:${task}`)
}

/** What keeps the call open while somebody decides (RFC 7240 §4.3), beside what the caller prefers. */
function preferring({ waitSeconds = defaultWaitSeconds }: ApprovalOptions, { headers }: Request): Fields {
  const own = headers.get('prefer')
  if (waitSeconds <= 0) return {}
  return { prefer: own === null ? `wait=${waitSeconds}` : `${own}, wait=${waitSeconds}` }
}
