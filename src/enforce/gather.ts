// Everything the decision reads, in one place and with a bound: revocation view, recent calls, approval,
// body, what is left. Reads only, and changes nothing. What cannot be read in time refuses.
import { createHash } from 'node:crypto'
import type { Grant, Lease } from '../lease/lease.ts'
import type { Approvals, Revocations } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type ReadAmount, readAmount } from './amount.ts'
import { hasBody, type Inspection, inspectionOf, readInspected } from './body.ts'
import { coveringGrant } from './checks.ts'
import { within } from './deadline.ts'
import { type BudgetLeft, type LeftSources, lookUp } from './left.ts'
import { isLimited } from './limits.ts'
import type { RecentCallCounter } from './recent.ts'
import type { Authenticated, Evidence } from './stages.ts'

/** Where evidence comes from. */
export interface EvidenceSources extends LeftSources {
  readonly revocations: Revocations
  readonly approvals: Approvals
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
    fingerprint: undefined,
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
  if (inspection === 'no' && mapped.operation.risk !== 'high' && known) {
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

/** Waits for what was begun, a body and an approval. `looking` never rejects. */
async function gatherMore(
  evidence: Evidence,
  inspection: Inspection,
  looking: Promise<BudgetLeft | Refusal | undefined>,
  sources: EvidenceSources,
  body: RequestBody,
): Promise<Evidence | Refusal> {
  const read = await readBody(evidence, inspection, sources, body)
  if (isRefusal(read)) return read
  const approved = await findApproval(evidence, read.bodyBytes, sources)
  if (isRefusal(approved)) return approved
  const budget = await looking
  if (isRefusal(budget)) return budget
  const amount = amountOf(evidence, read.bodyBytes)
  const whole = { ...evidence, ...read, ...approved, amount, budget, ...freshness(evidence.lease, sources) }
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

type Approved = Pick<Evidence, 'approval' | 'fingerprint'>

async function findApproval(
  evidence: Evidence,
  bodyBytes: Uint8Array | undefined,
  sources: EvidenceSources,
): Promise<Approved | Refusal> {
  if (evidence.mapped.operation.risk !== 'high') return { approval: undefined, fingerprint: undefined }
  const fingerprint = fingerprintOf(evidence, bodyBytes)
  const { now } = freshness(evidence.lease, sources)
  try {
    return {
      fingerprint,
      approval: await within(sources.deadlineMs, sources.approvals.find(fingerprint, now)),
    }
  } catch (error) {
    return refuse('evidence_unavailable', {
      detail: 'approvals cannot be read now',
      cause: error instanceof Error ? error.message : 'unknown',
    })
  }
}

/**
 * Names one exact action: lease, task, method, backend, path, query and body. An approval is for a
 * fingerprint, so any change of these needs another one.
 */
export function fingerprintOf(evidence: Authenticated, body: Uint8Array | undefined): string {
  const { lease, request, mapped, backend } = evidence
  const digest = createHash('sha256')
    .update(body ?? new Uint8Array())
    .digest('base64url')
  const parts = [
    lease.issuer,
    lease.id,
    lease.task.system,
    lease.task.id,
    request.method,
    backend.name,
    mapped.backendPath,
    request.queryText ?? null,
    request.contentType ?? null,
    request.contentEncoding ?? null,
    digest,
  ]
  return `sha-256:${createHash('sha256').update(JSON.stringify(parts)).digest('base64url')}`
}
