// The broker's token endpoint from the agent's side (RFC 8693, RFC 9449 §5). In: form parameters. Out: a token
// with what was granted, or the refusal. Repeats a request once when the server asks for a nonce, never else.
import type { ClientAuthentication } from './assertion.ts'
import { nowSeconds } from './encoding.ts'
import { type LeaseDetail, LeaseRefused, LeaseUnavailable } from './errors.ts'
import type { Prover } from './proof.ts'

/** A lease token and what it carries. Seconds since 1970. */
export interface LeaseToken {
  /** The secret. Kept out of every error and log. */
  readonly token: string
  readonly leaseId: string
  readonly details: readonly LeaseDetail[]
  readonly expiresAt: number
}

/** A request that a human has to decide on: `code` is the way back to it. */
export interface Deferred {
  readonly code: string
  readonly intervalSeconds: number
  readonly expiresAt: number
}

export interface TokenEndpoint {
  /** Sends one form. Throws `LeaseRefused` or `LeaseUnavailable`. */
  request(form: Readonly<Record<string, string>>): Promise<LeaseToken | Deferred>
  /** `authorization_pending` while nobody has decided; else as `request`. */
  poll(deferred: Deferred): Promise<LeaseToken | 'pending' | 'slow_down'>
}

export interface TokenEndpointOptions {
  /** The broker's issuer; its endpoint is `/token` below it. */
  readonly broker: string
  readonly clientId: string
  readonly authenticate: ClientAuthentication
  readonly prover: Prover
  readonly fetch: typeof globalThis.fetch
}

const deferredGrant = 'urn:ietf:params:oauth:grant-type:deferred'

export function createTokenEndpoint(options: TokenEndpointOptions): TokenEndpoint {
  const { broker, clientId, authenticate, prover } = options
  const url = `${broker.replace(/\/$/, '')}/token`

  async function post(form: Readonly<Record<string, string>>): Promise<Response> {
    const body = new URLSearchParams({
      client_id: clientId,
      ...form,
      ...(await authenticate(clientId, broker)),
    })
    const headers = { dpop: await prover.prove('POST', url), accept: 'application/json' }
    try {
      return await options.fetch(url, { method: 'POST', headers, body, redirect: 'error' })
    } catch {
      // What the runtime says about a failed request may quote it.
      throw new LeaseUnavailable(`the broker at ${new URL(url).host} cannot be reached`)
    }
  }

  async function answered(form: Readonly<Record<string, string>>): Promise<[Response, Answer]> {
    let response = await post(form)
    let answer = await read(response)
    if (prover.learn(response) && answer.error === 'use_dpop_nonce') {
      response = await post(form)
      answer = await read(response)
      prover.learn(response)
    }
    return [response, answer]
  }

  return {
    async request(form) {
      const [response, answer] = await answered(form)
      if (response.ok) return tokenOf(answer)
      if (answer.error === 'authorization_pending') return deferredOf(answer)
      throw refusalOf(response, answer)
    },
    async poll({ code }) {
      const [response, answer] = await answered({ grant_type: deferredGrant, deferral_code: code })
      if (response.ok) return tokenOf(answer)
      if (answer.error === 'authorization_pending') return 'pending'
      if (answer.error === 'slow_down') return 'slow_down'
      throw refusalOf(response, answer)
    },
  }
}

type Answer = Readonly<Record<string, unknown>>

async function read(response: Response): Promise<Answer> {
  try {
    const value: unknown = await response.json()
    if (typeof value === 'object' && value !== null) return value as Answer
  } catch {
    // Told below.
  }
  throw new LeaseUnavailable(`the broker answered ${response.status} without JSON`)
}

function tokenOf(answer: Answer): LeaseToken {
  const { access_token: token, token_type: type, expires_in: seconds, lease_id: leaseId } = answer
  const { authorization_details: details } = answer
  const known = typeof token === 'string' && typeof seconds === 'number' && typeof leaseId === 'string'
  // A proof was sent, so a token that is not bound to its key is not the one that was asked for (RFC 9449 §5).
  if (!known || String(type).toLowerCase() !== 'dpop' || !Array.isArray(details)) {
    throw new LeaseUnavailable('the broker gave no lease token that is bound to the key of this client')
  }
  return { token, leaseId, details, expiresAt: nowSeconds() + seconds }
}

function deferredOf({ deferral_code: code, interval, expires_in: seconds }: Answer): Deferred {
  if (typeof code !== 'string' || typeof seconds !== 'number') {
    throw new LeaseUnavailable('the broker deferred the request without a way back to it')
  }
  const intervalSeconds = typeof interval === 'number' ? interval : 5
  return { code, intervalSeconds, expiresAt: nowSeconds() + seconds }
}

function refusalOf(response: Response, answer: Answer): LeaseRefused {
  const { error, error_description: detail } = answer
  if (typeof error !== 'string') {
    throw new LeaseUnavailable(
      `${new URL(response.url).host} answered ${response.status} without an OAuth error: is the broker there?`,
    )
  }
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new LeaseRefused(typeof detail === 'string' ? detail : 'the broker gave no lease', {
    code: error,
    status: response.status,
    reasons: [],
    nextAction: response.status === 503 ? 'retry' : 'none',
    decisionId: response.headers.get('decision-id') ?? undefined,
    missing: [],
    retryAfter: Number.isFinite(retryAfter) ? retryAfter : undefined,
  })
}
