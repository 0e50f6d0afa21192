// Who has to say yes, and how: what policy answers beside `hold` and `draft`. In: the answer's `approval`. Out: the
// terms, or undefined for anything that is not exactly that. Pure; repairs nothing.
import { isObject } from '../lease/text.ts'

/** The terms of one approval. Durations are seconds. */
export interface Terms {
  /** People as leases name users, and `group:` names. At least one. */
  readonly approvers: readonly string[]
  /** How long anybody has. */
  readonly expiresIn: number
  /** Different people who have to say yes. */
  readonly quorum: number
  /** Whether a yes needs a reason; one to an action of high risk always does. */
  readonly reasonRequired: boolean
  /** How long after the end of the lease a released draft is still executed; 0: not at all. */
  readonly afterLease: number
  /** The widest repeat that an approver may grant with a yes; undefined: none. */
  readonly repeat: { readonly calls: number; readonly seconds: number } | undefined
}

const members: ReadonlySet<string> = new Set([
  'approvers',
  'expires_in',
  'quorum',
  'reason_required',
  'after_lease',
  'repeat',
])

/** No approval waits longer than a week, and nobody has to find more people than this. */
const maxSeconds = 7 * 86_400
const maxQuorum = 10

/** Reads `approval` of an answer. */
export function readTerms(value: unknown): Terms | undefined {
  if (!isObject(value) || !Object.keys(value).every((key) => members.has(key))) return undefined
  const { approvers, expires_in: expiresIn, quorum = 1, reason_required: reasonRequired = false } = value
  const { after_lease: afterLease = 0, repeat } = value
  if (!isNames(approvers) || !isCount(expiresIn, maxSeconds) || !isCount(quorum, maxQuorum)) return undefined
  if (typeof reasonRequired !== 'boolean') return undefined
  if (afterLease !== 0 && !isCount(afterLease, maxSeconds)) return undefined
  const bounded = repeat === undefined ? undefined : readRepeat(repeat)
  if (repeat !== undefined && bounded === undefined) return undefined
  return { approvers, expiresIn, quorum, reasonRequired, afterLease, repeat: bounded }
}

function readRepeat(value: unknown): Terms['repeat'] {
  if (!isObject(value) || Object.keys(value).length !== 2) return undefined
  const { calls, seconds } = value
  return isCount(calls, 1000) && isCount(seconds, 86_400) ? { calls, seconds } : undefined
}

function isNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '')
}

function isCount(value: unknown, max: number): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 1 && Number(value) <= max
}
