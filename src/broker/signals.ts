// What an identity provider tells about its users and their sessions, and what it ends here. In: a signal whose
// token is proven. Out: revocations of its own sessions, and of the users that leases were issued to on its word.

import type { UnprovenToken } from '../lease/compact.ts'
import { maxLeaseSeconds, type RevocationScope, revocationKey } from '../lease/lease.ts'
import type { Leases, Revocation, Revocations, Store } from '../ports.ts'
import { isRefusal, type Refusal } from '../refusals.ts'
import { sessionOf } from './identity/session.ts'
import type { IdentityProvider } from './parties.ts'
import { forGood, makeRevocation } from './revocation.ts'
import { cutoffTime } from './times.ts'

/** The identity providers and their keys; identity/providers.ts has them. */
export interface SignalSources {
  /** The provider whose issuer is exactly this. */
  byIssuer(issuer: unknown): IdentityProvider | undefined
  /** Undefined: the provider has signed the token, with an algorithm that is configured for it. */
  prove(token: UnprovenToken, provider: IdentityProvider): Promise<Refusal | undefined>
}

/** Whom a signal is about, in the words of the provider. All that are named are meant. */
export interface SignalSubject {
  /** Sessions (`sid`). */
  readonly sessions: readonly string[]
  /** Users by `sub`. */
  readonly users: readonly string[]
  readonly emails: readonly string[]
}

/** Sessions or users have ended. */
export interface Signal {
  readonly provider: IdentityProvider
  readonly subject: SignalSubject
  /** Seconds since 1970. */
  readonly happenedAt: number
  readonly reason: string
}

/** One key that a signal revokes. */
export interface SignalTarget {
  readonly scope: Extract<RevocationScope, 'session' | 'user'>
  readonly value: string
}

export interface SignalContext {
  readonly store: Pick<Store, 'now'> & {
    readonly leases: Pick<Leases, 'usersOf'>
    readonly revocations: Pick<Revocations, 'find' | 'revoke'>
  }
  /** Of the leases that are ended: this broker's own. */
  readonly issuer: string
  /** By this process's clock, seconds since 1970. */
  readonly now: number
}

/**
 * Ends every lease of the sessions and users of `signal`: a session for good, a user up to `now`. What an entry
 * covers already as of the moment that the signal tells of is left alone, so that a signal which is sent again, or
 * overtaken by a newer one, ends nothing that was issued since. Durable before it resolves; returns what it wrote.
 * Throws `Unavailable`, and may then be repeated.
 */
export async function endLeases(signal: Signal, context: SignalContext): Promise<SignalTarget[]> {
  const { happenedAt } = signal
  const { store, issuer } = context
  const now = await cutoffTime(store, context.now)
  // No lease is that old. Later than this the entry that covers a repeated signal may be gone.
  if (!(happenedAt > now - maxLeaseSeconds)) return []
  const targets = (await targetsOf(signal, store)).filter(({ scope, value }) => {
    const keys = [revocationKey(scope, value), revocationKey(scope, value, issuer)]
    return store.revocations.find(keys, happenedAt) === undefined
  })
  await Promise.all(
    targets.map((target) => store.revocations.revoke(entryFor(target, signal, { issuer, now }))),
  )
  return targets
}

async function targetsOf(
  { provider, subject }: Signal,
  store: SignalContext['store'],
): Promise<SignalTarget[]> {
  const { issuer, userClaim } = provider
  const logins = subject.users.map((name) => store.leases.usersOf({ issuer, subject: name }))
  const users = [
    ...(await Promise.all(logins)).flat(),
    // Also where no lease has been recorded yet: one may be under way.
    ...(userClaim === 'sub' ? subject.users : []),
    ...(userClaim === 'email' ? subject.emails : []),
  ]
  return [
    ...subject.sessions.map((sid) => ({ scope: 'session', value: sessionOf(issuer, sid) }) as const),
    ...[...new Set(users)].map((value) => ({ scope: 'user', value }) as const),
  ]
}

function entryFor(
  target: SignalTarget,
  signal: Signal,
  { issuer, now }: Pick<SignalContext, 'issuer' | 'now'>,
): Revocation {
  const { provider, reason, happenedAt } = signal
  const by = `idp:${provider.issuer}`
  const entry = makeRevocation({ ...target, issuer, reason, by }, Math.floor(now))
  if (isRefusal(entry)) throw new Error('a user that is no plain text has got into a signal or a lease')
  // A session never comes back, but a token of it may still be exchanged after its end.
  const cutoff = target.scope === 'session' ? forGood : Math.max(entry.cutoff, Math.floor(happenedAt))
  return { ...entry, cutoff }
}
