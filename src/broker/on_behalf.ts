// In: a user or workflow whose token is proven, the agent that asks, what it asks for. Out: the proposal of a
// first lease, or the refusal. Decides nothing that policy decides.
import type { LeaseDetail } from '../lease/allow.ts'
import { agentName, type Binding, revocationKey } from '../lease/lease.ts'
import { withRiskCeiling } from '../lease/subset.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type Ask, parseDetails } from './ask.ts'
import { type Asker, isSameKey, refuseInstance } from './asker.ts'
import type { AgentEntry, Subject } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import { type Proposal, termsOf } from './proposal.ts'

/** A first lease, as it is asked for. */
export interface FirstAsk {
  readonly subject: Subject
  readonly asker: Asker
  readonly ask: Ask
}

/**
 * A lease for a user or a workflow. In this order: the actor is the client; the keys that tokens name are
 * proven; the token lets this agent act and still stands; the session is its own. What the provider
 * has settled becomes a bound.
 */
export function proposeOnBehalf(first: FirstAsk, parts: BrokerParts, now: number): Proposal | Refusal {
  const { subject, asker, ask } = first
  const problem =
    refuseKeys(first) ?? refuseInstance(ask.instance, asker.client) ?? refuseSubject(first, parts, now)
  if (problem !== undefined) return problem
  const bounds = settledBy(subject, ask, parts)
  if (isRefusal(bounds)) return bounds
  const { kind, id, login, groups, authTime, acr, session } = subject
  return {
    ...termsOf(ask),
    kind: 'exchange',
    clientId: asker.client.entry.clientId,
    authenticatedBy: asker.client.method,
    instance: ask.instance ?? asker.client.instance,
    binding: asker.binding,
    user: { kind, id, issuer: login.issuer, groups, authTime, acr },
    login,
    session,
    bounds,
    notAfter: subject.expiresAt,
    parent: undefined,
    delegatedBy: [],
    ancestors: [],
    status: undefined,
  }
}

function refuseKeys({ subject, asker: { client, actor, binding } }: FirstAsk): Refusal | undefined {
  if (actor !== undefined && actor.entry.clientId !== client.entry.clientId) {
    return refuse('invalid_request', {
      detail:
        'the actor is another agent than the client: to hand a lease on, send its token as subject_token',
    })
  }
  const named: (Binding | undefined)[] = [subject.binding, actor?.key]
  if (named.every((key) => key === undefined || isSameKey(key, binding))) return undefined
  return refuse('invalid_dpop_proof', {
    detail: 'a token of this request is bound to a key that is not proven',
  })
}

function refuseSubject(
  { subject, asker, ask }: FirstAsk,
  parts: BrokerParts,
  now: number,
): Refusal | undefined {
  const { entry } = asker.client
  const no = (detail: string) =>
    refuse(subject.use === 'id_jag' ? 'invalid_grant' : 'invalid_request', { detail })
  if (subject.clientId !== undefined && subject.clientId !== entry.clientId) {
    return no('this token was issued to another client')
  }
  if (subject.mayAct !== undefined && !subject.mayAct.some((named) => names(named, entry, parts.issuer))) {
    return no('the token does not let this agent act (may_act)')
  }
  // A token without `act` would let an agent pass for a person.
  if (subject.kind === 'user' && agentName(subject.id) === entry.agent) {
    return no('a person is not the agent that acts for them')
  }
  // Leases and entitlements know both by their name alone.
  if (subject.kind === 'user' && parts.profile.workflows.some((prefix) => subject.id.startsWith(prefix))) {
    return no('a person does not have the name of a workflow')
  }
  if (!(now < subject.expiresAt)) return no('this token has expired')
  if (isRevoked(subject, parts)) return no('this token is from before its user or session was revoked')
  if (ask.session === undefined || ask.session === subject.session) return undefined
  return refuse('invalid_request', { detail: 'session is not the one of this token' })
}

/** Whether `may_act` (RFC 8693 §4.4) names an agent: by its name here, or by its workload identity. */
function names(
  { issuer, subject }: NonNullable<Subject['mayAct']>[number],
  { agent, clientId, credentials }: AgentEntry,
  ownIssuer: string,
): boolean {
  if (issuer === undefined || issuer === ownIssuer) {
    return agentName(subject) === agent || subject === clientId
  }
  return credentials.some(
    (each) => each.method === 'workload_jwt' && each.issuer === issuer && each.subject === subject,
  )
}

/** A token from before a revocation is worth what leases from before it are: nothing. */
function isRevoked({ id, session, issuedAt, authTime }: Subject, { store, issuer }: BrokerParts): boolean {
  const find = (scope: 'user' | 'session', value: string, since: number) =>
    store.revocations.find([revocationKey(scope, value), revocationKey(scope, value, issuer)], since)
  // Where the token does not say how old it is, it is older. A session that has ended never begins again.
  const since = issuedAt ?? authTime ?? 0
  return find('user', id, since) !== undefined || find('session', session, 0) !== undefined
}

/** What the provider has settled (ID-JAG), as a bound. */
function settledBy(subject: Subject, ask: Ask, parts: BrokerParts): LeaseDetail[][] | Refusal {
  if (subject.details === undefined) return []
  const settled = parseDetails(subject.details, ask.audience, parts.profile)
  return isRefusal(settled)
    ? refuse('invalid_grant', { detail: 'the details in the assertion are not ones that leases have' })
    : [withRiskCeiling(settled)]
}
