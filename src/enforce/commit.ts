// A Permit in, a Committed out: everything that is used up by letting this request through, atomically
// and once. After a Committed nothing can say no any more but the backend.
import { type Lease, maxLeaseSeconds } from '../lease/lease.ts'
import type { Approvals, Budgets, Revocations } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { maxCallsOf, opensTunnel } from './checks.ts'
import { within } from './deadline.ts'
import { isPermit, type Permit } from './decide.ts'
import type { ByteMeter } from './meter.ts'
import type { RecentCallCounter } from './recent.ts'
import { refuseRevoked, refuseSuspended } from './revoked.ts'

const mint = Symbol('mint')

/** A permit whose price has been paid. Made by `commit` alone; exported as a type only. */
class Committed {
  readonly #permit: Permit
  /** Of the byte budget; undefined: the lease has none. */
  readonly meter: ByteMeter | undefined

  constructor(key: symbol, permit: Permit, meter?: ByteMeter) {
    if (key !== mint) throw new Error('a permit is committed by commit() alone')
    this.#permit = permit
    this.meter = meter
  }

  get permit(): Permit {
    return this.#permit
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

export interface CommitSources {
  readonly budgets: Pick<Budgets, 'spend'>
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
 * Commits `permit`. In order: audit can take the record; budget spent; intent on disk where the call is
 * consequential; approval used up; revocation and suspension looked at again after all the waiting. A later refusal does
 * not give back what an earlier step spent: a retry could otherwise exceed the limit.
 */
export function commit(
  permit: Permit,
  decisionId: string,
  sources: CommitSources,
): Committed | Refusal | Promise<Committed | Refusal> {
  if (!isPermit(permit)) throw new Error('only a permit can be committed')
  permit.take()
  const { evidence, decision } = permit
  const consequential = isConsequential(permit)
  const fault = sources.intents.fault()
  if (fault !== undefined && (consequential || sources.readsOnFault === 'refuse')) {
    return refuse('audit_unavailable', { detail: 'no record of this call could be kept', cause: fault })
  }
  if (!consequential && maxCallsOf(decision.grant) === undefined && evidence.approval === undefined) {
    return committed(permit, sources)
  }
  return spend(permit, decisionId, sources)
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

async function spend(
  permit: Permit,
  decisionId: string,
  sources: CommitSources,
): Promise<Committed | Refusal> {
  const { evidence, decision } = permit
  const { lease } = evidence
  const maxCalls = maxCallsOf(decision.grant)
  try {
    if (maxCalls !== undefined) {
      const calls = { kind: 'total', ...counterOf(lease), max: BigInt(maxCalls), take: 1n } as const
      const spending = sources.budgets.spend([calls])
      const { spent } = await within(sources.deadlineMs, spending)
      if (!spent) return refuse('budget_exhausted', { detail: `all ${maxCalls} calls of the lease are used` })
    }
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'the budget cannot be read now',
      cause: messageOf(error),
    })
  }
  if (isConsequential(permit)) {
    try {
      await within(sources.deadlineMs, sources.intents.intend(permit, decisionId))
    } catch (error) {
      return refuse('audit_unavailable', {
        detail: 'no record of this call could be kept',
        cause: messageOf(error),
      })
    }
  }
  return useApproval(permit, sources)
}

/**
 * One counter for a lease and all that was handed on from it: neither a renewal that rewrites its grants nor a
 * part of it in other hands may start a new one. What is handed on does not know when the lease at the root
 * ends, only that it does so within `maxLeaseSeconds` of any token of it.
 */
function counterOf(lease: Lease): { readonly key: string; readonly expiresAt: number } {
  const root = lease.ancestors.at(-1)
  const expiresAt = root === undefined ? lease.maxExpiresAt : lease.issuedAt + maxLeaseSeconds
  return { key: `calls\n${lease.issuer}\n${root ?? lease.id}`, expiresAt }
}

async function useApproval(permit: Permit, sources: CommitSources): Promise<Committed | Refusal> {
  const { evidence } = permit
  const { lease, fingerprint } = evidence
  try {
    if (evidence.approval !== undefined && fingerprint !== undefined) {
      const used = await within(sources.deadlineMs, sources.approvals.use(fingerprint, evidence.now))
      if (!used) return refuse('approval_used', { detail: 'the approval was good for one call' })
    }
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'the approval cannot be used now',
      cause: messageOf(error),
    })
  }
  const revocation = sources.revocations.find(lease.revocationKeys, lease.issuedAt - lease.clockTolerance)
  if (revocation !== undefined) return refuseRevoked(revocation)
  const suspension = sources.revocations.suspension(lease)
  if (suspension !== undefined) return refuseSuspended(suspension)
  return committed(permit, sources)
}

function committed(permit: Permit, { recent }: CommitSources): Committed {
  recent.add(permit.evidence.lease, permit.evidence.now)
  return new Committed(mint, permit)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown'
}
