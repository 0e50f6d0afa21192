// What is told of people who come and go. telemetry/people.ts implements it. Never: a cookie, a link, a claim.
import type { Person } from '../../approval/action.ts'
import type { SignedIn } from './sessions.ts'

export interface SignInObserver {
  /** `step_up`: somebody has shown again who they are. */
  signedIn(who: SignedIn, by: 'provider' | 'step_up' | 'link', peer: string): void
  /** `cause`: a short word for the record; the person has been told in others. `provider`: nobody can sign in. */
  signInFailed(fault: { readonly kind: 'provider' | 'person'; readonly cause: string }, peer: string): void
  signedOut(person: Person, peer: string): void
  linkMade(
    of: { readonly user: string; readonly groups: readonly string[]; readonly roles: readonly string[] },
    by: string,
    peer: string,
  ): void
  passkeyChanged(change: 'added' | 'removed', person: Person, peer: string): void
}
