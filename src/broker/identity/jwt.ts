// In: the text of a JWT that somebody sent about an identity. Out: its claims, each with one reading, or a
// refusal with a precise cause. What every kind of JWT has in common; what one kind allows stands in
// subject.ts and client.ts. Never believes a claim: whoever calls proves the signature between the two.
import { maxTokenLength, readCompact, type UnprovenToken } from '../../lease/compact.ts'
import { isPlainText, own } from '../../lease/text.ts'
import { isRefusal, type Refusal, type RefusalCode, refuse } from '../../refusals.ts'

const details = {
  // the form
  typ_not_allowed: 'The token is of another kind: its typ is not one of those that are accepted here.',
  // who speaks
  issuer_unknown: 'The issuer of the token is not one that is configured for this.',
  use_not_accepted: 'Tokens of this kind are not accepted from this issuer.',
  alg_not_allowed: 'The signature algorithm is not accepted from this issuer.',
  key_unknown: 'The issuer has no such key for this algorithm.',
  keys_unavailable: 'The keys of the issuer cannot be read now.',
  signature_invalid: 'The signature does not fit the token.',
  // what is said
  audience_not_allowed: 'The token is meant for another audience, or for more than one.',
  time_malformed: 'A time claim is missing or not a finite number: iat, exp, nbf.',
  expired: 'The token has expired.',
  not_yet_valid: 'The token is not valid yet.',
  issued_in_the_future: 'The token has been issued in the future.',
  too_old: 'The token was issued too long ago.',
  lives_too_long: 'The token is valid for longer than is accepted here.',
  claim_malformed: 'A required claim is missing, or a claim is not of the form it has to be of.',
  claim_of_another_kind: 'The token carries a claim of another kind of token.',
  email_not_verified: 'The email address in the token is not a verified one.',
  binding_not_supported: 'The token is bound in a way that is not known here: cnf holds jkt or x5t#S256.',
  client_mismatch: 'The token was issued to another client.',
  replayed: 'The token has been used before.',
  limits_not_understood: 'The token limits what may be granted in a way that is not understood here.',
} as const

/** One word for what was wrong with a JWT; the `cause` in the audit record. */
export type JwtFault = keyof typeof details

/** The refusal for a fault, as `invalid_request`; keys that cannot be read are nobody's fault, so 503. */
export function jwtFault(cause: JwtFault): Refusal {
  const code = cause === 'keys_unavailable' ? 'evidence_unavailable' : 'invalid_request'
  return refuse(code, { cause, detail: details[cause] })
}

/** The same no under another code; one that is worth a second try stays what it is. */
export function under(code: RefusalCode, refusal: Refusal): Refusal {
  return refusal.code === 'evidence_unavailable' ? refusal : refuse(code, refusal.facts)
}

/** The same no with the form parameter that it is about: a request carries up to three tokens. */
export function about(parameter: string, { code, facts }: Refusal): Refusal {
  return refuse(code, { ...facts, detail: `${parameter}: ${facts.detail}` })
}

/**
 * Reads the form of a JWT as strictly as that of a lease token (lease/compact.ts). `types`: every `typ` that
 * the kind may have, `undefined` among them where it may be left out (RFC 8725 §3.11, §3.12).
 */
export function readJwt(text: string, types: ReadonlySet<string | undefined>): UnprovenToken | Refusal {
  const token = readCompact(text, types, maxTokenLength)
  if (!isRefusal(token)) return token
  const { cause } = token.facts
  // The lease token's sentence for it names the typ of a lease token.
  return cause === 'typ_not_allowed' ? jwtFault(cause) : under('invalid_request', token)
}

/** `aud`, where it is exactly one: a string, or an array of one string as some issuers write it. */
export function onlyAudience(claims: Record<string, unknown>): string | undefined {
  const audience = own(claims, 'aud')
  const only: unknown = Array.isArray(audience) && audience.length === 1 ? audience[0] : audience
  return isPlainText(only, 512) ? only : undefined
}

/** What times are held against. Seconds. */
export interface TimeRules {
  readonly now: number
  readonly clockTolerance: number
  /** Between `iat` and now at most. */
  readonly maxAgeSeconds?: number
  /** Between now and `exp` at most. */
  readonly maxAheadSeconds?: number
}

/** `iat` and `exp` are required, `nbf` is looked at where it stands. Seconds since 1970. */
export function readTimes(
  claims: Record<string, unknown>,
  { now, clockTolerance, maxAgeSeconds, maxAheadSeconds }: TimeRules,
): { readonly issuedAt: number; readonly expiresAt: number } | Refusal {
  const issuedAt = own(claims, 'iat')
  const expiresAt = own(claims, 'exp')
  const notBefore = Object.hasOwn(claims, 'nbf') ? claims.nbf : issuedAt
  if (!isTime(issuedAt) || !isTime(expiresAt) || !isTime(notBefore)) return jwtFault('time_malformed')
  // What has to hold is asked for, so that a time which is no number passes nothing.
  if (!(now < expiresAt + clockTolerance)) return jwtFault('expired')
  if (!(now >= issuedAt - clockTolerance)) return jwtFault('issued_in_the_future')
  if (!(now >= notBefore - clockTolerance)) return jwtFault('not_yet_valid')
  if (!(expiresAt > issuedAt)) return jwtFault('time_malformed')
  if (maxAgeSeconds !== undefined && !(now < issuedAt + maxAgeSeconds + clockTolerance)) {
    return jwtFault('too_old')
  }
  if (maxAheadSeconds !== undefined && !(expiresAt <= now + maxAheadSeconds + clockTolerance)) {
    return jwtFault('lives_too_long')
  }
  return { issuedAt, expiresAt }
}

/** Whether a value is a time claim (RFC 7519 §2 NumericDate) after 1970. */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
}
