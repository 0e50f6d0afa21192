// In: an answer. Out: the gate's own refusal in it, or nothing: an answer of the backend, whatever it says, is
// the caller's. The gate puts `Lease-Refusal` on its own refusals and takes it off every backend's answer.
import {
  ApprovalRefused,
  ApprovalRequired,
  type LeaseDetail,
  LeaseRefused,
  type RefusalFacts,
} from './errors.ts'
import { requestedTask } from './task.ts'

/** A problem document (RFC 9457) as it came. */
type Problem = Readonly<Record<string, unknown>>

/** The refusal of the gate, as an error to throw; undefined: this is the backend's answer. */
export async function gateRefusal(answer: Response): Promise<LeaseRefused | undefined> {
  const code = answer.headers.get('lease-refusal')
  if (code === null) return undefined
  const retryAfter = answer.headers.get('retry-after') ?? undefined
  return refusalOf({ status: answer.status, ...(await problemOf(answer)), code }, retryAfter)
}

/** What a problem document of the gate says, as an error. */
export function refusalOf(problem: Problem, retryAfter?: string): LeaseRefused {
  const { code, status, detail, reasons, next_action: next, decision_id: decisionId } = problem
  const { authorization_details: missing } = problem
  const seconds = Number(retryAfter ?? Number.NaN)
  const facts: RefusalFacts = {
    code: String(code),
    status: Number(status),
    reasons: Array.isArray(reasons) ? reasons.map(String) : [],
    nextAction: next === 'request' || next === 'retry' ? next : 'none',
    decisionId: typeof decisionId === 'string' ? decisionId : undefined,
    missing: Array.isArray(missing) ? (missing as LeaseDetail[]) : [],
    retryAfter: Number.isFinite(seconds) ? seconds : undefined,
  }
  const text = typeof detail === 'string' ? detail : 'the gate refused this'
  if (code === 'approval_required') {
    return new ApprovalRequired(text, facts, requestedTask(problem.access_request))
  }
  if (code === 'approval_refused') {
    return new ApprovalRefused(text, facts, typeof detail === 'string' ? detail : undefined)
  }
  return new LeaseRefused(text, facts)
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const value: unknown = await answer.clone().json()
    return typeof value === 'object' && value !== null ? (value as Problem) : {}
  } catch {
    return {}
  }
}
