// THE table of "no". In: nothing. Out: every code a caller can receive, with its status and meaning.
// A refusal is a value, never a throw. Add a code here and nowhere else; test/catalogue.test.ts holds
// the table against docs/refusals.md and against the tests that produce each code.
import type { Quota } from './enforce/quota.ts'
import type { Consultation } from './ports.ts'

/** What the caller can usefully do: ask for a wider or fresh lease, try again later, or nothing. */
export type NextAction = 'request' | 'retry' | 'none'

/** One row of the table. `close` ends the connection after the answer: its framing cannot be trusted. */
export interface RefusalRow {
  readonly status: number
  readonly title: string
  readonly nextAction: NextAction
  /** OAuth error code for `WWW-Authenticate` and the body (RFC 6750 §3.1, RFC 9449 §7.1, RFC 6749 §5.2). */
  readonly error?: OAuthError
  readonly close?: true
  /** Seconds for `Retry-After`. */
  readonly retryAfter?: number
}

/** Error codes of the specifications; those of the broker's endpoints are codes of the table by themselves. */
export type OAuthError =
  | 'invalid_request'
  | 'invalid_token'
  | 'insufficient_scope'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'insufficient_user_authentication'

const table = {
  // receive: the message itself
  malformed_request: row(400, 'The request can be read in more than one way', 'none'),
  malformed_framing: row(400, 'The message framing is not valid HTTP/1.1', 'none', { close: true }),
  credential_ambiguous: row(400, 'The request carries more than one credential', 'none', {
    error: 'invalid_request',
  }),
  credential_in_query: row(400, 'A token in the query is never accepted', 'none', {
    error: 'invalid_request',
  }),
  coding_unsupported: row(501, 'Only the chunked transfer coding is understood', 'none', { close: true }),
  unknown_authority: row(421, 'This gate does not answer for that authority', 'none'),
  method_not_allowed: row(405, 'This method is not served', 'none'),
  expectation_failed: row(417, 'Only the 100-continue expectation is understood', 'none'),
  headers_too_large: row(431, 'The header section is too large', 'none', { close: true }),
  target_too_long: row(414, 'The request target is too long', 'none', { close: true }),
  body_too_large: row(413, 'The body is larger than this operation accepts', 'none', { close: true }),
  request_timeout: row(408, 'The request arrived too slowly', 'retry', { close: true }),
  loop_detected: row(508, 'The request has already passed this gate', 'none'),
  // route
  operation_unmapped: row(404, 'No mapped operation matches', 'none'),
  method_unmapped: row(405, 'The path is mapped, this method is not', 'none'),
  // authenticate
  lease_missing: row(401, 'A lease token is required', 'request'),
  lease_invalid: row(401, 'The lease token is not valid here', 'request', { error: 'invalid_token' }),
  lease_expired: row(401, 'The lease token has expired', 'request', { error: 'invalid_token' }),
  proof_invalid: row(401, 'The proof of possession is not valid for this request', 'request', {
    error: 'invalid_dpop_proof',
  }),
  proof_nonce_required: row(401, 'The proof of possession needs a nonce of this server', 'retry', {
    error: 'use_dpop_nonce',
  }),
  // gather
  evidence_unavailable: row(503, 'What the decision needs cannot be read now', 'retry', { retryAfter: 2 }),
  // decide
  lease_revoked: row(401, 'The lease is no longer active', 'request', { error: 'invalid_token' }),
  binding_required: row(401, 'This needs a lease token that is bound to a key', 'request', {
    error: 'invalid_token',
  }),
  lease_mismatch: row(403, 'The lease is for another task', 'request', { error: 'insufficient_scope' }),
  outside_lease: row(403, 'The lease does not cover this', 'request', { error: 'insufficient_scope' }),
  policy_denied: row(403, 'Policy refuses this', 'none'),
  approval_required: row(403, 'A human has to approve this', 'request'),
  approval_refused: row(403, 'A human has refused this', 'none'),
  approval_expired: row(403, 'Nobody approved this in time', 'request'),
  approval_withdrawn: row(403, 'The request for approval was taken back', 'request'),
  out_of_scope: row(403, 'The approval is for another action', 'request'),
  too_many_waiting: row(429, 'Too many calls of this lease wait for a human', 'retry', { retryAfter: 30 }),
  // commit
  budget_exhausted: row(429, 'The lease has not enough left for this', 'request'),
  rate_limited: row(429, 'This is called for too often', 'retry', { retryAfter: 1 }),
  approval_used: row(403, 'The approval has been used', 'request'),
  audit_unavailable: row(503, 'The audit record cannot be written', 'retry', { retryAfter: 2 }),
  // forward
  overloaded: row(503, 'Too many requests are under way to this backend', 'retry', { retryAfter: 1 }),
  backend_unreachable: row(502, 'The backend cannot be reached', 'retry'),
  backend_timeout: row(504, 'The backend did not answer in time', 'retry'),
  backend_unauthorized: row(502, 'The backend refused the credential of the gate', 'none'),
  backend_malformed: row(502, 'The backend gave an answer that cannot be passed on', 'none'),
  // the broker: OAuth error codes as they stand in RFC 6749 §5.2, 8693 §2.2.2, 9396 §5, 9449 §8, 8628 §3.5, 7009 §2.2.1
  invalid_request: row(400, 'The request is not one that can be answered', 'none'),
  invalid_client: row(401, 'The agent has not proven who it is', 'none'),
  invalid_grant: row(400, 'The grant is not valid here', 'request'),
  unauthorized_client: row(400, 'This agent may not ask for that', 'none'),
  unsupported_grant_type: row(400, 'This kind of grant is not served', 'none'),
  unsupported_token_type: row(400, 'Tokens of this kind are not served', 'none'),
  invalid_scope: row(400, 'The scope is not one that can be granted', 'request'),
  invalid_target: row(400, 'The resource is not one that leases are issued for', 'request'),
  invalid_authorization_details: row(400, 'These details cannot be granted', 'request'),
  invalid_dpop_proof: row(400, 'The proof of possession is not valid for this request', 'request'),
  use_dpop_nonce: row(400, 'The proof of possession needs a nonce of this server', 'retry'),
  authorization_pending: row(400, 'A human has not decided yet', 'retry'),
  slow_down: row(400, 'This was asked for too soon', 'retry'),
  access_denied: row(400, 'The lease was refused', 'none'),
  expired_token: row(400, 'Nobody decided in time', 'request'),
  // events of an identity provider: codes of RFC 8935 §2.4, beside invalid_request
  invalid_key: row(400, 'The security event token is not signed by its issuer', 'none'),
  invalid_issuer: row(400, 'Security events of this issuer are not taken', 'none'),
  invalid_audience: row(400, 'The security event token is meant for another audience', 'none'),
  // actions that wait for a human: agents at the gate, people and programs at the control listener
  action_unknown: row(404, 'There is no such action', 'none'),
  action_state_conflict: row(409, 'The action is past that', 'none'),
  action_expired: row(410, 'The time to decide this is over', 'none'),
  approver_not_allowed: row(403, 'This is not for you to decide', 'none'),
  confirmation_required: row(403, 'This needs a passkey', 'retry'),
  // the console
  sign_in_required: row(401, 'Sign in first', 'request'),
  reauthentication_required: row(401, 'This needs a fresh sign-in', 'request', {
    error: 'insufficient_user_authentication',
  }),
  cross_site: row(403, 'This has to come from the console itself', 'none'),
  // the control listener
  lease_unknown: row(404, 'There is no such lease', 'none'),
  lease_state_conflict: row(409, 'The lease is past that', 'none'),
  operator_required: row(401, 'An operator token is required', 'none', { error: 'invalid_token' }),
  operator_not_allowed: row(403, 'This operator may not do that', 'none'),
  decision_unknown: row(404, 'There is no record of such a decision', 'none'),
  // a bug: no detail ever
  internal_error: row(500, 'Internal error', 'none', { close: true }),
} as const satisfies Record<string, RefusalRow>

function row(
  status: number,
  title: string,
  nextAction: NextAction,
  more: Pick<RefusalRow, 'error' | 'close' | 'retryAfter'> = {},
): RefusalRow {
  return { status, title, nextAction, ...more }
}

/** Every code of the table; a `switch` over it is checked for completeness. */
export type RefusalCode = keyof typeof table

export const refusals: Readonly<Record<RefusalCode, RefusalRow>> = table

/** One alternative of a lease, as RFC 9396 `authorization_details` writes it. */
export interface MissingDetail {
  readonly type: 'lease'
  readonly actions: readonly string[]
  readonly identifier: string
  readonly sensitivity: string
  /** Where it is a constraint that the lease would have to be without. */
  readonly constraints?: { readonly max_risk: string }
}

/** What a refusal may add to its code; every member is safe to show to the caller except `cause`. */
export interface RefusalFacts {
  /** One sentence for the caller: what was wrong with this request, never with another caller's. */
  readonly detail?: string
  /** Short machine-readable words, policy reasons among them. */
  readonly reasons?: readonly string[]
  /** The lease that would have been enough. */
  readonly missing?: readonly MissingDetail[]
  /** Methods for `Allow` (405). */
  readonly allow?: readonly string[]
  /** For `DPoP-Nonce` (RFC 9449 §8.2). */
  readonly nonce?: string
  /** Overrides the row's `Retry-After`, in seconds. */
  readonly retryAfter?: number
  /** For `RateLimit` and `RateLimit-Policy`. */
  readonly quota?: Quota
  /** Further members of the body, for codes whose specification has some. */
  readonly answer?: Readonly<Record<string, unknown>>
  /** For the audit record only: which check said no, and the error behind it. */
  readonly cause?: string
  /** Where policy was asked. For the audit record and the shadow only: never part of an answer. */
  readonly consultation?: Consultation
  /** Close the connection even though the row does not ask for it. */
  readonly close?: true
}

/** An expected "no": a code of the table and its facts. Returned, never thrown. */
export class Refusal {
  readonly code: RefusalCode
  readonly facts: RefusalFacts

  constructor(code: RefusalCode, facts: RefusalFacts = {}) {
    this.code = code
    this.facts = facts
  }

  get row(): RefusalRow {
    return refusals[this.code]
  }
}

/** Makes a refusal. `refuse('outside_lease', { detail: … })` reads better at the call site than `new`. */
export function refuse(code: RefusalCode, facts?: RefusalFacts): Refusal {
  return new Refusal(code, facts)
}

/** True for a refusal; narrows a step's result to the refusal or to the stage. */
export function isRefusal(value: unknown): value is Refusal {
  return value instanceof Refusal
}
