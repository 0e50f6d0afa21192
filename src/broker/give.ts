// In: what is granted, bounded. Out: the signed token whose lease is on disk, or the refusal. The last step: decides
// nothing any more, and answers with nothing that is not durable.
import { maxTokenLength } from '../lease/compact.ts'
import { type IssuedLease, issueLease, type LeaseAsk } from '../lease/issue.ts'
import { maxLeaseSeconds, revocationKeys } from '../lease/lease.ts'
import type { LeaseRecord, Revocation } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { noTask } from './ask.ts'
import type { Bounded } from './bounds.ts'
import type { BrokerTrail } from './observer.ts'
import type { AgentEntry } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import type { Proposal } from './proposal.ts'

/** What is given, to whom. */
export interface Gift {
  readonly proposal: Proposal
  readonly agent: AgentEntry
  readonly bounded: Bounded
  /** When the revocations that it was decided on were complete: the token is as old as that, seconds since 1970. */
  readonly asOf: number
}

/** What the client gets. Seconds from now. */
export interface Given extends IssuedLease {
  readonly expiresIn: number
  readonly leaseExpiresIn: number
}

/** Signs, stores, answers: in this order, so that no token is known whose lease is not. */
export async function give(gift: Gift, trail: BrokerTrail, parts: BrokerParts): Promise<Given | Refusal> {
  const { proposal, bounded } = gift
  const { profile, signer, issuer } = parts
  const renewed = await renewedBy(proposal, parts)
  if (isRefusal(renewed)) return renewed
  const status =
    renewed === undefined ? await parts.statusFor?.(parts.now(), bounded.notAfter) : proposal.status
  const ask: LeaseAsk = {
    ...termsOf(gift, renewed),
    decision: { id: trail.decisionId, reasons: trail.reasons, policyDigest: trail.policyDigest ?? '' },
    ...(status !== undefined && { status }),
  }
  const context = { ...profile, key: signer(), issuer, audience: proposal.audience, now: gift.asOf }
  const issued = await issueLease(ask, context)
  if (isRefusal(issued)) return refuse('invalid_request', issued.facts)
  if (issued.token.length > maxTokenLength) {
    return refuse('invalid_authorization_details', { detail: 'these details do not fit into one token' })
  }
  const revocation = revokedAtBirth(issued.record, parts)
  if (revocation === undefined) return keep(issued, renewed !== undefined, parts)
  return renewed === undefined ? tooSoon(revocation, parts) : ended()
}

/** Gates allow for clocks that differ: a lease that is made just after a revocation would be over for good. */
function revokedAtBirth(record: LeaseRecord, { store, profile }: BrokerParts): Revocation | undefined {
  const keys = revocationKeys({ ...record, agent: { id: record.agent, version: record.agentVersion } })
  return store.revocations.find(keys, record.issuedAt - profile.clockTolerance)
}

function tooSoon({ scope }: Revocation, { profile }: BrokerParts): Refusal {
  const detail = `revoked by ${scope} a moment ago: ask again later`
  return refuse('access_denied', { detail, retryAfter: profile.clockTolerance + 1 })
}

/** The record of the lease that is renewed; undefined: this is a new one. */
async function renewedBy({ kind, parent }: Proposal, { store }: BrokerParts) {
  if (kind !== 'renewal' || parent === undefined) return undefined
  return (await store.leases.get(parent.id)) ?? ended()
}

function termsOf({ proposal, agent, bounded }: Gift, renewed: LeaseRecord | undefined): LeaseAsk {
  const { user, login, binding, instance, delegatedBy, ancestors, session } = proposal
  const { authTime, acr } = user
  return {
    user: user.id,
    agent: {
      id: agent.agent,
      version: agent.version,
      env: agent.env,
      profile: agent.profile,
      // A lease names the version that it was made under.
      profileVersion: renewed?.profileVersion ?? bounded.profileVersion,
      ...(instance !== '' && { instance }),
    },
    tenant: agent.tenant,
    clientId: agent.clientId,
    ...(login !== undefined && { login }),
    asserted: {
      kind: user.kind,
      groups: user.groups,
      ...(authTime !== undefined && { authTime }),
      ...(acr !== undefined && { acr }),
    },
    ...(binding !== undefined && { binding }),
    delegatedBy,
    ancestors,
    session,
    task: proposal.task ?? noTask,
    details: bounded.details,
    stage: bounded.stage,
    ttlSeconds: bounded.ttlSeconds,
    leaseSeconds: maxLeaseSeconds,
    notAfter: bounded.notAfter,
    ...(renewed !== undefined && { renews: { ...renewed, maxExpiresAt: bounded.notAfter } }),
  }
}

/** Durable before it resolves. Whether a renewal or the end of the lease was first is decided in one step. */
async function keep(
  issued: IssuedLease,
  isRenewal: boolean,
  { store, now }: BrokerParts,
): Promise<Given | Refusal> {
  const { record, claims } = issued
  if (!isRenewal) await store.leases.put(record)
  const kept = isRenewal
    ? await store.leases.renew(record.id, { issuedAt: claims.iat, expiresAt: claims.exp })
    : record
  if (kept === undefined) return ended()
  const left = (until: number) => Math.max(0, until - Math.floor(now()))
  return { ...issued, record: kept, expiresIn: left(claims.exp), leaseExpiresIn: left(claims.lease.max_exp) }
}

function ended(): Refusal {
  return refuse('invalid_request', { detail: 'the lease is no longer active', cause: 'it has just ended' })
}
