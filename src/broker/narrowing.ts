// What would make a blast radius smaller. In: an agent's leases and how they were used. Out: changes that are
// tried one by one, the most helpful first. Pure. Proposes only what still lets the calls of the past through.
import type { LeaseDetail } from '../lease/allow.ts'
import { sensitivities } from '../lease/lease.ts'
import type { LeaseUsage } from '../ports.ts'
import { type BlastRadius, blastRadius, type Harmful, type Surroundings } from './blast_radius.ts'
import { reachOf } from './reach.ts'

/** A lease, and the calls that were made under it. */
export interface UsedLease {
  readonly lease: Harmful
  readonly usage: LeaseUsage | undefined
}

/** One change, and what it would leave of the radius. */
export interface Narrowing {
  /** `max_calls 20`, `end 3 unused leases`. */
  readonly change: string
  readonly points: number
}

/** Below this share of the radius before, a change is worth mentioning. */
const worthwhile = 0.9
/** Room above what was used, so that an agent that goes on as before is not stopped. */
const room = 2
const fewCalls = 20
const shortLeaseSeconds = 300

type Change = (
  used: readonly UsedLease[],
  around: Surroundings,
) => { text: string; leases: Harmful[] } | undefined

/** Changes that would help, the most helpful first. */
export function narrowings(
  used: readonly UsedLease[],
  radius: BlastRadius,
  around: Surroundings,
): Narrowing[] {
  return changes
    .flatMap((change) => change(used, around) ?? [])
    .filter(({ leases }) => letsThePastThrough(used, leases, around))
    .map(({ text, leases }) => ({ change: text, points: blastRadius(leases, around).points }))
    .filter(({ points }) => points < radius.points * worthwhile)
    .toSorted((a, b) => a.points - b.points)
}

/** Whether every lease that is left still reaches each verb that was used, and something if it did before. */
function letsThePastThrough(
  used: readonly UsedLease[],
  left: readonly Harmful[],
  { backends }: Surroundings,
): boolean {
  const verbsOf = (lease: Harmful) =>
    new Set(
      reachOf({ stage: lease.stage, details: detailsOf(lease) }, backends).map(
        ({ operation }) => operation.verb,
      ),
    )
  return left.every((lease) => {
    const before = used.find((each) => each.lease.id === lease.id)!
    const [old, now] = [verbsOf(before.lease), verbsOf(lease)]
    const needed = Object.keys(before.usage?.verbs ?? {}).filter((verb) => old.has(verb))
    return needed.every((verb) => now.has(verb)) && (now.size > 0 || old.size === 0)
  })
}

const changes: readonly Change[] = [
  endUnused,
  fewerCalls,
  exactIdentifiers,
  lowerCeiling,
  readOnly,
  lowRisk,
  shorterLeases,
]

function endUnused(used: readonly UsedLease[]) {
  const unused = used.filter(({ usage }) => usage === undefined || usage.calls === 0)
  if (unused.length === 0) return undefined
  const rest = used.filter((each) => !unused.includes(each))
  const noun = unused.length === 1 ? 'lease' : 'leases'
  return { text: `end ${unused.length} unused ${noun}`, leases: rest.map(({ lease }) => lease) }
}

function fewerCalls(used: readonly UsedLease[]) {
  const most = Math.max(0, ...used.map(({ usage }) => usage?.calls ?? 0))
  const calls = Math.max(fewCalls, room * most)
  const limit = (detail: LeaseDetail) => {
    const before = detail.constraints?.max_calls ?? Number.POSITIVE_INFINITY
    return { ...detail, constraints: { ...detail.constraints, max_calls: Math.min(before, calls) } }
  }
  return { text: `max_calls ${calls}`, leases: used.map(({ lease }) => withDetails(lease, limit)) }
}

/** As if each `/*` were the one object that a task is usually about. */
function exactIdentifiers(used: readonly UsedLease[]) {
  const wide = (lease: Harmful) => detailsOf(lease).some(({ identifier }) => identifier.endsWith('/*'))
  if (!used.some(({ lease }) => wide(lease))) return undefined
  const exact = (detail: LeaseDetail) => ({ ...detail, identifier: detail.identifier.replace(/\*$/, '1') })
  return { text: 'name objects instead of /*', leases: used.map(({ lease }) => withDetails(lease, exact)) }
}

/** One step down from the highest that is reached. */
function lowerCeiling(used: readonly UsedLease[], { backends }: Surroundings) {
  const reached = used.flatMap(({ lease }) =>
    reachOf({ stage: lease.stage, details: detailsOf(lease) }, backends).map(({ operation }) => operation),
  )
  const highest = Math.max(-1, ...reached.map(({ sensitivity }) => sensitivities.indexOf(sensitivity)))
  const lower = sensitivities[highest - 1]
  if (lower === undefined) return undefined
  const cut = (detail: LeaseDetail) => ({
    ...detail,
    sensitivity: sensitivities[Math.min(sensitivities.indexOf(detail.sensitivity), highest - 1)] ?? lower,
  })
  return { text: `nothing above ${lower}`, leases: used.map(({ lease }) => withDetails(lease, cut)) }
}

function readOnly(used: readonly UsedLease[]) {
  return { text: 'stage observe', leases: used.map(({ lease }) => ({ ...lease, stage: 'observe' })) }
}

function lowRisk(used: readonly UsedLease[]) {
  const low = (detail: LeaseDetail) => ({
    ...detail,
    constraints: { ...detail.constraints, max_risk: 'low' as const },
  })
  return { text: 'max_risk low', leases: used.map(({ lease }) => withDetails(lease, low)) }
}

function shorterLeases(used: readonly UsedLease[], { now }: Surroundings) {
  const short = (lease: Harmful) => ({
    ...lease,
    maxExpiresAt: Math.min(lease.maxExpiresAt, now + shortLeaseSeconds),
  })
  return { text: 'leases of 5 minutes', leases: used.map(({ lease }) => short(lease)) }
}

function withDetails(lease: Harmful, change: (detail: LeaseDetail) => LeaseDetail): Harmful {
  return { ...lease, details: detailsOf(lease).map(change) }
}

function detailsOf({ details }: Harmful): readonly LeaseDetail[] {
  return details as readonly LeaseDetail[]
}
