// What the token endpoint is made of: types only. compose.ts brings the parts together.
import type { StatusReference } from '../lease/claims.ts'
import type { LocalKey } from '../lease/local_key.ts'
import type { IssuerProfile } from '../lease/profile.ts'
import type { Verifier } from '../lease/verify.ts'
import type { Deferral, Store } from '../ports.ts'
import type { IssuePolicy } from './issue_decision.ts'
import type { BrokerObserver } from './observer.ts'
import type { AgentRegistry, ClientAuthenticator, SenderVerifier, SubjectVerifier } from './parties.ts'
import type { GuardedBackend } from './usable.ts'

export interface BrokerParts {
  /** `iss` of the leases. */
  readonly issuer: string
  /** Resource identifiers that leases are issued for, and the backends that each stands for. */
  readonly audiences: ReadonlyMap<string, readonly string[]>
  /** What gates ask of tokens, by name. */
  readonly backends: ReadonlyMap<string, GuardedBackend>
  readonly store: Store
  /** No lease is made while the view of revocations is older, milliseconds. */
  readonly maxStalenessMs: number
  readonly clients: ClientAuthenticator
  readonly subjects: SubjectVerifier
  readonly senders: SenderVerifier
  readonly agents: () => AgentRegistry
  readonly policy: () => IssuePolicy
  readonly signer: () => LocalKey
  /** Proves the broker's own tokens when they come back. */
  readonly leaseTokens: Verifier
  /** How gates read the broker's own tokens; its `audience` is what a lease is for that names no resource. */
  readonly profile: IssuerProfile
  /** Life of a token at most, seconds. */
  readonly ttlSeconds: number
  /** A place in the token status list for a lease that ends at `maxExpiresAt`. Absent: tokens have none. */
  readonly statusFor?: (
    now: number,
    maxExpiresAt: number,
  ) => StatusReference | undefined | Promise<StatusReference | undefined>
  readonly observer: BrokerObserver
  /** Told of every request that begins to wait for a human. */
  readonly onDeferred?: (deferral: Deferral) => void
  /** Seconds since 1970. */
  readonly now: () => number
}
