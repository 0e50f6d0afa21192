// A logout token (OpenID Connect Back-Channel Logout 1.0 §2.4). In: its text, from anybody. Out: who has logged out
// where, or the refusal. Signature first, claims after it. Never takes an ID token for one, nor the other way round.
import { maxTokenLength, readCompact } from '../lease/compact.ts'
import { isObject, isPlainText, own } from '../lease/text.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { isTime, namesOnly } from './signal_claims.ts'
import type { Signal, SignalSources } from './signals.ts'

const event = 'http://schemas.openid.net/event/backchannel-logout'

/** `logout+jwt` is only recommended (§2.4); what makes it a logout token in any case is `events`. */
const types: ReadonlySet<string | undefined> = new Set([
  'logout+jwt',
  'application/logout+jwt',
  'JWT',
  undefined,
])

/** A logout, and what makes it single-use. */
export interface Logout extends Signal {
  /** `jti`; unique for the provider. */
  readonly id: string
  /** After this the token is not taken any more, seconds since 1970. */
  readonly takenUntil: number
}

/**
 * Every check of §2.6, in its order: form, `alg` and signature, `iss`, `aud`, `iat`, `exp`, `sub` or `sid`, `events`, no
 * `nonce`. That `jti` is used once is up to the caller. Refuses with `invalid_request`, or `evidence_unavailable` while
 * the keys of the provider cannot be read.
 */
export async function readLogoutToken(
  text: string,
  sources: SignalSources,
  now: number,
): Promise<Logout | Refusal> {
  const token = readCompact(text, types, maxTokenLength)
  if (isRefusal(token)) return wrong('the logout token is no JWT that is taken here', token.facts.cause)
  const { claims } = token
  const provider = sources.byIssuer(own(claims, 'iss'))
  if (provider?.accept.includes('logout') !== true) {
    return wrong('logout tokens of this issuer are not taken', 'issuer_unknown')
  }
  const unproven = await sources.prove(token, provider)
  if (unproven?.code === 'evidence_unavailable') return unproven
  if (unproven !== undefined)
    return wrong('the logout token is not signed by its issuer', unproven.facts.cause)
  if (!namesOnly(claims, provider.audience))
    return wrong('the logout token is for another audience', 'audience')
  const { iat, exp, jti, sub, sid } = claims
  const tolerance = provider.clockTolerance
  if (!isTime(iat) || !isTime(exp)) return wrong('iat and exp have to be times', 'time_malformed')
  const takenUntil = Math.min(exp, iat + provider.maxAgeSeconds) + tolerance
  if (!(now < takenUntil) || !(iat <= now + tolerance)) {
    return wrong('the logout token is too old, or of the future', 'time')
  }
  if (sub === undefined && sid === undefined) return wrong('name a sub or a sid', 'subject_missing')
  if ((sub !== undefined && !isPlainText(sub)) || (sid !== undefined && !isPlainText(sid))) {
    return wrong('sub and sid have to be plain text', 'subject_malformed')
  }
  const events = own(claims, 'events')
  if (!isObject(events) || !isObject(own(events, event)))
    return wrong('this is no logout token', 'event_missing')
  if (Object.hasOwn(claims, 'nonce')) return wrong('a logout token has no nonce', 'nonce_present')
  if (!isPlainText(jti)) return wrong('jti has to be plain text', 'jti_malformed')
  // With a `sid` that one session has ended, without it all of the user's (§2.4).
  const subject =
    sid !== undefined
      ? { sessions: [sid], users: [], emails: [] }
      : { sessions: [], users: sub === undefined ? [] : [sub], emails: [] }
  return { provider, subject, happenedAt: iat, reason: 'logged out', id: jti, takenUntil }
}

function wrong(detail: string, cause: string | undefined): Refusal {
  return refuse('invalid_request', { detail, ...(cause !== undefined && { cause }) })
}
