import type { IdentityProvider } from './broker/parties.ts'
import type { RedisConfig } from './config/redis.ts'
import type { CallerRates } from './enforce/limits.ts'
import type { Backend } from './enforce/operation.ts'
import type { IssuerProfile } from './lease/profile.ts'
import type { CallRate } from './lease/rate.ts'
import type { BundleSettings } from './policy/bundle_source.ts'

/** `host:port` of one listener. */
export interface Listen {
  readonly host: string
  readonly port: number
}

/** An issuer whose tokens the gate accepts, and where its keys are. */
export interface IssuerConfig extends IssuerProfile {
  readonly jwks: { readonly url: string } | { readonly file: string } | { readonly local: true }
}

/** Paths of PEM files. `clientCa`: who may vouch for a client certificate; without it none is asked to. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  readonly clientCa: string | undefined
}

/** The whole configuration, validated, secrets resolved, frozen. Durations are milliseconds. */
export interface Config {
  /** Directory of the file; relative paths below have been resolved against it. */
  readonly dir: string
  readonly listen: { readonly proxy: Listen; readonly control: Listen; readonly metrics: Listen }
  /** Scheme and authority, no path. */
  readonly publicOrigin: string
  readonly workers: number
  readonly state: {
    readonly maxStalenessMs: number
    /** Whether each decision reads from the store what concerns its lease. */
    readonly strict: boolean
  } & (
    | { readonly store: 'embedded'; readonly path: string }
    | { readonly store: 'redis'; readonly redis: RedisConfig }
  )
  readonly issuers: readonly IssuerConfig[]
  /** PEM files of a listener; undefined: plain HTTP. */
  readonly tls: { readonly proxy: TlsFiles | undefined; readonly control: TlsFiles | undefined }
  readonly broker: {
    readonly issuer: string
    /** How its own tokens are read: its entry under `issuers`, or as if it stood there with the defaults. */
    readonly profile: IssuerConfig
    /** ES256 private keys that leases are signed with; created on first start. */
    readonly keyFile: string
    /** Age at which a new signing key is made. */
    readonly rotateKeysMs: number
    readonly ttlSeconds: number
    /** Directory of agent files; undefined: nobody can ask the broker for a lease. */
    readonly agents: string | undefined
    readonly identityProviders: readonly IdentityProvider[]
    /** Whether tokens name their place in a token status list. */
    readonly statusLists: boolean
  }
  readonly control: {
    readonly tokenFile: string
    /** Operators beside the one with `tokenFile`; one with a tenant sees and ends that tenant's leases only. */
    readonly operators: readonly {
      readonly name: string
      readonly tokenFile: string
      readonly tenant: string | undefined
      readonly roles: readonly ('approver' | 'operator' | 'auditor' | 'admin')[]
      /** Groups that an operator with the role `approver` decides for. */
      readonly groups: readonly string[]
    }[]
  }
  /** Calls that wait for a human. */
  readonly approvals: {
    /** What seals their bytes; the same file on every gate of a store. Created on first start. */
    readonly keyFile: string
    /** Of a call that waits. */
    readonly maxBodyBytes: number
    /** Of an answer to a released draft that is kept for the agent. */
    readonly maxResponseBytes: number
    /** The longest that `Prefer: wait` keeps a call open. */
    readonly maxWaitSeconds: number
    /** Of one lease at a time. */
    readonly maxPending: number
  }
  /** Where people decide. */
  readonly console: {
    /** Scheme and authority under which people reach it, without a slash at the end. */
    readonly url: string
    /** The OpenID Connect provider of people; undefined: one-time links alone. */
    readonly signIn:
      | {
          readonly issuer: string
          readonly clientId: string
          /** Empty: a public client, with PKCE alone. */
          readonly clientSecret: string
          readonly scopes: readonly string[]
          /** Dotted paths of claims: by what leases know a user, and their groups. */
          readonly userClaim: string
          readonly groupsClaim: string
          /** What a decision about high risk needs. */
          readonly stepUp: { readonly acr: readonly string[]; readonly maxAgeSeconds: number }
        }
      | undefined
    /** People and `group:` names. Whom policy names as an approver needs no role. */
    readonly roles: Readonly<Record<'operator' | 'auditor' | 'admin', readonly string[]>>
    readonly sessionMs: number
    readonly idleMs: number
    /** Which approvals need a passkey: of high risk, or all. */
    readonly passkeys: 'never' | 'high' | 'always'
  }
  /** Who is told that something waits. */
  readonly notify: readonly {
    readonly url: string
    readonly format: 'standard' | 'slack'
    /** `whsec_…`; empty for Slack. */
    readonly secret: string
    readonly events: readonly ('approval.requested' | 'approval.decided' | 'draft.executed')[]
  }[]
  /** Whether a DPoP proof has to hold a nonce of this server (RFC 9449 §8, §9). */
  readonly proofs: { readonly nonce: 'required' | 'optional' }
  /** How the blast radius of leases is told; decides nothing. */
  readonly blastRadius: {
    /** Until misuse is noticed and ended. */
    readonly detectionSeconds: number
    /** Of a lease that nothing limits. */
    readonly assumedRate: CallRate
  }
  readonly policy: {
    readonly dir: string
    readonly reload: 'on_change' | 'on_activate' | 'never'
    /** `on_activate` without a directory written: nothing decides before something is activated. */
    readonly needsActivation?: true
    /** Stands in place of `dir`. */
    readonly bundle?: BundleSettings
    /** A candidate that is tried on real traffic and never decides. */
    readonly shadow?: { readonly dir: string }
  }
  readonly audit: {
    readonly file: string
    /** What happens to reads of low risk while the audit file cannot be written. */
    readonly readsOnFault: 'refuse' | 'allow'
    /** What of a policy input gets into the record of its request. */
    readonly policyInput: {
      readonly record: boolean
      /** Paths of the input, such as `request.body`. */
      readonly redact: readonly string[]
      readonly maxBytes: number
    }
  }
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error'
    /** A line per request: `auto` prints it on a terminal only. */
    readonly requests: 'auto' | 'line' | 'none'
  }
  readonly limits: {
    readonly headerBytes: number
    readonly headerFields: number
    readonly targetBytes: number
    readonly headersTimeoutMs: number
    readonly requestTimeoutMs: number
    readonly bodyIdleMs: number
    /** Default `body_limit` of an operation. */
    readonly bodyBytes: number
    /** At most this much is ever held in memory to be inspected. */
    readonly inspectedBodyBytes: number
    readonly gatherMs: number
    readonly drainMs: number
  }
  /** For each lease, agent and user of an issuer. */
  readonly rates: CallerRates
  /** Pseudonym in `Via`; loops are recognised by it. */
  readonly via: string
  readonly backends: readonly Backend[]
}
