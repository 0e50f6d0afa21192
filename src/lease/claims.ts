// In: claims of a token whose signature is proven, and the profile of its issuer. Out: the lease and where
// its status stands, or the refusal. Checks all that stays true while the token lives; times and audience
// of the single use are checked in verify.ts on every request. Pure.
import { isRefusal, type Refusal } from '../refusals.ts'
import { readActor } from './actor.ts'
import { readDetails } from './details.ts'
import { fault } from './faults.ts'
import {
  type Agent,
  type Binding,
  type DelegatingAgent,
  type Lease,
  maxDelegations,
  maxLeaseSeconds,
  revocationKeys,
  type Stage,
  stages,
  type Task,
} from './lease.ts'
import type { IssuerProfile } from './profile.ts'
import { at, isObject, isPlainText, own } from './text.ts'

/** Where an issuer publishes whether a token still stands (draft-ietf-oauth-status-list §6.2). */
export interface StatusReference {
  readonly uri: string
  readonly idx: number
}

/** What a token says once it has been proven. */
export interface ProvenClaims {
  readonly lease: Lease
  readonly status: StatusReference | undefined
}

type Claims = Record<string, unknown>

const leaseId = /^lse_[A-Za-z0-9._~-]{1,124}$/
/** SHA-256 in base64url. */
const thumbprint = /^[A-Za-z0-9_-]{43}$/

/**
 * Reads a lease out of claims. In order: RFC 9068 identity claims, times and lifetime, binding, the lease claim, the granted details, the status reference. What it returns is frozen to the last member.
 */
export function readClaims(claims: Claims, profile: IssuerProfile): ProvenClaims | Refusal {
  const identity = readIdentity(claims, profile)
  if (isRefusal(identity)) return identity
  const times = readTimes(claims, profile)
  if (isRefusal(times)) return times
  const binding = readBinding(own(claims, 'cnf'))
  if (isRefusal(binding)) return binding
  const actor = readActor(claims, profile)
  if (isRefusal(actor)) return actor
  const terms = readTerms(at(claims, profile.claims.lease), actor ?? identity.subject)
  if (isRefusal(terms)) return terms
  if (times.expiresAt > terms.maxExpiresAt) return fault('beyond_lease')
  if (terms.maxExpiresAt - times.issuedAt > maxLeaseSeconds) return fault('lifetime_too_long')
  const grants = readDetails(at(claims, profile.claims.details), identity.audience, profile)
  if (isRefusal(grants)) return grants
  const status = readStatus(own(claims, 'status'))
  if (isRefusal(status)) return status
  const { subject: _, ...names } = identity
  const clockTolerance = profile.clockTolerance
  const { issuer } = profile
  const lease = { ...names, ...times, ...terms, grants, binding, issuer, clockTolerance }
  return deepFreeze({ lease: { ...lease, revocationKeys: revocationKeys(lease) }, status })
}

function readIdentity(claims: Claims, profile: IssuerProfile) {
  const subject = own(claims, 'sub')
  const user = at(claims, profile.claims.user)
  const clientId = own(claims, 'client_id')
  const tokenId = own(claims, 'jti')
  const audience = own(claims, 'aud')
  if (!isPlainText(subject) || !isPlainText(user) || !isPlainText(clientId)) return fault('claim_malformed')
  if (!isPlainText(tokenId)) return fault('claim_malformed')
  // One string: an array, even of one, invites a reader that looks at another element.
  if (!isPlainText(audience, 512)) return fault('claim_malformed')
  return { subject, user, clientId, tokenId, audience }
}

function readTimes(claims: Claims, profile: IssuerProfile) {
  const issuedAt = own(claims, 'iat')
  const expiresAt = own(claims, 'exp')
  const notBefore = Object.hasOwn(claims, 'nbf') ? claims.nbf : issuedAt
  if (!isTime(issuedAt) || !isTime(expiresAt) || !isTime(notBefore)) return fault('time_malformed')
  if (expiresAt <= issuedAt || expiresAt <= notBefore) return fault('time_malformed')
  if (expiresAt - issuedAt > profile.maxTokenSeconds) return fault('lifetime_too_long')
  // A fraction (RFC 7519 §2) would lift a token over a revocation of the very second it was issued in.
  return { issuedAt: Math.floor(issuedAt), expiresAt, notBefore }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
}

/** The lease claim: which lease, for what, and the agent around its name. */
function readTerms(claim: unknown, agentId: string) {
  if (claim === undefined) return fault('lease_claim_missing')
  if (!isObject(claim)) return fault('lease_claim_malformed')
  const id = own(claim, 'id')
  const stage = own(claim, 'stage')
  const maxExpiresAt = own(claim, 'max_exp')
  const session = own(claim, 'session')
  const task = readTask(own(claim, 'task'))
  const agent = readAgent(own(claim, 'agent'), agentId)
  if (typeof id !== 'string' || !leaseId.test(id) || !isStage(stage)) return fault('lease_claim_malformed')
  if (!isTime(maxExpiresAt) || !isPlainText(session)) return fault('lease_claim_malformed')
  if (task === undefined || agent === undefined) return fault('lease_claim_malformed')
  const ancestors = readAncestors(own(claim, 'ancestors'))
  const delegatedBy = readDelegatedBy(own(claim, 'delegated_by'))
  if (ancestors === undefined || delegatedBy === undefined) return fault('lease_claim_malformed')
  return { id, stage, maxExpiresAt, session, task, agent, ancestors, delegatedBy }
}

function readAncestors(claim: unknown): string[] | undefined {
  if (claim === undefined) return []
  if (!Array.isArray(claim) || claim.length > maxDelegations) return undefined
  return claim.every((id): id is string => typeof id === 'string' && leaseId.test(id)) ? claim : undefined
}

/** One agent that the chain does not tell whole could be one that has been revoked. */
function readDelegatedBy(claim: unknown): DelegatingAgent[] | undefined {
  if (claim === undefined) return []
  if (!Array.isArray(claim) || claim.length > maxDelegations) return undefined
  const agents: DelegatingAgent[] = []
  for (const member of claim) {
    if (!isObject(member)) return undefined
    const { id, version, policy_profile: profile } = member
    if (!isPlainText(id) || !isPlainText(version) || !isPlainText(profile)) return undefined
    agents.push({ id, version, profile })
  }
  return agents
}

/** Exactly one method of confirmation that we can check (RFC 7800 §3.1); any other is a refusal. */
export function readBinding(claim: unknown): Binding | undefined | Refusal {
  if (claim === undefined) return undefined
  if (!isObject(claim) || Object.keys(claim).length !== 1) return fault('binding_not_supported')
  const { jkt, 'x5t#S256': x5t } = claim
  if (typeof jkt === 'string' && thumbprint.test(jkt)) return { method: 'dpop', thumbprint: jkt }
  if (typeof x5t === 'string' && thumbprint.test(x5t)) return { method: 'mtls', thumbprint: x5t }
  return fault('binding_not_supported')
}

function isStage(value: unknown): value is Stage {
  return stages.some((known) => known === value)
}

function readTask(claim: unknown): Task | undefined {
  if (!isObject(claim)) return undefined
  const { system, id, purpose } = claim
  return isPlainText(system) && isPlainText(id) && isPlainText(purpose, 1024)
    ? { system, id, purpose }
    : undefined
}

/** `instance` may be left out: a workflow has none. */
function readAgent(claim: unknown, id: string): Agent | undefined {
  if (!isObject(claim)) return undefined
  const { version, env, policy_profile: profile, policy_profile_version: profileVersion, instance } = claim
  if (!isPlainText(version) || !isPlainText(env) || !isPlainText(profile)) return undefined
  if (instance !== undefined && !isPlainText(instance)) return undefined
  if (profileVersion !== undefined && !isPlainText(profileVersion)) return undefined
  return { id, version, env, instance: instance ?? '', profile, profileVersion: profileVersion ?? '' }
}

/** A status that is stated in a way we do not know could mean anything, so it is refused. */
function readStatus(claim: unknown): StatusReference | undefined | Refusal {
  if (claim === undefined) return undefined
  if (!isObject(claim) || Object.keys(claim).some((name) => name !== 'status_list')) {
    return fault('status_malformed')
  }
  const reference = own(claim, 'status_list')
  if (!isObject(reference)) return fault('status_malformed')
  const { idx, uri } = reference
  if (!isPlainText(uri, 1024) || typeof idx !== 'number') return fault('status_malformed')
  return Number.isSafeInteger(idx) && idx >= 0 ? { uri, idx } : fault('status_malformed')
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}
