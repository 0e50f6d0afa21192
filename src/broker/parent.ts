// In: a lease token of this broker that comes back as `subject_token`, and the agent that sends it. Out: the
// lease it carries and its record, proven to stand, or the refusal. Only exactly `active` stands.
import type { LeaseDetail } from '../lease/allow.ts'
import type { StatusReference } from '../lease/claims.ts'
import { accessTokenTypes, maxTokenLength, readCompact } from '../lease/compact.ts'
import { areConstraints } from '../lease/constraints.ts'
import { type Grant, type Lease, revocationKeys, stages } from '../lease/lease.ts'
import type { LeaseRecord } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Ask } from './ask.ts'
import { type Asker, isSameKey } from './asker.ts'
import type { AgentEntry, AgentRegistry } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import type { ParentLease, Proposal } from './proposal.ts'

/** A lease that its own agent has shown, and that stands. */
export interface Parent {
  readonly lease: Lease
  readonly record: LeaseRecord
  /** Of its tokens. */
  readonly status: StatusReference | undefined
}

/** Whether a token says that this broker made it. It is proven afterwards; until then nothing else is read. */
export function isOwnToken(token: string, issuer: string): boolean {
  const unproven = readCompact(token, accessTokenTypes, maxTokenLength)
  return !isRefusal(unproven) && unproven.claims.iss === issuer
}

/**
 * Proves the token and that it may be used. In this order: signature, times and claims; it is the lease of this
 * client as its file describes it; the key is the lease's; token and lease stand. Refuses with `invalid_request`, for
 * another key with `invalid_dpop_proof`.
 */
export async function proveParent(
  token: string,
  { client, binding }: Asker,
  parts: BrokerParts,
): Promise<Parent | Refusal> {
  const now = parts.now()
  const lease = await parts.leaseTokens.verify(token, now, [...parts.audiences.keys()])
  if (isRefusal(lease)) return refuseToken(lease)
  // Gates allow for clocks that differ; this clock is the one that signed it.
  if (now >= lease.expiresAt) return refuse('invalid_request', { detail: 'the lease token has expired' })
  if (lease.clientId !== client.entry.clientId) {
    return refuse('invalid_request', { detail: 'the lease is not one of this client' })
  }
  if (!isSameKey(lease.binding, binding)) {
    return refuse('invalid_dpop_proof', { detail: 'the lease is bound to another key than the request' })
  }
  // RFC 7009: one token can be over by itself, while its lease goes on with others.
  const { revocations } = parts.store
  const revoked = revocations.find(lease.revocationKeys, lease.issuedAt - lease.clockTolerance)
  if (revoked !== undefined) return over(`revoked by ${revoked.scope}`)
  const record = await standingLease(lease.id, client.entry, parts)
  return isRefusal(record) ? record : { lease, record, status: statusOf(token) }
}

/**
 * The record of a lease that stands: active, with all it was handed on from, not over, not revoked, not
 * suspended, and of agents that are still what it was made for.
 */
export async function standingLease(
  id: string,
  agent: AgentEntry,
  { store, profile, now, agents }: BrokerParts,
): Promise<LeaseRecord | Refusal> {
  const record = await store.leases.get(id)
  if (record === undefined) return over('there is no record of it')
  const ancestors = await Promise.all(record.ancestors.map((each) => store.leases.get(each)))
  const stand = [record, ...ancestors].every((each) => each?.state === 'active' && now() < each.maxExpiresAt)
  if (!stand) return over('it, or a lease it was handed on from, has ended')
  const keys = revocationKeys({ ...record, agent: { id: record.agent, version: record.agentVersion } })
  const revocation = store.revocations.find(keys, record.issuedAt - profile.clockTolerance)
  if (revocation !== undefined) return over(`revoked by ${revocation.scope}`)
  if (store.revocations.suspension(record) !== undefined) return over('suspended')
  return isOf(record, agent) && isStillHandedOn(record, agent, agents())
    ? record
    : refuse('invalid_request', {
        detail: 'an agent of the lease has changed since it was made: ask for a new one',
      })
}

/** Whether each agent that a lease went through is what it was, and may still hand its leases on to the next. */
function isStillHandedOn({ delegatedBy }: LeaseRecord, holder: AgentEntry, agents: AgentRegistry): boolean {
  let to = holder
  for (const { id, version, profile } of delegatedBy) {
    const from = agents.byAgent(id)
    if (from?.version !== version || from.profile !== profile || !mayHandOn(from, to)) return false
    to = from
  }
  return true
}

/** Whether an agent's file lets it hand its leases on to another. */
export function mayHandOn(from: AgentEntry, to: AgentEntry): boolean {
  return from.delegatesTo.includes(to.agent) && from.tenant === to.tenant
}

/** What policy and the order on authority need of a parent: what its token grants, never more. */
export function parentLease({ lease }: Parent): ParentLease {
  return { id: lease.id, stage: lease.stage, details: lease.grants.flatMap(detailOf) }
}

/**
 * The refusal of what goes beyond the parent: in task, session, stage or resource; for details see
 * `refuseBeyond`.
 */
export function refuseWider({ lease }: Parent, ask: Ask, { audiences }: BrokerParts): Refusal | undefined {
  const { task, session, stage } = ask
  const isOther = task !== undefined && (task.system !== lease.task.system || task.id !== lease.task.id)
  if (isOther || (session !== undefined && session !== lease.session)) {
    return refuse('invalid_request', { detail: 'another task or session needs a lease of its own' })
  }
  if (stage !== undefined && stages.indexOf(stage) > stages.indexOf(lease.stage)) {
    return refuse('invalid_authorization_details', {
      detail: `not covered: the stage of the lease is ${lease.stage}`,
    })
  }
  const reached = audiences.get(lease.audience) ?? []
  if (!(audiences.get(ask.audience) ?? []).every((backend) => reached.includes(backend))) {
    return refuse('invalid_target', { detail: 'the lease is for another resource' })
  }
  return undefined
}

/** The user of a lease as they were known when it was made. */
export function userOf(
  { user, login, asserted }: LeaseRecord,
  workflows: readonly string[],
): Proposal['user'] {
  const kind = workflows.some((prefix) => user.startsWith(prefix)) ? 'workflow' : 'user'
  return {
    id: user,
    kind: asserted?.kind ?? kind,
    issuer: login?.issuer ?? '',
    groups: asserted?.groups ?? [],
    authTime: asserted?.authTime,
    acr: asserted?.acr,
  }
}

function isOf(record: LeaseRecord, { agent, version, env, profile, tenant, clientId }: AgentEntry): boolean {
  return (
    record.clientId === clientId &&
    record.agent === agent &&
    record.agentVersion === version &&
    record.agentEnv === env &&
    record.profile === profile &&
    record.tenant === tenant
  )
}

function detailOf({ actions, identifier, sensitivity, constraints }: Grant): LeaseDetail[] {
  if (!areConstraints(constraints)) return []
  const limited = Object.keys(constraints).length > 0
  return [{ type: 'lease', actions, identifier, sensitivity, ...(limited && { constraints }) }]
}

/** The status that a proven token states. */
function statusOf(token: string): StatusReference | undefined {
  const proven = readCompact(token, accessTokenTypes, maxTokenLength)
  if (isRefusal(proven)) return undefined
  const status = proven.claims.status as { readonly status_list: StatusReference } | undefined
  return status?.status_list
}

/** The verifier's refusals are those of a gate: here the token is a parameter (RFC 8693 §2.2.2). */
function refuseToken(refusal: Refusal): Refusal {
  return refusal.code === 'evidence_unavailable' ? refusal : refuse('invalid_request', refusal.facts)
}

function over(cause: string): Refusal {
  return refuse('invalid_request', { detail: 'the lease is no longer active', cause })
}
