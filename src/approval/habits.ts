// How people decide: how often with a yes, and how many of those within two seconds of being shown what it is about.
// In: what somebody was shown, what they said. Out: counts. Never a reason to refuse; nothing of an action but its id.
import { createHash } from 'node:crypto'
import { isObject } from '../lease/text.ts'
import { type Records, type RecordWrite, type StoredRecord, Unavailable } from '../ports.ts'
import type { Action } from './action.ts'
import { foldName, type Identity } from './people.ts'

/** Of one person; `yes` holds `fastYes`. */
export interface Habits {
  readonly user: string
  readonly yes: number
  readonly no: number
  readonly fastYes: number
}

/** A yes that comes sooner than this after its action was shown cannot have been read, seconds. */
const fastSeconds = 2
/** Forgotten when they have not decided for so long. */
const keepSeconds = 90 * 86_400

/** Which action somebody was shown, and until when it matters. */
export type Shown = Pick<Action, 'id' | 'fingerprint' | 'expiresAt'>

/** Notes that somebody sees an action for the first time; every later time changes nothing. Throws `Unavailable`. */
export async function noteShown(
  records: Records,
  person: Identity,
  shown: Shown,
  now: number,
): Promise<void> {
  const id = shownId(person, shown)
  const known = await records.get('approver', id)
  if (known !== undefined) return
  const text = JSON.stringify({ at: now })
  await records.write([{ kind: 'approver', id, expect: 0, text, expiresAt: shown.expiresAt, at: now }])
}

/** The write that counts one decision, to be made in the same step as the decision itself. Throws `Unavailable`. */
export async function countDecision(
  records: Records,
  person: Identity,
  said: 'yes' | 'no',
  about: Shown,
  now: number,
): Promise<RecordWrite> {
  const id = personId(person)
  const [known, shown] = await Promise.all([
    records.get('approver', id),
    records.get('approver', shownId(person, about)),
  ])
  const { yes, no, fastYes } = known === undefined ? none : read(known)
  const isFast = said === 'yes' && !(now - shownAt(shown) >= fastSeconds)
  const next: Habits = {
    user: person.user,
    yes: yes + (said === 'yes' ? 1 : 0),
    no: no + (said === 'no' ? 1 : 0),
    fastYes: fastYes + (isFast ? 1 : 0),
  }
  return {
    kind: 'approver',
    id,
    expect: known?.version ?? 0,
    text: JSON.stringify(next),
    expiresAt: now + keepSeconds,
    lists: ['all'],
    at: now,
  }
}

const none = { yes: 0, no: 0, fastYes: 0 }

/** Those who have decided, the latest first. Throws `Unavailable`. */
export async function listHabits(records: Records, limit: number): Promise<Habits[]> {
  return (await records.list('approver', 'all', { limit })).map(read)
}

/** Never having been shown it is no reason to have taken long. */
function shownAt(record: StoredRecord | undefined): number {
  const value: unknown = record && JSON.parse(record.text)
  return isObject(value) && typeof value.at === 'number' ? value.at : Number.NaN
}

function read({ text }: StoredRecord): Habits {
  const value: unknown = JSON.parse(text)
  const { user, yes, no, fastYes } = isObject(value) ? value : {}
  if (typeof user !== 'string' || typeof yes !== 'number' || typeof no !== 'number') {
    throw new Unavailable('a stored habit is malformed')
  }
  return { user, yes, no, fastYes: Number(fastYes) }
}

/** One person under two spellings is one. */
function personId({ user }: Identity): string {
  return digest(['person', foldName(user)])
}

function shownId({ user }: Identity, { id, fingerprint }: Shown): string {
  return digest(['shown', foldName(user), id, fingerprint])
}

function digest(names: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(names)).digest('base64url')
}
