// In: a lease that its agent has shown, the agent it is handed on to, what is asked for that one. Out: the
// proposal of a lease below it, or the refusal. What is handed on never is more, never lasts longer, and never
// is for another task.
import { maxDelegations } from '../lease/lease.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Ask } from './ask.ts'
import { refuseInstance } from './asker.ts'
import { mayHandOn, type Parent, parentLease, refuseWider, userOf } from './parent.ts'
import type { AgentClient, AgentEntry } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import { type Proposal, termsOf } from './proposal.ts'

/**
 * A lease for `child` below its parent. The parent's file names the child, both are of one tenant, the chain of
 * actors stays within the issuer's depth, and a lease is handed on to a key only.
 */
export function proposeDelegation(
  parent: Parent,
  { from, child }: { readonly from: AgentEntry; readonly child: AgentClient },
  ask: Ask,
  parts: BrokerParts,
): Proposal | Refusal {
  const { lease, record } = parent
  const { entry } = child
  if (!mayHandOn(from, entry)) {
    return refuse('unauthorized_client', { detail: 'this agent may not hand its lease on to that one' })
  }
  const delegatedBy = [
    { id: lease.agent.id, version: lease.agent.version, profile: lease.agent.profile },
    ...lease.delegatedBy,
  ]
  const { maxActDepth } = parts.profile
  if (1 + delegatedBy.length > maxActDepth || delegatedBy.length > maxDelegations) {
    return refuse('invalid_request', { detail: `a lease is handed on through at most ${maxActDepth} agents` })
  }
  // Without a key whoever was given this token to hand a lease on could pass for the other agent with it.
  if (child.key === undefined) {
    return refuse('invalid_request', { detail: 'the actor token has to name a key of its agent (cnf)' })
  }
  const wider = refuseInstance(ask.instance, child) ?? refuseWider(parent, ask, parts)
  if (wider !== undefined) return wider
  const known = parentLease(parent)
  const notAfter = Math.min(record.maxExpiresAt, lease.maxExpiresAt)
  const left = notAfter - parts.now()
  // As with details (RFC 9396 §5): what is asked for exactly is not quietly made less.
  if (ask.details !== undefined && ask.leaseSeconds !== undefined && ask.leaseSeconds > left) {
    return refuse('invalid_authorization_details', {
      detail: 'this would outlive the lease it is handed on from',
    })
  }
  return {
    ...termsOf(ask),
    kind: 'delegation',
    clientId: entry.clientId,
    authenticatedBy: child.method,
    instance: ask.instance ?? child.instance,
    binding: child.key,
    user: userOf(record, parts.profile.workflows),
    login: record.login,
    session: record.session,
    task: lease.task,
    leaseSeconds: ask.leaseSeconds ?? left,
    bounds: [known.details],
    notAfter,
    parent: known,
    delegatedBy,
    ancestors: [record.id, ...lease.ancestors],
    status: undefined,
  }
}
