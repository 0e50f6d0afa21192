// In: a lease as it is stored, and what is to become of it. Out: the lease afterwards, the same for both
// adapters; its text. It never takes a text for a lease that is not one.
import { isObject } from '../lease/text.ts'
import {
  type LeaseRecord,
  type LeaseTransition,
  type LeaseUsage,
  type LeaseUse,
  type StoredState,
  storedStates,
  type TransitionResult,
  Unavailable,
} from '../ports.ts'

/** `record` with one more token, that lives until `expiresAt`; undefined: no token comes any more. */
export function renewed(record: LeaseRecord | undefined, expiresAt: number): LeaseRecord | undefined {
  if (record?.state !== 'active') return undefined
  const renewals = record.renewals + 1
  return { ...record, renewals, expiresAt: Math.max(record.expiresAt, expiresAt) }
}

/** What comes of asking for `change`; the record has to be written where the outcome is `changed`. */
export function transitioned(record: LeaseRecord | undefined, change: LeaseTransition): TransitionResult {
  if (record === undefined) return { outcome: 'unknown' }
  const { from, to, at, by, reason } = change
  if (record.state === to) return { outcome: 'unchanged', record }
  if (!from.includes(record.state)) return { outcome: 'conflict', record }
  const version = record.version + 1
  return { outcome: 'changed', record: { ...record, state: to, version, changed: { at, by, reason } } }
}

/** `system:id`, as filters and revocations name a task. */
export function taskOf({ task }: Pick<LeaseRecord, 'task'>): string {
  return `${task.system}:${task.id}`
}

const texts = ['id', 'issuer', 'user', 'agent', 'agentVersion', 'session', 'stage'] as const
const laterTexts = ['tenant', 'agentEnv', 'clientId', 'profile', 'profileVersion', 'audience'] as const
const numbers = ['issuedAt', 'expiresAt', 'maxExpiresAt', 'renewals', 'version'] as const
const lists = ['details', 'ancestors', 'delegatedBy'] as const

/** What records of the first version do not say. An empty `clientId` is nobody: such a lease is not renewed. */
const unsaid = {
  ...{ tenant: '', agentEnv: '', clientId: '', profile: '', profileVersion: '', audience: '' },
  ...{ ancestors: [], delegatedBy: [], renewals: 0, version: 0 },
} satisfies Partial<LeaseRecord>

/** Reads the JSON of a record, of the first version too. Throws `Unavailable` for anything else. */
export function decodeLease(text: string): LeaseRecord {
  const stored = parseObject(text, 'lease')
  const value = { ...unsaid, ...stored }
  if (!isLease(value)) throw new Unavailable('a stored lease is malformed')
  return value
}

function isLease(value: Record<string, unknown>): value is Record<string, unknown> & LeaseRecord {
  const { task } = value
  return (
    [...texts, ...laterTexts].every((name) => typeof value[name] === 'string') &&
    numbers.every((name) => Number.isFinite(value[name])) &&
    lists.every((name) => Array.isArray(value[name])) &&
    storedStates.includes(value.state as StoredState) &&
    isObject(task) &&
    [task.system, task.id, task.purpose].every((each) => typeof each === 'string')
  )
}

/** Two usages of one lease as one. */
export function addUsage(one: LeaseUsage, other: LeaseUsage): LeaseUsage {
  const verbs = new Map(Object.entries(one.verbs))
  for (const [verb, calls] of Object.entries(other.verbs)) verbs.set(verb, (verbs.get(verb) ?? 0) + calls)
  return {
    calls: one.calls + other.calls,
    verbs: Object.fromEntries(verbs),
    refusals: one.refusals + other.refusals,
    bytesIn: one.bytesIn + other.bytesIn,
    bytesOut: one.bytesOut + other.bytesOut,
    lastUsedAt: Math.max(one.lastUsedAt, other.lastUsedAt),
  }
}

/** The name that a usage is kept under: two issuers may use one id. Either may hold any character. */
export function usageName({ issuer, id }: Pick<LeaseUse, 'id' | 'issuer'>): string {
  return JSON.stringify([issuer, id])
}

/** What is known of a lease beside its name. */
export function usageOf({ id: _, issuer: __, ...usage }: LeaseUse): LeaseUsage {
  return usage
}

/** Reads the JSON of a usage. Throws `Unavailable` for anything else. */
export function decodeUsage(text: string): LeaseUsage {
  const { calls, verbs, refusals, bytesIn, bytesOut, lastUsedAt } = parseObject(text, 'usage')
  const counts = [calls, refusals, bytesIn, bytesOut, lastUsedAt]
  const known = isObject(verbs) && [...counts, ...Object.values(verbs)].every(Number.isFinite)
  if (!known) throw new Unavailable('a stored usage is malformed')
  return { calls, verbs, refusals, bytesIn, bytesOut, lastUsedAt } as LeaseUsage
}

/** Parses a stored JSON object. Throws `Unavailable`, without what JSON.parse would quote of it. */
export function parseObject(text: string, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // Said below.
  }
  throw new Unavailable(`a stored ${what} is malformed`)
}
