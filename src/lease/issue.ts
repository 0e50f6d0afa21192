// In: what a broker has decided to grant, its key, the time. Out: a signed lease token and the record of
// the lease. Decides nothing about who may have what. Never signs what the verifier would refuse: the
// claims go through the verifier's own reading before they are signed.
import type { LeaseRecord } from '../ports.ts'
import { isRefusal, type Refusal } from '../refusals.ts'
import type { LeaseDetail } from './allow.ts'
import { readClaims, type StatusReference } from './claims.ts'
import { newId } from './ids.ts'
import { signCompact } from './jose.ts'
import { type Binding, type DelegatingAgent, maxDelegations, type Stage, type Task } from './lease.ts'
import type { LocalKey } from './local_key.ts'
import type { IssuerProfile } from './profile.ts'

/** A token never lives longer than this, seconds. */
export const maxTtlSeconds = 300
/** A lease ends after this unless the ask says otherwise, seconds. */
export const defaultLeaseSeconds = 3600

/** A grant as decided. Seconds. */
export interface LeaseAsk {
  /** The person, or the workflow. */
  readonly user: string
  /** `id` equal to `user`: a workflow that acts for itself, so the token carries no `act`. */
  readonly agent: {
    readonly id: string
    readonly version: string
    readonly env: string
    readonly instance?: string
    readonly profile: string
    /** Default: not stated. */
    readonly profileVersion?: string
  }
  /** Default: none. */
  readonly tenant?: string
  readonly login?: NonNullable<LeaseRecord['login']>
  readonly asserted?: NonNullable<LeaseRecord['asserted']>
  /** The key its tokens are bound to. Default: bearer. */
  readonly binding?: Binding
  /** The agents and leases it is handed on from, nearest first. Default: none. */
  readonly delegatedBy?: readonly DelegatingAgent[]
  readonly ancestors?: readonly string[]
  /** Default: a new one. */
  readonly session?: string
  /** When the lease ends at the latest, seconds since 1970; before `leaseSeconds` would end it. */
  readonly notAfter?: number
  /** Where the token's status stands. Default: nowhere. */
  readonly status?: StatusReference
  readonly decision?: NonNullable<LeaseRecord['decision']>
  /** Default: the agent's id. */
  readonly clientId?: string
  readonly task: Task
  readonly details: readonly LeaseDetail[]
  /** Default `observe`. */
  readonly stage?: Stage
  /** Life of this token, at most 300 and never beyond the lease. Default 300. */
  readonly ttlSeconds?: number
  /** Life of the lease, for a new one. Default 3600. */
  readonly leaseSeconds?: number
  /** The lease that gets a further token; its id, session and end are kept. */
  readonly renews?: Pick<LeaseRecord, 'id' | 'session' | 'maxExpiresAt' | 'issuedAt' | 'renewals'>
}

/** Who issues. The names are those of an issuer's configuration, so that can be spread into it. */
export interface IssueContext {
  readonly key: LocalKey
  readonly issuer: string
  readonly audience: string
  /** Seconds since 1970. */
  readonly now: number
  /** Default false. */
  readonly allowAnyAction?: boolean
  /** Default none. */
  readonly workflows?: readonly string[]
}

export type LeaseClaims = ReturnType<typeof makeClaims>

export interface IssuedLease {
  readonly token: string
  readonly claims: LeaseClaims
  readonly record: LeaseRecord
}

/**
 * Issues a lease, or a further token of one. Refuses with `lease_invalid` what the verifier would not
 * accept, e.g. a name with a line break, an empty grant, or a lease that is over; the refusal's detail says
 * which. Storing the record is up to the caller.
 */
export async function issueLease(ask: LeaseAsk, context: IssueContext): Promise<IssuedLease | Refusal> {
  const claims = makeClaims(ask, context)
  const proven = readClaims(JSON.parse(JSON.stringify(claims)), ownProfile(context))
  if (isRefusal(proven)) return proven
  const token = await signCompact({ typ: 'at+jwt', kid: context.key.kid }, claims, context.key.privateKey)
  return { token, claims, record: makeRecord(claims, ask) }
}

function makeClaims(ask: LeaseAsk, { issuer, audience, now }: IssueContext) {
  const iat = Math.floor(now)
  const maxExp =
    ask.renews?.maxExpiresAt ??
    Math.min(iat + (ask.leaseSeconds ?? defaultLeaseSeconds), ask.notAfter ?? Number.POSITIVE_INFINITY)
  const ttl = Math.min(ask.ttlSeconds ?? maxTtlSeconds, maxTtlSeconds)
  const { id: agentId, version, env, instance, profile, profileVersion } = ask.agent
  const { delegatedBy = [], ancestors = [], binding, status } = ask
  return {
    iss: issuer,
    aud: audience,
    client_id: ask.clientId ?? agentId,
    sub: ask.user,
    ...(agentId !== ask.user && { act: actorOf([agentId, ...delegatedBy.map(({ id }) => id)], issuer) }),
    iat,
    nbf: iat,
    exp: Math.min(iat + ttl, maxExp),
    jti: newId('ltk_', now * 1000),
    scope: scopeOf(ask.details),
    authorization_details: ask.details,
    ...(binding !== undefined && { cnf: confirmationOf(binding) }),
    ...(status !== undefined && { status: { status_list: { idx: status.idx, uri: status.uri } } }),
    lease: {
      id: ask.renews?.id ?? newId('lse_', now * 1000),
      stage: ask.stage ?? 'observe',
      max_exp: maxExp,
      task: { system: ask.task.system, id: ask.task.id, purpose: ask.task.purpose },
      session: ask.renews?.session ?? ask.session ?? newId('ses_', now * 1000),
      agent: {
        version,
        env,
        ...(instance !== undefined && { instance }),
        policy_profile: profile,
        ...(profileVersion !== undefined && { policy_profile_version: profileVersion }),
      },
      ...(ancestors.length > 0 && { ancestors }),
      ...(delegatedBy.length > 0 && {
        delegated_by: delegatedBy.map(({ id, version, profile }) => ({
          id,
          version,
          policy_profile: profile,
        })),
      }),
    },
  }
}

interface Actor {
  readonly iss: string
  readonly sub: string
  readonly sub_profile: 'ai_agent'
  readonly act?: Actor
}

/** RFC 8693 §4.1: who acts now is outermost, who handed it on is inside. */
function actorOf([id = '', ...inner]: readonly string[], issuer: string): Actor {
  const act = inner.length === 0 ? {} : { act: actorOf(inner, issuer) }
  return { iss: issuer, sub: id, sub_profile: 'ai_agent', ...act }
}

function confirmationOf({ method, thumbprint }: Binding): Readonly<Record<string, string>> {
  return method === 'dpop' ? { jkt: thumbprint } : { 'x5t#S256': thumbprint }
}

/** The coarse projection `crm:read`; nothing decides on it. */
function scopeOf(details: readonly LeaseDetail[]): string {
  const scopes = details.flatMap(({ actions, identifier }) => {
    const backend = identifier.slice(0, identifier.indexOf(':'))
    return actions.map((action) => `${backend}:${action}`)
  })
  return [...new Set(scopes)].join(' ')
}

function makeRecord(claims: LeaseClaims, ask: LeaseAsk): LeaseRecord {
  const { agent, login, asserted, binding, status, decision, renews } = ask
  return {
    id: claims.lease.id,
    issuer: claims.iss,
    tenant: ask.tenant ?? '',
    user: claims.sub,
    ...(login !== undefined && { login }),
    ...(asserted !== undefined && { asserted }),
    agent: agent.id,
    agentVersion: agent.version,
    agentEnv: agent.env,
    clientId: claims.client_id,
    profile: agent.profile,
    profileVersion: agent.profileVersion ?? '',
    task: claims.lease.task,
    session: claims.lease.session,
    stage: claims.lease.stage,
    audience: claims.aud,
    details: claims.authorization_details,
    ...(binding !== undefined && { binding }),
    ancestors: ask.ancestors ?? [],
    delegatedBy: ask.delegatedBy ?? [],
    issuedAt: renews?.issuedAt ?? claims.iat,
    expiresAt: claims.exp,
    maxExpiresAt: claims.lease.max_exp,
    renewals: renews === undefined ? 0 : renews.renewals + 1,
    state: 'active',
    version: 0,
    ...(status !== undefined && { statusIndex: status.idx }),
    ...(decision !== undefined && { decision }),
  }
}

/** The strictest profile under which the issuer's own tokens have to be readable. */
function ownProfile({ issuer, audience, allowAnyAction, workflows }: IssueContext): IssuerProfile {
  return {
    issuer,
    audience,
    algorithms: ['ES256'],
    clockTolerance: 0,
    maxTokenSeconds: maxTtlSeconds,
    allowAnyAction: allowAnyAction ?? false,
    workflows: workflows ?? [],
    maxActDepth: 1 + maxDelegations,
    statusLists: [],
    claims: { user: 'sub', agent: 'act.sub', lease: 'lease', details: 'authorization_details' },
  }
}
