// What has to be known of a lease before anybody decides on what was asked for under it. In: an action, the state
// ports, the time. Out: who stands behind it and whether it goes on. A view of revocations that is too old is a no.
import { leaseState } from '../broker/lease_state.ts'
import { type Lease, revocationKeys } from '../lease/lease.ts'
import { type LeaseRecord, type Leases, type Revocations, Unavailable } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Action, Person, Yes } from './action.ts'
import type { Actions, HeldCall } from './actions.ts'
import { foldName, isSamePerson } from './people.ts'
import type { Behind, KnownPerson } from './rules.ts'

/** Where it is read. */
export interface StandingSources {
  readonly actions: Actions
  readonly leases: Pick<Leases, 'get' | 'usersOf'>
  readonly revocations: Revocations
  /** Nobody decides on a view of revocations that is older, milliseconds. */
  readonly maxStalenessMs: number
}

/** What an action stands on. */
export interface Standing {
  readonly behind: Behind
  /** The call exactly as it was sent. */
  readonly call: HeldCall | undefined
  /** Why its lease does not go on; undefined: it does. */
  readonly ended: 'revoked' | 'suspended' | 'completed' | 'expired' | undefined
  /** The lease ends then at the latest, seconds since 1970. */
  readonly leaseEndsAt: number
}

/** Who decides, with every name that leases have for them. Throws `Unavailable`. */
export async function knowPerson(person: Person, leases: Pick<Leases, 'usersOf'>): Promise<KnownPerson> {
  return { person, aliases: await leases.usersOf(person) }
}

/**
 * The yes of theirs that stands, by whatever name or login of theirs it was said; undefined: none does. Throws
 * `Unavailable`.
 */
export async function ownYes(
  { person, aliases }: KnownPerson,
  yes: readonly Yes[],
  leases: Pick<Leases, 'usersOf'>,
): Promise<Yes | undefined> {
  const names = new Set([person.user, ...aliases].map(foldName))
  for (const each of yes) {
    if (isSamePerson(each.by, person)) return each
    const theirs = [each.by.user, ...(await leases.usersOf(each.by))]
    if (theirs.some((name) => names.has(foldName(name)))) return each
  }
  return undefined
}

/** Who stands behind an action, as its own facts and the record of its lease tell. */
export function behindOf(
  { lease }: Pick<Action, 'lease'>,
  record: LeaseRecord | undefined,
  handedOnBy: readonly { readonly id: string }[] = record?.delegatedBy ?? [],
): Behind {
  const delegates = [lease.agent.id, ...handedOnBy.map(({ id }) => id)]
  return { user: lease.user, login: record?.login, delegates }
}

/** The record of an action's lease; undefined: this store has none, for the lease is another issuer's. */
export async function recordOf(
  { lease }: Pick<Action, 'lease'>,
  leases: Pick<Leases, 'get'>,
): Promise<LeaseRecord | undefined> {
  const record = await leases.get(lease.id)
  return record?.issuer === lease.issuer ? record : undefined
}

/** Who stands behind an action, by all that is known of its lease. Throws `Unavailable`. */
export async function peopleBehind(action: Action, sources: StandingSources): Promise<Behind> {
  const { record, call } = await read(action, sources)
  return behindOf(action, record, call?.lease.delegatedBy)
}

/** Everything that an action stands on at `now`, seconds since 1970. Throws `Unavailable`. */
export async function standingOf(action: Action, sources: StandingSources, now: number): Promise<Standing> {
  const { revocations, maxStalenessMs } = sources
  const { record, call } = await read(action, sources)
  const lease = call?.lease
  if (lease !== undefined) await revocations.confirm(lease)
  // Asked this way round, an age that is no number is too old.
  if (!(revocations.ageMs(now * 1000) <= maxStalenessMs)) {
    throw new Unavailable('the view of revocations is too old to decide on')
  }
  return {
    behind: behindOf(action, record, lease?.delegatedBy),
    call,
    ended: record ? recordedEnd(record, revocations, now) : lease && tokenEnd(lease, revocations, now),
    leaseEndsAt: (record && endsAt(record)) ?? lease?.maxExpiresAt ?? 0,
  }
}

async function read(action: Action, { actions, leases }: StandingSources) {
  const [record, call] = await Promise.all([recordOf(action, leases), actions.call(action)])
  return { record, call }
}

function endsAt({ state, changed, maxExpiresAt }: LeaseRecord): number {
  return state === 'completed' && changed !== undefined ? Math.min(changed.at, maxExpiresAt) : maxExpiresAt
}

/** Why a recorded lease does not go on. One that is over by itself may have been revoked before or after. */
function recordedEnd(record: LeaseRecord, revocations: Revocations, now: number): Standing['ended'] {
  const { state } = leaseState(record, revocations, now)
  if (state === 'active') return undefined
  if (state !== 'completed' && state !== 'expired') return state
  const { agent, agentVersion } = record
  // At the gates, its completion is a revocation of itself.
  const id = record.state === 'completed' ? '' : record.id
  const keys = revocationKeys({ ...record, id, agent: { id: agent, version: agentVersion } })
  const isRevoked = record.state === 'revoked' || revocations.find(keys, record.issuedAt) !== undefined
  return isRevoked ? 'revoked' : state
}

/** The same of a lease as its token told of it: other issuers' leases have no record here. */
function tokenEnd(lease: Lease, revocations: Revocations, now: number): Standing['ended'] {
  const issuedAt = lease.issuedAt - lease.clockTolerance
  if (revocations.find(lease.revocationKeys, issuedAt) !== undefined) return 'revoked'
  if (revocations.suspension(lease) !== undefined) return 'suspended'
  // Negated, so that an end which is no number is over.
  return now < lease.maxExpiresAt ? undefined : 'expired'
}

/**
 * The refusal of a yes under a lease that does not go on. A draft may be released after the end of its lease for as
 * long as policy states, but never after its revocation.
 */
export function refuseEnded({ kind, terms }: Action, standing: Standing, now: number): Refusal | undefined {
  const { ended, leaseEndsAt } = standing
  const isOver = ended === 'expired' || ended === 'completed'
  if (ended === undefined || (isOver && kind === 'draft' && now < leaseEndsAt + terms.afterLease)) {
    return undefined
  }
  return refuse('action_state_conflict', {
    detail: `the lease is ${ended}: nothing is done under it any more`,
    reasons: [`lease_${ended}`],
  })
}
