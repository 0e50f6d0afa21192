// An action as its agent sees it: the task of an AuthZEN access request. In: an action and the time. Out: plain data.
// Pure; who approved is not in it, nor who may.
import { type Action, type ActionState, stateOf } from './action.ts'

/** Seconds between two looks. */
export const pollSeconds = 2

/** The path of tasks on the public origin of a gate. */
export const taskPath = '/access/v1/requests/'

/** The task document; `origin` is the public origin of the gate. */
export function taskOf(action: Action, origin: string, now: number) {
  const { id, kind, fingerprint, ended, outcome } = action
  const status = taskStatus(action, now)
  const endpoint = `${origin}${taskPath}${id}`
  return {
    id,
    kind,
    status,
    status_endpoint: endpoint,
    expires_at: new Date(action.expiresAt * 1000).toISOString(),
    interval: pollSeconds,
    fingerprint,
    ...(ended !== undefined && { reason: ended.reason }),
    ...(outcome !== undefined && { outcome: { status: outcome.status ?? null, code: outcome.code ?? null } }),
    ...(outcome?.kept === true && { response_endpoint: `${endpoint}/response` }),
  }
}

/** `access_request` of a refusal: what to look at, until when, and how often. */
export function accessRequest(action: Action, origin: string, now: number) {
  const { id, status, status_endpoint, expires_at, interval } = taskOf(action, origin, now)
  return { task: { id, status, status_endpoint }, expires_at, interval }
}

const words = {
  pending: 'pending',
  approved: 'approved',
  refused: 'denied',
  withdrawn: 'cancelled',
  used: 'approved',
  executing: 'approved',
  executed: 'approved',
  failed: 'failed',
  expired: 'expired',
} as const satisfies Record<ActionState, string>

/** The words of the AuthZEN access request profile for it; unknown ones are not approved. */
export function taskStatus(action: Action, now: number): (typeof words)[keyof typeof words] {
  return words[stateOf(action, now)]
}
