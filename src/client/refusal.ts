// In: an answer. Out: the gate's own refusal in it, or nothing: an answer of the backend, whatever it says, is
// the caller's. The gate puts `Lease-Refusal` on its own refusals and takes it off every backend's answer.
import { ApprovalRequired, type LeaseDetail, LeaseRefused, type RefusalFacts } from './errors.ts'

/** The refusal of the gate, as an error to throw; undefined: this is the backend's answer. */
export async function gateRefusal(answer: Response): Promise<LeaseRefused | undefined> {
  const code = answer.headers.get('lease-refusal')
  if (code === null) return undefined
  const problem = await problemOf(answer)
  const {
    detail,
    reasons,
    next_action: next,
    decision_id: decisionId,
    authorization_details: missing,
  } = problem
  const retryAfter = Number(answer.headers.get('retry-after') ?? Number.NaN)
  const facts: RefusalFacts = {
    code,
    status: answer.status,
    reasons: Array.isArray(reasons) ? reasons.map(String) : [],
    nextAction: next === 'request' || next === 'retry' ? next : 'none',
    decisionId: typeof decisionId === 'string' ? decisionId : undefined,
    missing: Array.isArray(missing) ? (missing as LeaseDetail[]) : [],
    retryAfter: Number.isFinite(retryAfter) ? retryAfter : undefined,
  }
  const text = typeof detail === 'string' ? detail : 'the gate refused this'
  return code === 'approval_required' ? new ApprovalRequired(text, facts) : new LeaseRefused(text, facts)
}

async function problemOf(answer: Response): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value: unknown = await answer.clone().json()
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  } catch {
    return {}
  }
}
