// The token of one lease. In: what the lease is for. Out: a token with some life left, obtained when it is first
// needed and renewed before it ends. The token goes to the gate and the broker alone.
import { union } from './allow.ts'
import { nowSeconds } from './encoding.ts'
import { type LeaseDetail, LeaseRefused, LeaseUnavailable } from './errors.ts'
import type { Prover } from './proof.ts'
import type { Deferred, LeaseToken, TokenEndpoint } from './token_endpoint.ts'
import type { ApprovalOptions } from './waiting.ts'

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
  /** How long to wait for a human before there is a lease, milliseconds; 0: not at all. */
  readonly approvalMs: number
  /** How a call that is held waits for a human; false: not at all. */
  readonly approval: ApprovalOptions | false
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

/** One lease, whatever token stands for it now. */
export class LeaseTokens {
  readonly #terms: LeaseTerms
  readonly #parts: LeaseParts
  /** What it is asked for with. */
  readonly #details: readonly LeaseDetail[]
  #current: LeaseToken | undefined
  /** Concurrent calls share one request for a token. */
  #coming: Promise<LeaseToken> | undefined
  #completed = false
  /** Something waits for a human under this very lease: what is approved for it is good under no other. */
  isWaitedUnder = false

  constructor(terms: LeaseTerms, parts: LeaseParts, details = terms.details) {
    this.#terms = terms
    this.#parts = parts
    this.#details = details
  }

  /** Undefined before the first call. */
  get current(): LeaseToken | undefined {
    return this.#current
  }

  /** A token with some life left; asks for one where there is none. */
  token(): Promise<LeaseToken> {
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

  /** The gate says that the token is over: the next call asks for another lease. */
  forget(): void {
    this.#current = undefined
  }

  /** A wider lease, obtained; undefined: there is nothing wider to ask for. This one stays as it is. */
  async wider(missing: readonly LeaseDetail[]): Promise<LeaseTokens | undefined> {
    if (!this.#terms.widen || missing.length === 0) return undefined
    const details = union(this.#details, missing)
    if (details.length === this.#details.length) return undefined
    const wider = new LeaseTokens(this.#terms, this.#parts, details)
    await wider.token()
    return wider
  }

  /** A wider lease has taken its place. */
  async replaced(): Promise<void> {
    const token = this.#current
    // Nothing is lost when this fails: the narrower lease runs out by itself.
    if (token !== undefined) await this.#end(token, 'a wider lease took its place').catch(() => {})
  }

  /** Ends the lease, here and at the broker. */
  async complete(): Promise<void> {
    this.#completed = true
    const token = this.#current
    this.#current = undefined
    if (token !== undefined) await this.#end(token, 'the task is done')
  }

  /** The fields that carry a token and prove possession of its key (RFC 9449 §7.1). */
  async credentials(method: string, url: string, token: string): Promise<Record<string, string>> {
    return { authorization: `DPoP ${token}`, dpop: await this.#parts.prover.prove(method, url, token) }
  }

  async #end({ token, leaseId }: LeaseToken, reason: string): Promise<void> {
    const { fetch, prover, broker } = this.#parts
    const url = `${broker.replace(/\/$/, '')}/leases/${leaseId}/complete`
    const post = async () => {
      const headers = { ...(await this.credentials('POST', url, token)), 'content-type': 'application/json' }
      return fetch(url, { method: 'POST', headers, body: JSON.stringify({ reason }), redirect: 'error' })
    }
    let answer = await post()
    if (prover.learn(answer) && answer.status === 401) answer = await post()
    if (!answer.ok)
      throw new LeaseUnavailable(`the broker did not complete the lease: it answered ${answer.status}`)
  }
}
