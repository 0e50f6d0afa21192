// Which leases somebody means, and what is known of them. In: a search, the store ports, the time. Out: leases
// with their state, calls and relatives. The command line and the API ask here. Changes nothing.
import { setImmediate } from 'node:timers/promises'
import { listRepeats } from '../approval/repeats.ts'
import type {
  Budgets,
  LeaseFilter,
  LeasePlace,
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
  /** Anywhere in its id, user, agent, task, purpose or session; upper and lower case are the same. */
  readonly text?: string
}

export const lifeStates: readonly LifeState[] = ['active', 'suspended', 'revoked', 'completed', 'expired']

/** Relatives of a lease are looked for among so many of its user, the newest. */
const searchDepth = 1_000
/** A page that is filtered by more than what is stored is looked for among so many. */
const pageDepth = 5_000
/** Leases that are read in one go, before others run: about a millisecond. */
const chunk = 100

/** Leases, newest first. */
export interface LeasePage {
  readonly leases: readonly KnownLease[]
  /** Where to go on; undefined: there are no more. */
  readonly next: LeasePlace | undefined
}

/** Newest first, at most `limit`. Throws `Unavailable`. */
export async function findLeases(
  search: LeaseSearch,
  sources: LeaseSources,
  now: number,
): Promise<LeasePage> {
  const { state, unusedSeconds, text, limit, before, ...filter } = search
  const wanted = unusedSeconds === undefined ? state : 'active'
  if (state !== undefined && state !== wanted) return { leases: [], next: undefined }
  const stored = storedAs(wanted)
  const isPlain = wanted === undefined && text === undefined
  const leases: KnownLease[] = []
  let place = before
  for (let looked = 0; isPlain || looked < pageDepth; looked += chunk) {
    // The embedded store answers at once: without this nobody else would run.
    if (looked > 0) await setImmediate()
    // One more than is told, to know whether there are more.
    const size = isPlain ? Math.min(chunk, limit - leases.length + 1) : chunk
    const records = await sources.leases.list({
      ...filter,
      ...(stored !== undefined && { state: stored }),
      ...(place !== undefined && { before: place }),
      limit: size,
    })
    const fitting = records
      // Once more, for a tenant: what an adapter let through would be shown to strangers.
      .filter((record) => filter.tenant === undefined || record.tenant === filter.tenant)
      .filter((record) => text === undefined || isAbout(record, text))
      .map((record) => ({ record, state: leaseState(record, sources.revocations, now) }))
      .filter((known) => wanted === undefined || known.state.state === wanted)
    const known = unusedSeconds === undefined ? fitting : await unused(fitting, unusedSeconds, sources, now)
    const taken = known.slice(0, limit - leases.length)
    leases.push(...(await withUsage(taken, sources)))
    const isLast = records.length < size
    const newest = taken.length < known.length ? taken.at(-1)?.record : records.at(-1)
    place = newest === undefined ? place : { issuedAt: newest.issuedAt, id: newest.id }
    if (isLast && taken.length === known.length) return { leases, next: undefined }
    if (leases.length === limit) return { leases, next: place }
  }
  return { leases, next: place }
}

/** Whether somebody who looks for `text` may mean it. */
function isAbout({ id, user, agent, task, session }: LeaseRecord, text: string): boolean {
  const words = text.toLowerCase()
  return [id, user, agent, task.id, task.purpose, session].some((each) => each.toLowerCase().includes(words))
}

async function unused(
  leases: readonly Pick<KnownLease, 'record' | 'state'>[],
  seconds: number,
  sources: LeaseSources,
  now: number,
): Promise<KnownLease[]> {
  return (await withUsage(leases, sources)).filter((each) => now - lastUse(each) >= seconds)
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
