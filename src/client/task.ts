// What waits for a human, as the gate tells its agent (AuthZEN access request). In: a JSON document. Out: the task, or
// `LeaseUnavailable`: a word that is not known is never taken for a yes.
import { LeaseUnavailable } from './errors.ts'

const words = ['pending', 'approved', 'denied', 'expired', 'cancelled', 'failed'] as const

/** How it stands with a call or a draft that waits for a human. */
export interface ApprovalTask {
  /** `act_…`: what to name to a human. */
  readonly id: string
  /** `approved`: of a draft, also while a gate executes it and afterwards. `failed`: a released draft was refused, or
   * nobody knows whether the backend has seen it. */
  readonly status: (typeof words)[number]
  /** Where the gate tells about it, with the token of the lease alone. */
  readonly statusEndpoint: string
  /** Nobody can say yes any more from then on. */
  readonly expiresAt: Date
  /** Seconds between two looks. */
  readonly intervalSeconds: number
  /** Names the exact action; another one once a draft is replaced. Undefined before the first look at it. */
  readonly fingerprint: string | undefined
  /** Why a human refused it, or who took it back. */
  readonly reason: string | undefined
  /** Of a draft that was executed. `status`: of the backend's answer, null: none came. `code`: what refused it, or null. */
  readonly outcome: { readonly status: number | null; readonly code: string | null } | undefined
  /** Whether the backend's answer to a draft was kept. */
  readonly hasResponse: boolean
}

type Json = Readonly<Record<string, unknown>>

/** Reads `access_request` of a refusal; undefined: there is nothing to wait for. */
export function requestedTask(value: unknown): ApprovalTask | undefined {
  if (!isJson(value) || !isJson(value.task)) return undefined
  const { expires_at, interval, task } = value
  return readTask({ ...task, expires_at, interval })
}

/** Reads the document of a task. Throws `LeaseUnavailable` for anything else. */
export async function taskIn(answer: Response): Promise<ApprovalTask> {
  const task = readTask(await answer.json().catch(() => undefined))
  if (task === undefined) throw new LeaseUnavailable('the gate told nothing of what waits that can be read')
  return task
}

function readTask(value: unknown): ApprovalTask | undefined {
  if (!isJson(value)) return undefined
  const { id, status: said, status_endpoint: statusEndpoint, expires_at, interval, outcome, reason } = value
  const status = words.find((word) => word === said)
  const expiresAt = new Date(typeof expires_at === 'string' ? expires_at : Number.NaN)
  if (typeof id !== 'string' || typeof statusEndpoint !== 'string' || status === undefined) return undefined
  if (Number.isNaN(expiresAt.getTime())) return undefined
  return {
    id,
    status,
    statusEndpoint,
    expiresAt,
    intervalSeconds: typeof interval === 'number' && interval > 0 ? interval : 5,
    fingerprint: typeof value.fingerprint === 'string' ? value.fingerprint : undefined,
    reason: typeof reason === 'string' && reason !== '' ? reason : undefined,
    outcome: isJson(outcome) ? readOutcome(outcome) : undefined,
    hasResponse: typeof value.response_endpoint === 'string',
  }
}

function readOutcome({ status, code }: Json): ApprovalTask['outcome'] {
  return {
    status: typeof status === 'number' ? status : null,
    code: typeof code === 'string' ? code : null,
  }
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
