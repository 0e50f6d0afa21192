// The shape of what policy sees, version 1. In: nothing. Out: a zod schema, and the JSON Schema that
// policies/input.schema.json holds and `policy check` types Rego against. Never run per request.
import { z } from 'zod'
import { risks, sensitivities, stages } from '../lease/lease.ts'

const text = z.string()
const count = z.number().int().nonnegative()

const lease = z.strictObject({
  id: text,
  user: text,
  agent: z.strictObject({ id: text, version: text, env: text, profile: text }),
  task: z.strictObject({ system: text, id: text, purpose: text }),
  stage: z.enum(stages),
  session: text,
  granted: z.array(
    z.strictObject({ actions: z.array(text), resource: text, sensitivity: z.enum(sensitivities) }),
  ),
  age_seconds: z.number().int(),
  expires_in_seconds: z.number().int(),
})

const request = z.strictObject({
  backend: text,
  operation: text,
  verb: text,
  resource: text,
  sensitivity: z.enum(sensitivities),
  risk: z.enum(risks),
  method: text,
  path: text,
  params: z.record(text, text),
  query: z.record(text, text),
  /** Any JSON; null where the operation's body is not read. */
  body: z.unknown(),
})

const context = z.strictObject({
  /** Seconds since 1970. */
  now: z.number().int(),
  source_ip: text,
  /** Calls decided before this one in the last minute. */
  recent_calls: z.strictObject({ lease_1m: count, agent_1m: count }),
  provenance: z.enum(['trusted', 'untrusted']),
  approval: z.strictObject({ id: text, approved_by: z.array(text) }).nullable(),
})

/** The document `input` of every decision. A change that is not purely additive needs a new `version`. */
export const policyInput = z.strictObject({ version: z.literal(1), lease, request, context })

/** One policy input. */
export type PolicyInput = z.infer<typeof policyInput>

/** JSON Schema (draft 7, the newest that OPA's type checker reads) of `policyInput`, as stored text. */
export function inputSchemaText(): string {
  return `${JSON.stringify(z.toJSONSchema(policyInput, { target: 'draft-7' }), null, 2)}\n`
}
