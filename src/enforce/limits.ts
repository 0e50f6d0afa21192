// What a call counts against: the limits of the grant that covers it, of its caller, and of its operation. In: a
// lease, a grant, what the call takes. Out: the limits of ports/budgets.ts with their names. Pure. ADD A LIMIT HERE.
import { parseAmount } from '../lease/amount.ts'
import { agentName, type Grant, type Lease, maxLeaseSeconds } from '../lease/lease.ts'
import { type CallRate, parseRate } from '../lease/rate.ts'
import type { Limit, Rate, Total } from '../ports.ts'
import type { Backend, Operation } from './operation.ts'

/** Rates that hold for every lease, agent and user of an issuer. */
export interface CallerRates {
  readonly lease?: CallRate | undefined
  readonly agent?: CallRate | undefined
  readonly user?: CallRate | undefined
}

/** What a grant is limited by; undefined is what it does not limit. */
export interface GrantLimits {
  readonly calls: bigint | undefined
  readonly bytes: bigint | undefined
  /** Millionths. */
  readonly amount: bigint | undefined
  readonly rate: CallRate | undefined
}

/** The names that limits have in `RateLimit` fields and reasons; the first four are the grant's own. */
export type LimitName = 'calls' | 'amount' | 'bytes' | 'max_rate' | 'lease' | 'agent' | 'user' | 'operation'

/** One limit of a call. */
export interface NamedLimit {
  readonly name: LimitName
  readonly limit: Limit
}

/** Whatever may be limited: a grant of a verified lease, a detail of a recorded one. */
type Limitable = Pick<Grant, 'constraints'>

/** A lease as counters know it; the record of one is the same as a token of it. */
export type Counted = Pick<Lease, 'id' | 'issuer' | 'ancestors' | 'issuedAt' | 'maxExpiresAt'>

const parsed = new WeakMap<Limitable, GrantLimits | undefined>()

/** Undefined: the grant limits neither calls, bytes, amounts nor their rate. It has to be one that can be enforced. */
export function limitsOf(grant: Limitable): GrantLimits | undefined {
  if (!isLimited(grant)) return undefined
  let limits = parsed.get(grant)
  if (limits === undefined) {
    const { max_calls, max_bytes, max_amount, max_rate } = grant.constraints
    limits = {
      calls: typeof max_calls === 'number' ? BigInt(max_calls) : undefined,
      bytes: typeof max_bytes === 'number' ? BigInt(max_bytes) : undefined,
      amount: typeof max_amount === 'string' ? parseAmount(max_amount) : undefined,
      rate: typeof max_rate === 'string' ? parseRate(max_rate) : undefined,
    }
    parsed.set(grant, limits)
  }
  return limits
}

/** Whether a grant has a limit that is counted. */
export function isLimited({ constraints }: Limitable): boolean {
  return (
    constraints.max_calls !== undefined ||
    constraints.max_bytes !== undefined ||
    constraints.max_amount !== undefined ||
    constraints.max_rate !== undefined
  )
}

/** What one call takes of the totals of its lease. */
export interface Take {
  readonly calls: bigint
  readonly amount: bigint
  readonly bytes: bigint
}

/** What looking takes. */
export const nothing: Take = { calls: 0n, amount: 0n, bytes: 0n }

/**
 * The limits of a grant, totals first: a call that a total refuses for good is not told to come back soon.
 *
 * There is one counter of each kind for a lease and all that was handed on from it: neither a renewal that rewrites
 * its grants nor a part of it in other hands may start a new one.
 */
export function grantLimits(lease: Counted, limits: GrantLimits, take: Take): NamedLimit[] {
  const named: NamedLimit[] = []
  for (const name of ['calls', 'amount', 'bytes'] as const) {
    const max = limits[name]
    if (max !== undefined) named.push({ name, limit: { ...totalOf(lease, name, max), take: take[name] } })
  }
  const { rate } = limits
  if (rate !== undefined) {
    // Its grants and those of leases handed on from it count on one counter, each by a rate of its own.
    named.push(namedRate('max_rate', counterOf(lease), rate, { shared: true }))
  }
  return named
}

/** The total of one kind of a lease. */
export function totalOf(lease: Counted, kind: keyof Take, max: bigint): Omit<Total, 'take'> {
  // What is handed on does not know when the lease at the root ends, only that it does so within this time.
  const expiresAt = lease.ancestors.length === 0 ? lease.maxExpiresAt : lease.issuedAt + maxLeaseSeconds
  return { kind: 'total', key: `${kind}\n${counterOf(lease)}`, max, expiresAt }
}

/** Names the lease that everything handed on from it counts with. */
function counterOf(lease: Counted): string {
  return `${lease.issuer}\n${lease.ancestors.at(-1) ?? lease.id}`
}

/** The rates of who calls and of what is called. */
export function callRates(
  lease: Lease,
  rates: CallerRates,
  { name }: Pick<Backend, 'name'>,
  { match, rate }: Pick<Operation, 'match' | 'rate'>,
): NamedLimit[] {
  const { issuer } = lease
  const named: NamedLimit[] = []
  if (rates.lease !== undefined) named.push(namedRate('lease', counterOf(lease), rates.lease))
  if (rates.agent !== undefined) {
    named.push(namedRate('agent', `${issuer}\n${agentName(lease.agent.id)}`, rates.agent))
  }
  if (rates.user !== undefined) named.push(namedRate('user', `${issuer}\n${lease.user}`, rates.user))
  if (rate !== undefined) named.push(namedRate('operation', `${name}\n${match}`, rate))
  return named
}

function namedRate(
  name: LimitName,
  key: string,
  { count, periodMs, burst }: CallRate,
  more: Pick<Rate, 'shared'> = {},
): NamedLimit {
  return { name, limit: { kind: 'rate', key: `${name}\n${key}`, count, periodMs, burst, ...more } }
}
