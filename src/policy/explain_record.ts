// In: the audit record of a decision. Out: what it says, and the policy input, as far as the record holds it. Never
// fills in what was left out.
import { z } from 'zod'
import { refusals } from '../refusals.ts'
import type { Recorded, Subject } from './explain_subject.ts'
import { policyInput } from './input_schema.ts'

const text = z.string()
const effect = z.enum(['allow', 'deny', 'hold', 'draft'])
const schema = z.object({
  time: text,
  decision_id: text,
  who: z.object({ user: text }).nullable(),
  agent: z.object({ id: text, version: text, profile: text }).nullable(),
  what: z.object({
    verb: text.nullable(),
    sensitivity: text.nullable(),
    resource: text.nullable(),
    method: text,
    path: text.nullable(),
  }),
  decision: z.object({
    effect,
    code: text.nullable(),
    reasons: z.array(text),
    policy_digest: text.nullable(),
    cause: text.nullable(),
  }),
  outcome: z.object({ ended: text }),
  policy: z
    .object({
      effect,
      reasons: z.array(text),
      fault: text.nullable(),
      input: z.unknown(),
      redacted: z.array(text),
      omitted: text.nullable(),
    })
    .nullable()
    .optional(),
})
type AuditRecord = z.infer<typeof schema>

/** What can be explained of a record. Throws an `Error` that says so when it is damaged. */
export function subjectOf(found: unknown, decisionId: string): Subject {
  const record = schema.safeParse(found)
  if (!record.success)
    throw new Error(`the record of ${decisionId} is damaged:\n${z.prettifyError(record.error)}`)
  const recorded = recordedOf(record.data)
  return { recorded, ...inputOf(record.data) }
}

function recordedOf({
  time,
  decision_id,
  who,
  agent,
  what,
  decision,
  outcome,
  policy,
}: AuditRecord): Recorded {
  const { verb, resource, sensitivity, method, path } = what
  const actor =
    who === null ? 'somebody' : `${who.user} via ${agent?.id ?? 'an agent'}@${agent?.version ?? '?'}`
  const act =
    verb === null ? `${method} ${path ?? '?'}` : `${verb} ${resource ?? '?'} (${sensitivity ?? '?'})`
  const narrow = decision.code === 'outside_lease' && !decision.reasons.includes('environment_mismatch')
  return {
    decisionId: decision_id,
    time,
    effect: decision.effect,
    code: decision.code,
    cause: decision.cause,
    reasons: decision.reasons,
    ended: outcome.ended,
    request: `${actor}: ${act}`,
    ...(narrow && verb !== null && resource !== null && sensitivity !== null
      ? { missing: { actions: [verb], identifier: resource, sensitivity } }
      : {}),
    policy:
      policy === null || policy === undefined
        ? null
        : {
            effect: policy.effect,
            reasons: policy.reasons,
            fault: policy.fault,
            digest: decision.policy_digest,
            redacted: policy.redacted,
          },
  }
}

const omissions: Readonly<Record<string, string>> = {
  too_large: 'its input was larger than audit.policy_input.max_size and is not in the record',
  off: 'audit.policy_input.record was off: its input is not in the record',
}

function inputOf({ policy, decision_id }: AuditRecord): Pick<Subject, 'inputs' | 'notes'> {
  if (policy === undefined) {
    return { inputs: [], notes: ['this record is older than the recording of policy inputs'] }
  }
  if (policy === null) return { inputs: [], notes: [] }
  if (policy.omitted !== null || policy.input === null) {
    return { inputs: [], notes: [omissions[policy.omitted ?? ''] ?? 'its input is not in the record'] }
  }
  // A redacted member is null in the record, whatever its type; `query` is never null in an input.
  const input = policyInput.safeParse(
    policy.redacted.includes('request.query') ? withoutQuery(policy.input) : policy.input,
  )
  if (input.success) return { inputs: [input.data], notes: [] }
  if (policy.redacted.length > 0) {
    return {
      inputs: [],
      notes: [`its input lost ${policy.redacted.join(', ')} to redaction (or to a token in it)`],
    }
  }
  throw new Error(`the input recorded for ${decision_id} is damaged:\n${z.prettifyError(input.error)}`)
}

function withoutQuery(input: unknown): unknown {
  const { request, ...rest } = z.looseObject({ request: z.looseObject({}) }).parse(input)
  return { ...rest, request: { ...request, query: {} } }
}

/** What a code of the refusal table means; '' for one that is not in it. */
export function meaningOf(code: string): string {
  const row = Object.entries(refusals).find(([known]) => known === code)?.[1]
  return row === undefined ? '' : row.title
}
