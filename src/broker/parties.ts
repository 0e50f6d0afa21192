// Who takes part when a lease is asked for: the agent that asks, the user or workflow it asks for, and who
// speaks for them. Types only; identity/ proves them, agents.ts reads the agents' files.
import type { Binding } from '../lease/lease.ts'
import type { Refusal } from '../refusals.ts'

/** What a token of an identity provider may be taken for; each kind has a `typ` of its own (RFC 8725 §3.12). */
export type IdentityUse = 'id_token' | 'access_token' | 'jwt' | 'id_jag' | 'logout' | 'events'

/** Somebody whose word about people, workflows or agents is taken. From the configuration. Seconds. */
export interface IdentityProvider {
  /** Compared with `iss` character by character. */
  readonly issuer: string
  /** What `aud` of its tokens has to be, alone. */
  readonly audience: string
  /** `discovery`: `jwks_uri` of its OpenID Connect discovery document. */
  readonly keys: { readonly url: string } | { readonly file: string } | { readonly discovery: true }
  readonly algorithms: readonly string[]
  readonly accept: readonly IdentityUse[]
  /** For whom it speaks. `agents`: SPIFFE, Kubernetes or any other workload identity. */
  readonly subjects: 'users' | 'workflows' | 'agents'
  /** Dotted path of the claim that leases know a user by. */
  readonly userClaim: string
  /** How long after `iat` a token is taken. */
  readonly maxAgeSeconds: number
  readonly clockTolerance: number
}

/** One way in which an agent may prove who it is. */
export type AgentCredential =
  /** RFC 7523 §2.2: a JWT signed with a key of the agent. Public JWKs, each with `kid` and `alg`. */
  | { readonly method: 'private_key_jwt'; readonly jwks: readonly Readonly<Record<string, unknown>>[] }
  /** RFC 8705 §2.1: a certificate from the listener's `client_ca` with this name in `subjectAltName`. */
  | { readonly method: 'tls_client_auth'; readonly san: string }
  /** RFC 8705 §2.2: exactly this certificate; SHA-256 of its DER form, base64url. */
  | { readonly method: 'self_signed_tls_client_auth'; readonly thumbprint: string }
  /** A token of a provider with `subjects: agents`: `sub` is exactly this, a SPIFFE id or a service account. */
  | { readonly method: 'workload_jwt'; readonly issuer: string; readonly subject: string }

/** An agent as its file describes it. */
export interface AgentEntry {
  readonly clientId: string
  /** As leases name it: `agent:support-triage`. */
  readonly agent: string
  readonly version: string
  readonly env: string
  /** Name of its profile in the policy data. */
  readonly profile: string
  /** Empty: nobody's in particular. */
  readonly tenant: string
  readonly credentials: readonly AgentCredential[]
  /** Agents (as leases name them) it may hand a part of its lease on to. */
  readonly delegatesTo: readonly string[]
}

/** The agents that may ask. Replaced as a whole when the files change. */
export interface AgentRegistry {
  byClientId(clientId: string): AgentEntry | undefined
  byAgent(agent: string): AgentEntry | undefined
  /** For agents that name themselves by a workload token alone. */
  byWorkload(issuer: string, subject: string): AgentEntry | undefined
  all(): readonly AgentEntry[]
}

/** An agent that has proven who it is. */
export interface AgentClient {
  readonly entry: AgentEntry
  readonly method: AgentCredential['method']
  /** As the proof names it; empty where it does not. */
  readonly instance: string
  /** The key that an actor token names in its `cnf`: a lease handed on to it is bound to that. */
  readonly key: Binding | undefined
}

/** On whose behalf a lease is asked for, proven by a token. */
export interface Subject {
  readonly kind: 'user' | 'workflow'
  /** As leases name them. */
  readonly id: string
  /** As the provider names them. */
  readonly login: { readonly issuer: string; readonly subject: string }
  readonly use: IdentityUse
  /** `session` of leases: the same for every token of one login session, a new one where it has none. */
  readonly session: string
  /** When they logged in and how, as far as the token says. */
  readonly authTime: number | undefined
  readonly acr: string | undefined
  readonly groups: readonly string[]
  /** Whom the token lets act (RFC 8693 §4.4), as agents are named; undefined: it does not say. */
  readonly mayAct: readonly { readonly issuer: string | undefined; readonly subject: string }[] | undefined
  /** Client that the token was issued to, where that limits who may use it (ID-JAG). */
  readonly clientId: string | undefined
  /** The key it has to be presented with; undefined: none. */
  readonly binding: Binding | undefined
  /** Details that the provider has already settled (ID-JAG); nothing beyond them is granted. */
  readonly details: readonly unknown[] | undefined
  /** `iat` of the token: what was revoked since is over. Absent: it counts as older than any revocation. */
  readonly issuedAt?: number
  readonly expiresAt: number
}

/** What a request to the broker proves about its sender beside its form. From the listener. */
export interface SenderFacts {
  /** Every value of the `DPoP` field, in order. */
  readonly proofs: readonly string[]
  /** Whether it has an `Authorization` field: no agent proves who it is there. */
  readonly authorization?: boolean
  /** Of the client certificate of this very connection; undefined: none. */
  readonly certificate: ClientCertificate | undefined
  readonly method: string
  /** The endpoint as it is published, without query. */
  readonly url: string
}

export interface ClientCertificate {
  /** SHA-256 of the DER form, base64url. */
  readonly thumbprint: string
  /** It was checked against `client_ca` and is valid now. */
  readonly trusted: boolean
  /** `subjectAltName` values with their kind, e.g. `DNS:triage.agents.example`, `URI:spiffe://…`. */
  readonly names: readonly string[]
}

/** A parsed form (RFC 6749 §3.2): names once each, no empty values. */
export type Form = ReadonlyMap<string, string>

/** Proves which agent asks (identity/client.ts). Refuses with `invalid_client`, `invalid_request`. */
export interface ClientAuthenticator {
  authenticate(form: Form, sender: SenderFacts, now: number): Promise<AgentClient | Refusal>
  /** The agent that an `actor_token` is of: its client assertion or its workload token (RFC 8693 §2.1). */
  actor(token: string, type: string, now: number): Promise<AgentClient | Refusal>
}

/**
 * Proves for whom (identity/subject.ts). `type` is a token type of RFC 8693 §3, or `id_jag` for the `assertion`
 * of RFC 7523 §2.1. Refuses with `invalid_request`, for an assertion with `invalid_grant`.
 */
export interface SubjectVerifier {
  verify(token: string, type: string, client: AgentClient, now: number): Promise<Subject | Refusal>
}

/** A bound token that comes with the proof: the proof has to name it (`ath`) and be by its key. */
export interface PresentedToken {
  readonly text: string
  readonly thumbprint: string
}

/**
 * Proves that the sender holds a key (lease/proof.ts). Undefined: it claims none. Refuses with
 * `invalid_dpop_proof` or `use_dpop_nonce`; throws `Unavailable` when a used proof could not be remembered.
 */
export interface SenderVerifier {
  verify(sender: SenderFacts, now: number, token?: PresentedToken): Promise<Binding | undefined | Refusal>
  /** A nonce for the next proof; every answer of an endpoint that takes proofs carries it. */
  nonce(now: number): string
}
