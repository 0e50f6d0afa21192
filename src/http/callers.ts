// Who asks about a token, and what there is to tell them. In: a call with a `token`. Out: the lease that the token
// carries and its record, or nothing: an unknown token, a foreign one and one that is over look alike.
import { isSameKey } from '../broker/asker.ts'
import type { AgentClient, ClientAuthenticator, SenderVerifier } from '../broker/parties.ts'
import { agentName, type Binding, type Lease } from '../lease/lease.ts'
import type { Verifier } from '../lease/verify.ts'
import type { LeaseRecord, Leases } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { hasRole, notAllowed, type Role } from './caller.ts'
import type { ObservedCall } from './observed.ts'

/** Somebody who has proven who they are: an operator by their token, an agent by one of its credentials. */
export type Caller =
  | { readonly kind: 'operator'; readonly name: string; readonly tenant: string | undefined }
  | { readonly kind: 'agent'; readonly name: string; readonly client: AgentClient }

/** What agents are proven with. */
export interface CallerParts {
  readonly clients: ClientAuthenticator
  readonly senders: SenderVerifier
}

/**
 * Refuses with `invalid_client` who is neither (RFC 7662 §2.1, RFC 7009 §2.1), with `operator_not_allowed` an operator
 * who has none of the roles.
 */
export async function callerOf(
  call: ObservedCall,
  parts: CallerParts,
  roles: readonly Role[],
): Promise<Caller | Refusal> {
  const { caller, form, sender, trail, now } = call
  if (caller !== undefined) {
    const { person, tenant } = caller
    return hasRole(caller, roles) ? { kind: 'operator', name: person.user, tenant } : notAllowed(roles)
  }
  const client = await parts.clients.authenticate(form, sender, now)
  if (isRefusal(client)) return client
  const unproven = client.key && (await refuseKey(client.key, call, parts.senders))
  if (unproven !== undefined) return unproven
  trail.agent = client.entry.agent
  return { kind: 'agent', name: client.entry.clientId, client }
}

/** As at the token endpoint: a credential that names a key (`cnf`) is worth nothing in other hands. */
async function refuseKey(
  key: Binding,
  { sender, now }: ObservedCall,
  senders: SenderVerifier,
): Promise<Refusal | undefined> {
  const binding = await senders.verify(sender, now)
  if (isRefusal(binding)) {
    const nonce = binding.code === 'use_dpop_nonce' ? { nonce: senders.nonce(now) } : {}
    return refuse(binding.code, { ...binding.facts, ...nonce })
  }
  return isSameKey(key, binding)
    ? undefined
    : refuse('invalid_dpop_proof', { detail: 'the token of the agent names a key that is not proven' })
}

export interface TokenParts {
  /** Of this broker's own tokens and no others. */
  readonly verifier: Verifier
  /** Every `aud` that this broker issues tokens for. */
  readonly audiences: readonly string[]
  readonly leases: Pick<Leases, 'get'>
}

/** A token of this broker that the caller may know about. */
export interface KnownToken {
  readonly lease: Lease
  readonly record: LeaseRecord
}

/** The token, while it is valid by itself; the refusal otherwise, and undefined for what is not the caller's. */
export async function tokenOf(
  token: string,
  caller: Caller,
  { verifier, audiences, leases }: TokenParts,
  now: number,
): Promise<KnownToken | Refusal | undefined> {
  const lease = await verifier.verify(token, now, audiences)
  if (isRefusal(lease)) return lease
  const record = await leases.get(lease.id)
  return record !== undefined && mayKnow(caller, lease, record) ? { lease, record } : undefined
}

/** Agents know their own tokens and those of leases that they handed on; operators those of their tenant. */
function mayKnow(caller: Caller, lease: Lease, record: LeaseRecord): boolean {
  if (caller.kind === 'operator') {
    const { tenant } = caller
    return tenant === undefined || tenant === record.tenant
  }
  const { clientId, agent, tenant } = caller.client.entry
  if (tenant !== record.tenant) return false
  return lease.clientId === clientId || lease.delegatedBy.some(({ id }) => agentName(id) === agent)
}
