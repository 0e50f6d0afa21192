// START HERE: how a lease is asked for and given. In: the form of a token request and what its sender proves.
// Out: a signed token whose lease is stored, or the refusal. The steps in order: grant → asker → proposal →
// decision → bounds → token → record. Each takes the value of the one before; nothing is signed that policy, the
// request, the user's token or the parent lease does not allow.
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { readAsk } from './ask.ts'
import { type Asker, proveAsker } from './asker.ts'
import { boundGrant } from './bounds.ts'
import { decideIssue } from './decide_issue.ts'
import { defer, resume, unknownCode } from './deferred.ts'
import { proposeDelegation } from './delegation.ts'
import { type Given, give } from './give.ts'
import { accessTokenType, type GrantRequest, readGrant } from './grant.ts'
import type { BrokerTrail } from './observer.ts'
import { proposeOnBehalf } from './on_behalf.ts'
import { isOwnToken, proveParent } from './parent.ts'
import type { Form, SenderFacts } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import { type Proposal, refuseBeyond } from './proposal.ts'
import { proposeRenewal } from './renewal.ts'
import { issueTime } from './times.ts'
import { refuseUnusable } from './usable.ts'

/** One call of the token endpoint. */
export interface TokenRequest {
  readonly form: Form
  readonly sender: SenderFacts
}

/**
 * Answers a request: the lease is durable before this resolves. `trail` tells how far it came. Throws `Unavailable`
 * when the state cannot be read, and for a bug.
 */
export async function issue(
  { form, sender }: TokenRequest,
  trail: BrokerTrail,
  parts: BrokerParts,
): Promise<Given | Refusal> {
  const grant = readGrant(form)
  if (isRefusal(grant)) return grant
  trail.grant = grant.kind
  const asker = await proveAsker(grant.actor, { form, sender }, parts)
  if (isRefusal(asker)) return asker
  trail.agent = asker.client.entry.agent
  const asOf = completeAt(parts)
  if (isRefusal(asOf)) return asOf
  const asked =
    grant.kind === 'deferred'
      ? await resume(grant.code, asker, parts)
      : { proposal: await propose(grant, form, asker, parts), approved: undefined }
  if (isRefusal(asked)) return asked
  const { proposal, approved } = asked
  if (isRefusal(proposal)) return proposal
  if (grant.kind === 'exchange') trail.grant = proposal.kind
  trail.user = proposal.user.id
  trail.task = proposal.task
  const beyond = refuseBeyond(proposal)
  if (beyond !== undefined) return beyond
  const decision = decideIssue(proposal, approved?.by, parts)
  trail.policyDigest = decision.digest
  trail.reasons = decision.reasons
  trail.fault = decision.fault
  if (isRefusal(decision.result)) return decision.result
  const { agent, terms, approval } = decision.result
  const bounded = boundGrant(proposal, terms, { ttlSeconds: parts.ttlSeconds, now: parts.now() })
  if (isRefusal(bounded)) return bounded
  const unusable = refuseUnusable(proposal, bounded.details, parts.backends)
  if (unusable !== undefined) return unusable
  if (approval !== undefined) {
    // What a human says yes to is what was granted now, whatever policy would leave to the agent later.
    const exact = { ...proposal, details: bounded.details, stage: bounded.stage }
    return defer({ proposal: exact, asker, approval, asOf }, parts)
  }
  if (approved !== undefined && !(await approved.redeem())) return unknownCode()
  const issued = await give({ proposal, agent, bounded, asOf }, trail, parts)
  if (!isRefusal(issued)) trail.lease = issued.record
  return issued
}

/**
 * When the view of revocations was last complete, in whole seconds: asked before anything is looked up in it, so
 * that what is revoked while a request is on its way kills the token that comes of it. Refuses where it is too old, and
 * where this clock is off.
 */
function completeAt({ store, now, maxStalenessMs }: BrokerParts): number | Refusal {
  const at = now()
  const ageMs = Math.max(0, store.revocations.ageMs(at * 1000))
  // Asked this way round, an age that is no number is too old.
  if (!(ageMs <= maxStalenessMs)) {
    return refuse('evidence_unavailable', { cause: 'the view of revocations is too old to issue on' })
  }
  const issuedAt = issueTime(store, at)
  return isRefusal(issuedAt) ? issuedAt : Math.floor(issuedAt - ageMs / 1000)
}

type Proposable = Exclude<GrantRequest, { readonly kind: 'deferred' }>

/** What is asked for, for whom, on what ground. */
async function propose(
  grant: Proposable,
  form: Form,
  asker: Asker,
  parts: BrokerParts,
): Promise<Proposal | Refusal> {
  const { audiences, profile, issuer } = parts
  const shown = grant.kind === 'exchange' ? grant.subject : { token: grant.assertion, type: 'id_jag' }
  if (shown.type === accessTokenType && isOwnToken(shown.token, issuer)) {
    return proposeFromLease(shown.token, form, asker, parts)
  }
  const subject = await parts.subjects.verify(shown.token, shown.type, asker.client, parts.now())
  if (isRefusal(subject)) return subject
  const ask = readAsk(form, { audiences, audience: profile.audience, profile })
  return isRefusal(ask) ? ask : proposeOnBehalf({ subject, asker, ask }, parts, parts.now())
}

/** Renewal by the agent alone; with the token of another agent, handing on. */
async function proposeFromLease(
  token: string,
  form: Form,
  asker: Asker,
  parts: BrokerParts,
): Promise<Proposal | Refusal> {
  const parent = await proveParent(token, asker, parts)
  if (isRefusal(parent)) return parent
  const { audiences, profile } = parts
  const ask = readAsk(form, { audiences, audience: parent.lease.audience, profile })
  if (isRefusal(ask)) return ask
  const from = asker.client.entry
  return asker.actor === undefined
    ? proposeRenewal(parent, asker, ask, parts)
    : proposeDelegation(parent, { from, child: asker.actor }, ask, parts)
}
