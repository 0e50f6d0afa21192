// What a lease is once it has been verified, and which grant of it covers a request. Pure.
import { type LookUpKeys, withHashes } from './key_hash.ts'

/** Ordered scale: an operation above the grant's ceiling is refused. */
export const sensitivities = ['public', 'internal', 'confidential', 'restricted'] as const
export type Sensitivity = (typeof sensitivities)[number]

export const risks = ['low', 'medium', 'high'] as const
export type Risk = (typeof risks)[number]

export const stages = ['observe', 'draft', 'execute'] as const
export type Stage = (typeof stages)[number]

/** One alternative of `authorization_details` (RFC 9396), with the absent members filled in. */
export interface Grant {
  /** Verbs; `*` only where the issuer's profile allows it. */
  readonly actions: readonly string[]
  /** `crm:customer/9821`, or ending in `/*`: one or more further segments. */
  readonly identifier: string
  /** Ceiling. A token without one grants `public` only. */
  readonly sensitivity: Sensitivity
  /** As in the token. `max_calls` is enforced; any other key makes the grant unusable (fail closed). */
  readonly constraints: Readonly<Record<string, unknown>>
}

export interface Task {
  readonly system: string
  readonly id: string
  readonly purpose: string
}

export interface Agent {
  /** `act.sub`, e.g. `agent:support-triage`; for a workflow without `act`, its `sub`. */
  readonly id: string
  readonly version: string
  readonly env: string
  readonly instance: string
  readonly profile: string
  /** Of the profile, when the lease was made; empty where the issuer does not say. */
  readonly profileVersion: string
}

/** An agent that handed a part of its own lease on. */
export interface DelegatingAgent {
  readonly id: string
  readonly version: string
  readonly profile: string
}

/** Agents that may stand behind the one that acts, whatever a configuration allows. */
export const maxDelegations = 7

/** The key that a bound token has to be presented with: RFC 9449 §6.1 `jkt`, RFC 8705 §3.1 `x5t#S256`. */
export interface Binding {
  readonly method: 'dpop' | 'mtls'
  /** SHA-256 of the public key (RFC 7638) or of the certificate, base64url. */
  readonly thumbprint: string
}

/** A verified lease token. Immutable; made only by `verify.ts`, and cached there by token digest. */
export interface Lease {
  readonly id: string
  readonly issuer: string
  /** `jti` of the token that carried it. */
  readonly tokenId: string
  /** `sub`: the user, or the workflow. */
  readonly user: string
  readonly agent: Agent
  readonly clientId: string
  readonly audience: string
  readonly task: Task
  readonly stage: Stage
  readonly session: string
  readonly grants: readonly Grant[]
  /** Undefined: a bearer token. */
  readonly binding: Binding | undefined
  /** Who handed the lease on, nearest first; empty for a lease that the user gave to the agent itself. */
  readonly delegatedBy: readonly DelegatingAgent[]
  /** Ids of the leases it was handed on from, nearest first; what kills one of them kills it. */
  readonly ancestors: readonly string[]
  /** Seconds since 1970. */
  readonly issuedAt: number
  readonly notBefore: number
  readonly expiresAt: number
  readonly maxExpiresAt: number
  /** Clock tolerance of the issuer, seconds: widens a revocation cutoff by as much. */
  readonly clockTolerance: number
  /** Keys under which a revocation would hit this lease; see `revocationKeys`. */
  readonly revocationKeys: LookUpKeys
}

/** A lease ends at most this long after a token of it was issued, seconds: revocations outlive it. */
export const maxLeaseSeconds = 30 * 86_400

/** `token`: one token by its `jti`; its lease goes on (RFC 7009). */
export const revocationScopes = [
  'lease',
  'agent',
  'agent_version',
  'user',
  'task',
  'session',
  'token',
] as const
export type RevocationScope = (typeof revocationScopes)[number]

/** The key of one revocation: scope, value, and the issuer it is limited to (absent: every issuer). */
export function revocationKey(scope: RevocationScope, value: string, issuer?: string): string {
  return issuer === undefined ? `${scope}\n${value}` : `${scope}\n${value}\n${issuer}`
}

/**
 * One name for an agent, however an issuer writes it: `support-triage` is `agent:support-triage`. Revoking
 * either kills both.
 */
export function agentName(id: string): string {
  return id.includes(':') ? id : `agent:${id}`
}

/** What a revocation can name of a lease. */
export interface RevocationSubject
  extends Pick<Lease, 'id' | 'issuer' | 'user' | 'session' | 'ancestors' | 'delegatedBy'> {
  readonly agent: Pick<Agent, 'id' | 'version'>
  readonly task: Pick<Task, 'system' | 'id'>
  /** Absent: the lease itself, whatever token carries it. */
  readonly tokenId?: string
}

/**
 * Every key that a revocation of this lease could stand under, with and without its issuer: those of the
 * leases and agents it was handed on from as well. `agent_version` values are `agent@version`, `task` values
 * `system:id`.
 */
export function revocationKeys(lease: RevocationSubject): LookUpKeys {
  const values: [RevocationScope, string][] = [
    ['lease', lease.id],
    ['agent', agentName(lease.agent.id)],
    ['agent_version', `${agentName(lease.agent.id)}@${lease.agent.version}`],
    ['user', lease.user],
    ['task', `${lease.task.system}:${lease.task.id}`],
    ['session', lease.session],
    ...(lease.tokenId === undefined ? [] : [['token', lease.tokenId] satisfies [RevocationScope, string]]),
    ...lease.ancestors.map((id): [RevocationScope, string] => ['lease', id]),
    ...lease.delegatedBy.flatMap(({ id, version }): [RevocationScope, string][] => [
      ['agent', agentName(id)],
      ['agent_version', `${agentName(id)}@${version}`],
    ]),
  ]
  const keys = values.flatMap(([scope, value]) => [
    revocationKey(scope, value),
    revocationKey(scope, value, lease.issuer),
  ])
  return withHashes(keys)
}

/** Whether `identifier` of a grant names `resource`: equal, or `/*` at a segment boundary. */
export function identifierCovers(identifier: string, resource: string): boolean {
  if (!identifier.endsWith('/*')) return identifier === resource
  const prefix = identifier.slice(0, -1)
  return resource.length > prefix.length && resource.startsWith(prefix)
}

/** Whether `ceiling` is at or above `asked` on the scale. */
export function sensitivityCovers(ceiling: Sensitivity, asked: Sensitivity): boolean {
  return sensitivities.indexOf(ceiling) >= sensitivities.indexOf(asked)
}
