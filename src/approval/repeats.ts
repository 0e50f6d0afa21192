// Bounded repeats: "the same verb on this resource, five times, ten minutes, this lease", granted with a yes. In:
// records. Out: the repeat that covers a call, and each of its uses at most once over all processes. Decides nothing:
// a call that a repeat covers is held against lease, policy, revocations and budget like every other.
import { createHash } from 'node:crypto'
import { isObject } from '../lease/text.ts'
import { type Place, type Records, type RecordWrite, type StoredRecord, Unavailable } from '../ports.ts'
import type { Action, Yes } from './action.ts'
import type { Voice } from './rules.ts'

/** What a repeat is for: exactly this, under exactly this lease. */
export interface RepeatedCall {
  readonly issuer: string
  readonly lease: string
  readonly backend: string
  /** As mapped, e.g. `DELETE /customers/{id}`. */
  readonly operation: string
  readonly verb: string
  readonly resource: string
}

/** One bounded repeat. Times are seconds since 1970. */
export interface Repeat extends RepeatedCall {
  /** `rpt_…`: that of the action it was granted with. */
  readonly id: string
  readonly action: string
  readonly user: string
  readonly agent: string
  /** As granted. */
  readonly calls: number
  readonly callsLeft: number
  readonly expiresAt: number
  /** Who granted it: everybody whose yes counted. */
  readonly by: readonly Voice[]
  readonly at: number
  readonly reason: string
  readonly revoked?: { readonly by: string; readonly at: number; readonly reason: string }
}

export type RepeatState = 'active' | 'used_up' | 'expired' | 'revoked'

/** What it is worth at `now`; only `active` lets anything through. */
export function repeatState({ revoked, callsLeft, expiresAt }: Repeat, now: number): RepeatState {
  if (revoked !== undefined) return 'revoked'
  // Negated, so that numbers which are none are over.
  if (!(now < expiresAt)) return 'expired'
  return callsLeft >= 1 ? 'active' : 'used_up'
}

/** What may be granted: as much as each of these people has, and only if all of them have. */
export function granted(yes: readonly Yes[]): Yes['repeat'] {
  const asked = yes.flatMap(({ repeat }) => repeat ?? [])
  if (asked.length === 0 || asked.length < yes.length) return undefined
  return {
    calls: Math.min(...asked.map(({ calls }) => calls)),
    seconds: Math.min(...asked.map(({ seconds }) => seconds)),
  }
}

/** The repeat that comes with the last yes to `action`, which ends with its lease at the latest. */
export function repeatOf(
  { id, what, lease, yes }: Action,
  { calls, seconds }: NonNullable<Yes['repeat']>,
  { leaseEndsAt, now }: { readonly leaseEndsAt: number; readonly now: number },
): Repeat {
  const { backend, operation, verb, resource } = what
  return {
    id: repeatId(id),
    action: id,
    ...{ issuer: lease.issuer, lease: lease.id, backend, operation, verb, resource },
    user: lease.user,
    agent: lease.agent.id,
    calls,
    callsLeft: calls,
    expiresAt: Math.min(now + seconds, leaseEndsAt),
    by: yes.map(({ by, as }) => ({ by, as })),
    at: now,
    reason: yes.at(-1)?.reason ?? '',
  }
}

/** The id of the repeat that is granted with an action: there is one at most. */
export function repeatId(action: string): string {
  return action.replace(/^act_/, 'rpt_')
}

/** A repeat and the version that a change of it has to be made from. */
export interface KeptRepeat {
  readonly repeat: Repeat
  readonly version: number
}

/** Undefined: there is none, or nobody asks for it any more. Throws `Unavailable`. */
export async function getRepeat(records: Pick<Records, 'get'>, id: string): Promise<KeptRepeat | undefined> {
  const record = await records.get('repeat', id)
  return record && read(record)
}

/** Repeats of one call that are looked at: a person has granted each. */
const depth = 50

/**
 * A repeat that covers this call at `now` and has calls left; using it is another step. Undefined: a human has to
 * decide. Throws `Unavailable`.
 */
export async function findRepeat(
  records: Records,
  call: RepeatedCall,
  now: number,
): Promise<KeptRepeat | undefined> {
  const list = callList(call)
  const found = await records.list('repeat', list, { limit: depth })
  return found
    .map(read)
    .find(({ repeat }) => repeatState(repeat, now) === 'active' && callList(repeat) === list)
}

/**
 * Uses up one call. Undefined: there is none left, or no time. Never more than were granted, over all processes and
 * restarts; a use whose write timed out may be lost, and is never one too many. Throws `Unavailable`.
 */
export async function useRepeat(
  records: Records,
  id: string,
  now: number,
  givenUp?: AbortSignal,
): Promise<Repeat | undefined> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const kept = await getRepeat(records, id)
    if (givenUp?.aborted || kept === undefined || repeatState(kept.repeat, now) !== 'active') return undefined
    const used = { ...kept.repeat, callsLeft: kept.repeat.callsLeft - 1 }
    if (await records.write([writeRepeat(used, kept.version)])) return used
  }
  throw new Unavailable('others keep using the same repeat')
}

/** Each time somebody else was faster; with that many at once, a 503 is right. */
const attempts = 32

/**
 * Ends a repeat for good. `changed` false: it had ended already, and keeps telling how. Undefined: there is none.
 * Throws `Unavailable`.
 */
export async function revokeRepeat(
  records: Records,
  id: string,
  revoked: NonNullable<Repeat['revoked']>,
): Promise<{ readonly repeat: Repeat; readonly changed: boolean } | undefined> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const kept = await getRepeat(records, id)
    if (kept === undefined) return undefined
    if (repeatState(kept.repeat, revoked.at) !== 'active') return { repeat: kept.repeat, changed: false }
    const ended = { ...kept.repeat, revoked }
    if (await records.write([writeRepeat(ended, kept.version)])) return { repeat: ended, changed: true }
  }
  throw new Unavailable('others keep changing the same repeat')
}

/** Newest first: of one lease (of whatever issuer), or all. Throws `Unavailable`. */
export async function listRepeats(
  records: Records,
  lease: string | undefined,
  options: { readonly limit: number; readonly before?: Place },
): Promise<Repeat[]> {
  const list = lease === undefined ? 'all' : `lease:${lease}`
  return (await records.list('repeat', list, options)).map((record) => read(record).repeat)
}

/** Kept after its end, so that people can look back. */
const keepSeconds = 86_400

/** The write of a repeat over the version that was read; 0: there was none. */
export function writeRepeat(repeat: Repeat, expect: number): RecordWrite {
  return {
    kind: 'repeat',
    id: repeat.id,
    expect,
    text: JSON.stringify(repeat),
    expiresAt: repeat.expiresAt + keepSeconds,
    lists: ['all', `lease:${repeat.lease}`, callList(repeat)],
    at: repeat.at,
  }
}

/** The list of those that cover a call. */
function callList({ issuer, lease, backend, operation, verb, resource }: RepeatedCall): string {
  const names = JSON.stringify([issuer, lease, backend, operation, verb, resource])
  return `call:${createHash('sha256').update(names).digest('base64url')}`
}

function read({ text, version }: StoredRecord): KeptRepeat {
  const repeat: unknown = JSON.parse(text)
  const isRead = isObject(repeat) && typeof repeat.id === 'string' && Array.isArray(repeat.by)
  if (!isRead || !Number.isSafeInteger(repeat.callsLeft)) {
    throw new Unavailable('a stored repeat is malformed')
  }
  return { repeat: repeat as Record<string, unknown> & Repeat, version }
}
