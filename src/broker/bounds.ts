// In: a proposal and what policy granted. Out: what is issued: asked ∩ granted ∩ every bound, or the refusal. The
// last word on authority before a token is signed: whatever policy says, it only narrows. Exact
// details have been held against the bounds before policy was asked. Pure.
import type { LeaseDetail } from '../lease/allow.ts'
import { type Stage, stages } from '../lease/lease.ts'
import { firstBeyond, inCommon, upToRisk, withRiskCeiling } from '../lease/subset.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { backendOf } from './ask.ts'
import type { GrantTerms } from './issue_decision.ts'
import { type Proposal, refuseDetail } from './proposal.ts'

/** What a lease is made with. */
export interface Bounded {
  readonly details: readonly LeaseDetail[]
  readonly stage: Stage
  readonly ttlSeconds: number
  /** When it ends, seconds since 1970. */
  readonly notAfter: number
  readonly profileVersion: string
}

/**
 * Exact details are granted whole, at their stage, or not at all; without them what policy grants is narrowed.
 * `ttlSeconds`: the most that the broker gives a token.
 */
export function boundGrant(
  proposal: Proposal,
  terms: GrantTerms,
  { ttlSeconds, now }: { readonly ttlSeconds: number; readonly now: number },
): Bounded | Refusal {
  const details = proposal.details === undefined ? narrowed(proposal, terms) : whole(proposal, terms)
  if (isRefusal(details)) return details
  const stage = lowerStage(proposal.stage, terms.stage)
  if (stage !== proposal.stage && proposal.details !== undefined) {
    return refuse('invalid_scope', { detail: `policy grants the stage ${stage}, not ${proposal.stage}` })
  }
  const leaseSeconds = Math.min(terms.leaseSeconds, proposal.leaseSeconds)
  const notAfter = Math.floor(Math.min(now + leaseSeconds, proposal.notAfter))
  // Asked this way round, a time that is no number is over as well.
  if (!(notAfter > now)) return refuse('invalid_request', { detail: 'the lease would end before it begins' })
  return {
    details,
    stage,
    ttlSeconds: Math.min(terms.ttlSeconds, proposal.ttlSeconds ?? ttlSeconds, ttlSeconds),
    notAfter,
    profileVersion: terms.profileVersion,
  }
}

function whole({ details = [] }: Proposal, terms: GrantTerms): readonly LeaseDetail[] | Refusal {
  const beyond = firstBeyond(details, terms.details)
  return beyond === undefined ? details : refuseDetail(beyond)
}

function narrowed(proposal: Proposal, terms: GrantTerms): LeaseDetail[] | Refusal {
  let details: LeaseDetail[] | undefined = terms.details.flatMap((entry) => targeted(entry, proposal))
  for (const bound of proposal.bounds) details = details && inCommon(details, bound)
  if (details === undefined || details.length === 0) {
    return refuse('invalid_scope', {
      detail: 'nothing is left of what policy grants, or too much: ask for details',
    })
  }
  return isNamed(proposal) ? withRiskCeiling(details) : upToRisk(details, 'medium')
}

/** Whether somebody has named what is granted, and so its risk: the lease before, or the provider. */
function isNamed({ kind, bounds }: Proposal): boolean {
  return kind === 'renewal' || (kind === 'exchange' && bounds.length > 0)
}

/** The part of an entry that the resource and the scope of the request leave room for. */
function targeted(entry: LeaseDetail, { backends, scopes }: Proposal): LeaseDetail[] {
  const backend = backendOf(entry.identifier)
  if (!backends.includes(backend)) return []
  if (scopes === undefined) return [entry]
  const scoped = scopes.filter((scope) => scope.backend === backend).map(({ action }) => action)
  const actions = entry.actions.includes('*')
    ? scoped
    : entry.actions.filter((action) => scoped.includes(action))
  return actions.length === 0 ? [] : [{ ...entry, actions }]
}

function lowerStage(a: Stage, b: Stage): Stage {
  return stages.indexOf(a) <= stages.indexOf(b) ? a : b
}
