// THE order on authority. In: two sets of lease details. Out: whether one lies within the other, what of it
// does not, and what both have in common. Narrowing, renewal and delegation go through here and nowhere else.
// Pure. Never widens; what it does not understand is within nothing.
import type { LeaseDetail } from './allow.ts'
import { commonConstraints, constraintsCover } from './constraints.ts'
import { identifierCovers, type Risk, sensitivityCovers } from './lease.ts'

type Details = readonly LeaseDetail[]

/** Entries of one lease, as `details.ts` reads them. */
export const maxDetails = 64

/**
 * Whether `inner` grants nothing that `outer` does not. Entries are alternatives, so each action of each entry
 * has to be covered by some entry of `outer`: identifier equal or below its `/*`, sensitivity no higher, every
 * constraint of it present and no broader. An entry with an unknown constraint lies within nothing.
 */
export function isWithin(inner: Details, outer: Details): boolean {
  return firstBeyond(inner, outer) === undefined
}

/** The first action of `inner` that `outer` does not cover, as an entry with that action alone. */
export function firstBeyond(inner: Details, outer: Details): LeaseDetail | undefined {
  for (const entry of inner) {
    for (const action of entry.actions) {
      if (!outer.some((wider) => covers(wider, entry, action))) return { ...entry, actions: [action] }
    }
  }
  return undefined
}

/**
 * What both sets grant: the widest details that lie within each. Undefined when that takes more entries than a
 * lease can have; an empty list when they share nothing.
 */
export function inCommon(one: Details, other: Details): LeaseDetail[] | undefined {
  const shared: LeaseDetail[] = []
  for (const a of one) {
    for (const b of other) {
      const both = meet(a, b)
      if (both === undefined || isWithin([both], shared)) continue
      shared.push(both)
      if (shared.length > maxDetails) return undefined
    }
  }
  return shared
}

/** Each entry with a ceiling on risk: `medium` where it has none, so that high risk has to be asked for. */
export function withRiskCeiling(details: Details): LeaseDetail[] {
  return details.map((entry) =>
    entry.constraints?.max_risk === undefined
      ? { ...entry, constraints: { ...entry.constraints, max_risk: 'medium' } }
      : entry,
  )
}

/** Each entry with a ceiling on risk of at most `ceiling`. */
export function upToRisk(details: Details, ceiling: Risk): LeaseDetail[] {
  return details.map((entry) => ({
    ...entry,
    constraints: {
      ...entry.constraints,
      ...commonConstraints(entry.constraints ?? {}, { max_risk: ceiling }),
    },
  }))
}

function covers(outer: LeaseDetail, inner: LeaseDetail, action: string): boolean {
  return (
    (outer.actions.includes(action) || outer.actions.includes('*')) &&
    identifierCovers(outer.identifier, inner.identifier) &&
    sensitivityCovers(outer.sensitivity, inner.sensitivity) &&
    constraintsCover(outer.constraints ?? {}, inner.constraints ?? {})
  )
}

/** The part of two entries that both grant; undefined when there is none. */
function meet(a: LeaseDetail, b: LeaseDetail): LeaseDetail | undefined {
  const identifier = narrower(a.identifier, b.identifier)
  const actions = commonActions(a.actions, b.actions)
  const constraints = commonConstraints(a.constraints ?? {}, b.constraints ?? {})
  if (identifier === undefined || actions.length === 0 || constraints === undefined) return undefined
  const sensitivity = sensitivityCovers(a.sensitivity, b.sensitivity) ? b.sensitivity : a.sensitivity
  const limited = Object.keys(constraints).length > 0
  return { type: 'lease', actions, identifier, sensitivity, ...(limited && { constraints }) }
}

function narrower(a: string, b: string): string | undefined {
  if (identifierCovers(a, b)) return b
  return identifierCovers(b, a) ? a : undefined
}

function commonActions(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a.includes('*')) return b
  if (b.includes('*')) return a
  return a.filter((action) => b.includes(action))
}
