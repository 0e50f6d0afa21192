// What waits for a human, as people and programs read it at the control listener. In: an action or a token request,
// who looks, the time. Out: plain data. Pure; the bytes of a call are in `callView` alone.
import { createHash } from 'node:crypto'
import { type Action, stateOf } from '../approval/action.ts'
import type { HeldCall } from '../approval/actions.ts'
import { yesOf } from '../approval/people.ts'
import { type LeaseRequest, shownState } from '../approval/requests.ts'
import { type Behind, type KnownPerson, needsReason, whyNot } from '../approval/rules.ts'
import { agentName } from '../lease/lease.ts'
import { type Caller, hasRole } from './caller.ts'

/** Who looks, and what would be asked of them for a yes. */
export interface Viewer extends KnownPerson {
  readonly caller: Caller
  readonly now: number
  readonly asked: { readonly stepUp: boolean; readonly passkey: boolean }
}

/** What one agent asks for again and again has one group: for lists, never an authority. */
export function groupOf({ what, lease }: Pick<Action, 'what' | 'lease'>): string {
  return shortHash([agentName(lease.agent.id), what.backend, what.operation, what.verb])
}

function shortHash(names: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(names)).digest('base64url').slice(0, 12)
}

/** An action. `behind`: who stands behind its lease, as far as it has been looked at. */
export function actionView(action: Action, behind: Behind, viewer: Viewer) {
  const { id, kind, fingerprint, createdAt, expiresAt, decisionId, said, terms, yes, ended } = action
  const state = stateOf(action, viewer.now)
  const open = state === 'pending' || state === 'approved'
  const already = yesOf(viewer.person, yes) === undefined ? undefined : ('already' as const)
  const why = mayNot(viewer, terms, behind) ?? already ?? (open ? undefined : state)
  return {
    id,
    kind,
    state,
    fingerprint,
    group: groupOf(action),
    created_at: createdAt,
    expires_at: expiresAt,
    decision_id: decisionId,
    what: whatOf(action),
    lease: leaseOf(action),
    said: { effect: said.effect, reasons: said.reasons, policy_digest: said.policyDigest },
    terms: {
      approvers: terms.approvers,
      quorum: terms.quorum,
      reason_required: terms.reasonRequired,
      after_lease: terms.afterLease,
      repeat: terms.repeat ?? null,
    },
    yes: yes.map(({ by, at, reason, shownBy }) => ({ user: by.user, at, reason, shown_by: shownBy })),
    ...(ended !== undefined && { ended }),
    ...outcomeOf(action),
    you: youOf(viewer, why, needsReason(action)),
  }
}

function whatOf({ what }: Action) {
  const { contentType, bodyBytes, bodyDigest, ...rest } = what
  return { ...rest, content_type: contentType ?? null, body_bytes: bodyBytes, body_digest: bodyDigest }
}

function leaseOf({ lease }: Action) {
  const { id, issuer, user, agent, task, session, stage } = lease
  return { id, issuer, user, agent, task, session, stage }
}

function outcomeOf({ outcome }: Action) {
  if (outcome === undefined) return {}
  const { decisionId, status, code, bytes, kept, at } = outcome
  return {
    outcome: { decision_id: decisionId, status: status ?? null, code: code ?? null, bytes, kept, at },
  }
}

/** The call exactly as it was sent; null where it cannot be read any more. */
export function callView(call: HeldCall | undefined) {
  if (call === undefined) return null
  const { method, target, headers, body } = call
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([headers[at]!, headers[at + 1]!])
  return { method, target, headers: pairs, body_base64: Buffer.from(body).toString('base64') }
}

/** A token request that waits, in the form of an action; what there is none of is null. */
export function requestView(request: LeaseRequest, behind: Behind, viewer: Viewer) {
  const { id, kind, deferral, proposal, fingerprint } = request
  const { approvers, reasonRequired = false, settled } = deferral
  const state = shownState(request, viewer.now)
  const why = mayNot(viewer, { approvers }, behind) ?? (state === 'pending' ? undefined : state)
  const { user, session, stage, task, backends } = proposal
  const none = { operation: null, verb: null, resource: null, sensitivity: null, risk: null, method: null }
  const agent = { id: agentName(proposal.clientId), version: null, env: null, profile: null }
  return {
    id,
    kind,
    state,
    fingerprint,
    group: shortHash([agent.id, kind, ...backends]),
    created_at: deferral.createdAt,
    expires_at: deferral.expiresAt,
    decision_id: null,
    what: {
      ...{ ...none, backend: backends.join(' '), path: null, content_type: null },
      ...{ body_bytes: null, body_digest: null },
    },
    lease: { id: null, issuer: null, user: user.id, agent, task: task ?? null, session, stage },
    said: { effect: 'approve', reasons: [], policy_digest: null },
    terms: { approvers, quorum: 1, reason_required: reasonRequired, after_lease: 0, repeat: null },
    yes:
      settled !== undefined && deferral.state !== 'denied'
        ? [{ user: settled.by, at: settled.at, reason: settled.reason, shown_by: null }]
        : [],
    ...(settled !== undefined && deferral.state === 'denied' && { ended: settled }),
    request: {
      kind: proposal.kind,
      client_id: proposal.clientId,
      audience: proposal.audience,
      backends,
      authorization_details: proposal.details ?? null,
      scopes: proposal.scopes ?? null,
      stage,
      lease_seconds: proposal.leaseSeconds,
      parent: proposal.parent?.id ?? null,
    },
    you: youOf(viewer, why, reasonRequired),
  }
}

/** Why not this person, whatever the state. */
function mayNot(
  viewer: Viewer,
  terms: { readonly approvers: readonly string[] },
  behind: Behind,
): string | undefined {
  return hasRole(viewer.caller, ['approver']) ? whyNot(viewer, terms, behind) : 'role'
}

function youOf({ asked }: Viewer, why: string | undefined, reasonRequired: boolean) {
  return {
    may: why === undefined,
    ...(why !== undefined && { why_not: why }),
    reason_required: reasonRequired,
    step_up: asked.stepUp,
    passkey: asked.passkey,
  }
}
