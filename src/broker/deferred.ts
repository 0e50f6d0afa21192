// Token requests that wait for a human (draft-ietf-oauth-deferred-token-response). In: a proposal that policy
// wants approved, later the code that stands for it. Out: the pending answer; the proposal again, approved. The
// code is no authority: it is stored by its digest, good for one client and key, and redeemed once.
import { createHash, randomBytes } from 'node:crypto'
import { revocationKeys } from '../lease/lease.ts'
import type { Deferral } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { noTask } from './ask.ts'
import type { Asker } from './asker.ts'
import { mayHandOn, standingLease } from './parent.ts'
import type { AgentEntry } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import type { Proposal } from './proposal.ts'

/** Who has to say yes, and how long they have. */
export interface ApprovalTerms {
  readonly approvers: readonly string[]
  readonly expiresIn: number
  readonly reasonRequired?: boolean
}

/** A proposal that a human has approved. */
export interface Approved {
  readonly proposal: Proposal
  readonly approved: {
    readonly by: readonly string[]
    /** True for exactly one caller, ever. */
    readonly redeem: () => Promise<boolean>
  }
}

/** Seconds between two polls. */
const pollSeconds = 5
/** Requests of one agent that may begin to wait in one period of so many seconds: people have to read each. */
const maxDeferrals = 60
const deferralPeriod = 600

/** What is to wait for a human, and on whose request. */
export interface Waiting {
  readonly proposal: Proposal
  readonly asker: Asker
  readonly approval: ApprovalTerms
  /** When the revocations that it was decided on were complete, seconds since 1970. */
  readonly asOf: number
}

/** Stores the proposal and makes the answer that tells the client to wait. */
export async function defer(
  { proposal, asker, approval, asOf: createdAt }: Waiting,
  { store, now, onDeferred }: BrokerParts,
): Promise<Refusal> {
  const code = `dfr_${randomBytes(32).toString('base64url')}`
  // The token that speaks for the user does not speak for ever: neither does what it asked for.
  const expiresAt = Math.floor(Math.min(createdAt + approval.expiresIn, proposal.notAfter))
  // Asked this way round, a time that is no number is over as well.
  if (!(expiresAt > createdAt)) {
    return refuse('access_denied', { detail: 'a human has to approve this, and nobody has the time to' })
  }
  const period = Math.floor(now() / deferralPeriod)
  const counter = {
    kind: 'total',
    key: `deferrals\n${asker.client.entry.clientId}\n${period}`,
    max: BigInt(maxDeferrals),
    take: 1n,
    expiresAt: (period + 1) * deferralPeriod,
  } as const
  if (!(await store.budgets.spend([counter])).spent) {
    const detail = 'too many requests of this agent wait for a human already'
    return refuse('slow_down', { detail, retryAfter: deferralPeriod })
  }
  const deferral: Deferral = {
    id: digestOf(code),
    clientId: asker.client.entry.clientId,
    key: asker.binding?.thumbprint ?? '',
    approvers: approval.approvers,
    reasonRequired: approval.reasonRequired === true,
    request: JSON.stringify(proposal),
    createdAt,
    expiresAt,
    interval: pollSeconds,
    state: 'pending',
  }
  await store.deferrals.put(deferral)
  onDeferred?.(deferral)
  const expiresIn = expiresAt - createdAt
  return refuse('authorization_pending', {
    detail: 'a human has to approve this: poll with the deferral_code',
    answer: { deferral_code: code, expires_in: expiresIn, interval: pollSeconds },
  })
}

/**
 * The approved proposal behind a code. A code that is unknown, used up, or of another client or key is
 * `invalid_grant`, whichever it is; then `access_denied`, `expired_token`, `slow_down`, `authorization_pending`
 * (RFC 8628 §3.5). What the proposal hangs on has to stand still.
 */
export async function resume(code: string, asker: Asker, parts: BrokerParts): Promise<Approved | Refusal> {
  const { deferrals } = parts.store
  const id = digestOf(code)
  const found = await deferrals.get(id)
  if (found === undefined || !isOf(found, asker) || found.state === 'redeemed') return unknownCode()
  if (found.state === 'denied') return refuse('access_denied', { detail: saidNo(found) })
  if (found.state === 'expired' || parts.now() >= found.expiresAt) return refuse('expired_token')
  if (found.state === 'pending') return pending(id, parts)
  const proposal = JSON.parse(found.request) as Proposal
  const problem = await refuseEnded(proposal, asker.client.entry, found, parts)
  if (problem !== undefined) return problem
  const by = found.settled === undefined ? [] : [found.settled.by]
  return { proposal, approved: { by, redeem: () => deferrals.redeem(id) } }
}

function saidNo({ settled }: Deferral): string {
  const reason = settled?.reason ?? ''
  return reason === '' ? 'a human has said no' : `a human has said no: ${reason}`
}

/** The refusal of a code that leads nowhere, or no longer. */
export function unknownCode(): Refusal {
  return refuse('invalid_grant', { detail: 'this deferral_code is not one of this client, or is used up' })
}

async function pending(id: string, { store, now }: BrokerParts): Promise<Refusal> {
  const polled = await store.deferrals.poll(id, now())
  if (polled === undefined) return unknownCode()
  const { interval, expiresAt } = polled.deferral
  const answer = { interval, expires_in: Math.max(0, Math.floor(expiresAt - now())) }
  return polled.tooFast ? refuse('slow_down', { answer }) : refuse('authorization_pending', { answer })
}

function isOf({ clientId, key }: Deferral, { client, binding }: Asker): boolean {
  return clientId === client.entry.clientId && key === (binding?.thumbprint ?? '')
}

/** Whatever ended while a human thought about it stays ended. */
async function refuseEnded(
  proposal: Proposal,
  asker: AgentEntry,
  { createdAt }: Deferral,
  parts: BrokerParts,
): Promise<Refusal | undefined> {
  const agent = parts.agents().byClientId(proposal.clientId)
  if (agent === undefined) return refuse('unauthorized_client', { detail: 'there is no such agent any more' })
  if (proposal.kind === 'delegation' && !mayHandOn(asker, agent)) {
    return refuse('unauthorized_client', {
      detail: 'this agent may not hand its lease on to that one any more',
    })
  }
  const { user, session, ancestors, delegatedBy, task = noTask } = proposal
  const names = { id: '', issuer: parts.issuer, user: user.id, session, ancestors, delegatedBy, task }
  const keys = revocationKeys({ ...names, agent: { id: agent.agent, version: agent.version } })
  if (parts.store.revocations.find(keys, createdAt) !== undefined) {
    return refuse('invalid_grant', { detail: 'what this was asked for has been revoked since' })
  }
  const { parent } = proposal
  const record = parent && (await standingLease(parent.id, asker, parts))
  return isRefusal(record) ? record : undefined
}

function digestOf(code: string): string {
  return createHash('sha256').update(code).digest('hex')
}
