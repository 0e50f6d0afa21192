// One lease of an agent: a `fetch` that carries it. Obtains it when it is first needed, renews it before it ends,
// proves possession, asks once for a wider one where the gate says which would do, and gives up with a typed
// error. The token goes to the gate and the broker alone.
import { union } from './allow.ts'
import { nowSeconds } from './encoding.ts'
import { tellingWhyItEnds } from './ended_stream.ts'
import { type LeaseDetail, LeaseRefused, LeaseUnavailable } from './errors.ts'
import type { Prover } from './proof.ts'
import { gateRefusal } from './refusal.ts'
import type { Deferred, LeaseToken, TokenEndpoint } from './token_endpoint.ts'

/** What a lease is for. */
export interface LeaseTerms {
  readonly task: string
  readonly purpose: string
  readonly stage: 'observe' | 'draft' | 'execute'
  readonly details: readonly LeaseDetail[]
  /** The gate's origin, or the identifier of one backend: where the token may go. */
  readonly resource: string
  /** Ask for the wider lease that a refusal names, once for each set of details. */
  readonly widen: boolean
  /** How long to wait for a human, milliseconds; 0: not at all. */
  readonly approvalMs: number
}

export interface LeaseParts {
  readonly endpoint: TokenEndpoint
  readonly prover: Prover
  readonly broker: string
  /** The user's or the workflow's token, read anew for each new lease. */
  readonly subject: () => Promise<Readonly<Record<string, string>>>
  readonly fetch: typeof globalThis.fetch
}

const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
/** Renew when less than this is left, seconds: a slow request still arrives in time. */
const renewBefore = 30

/** A lease in use. */
export class AgentLease {
  readonly #terms: LeaseTerms
  readonly #parts: LeaseParts
  #details: readonly LeaseDetail[]
  #current: LeaseToken | undefined
  /** Concurrent calls share one request for a token. */
  #coming: Promise<LeaseToken> | undefined
  #completed = false

  constructor(terms: LeaseTerms, parts: LeaseParts) {
    this.#terms = terms
    this.#parts = parts
    this.#details = terms.details
  }

  /** `lse_…` once there is one. */
  get id(): string | undefined {
    return this.#current?.leaseId
  }

  /** What has been granted; empty before the first call. */
  get granted(): readonly LeaseDetail[] {
    return this.#current?.details ?? []
  }

  /**
   * `fetch` under the lease. Resolves with the backend's answer, whatever its status. Throws `LeaseRefused` (or
   * `ApprovalRequired`) when the gate or the broker says no, `LeaseUnavailable` when the broker cannot be
   * reached, `TypeError` for an address that the token may not go to. Reading a stream of events throws
   * `LeaseRefused` too, where the gate ends it because the lease ends.
   */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const request = new Request(input, { ...init, redirect: 'manual' })
    this.#mayGoTo(request.url)
    const repeatable = isRepeatable(input, init)
    const mended = new Set<string>()
    for (;;) {
      const answer = await this.#send(repeatable ? request.clone() : request)
      const hasNonce = this.#parts.prover.learn(answer)
      const refusal = await gateRefusal(answer)
      if (refusal === undefined) return tellingWhyItEnds(answer)
      const helps = repeatable && !mended.has(refusal.code) && (await this.#mend(refusal, hasNonce))
      if (!helps) throw refusal
      mended.add(refusal.code)
    }
  }

  /** Ends the lease: the task is done. Afterwards every call is refused, here and at the gate. */
  async complete(): Promise<void> {
    this.#completed = true
    const token = this.#current
    this.#current = undefined
    if (token !== undefined) await this.#end(token, 'the task is done')
  }

  async #end({ token, leaseId }: LeaseToken, reason: string): Promise<void> {
    const { fetch, prover, broker } = this.#parts
    const url = `${broker.replace(/\/$/, '')}/leases/${leaseId}/complete`
    const post = async () => {
      const headers = { ...(await this.#credentials('POST', url, token)), 'content-type': 'application/json' }
      return fetch(url, { method: 'POST', headers, body: JSON.stringify({ reason }), redirect: 'error' })
    }
    let answer = await post()
    if (prover.learn(answer) && answer.status === 401) answer = await post()
    if (!answer.ok)
      throw new LeaseUnavailable(`the broker did not complete the lease: it answered ${answer.status}`)
  }

  async #send(request: Request): Promise<Response> {
    const { token } = await this.#token()
    const headers = new Headers(request.headers)
    for (const [name, value] of Object.entries(await this.#credentials(request.method, request.url, token))) {
      headers.set(name, value)
    }
    headers.set('lease-task', taskField(this.#terms.task))
    return this.#parts.fetch(new Request(request, { headers }))
  }

  async #credentials(method: string, url: string, token: string): Promise<Record<string, string>> {
    return { authorization: `DPoP ${token}`, dpop: await this.#parts.prover.prove(method, url, token) }
  }

  /** Whether another attempt can end otherwise: after a nonce, a fresh token or a wider lease. */
  async #mend(refusal: LeaseRefused, hasNonce: boolean): Promise<boolean> {
    if (refusal.code === 'proof_nonce_required') return hasNonce
    if (refusal.code === 'lease_expired') {
      this.#current = undefined
      return true
    }
    if (refusal.code !== 'outside_lease' || !this.#terms.widen || refusal.missing.length === 0) return false
    const wider = union(this.#details, refusal.missing)
    if (wider.length === this.#details.length) return false
    // What could be done before is kept when the wider lease is refused.
    const narrower = this.#current
    this.#current = await this.#obtain(wider)
    this.#details = wider
    // Nothing is lost when this fails: the narrower lease runs out by itself.
    if (narrower !== undefined) await this.#end(narrower, 'a wider lease took its place').catch(() => {})
    return true
  }

  /** A token with some life left; asks for one where there is none. */
  #token(): Promise<LeaseToken> {
    if (this.#completed) throw new TypeError('this lease is completed: ask for another')
    const current = this.#current
    if (current !== undefined && current.expiresAt - nowSeconds() > renewBefore)
      return Promise.resolve(current)
    this.#coming ??= this.#next(current).finally(() => {
      this.#coming = undefined
    })
    return this.#coming
  }

  async #next(current: LeaseToken | undefined): Promise<LeaseToken> {
    const renewable = current !== undefined && current.expiresAt > nowSeconds()
    const token = renewable ? await this.#renew(current) : await this.#obtain(this.#details)
    this.#current = token
    return token
  }

  /** A lease that is at its end, not one that was ended, makes room for a new one. */
  async #renew(current: LeaseToken): Promise<LeaseToken> {
    const form = { grant_type: exchangeGrant, subject_token: current.token, subject_token_type: accessToken }
    const token = await this.#parts.endpoint.request({ ...form, resource: this.#terms.resource })
    if ('code' in token) throw new LeaseUnavailable('the broker deferred a renewal')
    return token.expiresAt - nowSeconds() > renewBefore ? token : this.#obtain(this.#details)
  }

  async #obtain(details: readonly LeaseDetail[]): Promise<LeaseToken> {
    const { task, purpose, stage, resource, approvalMs } = this.#terms
    const answer = await this.#parts.endpoint.request({
      grant_type: exchangeGrant,
      ...(await this.#parts.subject()),
      ...(details.length > 0 && { authorization_details: JSON.stringify(details) }),
      ...(approvalMs > 0 && { completion_mode: 'deferred' }),
      task,
      purpose,
      stage,
      resource,
    })
    return 'code' in answer ? this.#decided(answer) : answer
  }

  /** Waits for a human as long as it was told to, and no longer than the broker keeps the request. */
  async #decided(deferred: Deferred): Promise<LeaseToken> {
    const until = Math.min(Date.now() + this.#terms.approvalMs, deferred.expiresAt * 1000)
    let intervalMs = deferred.intervalSeconds * 1000
    while (Date.now() + intervalMs <= until) {
      await new Promise((resolve) => setTimeout(resolve, intervalMs))
      const answer = await this.#parts.endpoint.poll(deferred)
      if (typeof answer === 'object') return answer
      if (answer === 'slow_down') intervalMs += 5000
    }
    throw new LeaseRefused('nobody decided in the time that was given', {
      code: 'authorization_pending',
      status: 400,
      reasons: [],
      nextAction: 'retry',
      decisionId: undefined,
      missing: [],
      retryAfter: undefined,
    })
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

function isRepeatable(input: string | URL | Request, { body }: RequestInit): boolean {
  if (input instanceof Request) return false
  return (
    !(body instanceof ReadableStream) && (typeof body !== 'object' || !(Symbol.asyncIterator in (body ?? {})))
  )
}
