// THE table of what a grant may be limited by: how each limit is written, and which of two is narrower. ADD A
// CONSTRAINT HERE; the gate enforces each (enforce/limits.ts). Pure. What it does not understand is no
// constraint, and the grant it stands in is good for nothing.
import { parseAmount } from './amount.ts'
import { type Risk, risks } from './lease.ts'
import { parseRate, rateIsWithin, rateText, slowerRate } from './rate.ts'

/**
 * What a grant may be limited by. Every total is one for a lease: all its tokens, all its grants and all leases
 * handed on from it count together.
 */
export interface LeaseConstraints {
  readonly max_calls?: number
  /** Bytes of request and response bodies. */
  readonly max_bytes?: number
  /** A decimal such as `250.00`, of what operations with `amount` move. */
  readonly max_amount?: string
  /** `20/1m` or `20/1m burst 5`. */
  readonly max_rate?: string
  /** Operations above this risk are not covered. */
  readonly max_risk?: Risk
}

/** How the values of one constraint are read and ordered. */
interface Kind {
  /** One sentence: what to write. */
  readonly syntax: string
  isValid(value: unknown): boolean
  /** Whether `inner` is no broader than `outer`; both are valid. */
  isWithin(inner: unknown, outer: unknown): boolean
  /** The broadest value within both. */
  both(a: unknown, b: unknown): unknown
}

/** Where one of two values is always within the other. */
function ordered<T>(syntax: string, read: (value: unknown) => T | undefined): Kind {
  const isWithin = (inner: unknown, outer: unknown) => read(inner)! <= read(outer)!
  return {
    syntax,
    isValid: (value) => read(value) !== undefined,
    isWithin,
    both: (a, b) => (isWithin(a, b) ? a : b),
  }
}

const rate: Kind = {
  syntax: 'max_rate: calls per time, such as "20/1m" or "20/1m burst 5"',
  isValid: (value) => rateOf(value) !== undefined,
  isWithin: (inner, outer) => rateIsWithin(rateOf(inner)!, rateOf(outer)!),
  both: (a, b) => rateText(slowerRate(rateOf(a)!, rateOf(b)!)),
}

const kinds: Readonly<Record<keyof LeaseConstraints, Kind>> = {
  max_calls: ordered('max_calls: a whole number', countOf),
  max_bytes: ordered('max_bytes: a whole number', countOf),
  max_amount: ordered('max_amount: a decimal such as "250.00"', amountOf),
  max_rate: rate,
  max_risk: ordered('max_risk: low, medium or high', rankOf),
}

/** Every constraint and what to write for it. */
export const constraintSyntax: readonly string[] = Object.values(kinds).map(({ syntax }) => syntax)

/** The names of all constraints. */
export const constraintNames: readonly string[] = Object.keys(kinds)

/** Whether constraints are known, each with a value that the gate can enforce. */
export function areConstraints(value: object): value is LeaseConstraints {
  // No list of entries: the gate asks this of every grant of every request.
  for (const name in value) {
    if (!isName(name) || !kinds[name].isValid(Reflect.get(value, name))) return false
  }
  return true
}

/** Whether, beside that, each leaves something: nobody is issued a lease that is used up. */
export function areIssuable(value: object): value is LeaseConstraints {
  return areConstraints(value) && value.max_calls !== 0 && value.max_bytes !== 0
}

/** Whether every constraint of `outer` stands in `inner` and is no broader there. Unknown ones: never. */
export function constraintsCover(outer: object, inner: object): boolean {
  if (!areConstraints(outer) || !areConstraints(inner)) return false
  return namesIn(outer).every(
    (name) => inner[name] !== undefined && kinds[name].isWithin(inner[name], outer[name]),
  )
}

/** The broadest constraints that both cover; undefined where one of them is unknown. */
export function commonConstraints(a: object, b: object): LeaseConstraints | undefined {
  if (!areConstraints(a) || !areConstraints(b)) return undefined
  const both: Record<string, unknown> = { ...a, ...b }
  for (const name of namesIn(a)) if (b[name] !== undefined) both[name] = kinds[name].both(a[name], b[name])
  return both
}

function isName(name: string): name is keyof LeaseConstraints {
  return Object.hasOwn(kinds, name)
}

function namesIn(constraints: LeaseConstraints): (keyof LeaseConstraints)[] {
  return Object.keys(constraints).filter(isName)
}

function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function amountOf(value: unknown): bigint | undefined {
  return typeof value === 'string' ? parseAmount(value) : undefined
}

function rateOf(value: unknown) {
  return typeof value === 'string' ? parseRate(value) : undefined
}

function rankOf(value: unknown): number | undefined {
  const ranks: readonly unknown[] = risks
  const rank = ranks.indexOf(value)
  return rank < 0 ? undefined : rank
}
