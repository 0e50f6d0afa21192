// What the endpoints of actions, repeats and approvers share: their parts, and who may know of what waits. In: a
// caller. Out: yes or no, before anything else is told. Decides nothing about actions.
import type { Action } from '../approval/action.ts'
import type { DecisionSources } from '../approval/decide.ts'
import type { DecisionObserver } from '../approval/observer.ts'
import { namedAs, yesOf } from '../approval/people.ts'
import { type LeaseRequest, readRequest } from '../approval/requests.ts'
import { recordOf } from '../approval/standing.ts'
import type { LeaseRecord, Store } from '../ports.ts'
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
  readonly before?: number
}

const maxLimit = 200

/** `limit` (1 to 200, else 50) and `before` of a query. */
export function readPage(query: URLSearchParams): Page | Refusal {
  const limit = readNumber(query, 'limit') ?? 50
  const before = readNumber(query, 'before')
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= maxLimit)) {
    return refuse('malformed_request', { detail: `write limit as a number from 1 to ${maxLimit}` })
  }
  if (before === undefined) return { limit }
  return Number.isFinite(before)
    ? { limit, before }
    : refuse('malformed_request', { detail: 'write before as the number in next' })
}

function readNumber(query: URLSearchParams, name: string): number | undefined {
  const values = query.getAll(name)
  if (values.length === 0) return undefined
  const isOne = values.length === 1 && /^\d{1,16}(\.\d{1,9})?$/.test(values[0]!)
  return isOne ? Number(values[0]) : Number.NaN
}
