// In: a proposal. Out: what policy grants and why, whether a human has to approve it first, or policy's no. Asks
// the live policy once; what it grants is bounded afterwards (bounds.ts).
import { type Refusal, refuse } from '../refusals.ts'
import type { ApprovalTerms } from './deferred.ts'
import type { GrantTerms, IssueQuestion } from './issue_decision.ts'
import type { AgentEntry } from './parties.ts'
import type { BrokerParts } from './parts.ts'
import type { Proposal } from './proposal.ts'

/** Policy's answer. */
export interface Decision {
  readonly digest: string
  readonly reasons: readonly string[]
  /** Why no usable answer came out. */
  readonly fault: string | undefined
  readonly result: Granted | Refusal
}

export interface Granted {
  readonly agent: AgentEntry
  readonly terms: GrantTerms
  /** Undefined: nobody has to approve it, or somebody has. */
  readonly approval: ApprovalTerms | undefined
}

/** Asks policy. `approvedBy`: who has said yes to exactly this; undefined: nobody was asked. */
export function decideIssue(
  proposal: Proposal,
  approvedBy: readonly string[] | undefined,
  parts: BrokerParts,
): Decision {
  const agent = parts.agents().byClientId(proposal.clientId)
  const policy = parts.policy()
  const { digest } = policy
  if (agent === undefined) {
    const gone = refuse('unauthorized_client', { detail: 'there is no such agent any more' })
    return { digest, reasons: [], fault: undefined, result: gone }
  }
  const answer = policy.decide(questionOf(proposal, agent, approvedBy, parts))
  const { reasons } = answer
  const fault = answer.effect === 'deny' ? answer.fault : undefined
  const told = (result: Decision['result']): Decision => ({ digest, reasons, fault, result })
  switch (answer.effect) {
    case 'grant':
      return told({ agent, terms: answer.grant, approval: undefined })
    case 'approve':
      if (approvedBy !== undefined) {
        return told(no('access_denied', 'policy wants more approval than was given', reasons))
      }
      if (!proposal.deferrable) {
        // Not `authorization_pending`: nothing pends, and a client that polls would poll for ever.
        return told(
          no('access_denied', 'a human has to approve this: ask with completion_mode=deferred', reasons),
        )
      }
      return told({ agent, terms: answer.grant, approval: answer.approval })
    case 'deny':
      return told(no(answer.code, 'policy refuses this', reasons, fault))
  }
}

function no(code: Refusal['code'], detail: string, reasons: readonly string[], cause?: string): Refusal {
  const told = reasons.length === 0 ? detail : `${detail}: ${reasons.join(', ')}`
  return refuse(code, { detail: told, reasons, ...(cause !== undefined && { cause }) })
}

function questionOf(
  proposal: Proposal,
  { agent: id, version, env, profile, tenant }: AgentEntry,
  approvedBy: readonly string[] | undefined,
  { ttlSeconds, now }: BrokerParts,
): IssueQuestion {
  const { kind, user, delegatedBy, details, backends, stage, task, parent } = proposal
  const at = now()
  const left = Math.floor(proposal.notAfter - at)
  return {
    kind,
    user,
    agent: {
      id,
      version,
      env,
      profile,
      tenant,
      authenticatedBy: proposal.authenticatedBy,
      bound: proposal.binding !== undefined,
    },
    delegatedBy,
    request: {
      details,
      backends,
      stage,
      ttlSeconds: Math.min(proposal.ttlSeconds ?? ttlSeconds, ttlSeconds),
      leaseSeconds: Math.floor(Math.min(proposal.leaseSeconds, left)),
      task,
    },
    parent,
    approvedBy,
    now: Math.floor(at),
  }
}
