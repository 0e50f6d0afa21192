// In: the form of a token request. Out: which grant it uses, with the parameters that only this grant has, or
// the refusal. Reads no token.
import { type Refusal, refuse } from '../refusals.ts'
import type { Form } from './parties.ts'

/** A token of the form and what it is said to be (RFC 8693 §3). */
export interface StatedToken {
  readonly token: string
  readonly type: string
}

/** One token request by its grant. `actor`: beside client authentication, or in its place. */
export type GrantRequest = { readonly actor: StatedToken | undefined } & (
  | { readonly kind: 'exchange'; readonly subject: StatedToken }
  | { readonly kind: 'jwt_bearer'; readonly assertion: string }
  | { readonly kind: 'deferred'; readonly code: string }
)

/** `grant_type` values that the token endpoint serves: RFC 8693 §2.1, RFC 7523 §2.1, deferred token response. */
export const grantTypes = {
  exchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
  jwtBearer: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
  deferred: 'urn:ietf:params:oauth:grant-type:deferred',
} as const

/** The one token type that is issued (RFC 8693 §3). */
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

/** Refuses with `invalid_request` a parameter that is missing, `unsupported_grant_type` another grant. */
export function readGrant(form: Form): GrantRequest | Refusal {
  const kind = form.get('grant_type')
  if (kind === undefined) return missing('grant_type')
  const token = form.get('actor_token')
  const type = form.get('actor_token_type')
  if ((token === undefined) !== (type === undefined)) {
    return refuse('invalid_request', { detail: 'actor_token and actor_token_type come together' })
  }
  const actor = token === undefined || type === undefined ? undefined : { token, type }
  switch (kind) {
    case grantTypes.exchange:
      return readExchange(form, actor)
    case grantTypes.jwtBearer: {
      const assertion = form.get('assertion')
      return assertion === undefined ? missing('assertion') : { kind: 'jwt_bearer', assertion, actor }
    }
    case grantTypes.deferred: {
      const code = form.get('deferral_code')
      return code === undefined ? missing('deferral_code') : { kind: 'deferred', code, actor }
    }
    default:
      return refuse('unsupported_grant_type')
  }
}

function readExchange(form: Form, actor: StatedToken | undefined): GrantRequest | Refusal {
  const token = form.get('subject_token')
  const type = form.get('subject_token_type')
  if (token === undefined) return missing('subject_token')
  if (type === undefined) return missing('subject_token_type')
  const wanted = form.get('requested_token_type') ?? accessTokenType
  if (wanted !== accessTokenType) {
    return refuse('invalid_request', { detail: `requested_token_type is ${accessTokenType}` })
  }
  return { kind: 'exchange', subject: { token, type }, actor }
}

function missing(name: string): Refusal {
  return refuse('invalid_request', { detail: `${name} is missing` })
}
