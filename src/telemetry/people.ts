// In: people who sign in and out, links and passkeys that are made. Out: one audit record each. Never: a cookie, a link,
// a token of the provider; a name that somebody only claims to have.
import type { Person } from '../approval/action.ts'
import type { SignInObserver } from '../http/console/observed_sign_in.ts'
import type { AuditSink } from '../ports.ts'
import { auditEvent } from './audit.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'

export interface SignInObserverParts {
  readonly audit: Pick<AuditSink, 'append'>
  readonly metrics: Pick<Metrics, 'signIn'>
  readonly log: Pick<Logger, 'warn'>
}

/** Counts sign-ins, and writes `sign_in`, `sign_out`, `console_link` and `passkey` records. */
export function createSignInObserver({ audit, metrics, log }: SignInObserverParts): SignInObserver {
  const tell = (event: string, facts: object, peer: string) =>
    audit.append(auditEvent(event, { ...facts, peer: { ip: peer } }))
  return {
    signedIn({ person, roles, authTime, acr = null }, by, peer) {
      metrics.signIn('signed_in')
      const auth = { time: authTime === 0 ? null : authTime, acr }
      tell(
        'sign_in',
        { who: whoFacts(person), by, roles, auth, decision: { effect: 'allow', cause: null } },
        peer,
      )
    },
    signInFailed({ kind, cause }, peer) {
      metrics.signIn(kind === 'person' ? 'refused' : 'unavailable')
      if (kind === 'provider') log.warn({ cause }, 'nobody can sign in: the sign-in provider does not answer')
      tell('sign_in', { who: null, decision: { effect: 'deny', cause } }, peer)
    },
    signedOut: (person, peer) => tell('sign_out', { who: whoFacts(person) }, peer),
    linkMade: (link, by, peer) => tell('console_link', { for: link, asked_by: { operator: by } }, peer),
    passkeyChanged: (change, person, peer) => tell('passkey', { change, who: whoFacts(person) }, peer),
  }
}

function whoFacts({ user, issuer, subject, groups }: Person): object {
  return { user, issuer, subject, groups }
}
