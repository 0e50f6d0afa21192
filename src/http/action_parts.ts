// What the endpoints of actions, repeats and approvers share: their parts, and who may know of what waits. In: a
// caller. Out: yes or no, before anything else is told. Decides nothing about actions.
import type { Action } from '../approval/action.ts'
import type { DecisionSources } from '../approval/decide.ts'
import type { DecisionObserver } from '../approval/observer.ts'
import { namedAs, yesOf } from '../approval/people.ts'
import { type LeaseRequest, readRequest } from '../approval/requests.ts'
import { recordOf } from '../approval/standing.ts'
import type { LeaseRecord, Place, Store } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { type Caller, hasRole, type Role } from './caller.ts'
import type { Confirmation } from './console/confirm.ts'

/** What a confirmation is about: an action, or a token request that waits. */
export type Confirmable = Parameters<Confirmation['confirm']>[1]

export interface ActionParts {
  readonly sources: DecisionSources
  readonly store: Pick<Store, 'deferrals'>
  /** Milliseconds since 1970. */
  readonly clock: () => number
  readonly observer: DecisionObserver
  /** The tenant of an agent that asks for a lease; undefined: nobody knows. */
  readonly tenantOf: (clientId: string) => string | undefined
  /** What a yes takes beside the right to say it. */
  readonly confirmation: Confirmation
  /** Tells people what became of a token request; it does not reject. */
  readonly onSettled: (request: LeaseRequest) => Promise<void>
  /** A draft has been released. */
  readonly nudge: () => void
}

/** Who decides: the approvers that policy names. */
export const deciders = ['approver'] as const satisfies readonly Role[]

/** Who looks at what waits: those that policy names at theirs, auditors at all. */
export const lookers = ['approver', 'auditor'] as const satisfies readonly Role[]

/** Whether a caller may know of an action: whom policy names, whoever has said yes, auditors; of their tenant. */
export function mayKnow(caller: Caller, { terms, yes }: Action, record: LeaseRecord | undefined): boolean {
  if (!isWithinTenant(caller, record?.tenant)) return false
  const { person } = caller
  const isNamed = namedAs(person, terms.approvers) !== undefined
  return isNamed || yesOf(person, yes) !== undefined || hasRole(caller, ['auditor'])
}

/** The same of a token request. */
export function mayKnowRequest(
  caller: Caller,
  { deferral, proposal }: LeaseRequest,
  { tenantOf }: Pick<ActionParts, 'tenantOf'>,
): boolean {
  if (!isWithinTenant(caller, tenantOf(proposal.clientId))) return false
  return namedAs(caller.person, deferral.approvers) !== undefined || hasRole(caller, ['auditor'])
}

/** Whether a caller sees what is of this tenant; undefined: nobody knows whose it is. */
export function isWithinTenant(caller: Caller, tenant: string | undefined): boolean {
  return caller.tenant === undefined || caller.tenant === tenant
}

/** What of a request a habit is about. */
export function shownRequest({ id, fingerprint, deferral }: LeaseRequest) {
  return { id, fingerprint, expiresAt: deferral.expiresAt }
}

/** What waits under an id, where the caller may know of it. Throws `Unavailable`. */
export async function findKnown(
  id: string,
  caller: Caller,
  parts: ActionParts,
): Promise<Action | LeaseRequest | undefined> {
  const { sources, store } = parts
  const kept = await sources.actions.get(id)
  if (kept !== undefined) {
    const record = await recordOf(kept.action, sources.leases)
    return mayKnow(caller, kept.action, record) ? kept.action : undefined
  }
  const deferral = await store.deferrals.get(id)
  const request = deferral && readRequest(deferral)
  return request && mayKnowRequest(caller, request, parts) ? request : undefined
}

/** What a confirmation of a request is about: nobody has rated what a whole lease can do. */
export function confirmable({ id, fingerprint }: LeaseRequest) {
  return { id, fingerprint, what: { risk: 'high' } }
}

/** How many somebody asks for, and from where on. */
export interface Page {
  readonly limit: number
  readonly before?: Place
}

/** A place as `next` and `before` write it: time and id, so that nothing of one time is skipped. */
export function placeText({ at, id }: Required<Place>): string {
  return `${at}~${id}`
}

/** Where something of a page stands in order: whether `a` comes before `b`. */
export function byPlace(a: Required<Place>, b: Required<Place>): number {
  return b.at - a.at || (a.id < b.id ? 1 : -1)
}

const maxLimit = 200

/** `limit` (1 to 200, else 50) and `before` of a query. */
export function readPage(query: URLSearchParams): Page | Refusal {
  const [limitText = '50', ...limits] = query.getAll('limit')
  const limit = limits.length === 0 && /^\d{1,3}$/.test(limitText) ? Number(limitText) : Number.NaN
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= maxLimit)) {
    return refuse('malformed_request', { detail: `write limit as a number from 1 to ${maxLimit}` })
  }
  const [before, ...others] = query.getAll('before')
  if (before === undefined) return { limit }
  const [, at, id] = /^(\d{1,16}(?:\.\d{1,9})?)(?:~([\w-]{1,100}))?$/.exec(before) ?? []
  if (at === undefined || others.length > 0) {
    return refuse('malformed_request', { detail: 'write before as next was' })
  }
  return { limit, before: { at: Number(at), ...(id !== undefined && { id }) } }
}
