// A Permit in, a Committed out: everything that is used up by letting this request through, atomically
// and once. After a Committed nothing can say no any more but the backend.
import type { Approvals, Revocations } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { opensTunnel } from './checks.ts'
import { within } from './deadline.ts'
import { isPermit, type Permit } from './decide.ts'
import type { NamedLimit } from './limits.ts'
import type { ByteMeter } from './meter.ts'
import type { Quota } from './quota.ts'
import type { RecentCallCounter } from './recent.ts'
import { refuseStopped } from './revoked.ts'
import { limitsOfCall, type Spending, type SpendingSources, spendAll } from './spending.ts'

const mint = Symbol('mint')

/** A permit whose price has been paid. Made by `commit` alone; exported as a type only. */
class Committed {
  readonly #permit: Permit
  /** Of the byte budget; undefined: the lease has none. */
  readonly meter: ByteMeter | undefined
  readonly #spending: Spending | undefined

  constructor(key: symbol, permit: Permit, spending: Spending | undefined) {
    if (key !== mint) throw new Error('a permit is committed by commit() alone')
    this.#permit = permit
    this.#spending = spending
    this.meter = spending?.openMeter()
  }

  get permit(): Permit {
    return this.#permit
  }

  /** What the caller is told of its limits. */
  get quota(): Quota | undefined {
    return this.#spending?.quota
  }

  /**
   * Gives back what the call has spent. Only for a call of which no byte has reached the backend: whoever cannot be
   * sure of that keeps it spent.
   */
  giveBack(): void {
    this.#spending?.giveBack()
  }

  static owns(value: unknown): value is Committed {
    return typeof value === 'object' && value !== null && #permit in value
  }
}

export type { Committed }

/** Whether `value` came out of `commit`. */
export function isCommitted(value: unknown): value is Committed {
  return Committed.owns(value)
}

/** Where intent goes before a consequential request is forwarded. */
export interface IntentLog {
  /** Why records cannot be written now; undefined while all is well. */
  fault(): string | undefined
  /** Resolves once the intent is on disk. Rejects when it cannot be written. */
  intend(permit: Permit, decisionId: string): Promise<void>
}

export interface CommitSources extends SpendingSources {
  readonly approvals: Approvals
  readonly revocations: Revocations
  readonly intents: IntentLog
  readonly recent: RecentCallCounter
  /** What happens to low-risk reads while the audit file cannot be written. */
  readonly readsOnFault: 'refuse' | 'allow'
  /** Bound on each of the writes, milliseconds. */
  readonly deadlineMs: number
}

/**
 * Commits `permit`. In order: audit can take the record; all limits spent in one step; intent on disk where the call
 * is consequential; approval used up; revocation and suspension looked at again after all the waiting. A refusal gives
 * back what was spent of totals, as no backend has seen the call; an approval stays used, and rates stay spent.
 */
export function commit(
  permit: Permit,
  decisionId: string,
  sources: CommitSources,
): Committed | Refusal | Promise<Committed | Refusal> {
  if (!isPermit(permit)) throw new Error('only a permit can be committed')
  permit.take()
  const { evidence } = permit
  const consequential = isConsequential(permit)
  const fault = sources.intents.fault()
  if (fault !== undefined && (consequential || sources.readsOnFault === 'refuse')) {
    return refuse('audit_unavailable', { detail: 'no record of this call could be kept', cause: fault })
  }
  const limits = limitsOfCall(permit, sources.rates)
  if (!consequential && limits.length === 0 && evidence.approval === undefined) {
    return committed(permit, undefined, sources)
  }
  return pay(permit, limits, decisionId, sources)
}

/**
 * A call that changes something, or whose risk is above low: its intent is recorded before it happens. A
 * WebSocket is one as well.
 */
export function isConsequential({ evidence }: Permit): boolean {
  const { method } = evidence.request
  const safe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
  return !safe || opensTunnel(evidence) || evidence.mapped.operation.risk !== 'low'
}

async function pay(
  permit: Permit,
  limits: readonly NamedLimit[],
  decisionId: string,
  sources: CommitSources,
): Promise<Committed | Refusal> {
  const spending = limits.length === 0 ? undefined : await spendAll(permit, limits, sources)
  if (isRefusal(spending)) return spending
  const refusal =
    (await recordIntent(permit, decisionId, sources)) ??
    (await useApproval(permit, sources)) ??
    refuseStopped(permit.evidence.lease, sources.revocations)
  if (refusal === undefined) return committed(permit, spending, sources)
  spending?.giveBack()
  return refusal
}

async function recordIntent(
  permit: Permit,
  decisionId: string,
  { intents, deadlineMs }: CommitSources,
): Promise<Refusal | undefined> {
  if (!isConsequential(permit)) return undefined
  try {
    await within(deadlineMs, intents.intend(permit, decisionId))
    return undefined
  } catch (error) {
    return refuse('audit_unavailable', {
      detail: 'no record of this call could be kept',
      cause: messageOf(error),
    })
  }
}

async function useApproval({ evidence }: Permit, sources: CommitSources): Promise<Refusal | undefined> {
  const { approval, now } = evidence
  if (approval === undefined) return undefined
  const late = new AbortController()
  try {
    const using = sources.approvals.use(approval, now, late.signal)
    const used = await within(sources.deadlineMs, using)
    return used ? undefined : refuse('approval_used', { detail: 'the approval was good for one call' })
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'the approval cannot be used now',
      cause: messageOf(error),
    })
  } finally {
    late.abort()
  }
}

function committed(permit: Permit, spending: Spending | undefined, { recent }: CommitSources): Committed {
  recent.add(permit.evidence.lease, permit.evidence.now)
  return new Committed(mint, permit, spending)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown'
}
