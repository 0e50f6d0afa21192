// What people and agents do with a lease that is there: revoke, suspend, resume, complete. In: an order, the
// store ports, the time. Out: the record as it is now, or the refusal. The command line and the API end here.
// Two writes each, in the order in which a crash between them leaves the lease dead or held, never freed.
import { maxLeaseSeconds, revocationKey } from '../lease/lease.ts'
import { isPlainText } from '../lease/text.ts'
import {
  isDoubtful,
  type LeaseRecord,
  type Leases,
  type Revocation,
  type Revocations,
  type Store,
  type StoredState,
} from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { leaseState } from './lease_state.ts'
import { makeRevocation, type RevocationAsk } from './revocation.ts'
import { cutoffTime } from './times.ts'

/** What can be done with a lease. */
export const lifecycleVerbs = ['revoke', 'suspend', 'resume', 'complete'] as const
export type LifecycleVerb = (typeof lifecycleVerbs)[number]

/** One order. `by` is for the record, never an authority: whoever calls has checked it. */
export interface LifecycleOrder {
  readonly verb: LifecycleVerb
  readonly by: string
  readonly reason: string
  /** By this process's clock, seconds since 1970. */
  readonly now: number
}

/** The ports that it works on; any `Store` has them. */
export interface LifecycleStore extends Pick<Store, 'now'> {
  readonly leases: Pick<Leases, 'get' | 'transition'>
  readonly revocations: Revocations
}

interface Transition {
  readonly from: readonly StoredState[]
  readonly to: StoredState
}

const transitions: Readonly<Record<LifecycleVerb, Transition>> = {
  revoke: { from: ['active', 'suspended'], to: 'revoked' },
  complete: { from: ['active', 'suspended'], to: 'completed' },
  suspend: { from: ['active'], to: 'suspended' },
  resume: { from: ['suspended'], to: 'active' },
}

/** A suspension is kept this much longer than its lease lasts, seconds: on whatever clock, its tokens are over. */
const keepSeconds = 86_400

/**
 * Changes the state of `record`, which the caller has read and may see. Repeating an order changes nothing and
 * writes again what a crash may have kept from being written. Refuses with `lease_state_conflict` what the
 * state of the lease does not allow, and everything of a lease that has expired. Throws `Unavailable`.
 */
export async function changeLease(
  record: LeaseRecord,
  asked: LifecycleOrder,
  store: LifecycleStore,
): Promise<LeaseRecord | Refusal> {
  const order = { ...asked, now: await cutoffTime(store, asked.now) }
  const problem = problemWith(record, order, store)
  if (problem !== undefined) return problem
  return order.verb === 'suspend' || order.verb === 'resume'
    ? hold(record, order, store)
    : end(record, order, store)
}

function problemWith(
  record: LeaseRecord,
  { verb, by, reason, now }: LifecycleOrder,
  { revocations }: LifecycleStore,
): Refusal | undefined {
  if (!isPlainText(reason)) return notOneLine()
  const { state, revocation } = leaseState(record, revocations, now)
  if (state === 'expired') return conflict(verb, state)
  const { from, to } = transitions[verb]
  if (record.state !== to && !from.includes(record.state)) return conflict(verb, record.state)
  if (revocation === undefined || verb === 'revoke') return undefined
  // The first half of its own completion looks like a revocation, and has to be finished.
  const isOwnEnd = revocation.scope === 'lease' && revocation.value === record.id && revocation.by === by
  return verb === 'complete' && isOwnEnd ? undefined : conflict(verb, 'revoked')
}

function notOneLine(): Refusal {
  return refuse('malformed_request', { detail: 'write the reason on one line, 256 characters at most' })
}

/** Dead at every gate first, then in the record. */
async function end(
  record: LeaseRecord,
  order: LifecycleOrder,
  store: LifecycleStore,
): Promise<LeaseRecord | Refusal> {
  const { by, reason, now } = order
  const entry = makeRevocation({ scope: 'lease', value: record.id, by, reason }, Math.floor(now))
  if (isRefusal(entry)) return entry
  await write(entry, store.revocations, now)
  return transition(record, order, store)
}

/** In the record first: its version orders what gates hear, however many change the lease at once. */
async function hold(
  record: LeaseRecord,
  order: LifecycleOrder,
  store: LifecycleStore,
): Promise<LeaseRecord | Refusal> {
  const changed = await transition(record, order, store)
  if (isRefusal(changed)) return changed
  await store.revocations.suspend({
    lease: changed.id,
    suspended: changed.state === 'suspended',
    version: changed.version,
    expiresAt: changed.maxExpiresAt + keepSeconds,
    reason: order.reason,
    by: order.by,
    at: Math.floor(order.now),
  })
  return changed
}

async function transition(
  { id }: LeaseRecord,
  { verb, by, reason, now }: LifecycleOrder,
  { leases }: LifecycleStore,
): Promise<LeaseRecord | Refusal> {
  const change = { ...transitions[verb], at: Math.floor(now), by, reason }
  const result = await leases.transition(id, change)
  if (result.outcome === 'unknown') return refuse('lease_unknown')
  return result.outcome === 'conflict' ? conflict(verb, result.record.state) : result.record
}

function conflict(verb: LifecycleVerb, state: LeaseRecord['state'] | 'expired'): Refusal {
  return refuse('lease_state_conflict', {
    detail: `the lease is ${state}: ${verb} is not possible any more`,
    reasons: [`lease_${state}`],
  })
}

/** What has been written, and whether it stood already. */
interface Written {
  readonly entry: Revocation
  readonly repeated: boolean
}

/**
 * Writes an entry. Where one stands that kills all that this one would, that one is written once more: it keeps
 * its reason, nobody is told twice, and a store that has lost it has it again.
 */
async function write(entry: Revocation, revocations: Revocations, now: number): Promise<Written> {
  const key = revocationKey(entry.scope, entry.value, entry.issuer)
  const standing = revocations.find([key], entry.cutoff)
  // What stands for an entry that cannot be read is for good, and nobody has asked for that: it is replaced.
  if (standing === undefined || isDoubtful(standing)) {
    await revocations.revoke(entry)
    return { entry, repeated: false }
  }
  // A lease of that name may be issued yet.
  const isLasting = standing.expiresAt >= now + maxLeaseSeconds
  const again = isLasting ? standing : { ...standing, expiresAt: entry.expiresAt }
  await revocations.revoke(again)
  return { entry: again, repeated: true }
}

/**
 * Revokes in bulk, or one lease that need not be recorded here; marks the record of a lease that is. A repeated
 * order answers with the entry that stands. Refuses with `malformed_request` what could match no lease, and a
 * reason that is not one line. `askedAt`: by this process's clock, seconds since 1970. Throws `Unavailable`; what has
 * been written stays.
 */
export async function revokeAll(
  ask: RevocationAsk,
  store: LifecycleStore,
  askedAt: number,
): Promise<(Written & { readonly marked: LeaseRecord | undefined }) | Refusal> {
  if (!isPlainText(ask.reason)) return notOneLine()
  const now = await cutoffTime(store, askedAt)
  const made = makeRevocation(ask, Math.floor(now))
  if (isRefusal(made)) return made
  const written = await write(made, store.revocations, now)
  const { entry } = written
  if (entry.scope !== 'lease') return { ...written, marked: undefined }
  const record = await store.leases.get(entry.value)
  if (record === undefined || (entry.issuer !== undefined && entry.issuer !== record.issuer)) {
    return { ...written, marked: undefined }
  }
  const { by, reason } = entry
  const marked = await transition(record, { verb: 'revoke', by, reason, now }, store)
  // Over in another way already: the entry stands, and the record keeps telling how it ended.
  return { ...written, marked: isRefusal(marked) ? undefined : marked }
}
