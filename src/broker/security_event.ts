// A security event token (RFC 8417) as the Shared Signals Framework 1.0 profiles it. In: its text, from anybody. Out:
// what it tells, or the refusal in the codes of RFC 8935 §2.4. Signature first, claims after it. What it tells of
// another provider's subjects, or in an event that is not known here, is nothing: acknowledged and ignored.
import { maxTokenLength, readCompact } from '../lease/compact.ts'
import { isObject, isPlainText, own } from '../lease/text.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { IdentityProvider } from './parties.ts'
import { isTime, namesOnly } from './signal_claims.ts'
import type { Signal, SignalSources, SignalSubject } from './signals.ts'

const sessionRevoked = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
const verification = 'https://schemas.openid.net/secevent/ssf/event-type/verification'

const types: ReadonlySet<string> = new Set(['secevent+jwt', 'application/secevent+jwt'])

export type SecurityEvent =
  | { readonly type: 'session_revoked'; readonly signal: Signal }
  /** `verification`: the provider tries whether its events arrive (SSF 1.0 §8.1.4). */
  | {
      readonly type: 'verification' | 'unknown_event' | 'unknown_subject'
      readonly provider: IdentityProvider
    }

/** Refuses with `invalid_request`, `invalid_issuer`, `invalid_key` or `invalid_audience`. */
export async function readSecurityEvent(
  text: string,
  sources: SignalSources,
  now: number,
): Promise<SecurityEvent | Refusal> {
  const token = readCompact(text.trim(), types, maxTokenLength)
  if (isRefusal(token)) return wrong('the body is no security event token', token.facts.cause)
  const { claims } = token
  const provider = sources.byIssuer(own(claims, 'iss'))
  if (provider?.accept.includes('events') !== true) {
    return refuse('invalid_issuer', {
      detail: 'events of this issuer are not taken',
      cause: 'issuer_unknown',
    })
  }
  const unproven = await sources.prove(token, provider)
  if (unproven?.code === 'evidence_unavailable') return unproven
  if (unproven !== undefined) {
    const { cause = unproven.code } = unproven.facts
    return refuse('invalid_key', { detail: 'the token is not signed by its issuer', cause })
  }
  if (!namesOnly(claims, provider.audience)) {
    return refuse('invalid_audience', { detail: 'the token is for another audience', cause: 'audience' })
  }
  return readEvent(claims, provider, now)
}

function readEvent(
  claims: Record<string, unknown>,
  provider: IdentityProvider,
  now: number,
): SecurityEvent | Refusal {
  // SSF 1.0 §4.1.2, §4.1.7: so that it passes for no other kind of token.
  if (Object.hasOwn(claims, 'exp')) return wrong('a security event token has no exp', 'exp_present')
  if (Object.hasOwn(claims, 'sub')) return wrong('a security event token has no sub', 'sub_present')
  const { iat, jti, events } = claims
  const latest = now + provider.clockTolerance
  if (!isTime(iat) || !(iat <= latest)) return wrong('iat has to be a time that has come', 'time')
  if (!isPlainText(jti)) return wrong('jti has to be plain text', 'jti_malformed')
  const [type, ...more] = isObject(events) ? Object.keys(events) : []
  if (!isObject(events) || type === undefined || more.length > 0) {
    return wrong('events has to hold exactly one event', 'events')
  }
  const payload = own(events, type)
  if (!isObject(payload)) return wrong('the event has to be an object', 'event_malformed')
  if (type === verification) return { type: 'verification', provider }
  if (type !== sessionRevoked) return { type: 'unknown_event', provider }
  const happenedAt = own(payload, 'event_timestamp') ?? iat
  if (!isTime(happenedAt) || !(happenedAt <= latest)) {
    return wrong('event_timestamp has to be a time in seconds that has come', 'time')
  }
  const subject = readSubject(own(claims, 'sub_id'), provider.issuer)
  if (isRefusal(subject)) return subject
  if (subject === undefined) return { type: 'unknown_subject', provider }
  return { type: 'session_revoked', signal: { provider, subject, happenedAt, reason: 'session revoked' } }
}

/** A subject identifier (RFC 9493, SSF 1.0 §3). Undefined: it names nobody that leases are known by. */
function readSubject(id: unknown, issuer: string): SignalSubject | undefined | Refusal {
  if (!isObject(id)) return wrong('sub_id has to name the subject', 'subject_missing')
  switch (id.format) {
    case 'iss_sub':
      if (!isPlainText(id.iss, 512) || !isPlainText(id.sub)) return malformed()
      // A provider speaks for its own users only.
      return id.iss === issuer ? { sessions: [], users: [id.sub], emails: [] } : undefined
    case 'email':
      return isPlainText(id.email) ? { sessions: [], users: [], emails: [id.email] } : malformed()
    case 'opaque':
      // The event does not say of what it is the id.
      return isPlainText(id.id) ? { sessions: [id.id], users: [id.id], emails: [] } : malformed()
    case 'complex':
      return readComplex(id, issuer)
    default:
      return typeof id.format === 'string' ? undefined : malformed()
  }
}

/**
 * A session is narrower than its user, so with one only that has ended. Other members (`device`, `tenant`) narrow a
 * user further than leases are known by: rather too many leases are ended than too few.
 */
function readComplex(id: Record<string, unknown>, issuer: string): SignalSubject | undefined | Refusal {
  const user = id.user === undefined ? undefined : readSimple(id.user, issuer)
  const session = id.session === undefined ? undefined : readSimple(id.session, issuer)
  if (isRefusal(user)) return user
  if (isRefusal(session)) return session
  // Also for a session in a form that is not known here.
  if (session === undefined) return user
  // What is opaque here is a session, and no user.
  return session.sessions.length === 0 ? session : { ...session, users: [] }
}

/** Complex subjects hold simple ones only (SSF 1.0 §3.2). */
function readSimple(id: unknown, issuer: string): SignalSubject | undefined | Refusal {
  return isObject(id) && id.format === 'complex' ? malformed() : readSubject(id, issuer)
}

function malformed(): Refusal {
  return wrong('sub_id is not what its format says', 'subject_malformed')
}

function wrong(detail: string, cause: string | undefined): Refusal {
  return refuse('invalid_request', { detail, ...(cause !== undefined && { cause }) })
}
