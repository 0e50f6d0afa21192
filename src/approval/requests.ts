// Token requests that wait for a human (broker/deferred.ts): the same people rules as for actions; whoever polls hears
// what became of it. In: who says what about which request, the ports. Out: the request as it is now, or the refusal.
import { createHash } from 'node:crypto'
import type { Proposal } from '../broker/proposal.ts'
import { agentName } from '../lease/lease.ts'
import type { Deferral, Deferrals, Leases } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { ActionState, Person, Yes } from './action.ts'
import type { NoticeSubject } from './notices.ts'
import { foldName } from './people.ts'
import { type Behind, type KnownPerson, refuseApprover, refuseReason, whyNot } from './rules.ts'
import { knowPerson } from './standing.ts'

/** One request for a lease. */
export interface LeaseRequest {
  readonly kind: 'lease'
  readonly id: string
  readonly deferral: Deferral
  readonly proposal: Proposal
  /** Names exactly what is asked for; a request never changes. */
  readonly fingerprint: string
}

/** The request behind a deferral. */
export function readRequest(deferral: Deferral): LeaseRequest {
  const { id, request } = deferral
  const proposal = JSON.parse(request) as Proposal
  const fingerprint = `sha-256:${createHash('sha256').update(request).digest('base64url')}`
  return { kind: 'lease', id, deferral, proposal, fingerprint }
}

/** What becomes of a request in words of actions. */
const states = {
  pending: 'pending',
  approved: 'approved',
  denied: 'refused',
  expired: 'expired',
  redeemed: 'used',
} as const satisfies Record<Deferral['state'], ActionState>

/** Its state at `now`, seconds since 1970, as an action would have it. */
export function shownState(request: LeaseRequest, now: number): ActionState {
  return states[requestState(request, now)]
}

/** What people are told of a request. */
export function noticeSubject(request: LeaseRequest): NoticeSubject {
  const { id, kind, deferral, proposal } = request
  const { state, expiresAt } = deferral
  const agent = { id: agentName(proposal.clientId) }
  return { id, kind, state: states[state], expiresAt, lease: { user: proposal.user.id, agent } }
}

/** Who stands behind a request. */
export function behindRequest({ proposal }: LeaseRequest): Behind {
  const { user, login, clientId, delegatedBy } = proposal
  return { user: user.id, login, delegates: [clientId, ...delegatedBy.map(({ id }) => id)] }
}

export type RequestState = Deferral['state']

/** Its state at `now`, seconds since 1970: time that has run out refuses. */
export function requestState({ deferral: { state, expiresAt } }: LeaseRequest, now: number): RequestState {
  // Negated, so that an end which is no number is over.
  return state === 'pending' && !(now < expiresAt) ? 'expired' : state
}

/** What a person says about a request that they were shown. */
export interface SaidOfRequest {
  readonly id: string
  readonly to: 'approved' | 'denied'
  readonly fingerprint: string
  readonly reason: string | undefined
  /** Asked for once everything else holds, where it is a yes. */
  readonly confirm: (request: LeaseRequest) => Promise<Yes['shownBy'] | Refusal>
  readonly now: number
}

/** The ports that it works on; any `Store` has them. */
export interface RequestSources {
  readonly deferrals: Pick<Deferrals, 'get' | 'settle'>
  readonly leases: Pick<Leases, 'usersOf'>
}

/**
 * Settles a request, once: in order, who may, what they were shown, still undecided, the reason, the confirmation.
 * What the same person has said already changes nothing. Throws `Unavailable`; then it may have been written, and can
 * be said again.
 */
export async function settleRequest(
  person: Person,
  said: SaidOfRequest,
  { deferrals, leases }: RequestSources,
): Promise<{ readonly request: LeaseRequest; readonly changed: boolean } | Refusal> {
  const found = await deferrals.get(said.id)
  if (found === undefined) return refuse('action_unknown')
  const request = readRequest(found)
  const problem = refuseSettling(request, await knowPerson(person, leases), said)
  if (problem !== undefined) return problem
  if (isSaid(request, person, said)) return { request, changed: false }
  const late = refuseSettled(request, said.now)
  if (late !== undefined) return late
  const confirmed = said.to === 'approved' ? await said.confirm(request) : undefined
  if (isRefusal(confirmed)) return confirmed
  const { to, now, reason = '' } = said
  const settled = { by: person.user, at: now, reason }
  const changed = await deferrals.settle(said.id, to, settled)
  if (changed) return { request: { ...request, deferral: { ...found, state: to, settled } }, changed }
  const other = await deferrals.get(said.id)
  if (other === undefined) return refuse('action_unknown')
  const last = readRequest(other)
  if (isSaid(last, person, said)) return { request: last, changed }
  return refuse('action_state_conflict', { detail: 'somebody else was faster', reasons: [other.state] })
}

function refuseSettling(request: LeaseRequest, known: KnownPerson, said: SaidOfRequest): Refusal | undefined {
  const { approvers, reasonRequired = false } = request.deferral
  const why = whyNot(known, { approvers }, behindRequest(request))
  if (why !== undefined) return refuseApprover(why)
  if (request.fingerprint !== said.fingerprint) {
    const detail = 'this is not what is asked for: look at it again'
    return refuse('action_state_conflict', { detail, reasons: ['changed'] })
  }
  return refuseReason(said.reason, reasonRequired && said.to === 'approved')
}

function isSaid({ deferral }: LeaseRequest, { user }: Person, { to }: SaidOfRequest): boolean {
  const { state, settled } = deferral
  return state === to && settled !== undefined && foldName(settled.by) === foldName(user)
}

function refuseSettled(request: LeaseRequest, now: number): Refusal | undefined {
  const state = requestState(request, now)
  if (state === 'pending') return undefined
  if (state === 'expired') return refuse('action_expired')
  return refuse('action_state_conflict', { detail: `it is ${state} already`, reasons: [state] })
}
