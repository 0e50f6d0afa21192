// Which leases somebody means, and what is known of them. In: a search, the store ports, the time. Out: leases
// with their state, calls and relatives. The command line and the API ask here. Changes nothing.
import { listRepeats } from '../approval/repeats.ts'
import type {
  Budgets,
  LeaseFilter,
  LeaseRecord,
  Leases,
  Records,
  Revocations,
  StoredState,
} from '../ports.ts'
import { budgetLeft } from './budget_left.ts'
import { type LifeState, leaseState } from './lease_state.ts'
import type { KnownLease } from './lease_view.ts'

/** The ports that it reads; any `Store` has them. */
export interface LeaseSources {
  readonly leases: Pick<Leases, 'get' | 'list' | 'usage'>
  readonly revocations: Revocations
}

/** Which leases; members that are absent do not limit. */
export interface LeaseSearch extends Omit<LeaseFilter, 'state'> {
  /** As it is now, not as it is stored. */
  readonly state?: LifeState
  /** Active ones without a call for this many seconds: since the last call, or since they were issued. */
  readonly unusedSeconds?: number
}

export const lifeStates: readonly LifeState[] = ['active', 'suspended', 'revoked', 'completed', 'expired']

/** A search that looks at more than what is stored goes through this many leases, the newest. */
export const searchDepth = 1_000

/** Newest first, at most `limit`. Throws `Unavailable`. */
export async function findLeases(
  { state, unusedSeconds, limit, ...filter }: LeaseSearch,
  sources: LeaseSources,
  now: number,
): Promise<KnownLease[]> {
  const wanted = unusedSeconds === undefined ? state : 'active'
  if (state !== undefined && state !== wanted) return []
  const depth = wanted === undefined ? limit : searchDepth
  const stored = storedAs(wanted)
  const records = await sources.leases.list({
    ...filter,
    ...(stored !== undefined && { state: stored }),
    limit: depth,
  })
  const { tenant } = filter
  const states = records
    // Once more, for a tenant: what an adapter let through would be shown to strangers.
    .filter((record) => tenant === undefined || record.tenant === tenant)
    .map((record) => ({ record, state: leaseState(record, sources.revocations, now) }))
    .filter((known) => wanted === undefined || known.state.state === wanted)
  if (unusedSeconds === undefined) return withUsage(states.slice(0, limit), sources)
  const known = await withUsage(states, sources)
  return known.filter((each) => now - lastUse(each) >= unusedSeconds).slice(0, limit)
}

/** Only what is stored as active or completed can be that; the other states come from elsewhere as well. */
function storedAs(state: LifeState | undefined): StoredState | undefined {
  return state === 'active' || state === 'completed' ? state : undefined
}

/** When a lease was last used, or else issued; seconds since 1970. */
export function lastUse({ record, usage }: Pick<KnownLease, 'record' | 'usage'>): number {
  return usage?.lastUsedAt ?? record.issuedAt
}

function withUsage(
  states: readonly Pick<KnownLease, 'record' | 'state'>[],
  { leases }: LeaseSources,
): Promise<KnownLease[]> {
  return Promise.all(states.map(async (each) => ({ ...each, usage: await leases.usage(each.record) })))
}

/** What a whole description reads beside that. */
export interface DescriptionSources extends LeaseSources {
  readonly budgets: Pick<Budgets, 'look'>
  readonly records: Records
}

/** All that is known of a lease; its children among the newest leases of its user. Throws `Unavailable`. */
export async function describeLease(
  record: LeaseRecord,
  { leases, revocations, budgets, records }: DescriptionSources,
  now: number,
): Promise<KnownLease> {
  const { id, user, tenant } = record
  const state = leaseState(record, revocations, now)
  // What is over has nothing left, and its counters may be forgotten.
  const goesOn = state.state === 'active' || state.state === 'suspended'
  const [usage, relatives, budget, granted] = await Promise.all([
    leases.usage(record),
    // Whoever a lease is handed on to still acts for the same user.
    leases.list({ user, limit: searchDepth }),
    goesOn ? budgetLeft(record, budgets) : [],
    listRepeats(records, id, { limit: searchDepth }),
  ])
  const children = relatives.filter((each) => each.tenant === tenant && each.ancestors.includes(id))
  const repeats = { granted: granted.filter((each) => each.issuer === record.issuer), at: now }
  return { record, state, usage, budget, repeats, children: children.map((each) => each.id) }
}
