// In: what a broker has decided to grant, its key, the time. Out: a signed lease token and the record of
// the lease. Decides nothing about who may have what. Never signs what the verifier would refuse: the
// claims go through the verifier's own reading before they are signed.
import type { LeaseRecord } from '../ports.ts'
import { isRefusal, type Refusal } from '../refusals.ts'
import type { LeaseDetail } from './allow.ts'
import { readClaims } from './claims.ts'
import { newId } from './ids.ts'
import { signCompact } from './jose.ts'
import type { Stage, Task } from './lease.ts'
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
  }
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
  readonly renews?: Pick<LeaseRecord, 'id' | 'session' | 'maxExpiresAt'>
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
  const maxExp = ask.renews?.maxExpiresAt ?? iat + (ask.leaseSeconds ?? defaultLeaseSeconds)
  const ttl = Math.min(ask.ttlSeconds ?? maxTtlSeconds, maxTtlSeconds)
  const { id: agentId, version, env, instance, profile } = ask.agent
  return {
    iss: issuer,
    aud: audience,
    client_id: ask.clientId ?? agentId,
    sub: ask.user,
    ...(agentId !== ask.user && { act: { iss: issuer, sub: agentId, sub_profile: 'ai_agent' } }),
    iat,
    nbf: iat,
    exp: Math.min(iat + ttl, maxExp),
    jti: newId('ltk_', now * 1000),
    scope: scopeOf(ask.details),
    authorization_details: ask.details,
    lease: {
      id: ask.renews?.id ?? newId('lse_', now * 1000),
      stage: ask.stage ?? 'observe',
      max_exp: maxExp,
      task: { system: ask.task.system, id: ask.task.id, purpose: ask.task.purpose },
      session: ask.renews?.session ?? newId('ses_', now * 1000),
      agent: { version, env, ...(instance !== undefined && { instance }), policy_profile: profile },
    },
  }
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
  return {
    id: claims.lease.id,
    issuer: claims.iss,
    user: claims.sub,
    agent: ask.agent.id,
    agentVersion: claims.lease.agent.version,
    task: claims.lease.task,
    session: claims.lease.session,
    stage: claims.lease.stage,
    details: claims.authorization_details,
    issuedAt: claims.iat,
    expiresAt: claims.exp,
    maxExpiresAt: claims.lease.max_exp,
    state: 'active',
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
    maxActDepth: 1,
    statusLists: [],
    claims: { user: 'sub', agent: 'act.sub', lease: 'lease', details: 'authorization_details' },
  }
}
