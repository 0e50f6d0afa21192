// Spends what one call takes of all its limits, in one step of the store, and gives it back when no backend has
// seen the call. In: a permit. Out: a Spending or a refusal. Never gives back what was perhaps not taken, or a rate.

import { amountText } from '../lease/amount.ts'
import type { Budgets, Remaining, Spent, Total } from '../ports.ts'
import { type Refusal, type RefusalFacts, refuse } from '../refusals.ts'
import { within } from './deadline.ts'
import type { Permit } from './decide.ts'
import { type LeftMemory, leftOf } from './left.ts'
import { type CallerRates, callRates, grantLimits, limitsOf, type NamedLimit, type Take } from './limits.ts'
import { type ByteMeter, openMeter } from './meter.ts'
import { type Quota, quotaOf } from './quota.ts'
import type { Evidence } from './stages.ts'

/** Where calls are paid. */
export interface SpendingSources {
  readonly budgets: Pick<Budgets, 'spend' | 'giveBack'>
  readonly rates: CallerRates
  readonly left: LeftMemory
  readonly deadlineMs: number
  /** What a call had spent could not be given back: the lease is a call short. */
  readonly notGivenBack: (error: unknown) => void
}

/** Bytes that are taken beforehand for the answer, beside those that the request announces. */
const firstBytes = 65_536n

/** What a call has paid. */
export class Spending {
  readonly #permit: Permit
  readonly #named: readonly NamedLimit[]
  readonly #sources: SpendingSources
  /** For the answer of the call. */
  readonly quota: Quota | undefined
  #meter: ByteMeter | undefined = undefined
  #kept = true

  constructor(
    permit: Permit,
    named: readonly NamedLimit[],
    quota: Quota | undefined,
    sources: SpendingSources,
  ) {
    this.#permit = permit
    this.#named = named
    this.quota = quota
    this.#sources = sources
  }

  /** The byte budget of the exchange, with what is reserved of it; undefined where the lease has none. */
  openMeter(): ByteMeter | undefined {
    const { budgets, notGivenBack } = this.#sources
    const reserved = this.#totals().find(({ kind }) => kind === 'bytes')
    if (reserved === undefined) return undefined
    const { take, ...total } = reserved.total
    const short = {
      ...(this.quota !== undefined && { quota: this.quota }),
      detail: 'the lease has too few bytes left for this',
      reasons: ['bytes_exhausted'],
      retryAfter: endsIn(this.#permit.evidence),
    }
    this.#meter = openMeter({ budgets, total, reserved: take, short, onError: notGivenBack })
    return this.#meter
  }

  /**
   * Returns the totals of a call that no backend has seen, once. Waits for nothing: a failure is reported, and costs
   * the lease the call.
   */
  giveBack(): void {
    if (!this.#kept) return
    this.#kept = false
    const { budgets, left, notGivenBack } = this.#sources
    left.forget(this.#permit.decision.grant)
    // The meter knows what it has reserved since.
    this.#meter?.end(true)
    const totals = this.#totals().filter(
      ({ kind, total }) => total.take > 0n && (kind !== 'bytes' || this.#meter === undefined),
    )
    if (totals.length > 0) budgets.giveBack(totals.map(({ total }) => total)).catch(notGivenBack)
  }

  #totals(): { readonly kind: NamedLimit['name']; readonly total: Total }[] {
    return this.#named.flatMap(({ name, limit }) =>
      limit.kind === 'total' ? [{ kind: name, total: limit }] : [],
    )
  }
}

/** Every limit of a call; empty for a call that counts against nothing. */
export function limitsOfCall({ evidence, decision }: Permit, rates: CallerRates): readonly NamedLimit[] {
  const { lease, backend, mapped } = evidence
  const ofCaller = callRates(lease, rates, backend, mapped.operation)
  const limits = limitsOf(decision.grant)
  if (limits === undefined) return ofCaller
  return [...grantLimits(lease, limits, takeOf(evidence, limits.bytes)), ...ofCaller]
}

/**
 * Spends from all of `named` or from none. A second time where fewer bytes are left than were to be reserved for the
 * answer: then what is left is enough to begin with.
 */
export async function spendAll(
  permit: Permit,
  named: readonly NamedLimit[],
  sources: SpendingSources,
): Promise<Spending | Refusal> {
  let limits = named
  try {
    let result = await spendOnce(limits, sources)
    const fewer = withBytesLeft(limits, result, permit.evidence)
    if (fewer !== undefined) {
      limits = fewer
      result = await spendOnce(limits, sources)
    }
    const { grant } = permit.decision
    const remaining = result.spent
      ? withReserved(limits, result.remaining, permit.evidence)
      : result.remaining
    if (limitsOf(grant) !== undefined) sources.left.remember(grant, leftOf(limits, remaining))
    const quota = (refused?: NamedLimit) => quotaOf(limits, remaining, endsIn(permit.evidence), refused)
    return result.spent
      ? new Spending(permit, limits, quota(), sources)
      : refuseShort(limits, result, quota(limits[result.limit]), permit.evidence)
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'the budget cannot be read now',
      cause: error instanceof Error ? error.message : 'unknown',
    })
  }
}

function spendOnce(named: readonly NamedLimit[], { budgets, deadlineMs }: SpendingSources): Promise<Spent> {
  return within(deadlineMs, budgets.spend(named.map(({ limit }) => limit)))
}

function takeOf(evidence: Evidence, maxBytes: bigint | undefined): Take {
  const { amount } = evidence
  const announced = announcedBytes(evidence)
  const wanted = announced + firstBytes
  // At least one, so that a lease without a byte left makes no call.
  const reserved = maxBytes !== undefined && wanted > maxBytes ? atLeastOne(announced, maxBytes) : wanted
  return { calls: 1n, amount: amount !== undefined && 'value' in amount ? amount.value : 0n, bytes: reserved }
}

function announcedBytes({ request, bodyBytes }: Evidence): bigint {
  return BigInt(bodyBytes?.byteLength ?? request.contentLength ?? 0)
}

function atLeastOne(announced: bigint, left: bigint): bigint {
  const least = announced > left ? announced : left
  return least > 1n ? least : 1n
}

/** The limits with what is left of the bytes, where that covers what the request announces. */
function withBytesLeft(
  named: readonly NamedLimit[],
  result: Spent,
  evidence: Evidence,
): readonly NamedLimit[] | undefined {
  if (result.spent) return undefined
  const short = named[result.limit]
  const left = result.remaining[result.limit]?.left ?? 0n
  if (short?.limit.kind !== 'total' || short.name !== 'bytes') return undefined
  if (left < 1n || left < announcedBytes(evidence)) return undefined
  const limit = { ...short.limit, take: left }
  return named.map((each) => (each === short ? { ...each, limit } : each))
}

/** Bytes that are set aside for an answer are not gone: what does not flow comes back. */
function withReserved(
  named: readonly NamedLimit[],
  remaining: readonly Remaining[],
  evidence: Evidence,
): readonly Remaining[] {
  return remaining.map((each, at) => {
    const { name, limit } = named[at]!
    if (name !== 'bytes' || limit.kind !== 'total') return each
    return { ...each, left: each.left + limit.take - announcedBytes(evidence) }
  })
}

/** Seconds until the lease is over and its totals with it. */
function endsIn({ lease, now }: Evidence): number {
  return Math.max(1, Math.ceil(lease.maxExpiresAt - now))
}

function refuseShort(
  named: readonly NamedLimit[],
  { limit: at, remaining, retryAfterMs }: Extract<Spent, { spent: false }>,
  quota: Quota | undefined,
  evidence: Evidence,
): Refusal {
  const short = named[at]
  if (short === undefined) throw new Error('the store refused for a limit that nobody asked about')
  const facts: RefusalFacts = quota === undefined ? {} : { quota }
  if (short.limit.kind === 'total') {
    const left = remaining[at]?.left ?? 0n
    return refuse('budget_exhausted', {
      ...facts,
      detail: detailOf(short.name, left, short.limit),
      reasons: [`${short.name}_exhausted`],
      retryAfter: endsIn(evidence),
    })
  }
  return refuse('rate_limited', {
    ...facts,
    detail:
      short.name === 'max_rate' ? 'this lease calls too often' : `this ${short.name} is called for too often`,
    reasons: [short.name === 'max_rate' ? short.name : `rate_${short.name}`],
    retryAfter: Math.max(1, Math.ceil((retryAfterMs ?? 1_000) / 1_000)),
  })
}

function detailOf(name: NamedLimit['name'], left: bigint, { max, take }: Total): string {
  if (name === 'calls') return `all ${max} calls of the lease are used`
  if (name === 'bytes') return `${left} of ${max} bytes are left to the lease: too few for this call`
  return `${amountText(left)} of ${amountText(max)} are left to the lease, and this call takes ${amountText(take)}`
}
