// In: a lease that its agent has shown again, and what it asks for. Out: the proposal of a further token, or the
// refusal. Renewal keeps lease, task, session, key and end: what needs another of these needs a new lease.
import { type Refusal, refuse } from '../refusals.ts'
import type { Ask } from './ask.ts'
import type { Asker } from './asker.ts'
import { type Parent, parentLease, refuseWider, userOf } from './parent.ts'
import type { BrokerParts } from './parts.ts'
import { type Proposal, termsOf } from './proposal.ts'

/** A further token of the same lease: at most what the presented one grants. */
export function proposeRenewal(
  parent: Parent,
  { client }: Asker,
  ask: Ask,
  parts: BrokerParts,
): Proposal | Refusal {
  const { lease, record, status } = parent
  if (ask.instance !== undefined && ask.instance !== lease.agent.instance) {
    return refuse('invalid_request', { detail: 'another instance needs a lease of its own' })
  }
  const wider = refuseWider(parent, ask, parts)
  if (wider !== undefined) return wider
  const notAfter = Math.min(record.maxExpiresAt, lease.maxExpiresAt)
  const known = parentLease(parent)
  return {
    ...termsOf(ask),
    kind: 'renewal',
    clientId: client.entry.clientId,
    authenticatedBy: client.method,
    instance: lease.agent.instance,
    binding: lease.binding,
    user: userOf(record, parts.profile.workflows),
    login: record.login,
    session: record.session,
    task: lease.task,
    stage: ask.stage ?? known.stage,
    leaseSeconds: ask.leaseSeconds ?? notAfter - parts.now(),
    bounds: [known.details],
    notAfter,
    parent: known,
    delegatedBy: lease.delegatedBy,
    ancestors: lease.ancestors,
    status,
  }
}
