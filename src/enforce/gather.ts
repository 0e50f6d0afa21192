// Everything the decision reads, in one place and with a bound: revocation view, recent calls, body, what is
// left. An approval is looked for once policy has asked for one (seek.ts). Reads only, and changes nothing. What cannot be read in time refuses.
import type { Grant, Lease } from '../lease/lease.ts'
import type { Revocations } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type ReadAmount, readAmount } from './amount.ts'
import { hasBody, type Inspection, inspectionOf, readInspected } from './body.ts'
import { coveringGrant } from './checks.ts'
import { within } from './deadline.ts'
import { type BudgetLeft, type LeftSources, lookUp } from './left.ts'
import { isLimited } from './limits.ts'
import type { RecentCallCounter } from './recent.ts'
import type { Authenticated, Evidence, LeaseEvidence } from './stages.ts'

/** Where evidence comes from. */
export interface EvidenceSources extends LeftSources {
  readonly revocations: Revocations
  readonly recent: RecentCallCounter
  readonly maxStalenessMs: number
  /** Bytes of a body that is read before the decision. */
  readonly inspectedBodyBytes: number
  /** Milliseconds since 1970. */
  readonly clock: () => number
  /** As in `Store`. */
  readonly clockOffset: () => number
}

/** The client's body, unread until asked for (a waiting 100-continue client is told to go on then). */
export interface RequestBody {
  /** The whole body, or `body_too_large`, `request_timeout` or `malformed_framing`. */
  read(limit: number): Promise<Uint8Array | Refusal>
}

/** Gathers. A value where nothing has to be waited for, which is the common case. */
export function gather(
  authenticated: Authenticated,
  sources: EvidenceSources,
  body: RequestBody,
): Evidence | Refusal | Promise<Evidence | Refusal> {
  const { request, backend, mapped, lease } = authenticated
  const fresh = freshness(lease, sources)
  const evidence: Evidence = {
    request,
    backend,
    mapped,
    lease,
    now: fresh.now,
    revocation: fresh.revocation,
    suspension: fresh.suspension,
    viewAgeMs: fresh.viewAgeMs,
    maxStalenessMs: sources.maxStalenessMs,
    clockOffset: fresh.clockOffset,
    recentCalls: fresh.recentCalls,
    approval: undefined,
    bodyBytes: undefined,
    body: null,
    amount: undefined,
    budget: undefined,
  }
  // A lease that is dead or held is refused without reading a body for it.
  if (evidence.revocation !== undefined || evidence.suspension !== undefined) return evidence
  const inspection = inspectionOf(authenticated)
  const limited = limitedGrant(authenticated)
  const budget = limited === undefined ? undefined : sources.left.recall(limited)
  const known = limited === undefined || budget !== undefined
  if (inspection === 'no' && known) {
    const plain = limited === undefined && mapped.operation.amount === undefined
    const whole = plain ? evidence : { ...evidence, amount: amountOf(evidence, undefined), budget }
    return confirmed(whole, sources)
  }
  const looking = known ? Promise.resolve(budget) : lookUp(lease, limited, sources)
  return gatherMore(evidence, inspection, looking, sources, body)
}

/** The grant that the call would be charged to, where it has a limit that is counted. */
function limitedGrant({ lease, mapped }: Authenticated): Grant | undefined {
  if (!lease.grants.some(isLimited)) return undefined
  const grant = coveringGrant(lease, mapped)
  return grant !== undefined && isLimited(grant) ? grant : undefined
}

function amountOf({ request, mapped }: Evidence, bodyBytes: Uint8Array | undefined): ReadAmount | undefined {
  const { amount, body } = mapped.operation
  if (amount === undefined) return undefined
  const isJson = body === 'json'
  if (!isJson && hasBody(request))
    return { problem: 'send it without a body, which could name another amount' }
  return readAmount(amount, mapped, isJson ? bodyBytes : undefined)
}

/** Last of all, so that nothing is decided on what was true before a wait. A value where the view is enough. */
function confirmed(evidence: Evidence, sources: EvidenceSources): Evidence | Promise<Evidence | Refusal> {
  const confirming = sources.revocations.confirm(evidence.lease)
  return confirming === undefined ? evidence : gatherConfirmed(evidence, confirming, sources)
}

async function gatherConfirmed(
  evidence: Evidence,
  confirming: Promise<void>,
  sources: EvidenceSources,
): Promise<Evidence | Refusal> {
  try {
    await within(sources.deadlineMs, confirming)
    return { ...evidence, ...freshness(evidence.lease, sources) }
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'revocations cannot be read now',
      cause: error instanceof Error ? error.message : 'unknown',
    })
  }
}

/** What is known of a lease now, with the store's own word where reading is strict. Throws `Unavailable`. */
export async function standingOf(lease: Lease, sources: EvidenceSources): Promise<LeaseEvidence> {
  const confirming = sources.revocations.confirm(lease)
  if (confirming !== undefined) await within(sources.deadlineMs, confirming)
  return { lease, maxStalenessMs: sources.maxStalenessMs, ...freshness(lease, sources) }
}

/** What grows old while the gate waits: read again after every wait (test/enforce/gather.test.ts). */
function freshness(
  lease: Lease,
  { revocations, recent, clock, clockOffset }: EvidenceSources,
): Pick<Evidence, 'now' | 'revocation' | 'suspension' | 'viewAgeMs' | 'clockOffset' | 'recentCalls'> {
  const nowMs = clock()
  const now = Math.floor(nowMs / 1000)
  return {
    now,
    recentCalls: recent.seen(lease, now),
    revocation: revocations.find(lease.revocationKeys, lease.issuedAt - lease.clockTolerance),
    suspension: revocations.suspension(lease),
    viewAgeMs: revocations.ageMs(nowMs),
    clockOffset: clockOffset(),
  }
}

/** Waits for what was begun, and a body. `looking` never rejects. */
async function gatherMore(
  evidence: Evidence,
  inspection: Inspection,
  looking: Promise<BudgetLeft | Refusal | undefined>,
  sources: EvidenceSources,
  body: RequestBody,
): Promise<Evidence | Refusal> {
  const read = await readBody(evidence, inspection, sources, body)
  if (isRefusal(read)) return read
  const budget = await looking
  if (isRefusal(budget)) return budget
  const amount = amountOf(evidence, read.bodyBytes)
  const whole = { ...evidence, ...read, amount, budget, ...freshness(evidence.lease, sources) }
  return confirmed(whole, sources)
}

type ReadBody = Pick<Evidence, 'bodyBytes' | 'body'>

async function readBody(
  evidence: Evidence,
  inspection: Inspection,
  { inspectedBodyBytes }: EvidenceSources,
  body: RequestBody,
): Promise<ReadBody | Refusal> {
  if (inspection === 'no') return { bodyBytes: undefined, body: null }
  const bodyBytes = await body.read(Math.min(evidence.mapped.operation.bodyLimit, inspectedBodyBytes))
  if (isRefusal(bodyBytes)) return bodyBytes
  const inspected = readInspected(inspection, bodyBytes, evidence)
  return isRefusal(inspected) ? inspected : { bodyBytes, body: inspected.value ?? null }
}
