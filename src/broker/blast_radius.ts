// Blast radius: how much an agent could do with its leases before somebody ends them. In: leases, the mapped
// operations, rate limits, the time. Out: points: the harm of the worst calls that scope, rate and window let
// through. Pure. An upper bound: policy and approvals, which may refuse more, take no part in it.
import type { CallerRates } from '../enforce/limits.ts'
import type { Backend } from '../enforce/operation.ts'
import type { LeaseDetail } from '../lease/allow.ts'
import { type CallRate, parseRate } from '../lease/rate.ts'
import type { LeaseRecord } from '../ports.ts'
import { type Reach, reachOf } from './reach.ts'

/** What surrounds the leases. */
export interface Surroundings {
  readonly backends: readonly Backend[]
  /** Limits of the configuration; absent: none. */
  readonly rates: CallerRates
  /** Of a lease that nothing limits. */
  readonly assumedRate: CallRate
  /** Seconds until misuse is noticed and ended. */
  readonly detectionSeconds: number
  /** Seconds since 1970. */
  readonly now: number
}

/** A lease, as far as its blast radius is concerned; a `LeaseRecord` is one. */
export type Harmful = Pick<
  LeaseRecord,
  'id' | 'agent' | 'user' | 'stage' | 'details' | 'maxExpiresAt' | 'ancestors'
>

/** Scope × rate × window of one lease or of several. */
export interface BlastRadius {
  /** Harm of the worst calls, by `sensitivityPoints` and `riskPoints`. */
  readonly points: number
  /** Calls that could be made, whatever they harm. */
  readonly calls: number
  /** Seconds until it is over: the last lease's end, or the detection if that is sooner. */
  readonly windowSeconds: number
  /** Operations within reach by each identifier, the most harmful first. */
  readonly reach: readonly Reach[]
}

/** Calls that count together, and how many there may be in the end for this way to be open. */
interface Limit {
  readonly counter: { calls: number }
  readonly max: number
}

/** One operation under one lease, and what limits it. */
interface Way {
  readonly reach: Reach
  readonly limits: readonly Limit[]
}

/**
 * The radius of leases that act at once: those of an agent, or a single one. The most harmful calls come first,
 * until rates, budgets and distinct objects are used up.
 */
export function blastRadius(leases: readonly Harmful[], around: Surroundings): BlastRadius {
  const ways = waysOf(leases, around).toSorted((a, b) => b.reach.points - a.reach.points)
  let points = 0
  let calls = 0
  for (const { reach, limits } of ways) {
    const made = Math.max(0, Math.min(...limits.map(({ counter, max }) => max - counter.calls)))
    for (const { counter } of limits) counter.calls += made
    points += made * reach.points
    calls += made
  }
  return {
    points,
    calls,
    windowSeconds: Math.max(0, ...leases.map((lease) => windowOf(lease, around))),
    reach: distinct(ways),
  }
}

/** Seconds in which a lease can do harm. */
function windowOf({ maxExpiresAt }: Harmful, { now, detectionSeconds }: Surroundings): number {
  return Math.max(0, Math.min(maxExpiresAt - now, detectionSeconds))
}

function waysOf(leases: readonly Harmful[], around: Surroundings): Way[] {
  const { of, rated } = createLimits(around)
  return leases.flatMap((lease) => {
    const window = windowOf(lease, around)
    const details = lease.details as readonly LeaseDetail[]
    // What is handed on counts on the budget of the lease at the root.
    const root = lease.ancestors.at(-1) ?? lease.id
    const shared = [
      of(`lease\n${lease.id}`, callsWithin(leaseRate(details, around), window)),
      ...rated(`agent\n${lease.agent}`, around.rates.agent),
      ...rated(`user\n${lease.user}`, around.rates.user),
    ]
    return reachOf({ stage: lease.stage, details }, around.backends).map((reach) => ({
      reach,
      limits: [
        ...shared,
        ...(reach.maxCalls === undefined ? [] : [of(`calls\n${root}`, reach.maxCalls)]),
        ...rated(`operation\n${nameOf(reach)}`, reach.operation.rate),
        ...(reach.once ? [of(`once\n${nameOf(reach)}\n${reach.identifier}`, 1)] : []),
      ],
    }))
  })
}

/** Limits whose counters go by name, so that leases share what they share at the gate. */
function createLimits({ detectionSeconds }: Surroundings) {
  const counters = new Map<string, Limit['counter']>()
  const of = (name: string, max: number): Limit => {
    const counter = counters.get(name) ?? { calls: 0 }
    counters.set(name, counter)
    return { counter, max }
  }
  const rated = (name: string, rate: CallRate | undefined): Limit[] =>
    rate === undefined ? [] : [of(name, callsWithin(rate, detectionSeconds))]
  return { of, rated }
}

/** The slowest that holds for every detail; a lease is as fast as its fastest way. */
function leaseRate(details: readonly LeaseDetail[], { rates, assumedRate }: Surroundings): CallRate {
  const own = details.map(rateOf)
  const unlimited = own.some((rate) => rate === undefined)
  const fastest = unlimited ? undefined : own.toSorted((a, b) => perSecond(b!) - perSecond(a!))[0]
  const limits = [fastest, rates.lease].filter((rate) => rate !== undefined)
  return limits.toSorted((a, b) => perSecond(a) - perSecond(b))[0] ?? assumedRate
}

function rateOf({ constraints }: LeaseDetail): CallRate | undefined {
  return constraints?.max_rate === undefined ? undefined : parseRate(constraints.max_rate)
}

function perSecond({ count, periodMs }: CallRate): number {
  return (count * 1000) / periodMs
}

/** Calls that a rate lets through in so many seconds: a burst, and what flows in meanwhile. */
function callsWithin(rate: CallRate, seconds: number): number {
  return seconds <= 0 ? 0 : rate.burst + Math.floor(perSecond(rate) * seconds)
}

function distinct(ways: readonly Way[]): Reach[] {
  const found = new Map<string, Reach>()
  for (const { reach } of ways) {
    const name = `${nameOf(reach)}\n${reach.identifier}`
    if (!found.has(name)) found.set(name, reach)
  }
  return [...found.values()]
}

function nameOf({ backend, operation }: Reach): string {
  return `${backend}\n${operation.match}`
}
