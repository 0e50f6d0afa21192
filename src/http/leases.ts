// `/leases`: what operators see of leases and do with them, and how an agent ends its own. In: calls. Out: the
// document of a lease, or the refusal. An id that somebody may not see is answered as one that nobody knows, on
// the same path through this file.
import { setImmediate } from 'node:timers/promises'
import type { Surroundings } from '../broker/blast_radius.ts'
import { leaseRadius } from '../broker/blast_search.ts'
import { placeText, readLeaseQuery } from '../broker/lease_query.ts'
import { describeLease, findLeases } from '../broker/lease_search.ts'
import { leaseSummary, leaseView } from '../broker/lease_view.ts'
import { changeLease, type LifecycleVerb, lifecycleVerbs } from '../broker/lifecycle.ts'
import type { BrokerObserver } from '../broker/observer.ts'
import { isObject } from '../lease/text.ts'
import type { LeaseRecord, Store } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { changers, hasRole, isWithin, notAllowed, readers } from './caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'
import { type HolderParts, proveHolder } from './lease_holder.ts'
import { type OrderedCall, type OrderParts, ordered } from './ordered.ts'
import { orUnavailable } from './store_answer.ts'

export interface LeaseParts extends OrderParts {
  readonly store: OrderParts['store'] & Pick<Store, 'budgets' | 'records'>
  readonly observer: Pick<BrokerObserver, 'changed' | 'ordered'>
  /** What surrounds leases at a time, seconds since 1970, for their blast radius. */
  readonly around: (now: number) => Surroundings
  /** How an agent proves that a lease is its own; absent: operators alone complete leases. */
  readonly holder?: HolderParts
}

/** `GET /leases`, `GET /leases/{id}`, and one `POST` for each thing that can be done with a lease. */
export function leaseEndpoints(parts: LeaseParts): Endpoint[] {
  const common = { access: readers, takes: 'nothing', errors: 'problem' } as const
  return [
    { ...common, method: 'GET', path: '/leases', serve: (call) => orUnavailable(list(call, parts)) },
    { ...common, method: 'GET', path: '/leases/{id}', serve: (call) => orUnavailable(show(call, parts)) },
    ...lifecycleVerbs.map(
      (verb): Endpoint => ({
        ...common,
        method: 'POST',
        path: `/leases/{id}/${verb}`,
        // The one that an agent may do: with its lease token, which `change` looks at.
        access: verb === 'complete' && parts.holder !== undefined ? 'open' : changers,
        takes: 'json',
        ...ordered(verb, parts, (call) => change(verb, call, parts)),
      }),
    ),
  ]
}

/** Views that are made in one go, before others run. */
const viewsAtOnce = 100

async function list({ query, caller }: ControlCall, parts: LeaseParts): Promise<ControlAnswer | Refusal> {
  const search = readLeaseQuery(query)
  if (isRefusal(search)) return search
  const tenant = caller?.tenant
  const { summary, ...limited } = tenant === undefined ? search : { ...search, tenant }
  const now = parts.clock() / 1000
  const { leases, next } = await findLeases(limited, parts.store, now)
  const around = parts.around(now)
  const views = []
  for (const [at, known] of leases.entries()) {
    if (at % viewsAtOnce === viewsAtOnce - 1) await setImmediate()
    views.push(summary ? leaseSummary(known, leaseRadius(known, around)) : leaseView(known))
  }
  return { status: 200, body: { leases: views, ...(next !== undefined && { next: placeText(next) }) } }
}

async function show(call: ControlCall, parts: LeaseParts): Promise<ControlAnswer | Refusal> {
  const record = await readOwn(call, parts, (found) => isWithin(call.caller, found))
  if (isRefusal(record)) return record
  const now = parts.clock() / 1000
  const known = await describeLease(record, parts.store, now)
  return { status: 200, body: leaseView(known, leaseRadius(known, parts.around(now))) }
}

async function change(
  verb: LifecycleVerb,
  call: OrderedCall,
  parts: LeaseParts,
): Promise<ControlAnswer | Refusal> {
  const reason = readReason(call.json)
  if (isRefusal(reason)) return reason
  const { caller, order, now } = call
  // An open endpoint has not asked what a caller may do.
  if (caller !== undefined && !hasRole(caller, changers)) return notAllowed(changers)
  order.scope = 'lease'
  // Whose the lease is comes before anything about it, for agents as for operators.
  const holder =
    caller === undefined
      ? await proveHolder(call, parts.holder, { now, revocations: parts.store.revocations })
      : undefined
  if (isRefusal(holder)) return holder
  order.agent = holder?.agent
  const record = await readOwn(call, parts, (found) =>
    holder === undefined ? isWithin(caller, found) : holder.holds(found),
  )
  if (isRefusal(record)) return record
  const by = caller?.person.user ?? record.agent
  const changed = await changeLease(record, { verb, by, reason, now }, parts.store)
  if (isRefusal(changed)) return changed
  order.repeated = changed.version === record.version
  // A repeated order has not changed anything, so nobody is told.
  if (!order.repeated) parts.observer.changed(changed)
  if (holder !== undefined) return { status: 200, body: { id: changed.id, state: changed.state } }
  return { status: 200, body: leaseView(await describeLease(changed, parts.store, now)) }
}

/** Reads first and compares afterwards: the clock does not tell an unknown lease from another's either. */
async function readOwn(
  { params }: ControlCall,
  { store }: LeaseParts,
  isOwn: (record: LeaseRecord) => boolean,
): Promise<LeaseRecord | Refusal> {
  const record = await store.leases.get(params.id ?? '')
  return record !== undefined && isOwn(record) ? record : refuse('lease_unknown')
}

function readReason(body: unknown): string | Refusal {
  const fields = isObject(body) ? body : {}
  const { reason } = fields
  return typeof reason === 'string' && Object.keys(fields).length === 1
    ? reason
    : refuse('malformed_request', { detail: 'send a JSON object with a reason and nothing else' })
}
