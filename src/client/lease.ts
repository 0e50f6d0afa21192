// One lease of an agent: a `fetch` that carries it. Proves possession, asks once for a wider lease where the gate says
// which would do, waits where a human has to approve, and gives up with a typed error. The token goes to the gate and
// the broker alone.
import { type Call, callOf, type LeaseInit } from './call.ts'
import { type AskGate, Draft, looking } from './draft.ts'
import { tellingWhyItEnds } from './ended_stream.ts'
import { ApprovalRequired, type LeaseDetail, type LeaseRefused } from './errors.ts'
import { gateRefusal } from './refusal.ts'
import { type LeaseParts, type LeaseTerms, LeaseTokens } from './tokens.ts'
import { type ApprovalOptions, defaultWaitSeconds, refusalIn, watch } from './waiting.ts'

type Fields = Readonly<Record<string, string>>

/** A call on its way: `tokens` is the lease that it goes under, another one once that has been widened. */
interface Sending {
  readonly request: Request
  readonly repeatable: boolean
  readonly fields: Fields
  tokens: LeaseTokens
}

/** Where a gate tells what became of what waits. */
const taskPath = /^\/access\/v1\/requests\/[\w-]+$/

/** A lease in use. */
export class AgentLease {
  readonly #terms: LeaseTerms
  readonly #parts: LeaseParts
  #tokens: LeaseTokens
  /** Narrower leases that something still waits under. */
  readonly #narrower: LeaseTokens[] = []
  /** The lease of each draft, by its place. */
  readonly #drafts = new Map<string, LeaseTokens>()

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
  draftOf(answer: Response): Draft | undefined {
    const place = this.#draftPlace(answer)
    if (place === undefined) return undefined
    return new Draft(place, this.#asking(this.#drafts.get(place) ?? this.#tokens))
  }

  /** Ends the lease: the task is done. Afterwards every call is refused, here and at the gate. */
  async complete(): Promise<void> {
    await Promise.all([this.#tokens, ...this.#narrower].map((tokens) => tokens.complete()))
  }

  async #answered({ request, repeatable, waits }: Call): Promise<Response> {
    const fields = waits === undefined ? {} : preferring(waits, request)
    const sending: Sending = { request, repeatable, fields, tokens: this.#tokens }
    try {
      const answer = await this.#send(sending)
      const draft = this.#draftPlace(answer)
      if (draft !== undefined) {
        sending.tokens.isWaitedUnder = true
        this.#drafts.set(draft, sending.tokens)
      }
      return answer
    } catch (error) {
      if (!(error instanceof ApprovalRequired) || waits === undefined) throw error
      sending.tokens.isWaitedUnder = true
      const id = await this.#approval(error, waits, sending)
      return await this.#send({ ...sending, fields: { 'lease-approval': id } })
    }
  }

  /** The id of the approval, once there is one. */
  async #approval(required: ApprovalRequired, options: ApprovalOptions, sending: Sending): Promise<string> {
    const { task } = required
    const { signal } = sending.request
    const ask = this.#asking(sending.tokens)
    if (task === undefined || !this.#isTask(task.statusEndpoint)) throw required
    try {
      signal.throwIfAborted()
      options.onWaiting?.(task)
      const look = looking(ask, task.statusEndpoint, signal)
      const isDecided = ({ status }: { readonly status: string }) => status !== 'pending'
      const seen = await watch(task, { look, isDecided, options, signal })
      if (seen.status === 'approved') return seen.id
      throw refusalIn(seen, required) ?? required
    } catch (error) {
      // Nobody is there any more to use it.
      if (signal.aborted) ask(`${task.statusEndpoint}/cancel`, { method: 'POST' }).catch(() => {})
      throw error
    }
  }

  /** Asks the gate what becomes of what waits under this very lease. */
  #asking(tokens: LeaseTokens): AskGate {
    return async (url, init = {}) => {
      const request = new Request(url, { ...init, redirect: 'manual' })
      return this.#send({ request, repeatable: true, fields: {}, tokens })
    }
  }

  async #send(sending: Sending): Promise<Response> {
    const mended = new Set<string>()
    for (;;) {
      const answer = await this.#sendOnce(sending)
      const hasNonce = this.#parts.prover.learn(answer)
      const refusal = await gateRefusal(answer)
      if (refusal === undefined) return answer
      const mendable = sending.repeatable && !mended.has(refusal.code)
      if (!mendable || !(await this.#mend(refusal, hasNonce, sending))) throw refusal
      mended.add(refusal.code)
    }
  }

  async #sendOnce({ request: whole, repeatable, fields, tokens }: Sending): Promise<Response> {
    const request = repeatable ? whole.clone() : whole
    const { token } = await tokens.token()
    const headers = new Headers(request.headers)
    const credentials = await tokens.credentials(request.method, request.url, token)
    for (const [name, value] of Object.entries({ ...fields, ...credentials })) headers.set(name, value)
    headers.set('lease-task', taskField(this.#terms.task))
    return this.#parts.fetch(new Request(request, { headers }))
  }

  /** Whether another attempt can end otherwise: after a nonce, a fresh token or a wider lease. */
  async #mend({ code, missing }: LeaseRefused, hasNonce: boolean, sending: Sending): Promise<boolean> {
    if (code === 'proof_nonce_required') return hasNonce
    if (code === 'lease_expired') {
      sending.tokens.forget()
      return true
    }
    if (code !== 'outside_lease') return false
    await this.#widen(missing)
    // Another call may have widened it meanwhile.
    const helps = sending.tokens !== this.#tokens
    sending.tokens = this.#tokens
    return helps
  }

  async #widen(missing: readonly LeaseDetail[]): Promise<void> {
    const narrower = this.#tokens
    const wider = await narrower.wider(missing)
    if (wider === undefined) return
    this.#tokens = wider
    if (narrower.isWaitedUnder) this.#narrower.push(narrower)
    else await narrower.replaced()
  }

  /** Where the gate keeps the draft that an answer is about. */
  #draftPlace({ status, headers }: Response): string | undefined {
    const place = headers.get('location') ?? ''
    return status === 202 && this.#isTask(place) ? place : undefined
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
