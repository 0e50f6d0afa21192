// The shape of what issue policy sees, version 1. In: nothing. Out: a zod schema, and the JSON Schema that
// policies/issue_input.schema.json holds and `policy check` types `package leasegate.issue` against. Never run
// per request.
import { z } from 'zod'
import { risks, sensitivities, stages } from '../lease/lease.ts'
import { weekdays } from './issue.ts'

/** A description as docs/policy.md shows it, and one value that the broker could send. */
function about<S extends z.ZodType>(schema: S, description: string, example: z.core.output<S>): S {
  return schema.meta({ description, examples: [example] })
}

function text(description: string, example: string) {
  return about(z.string(), description, example)
}

function integer(description: string, example: number) {
  return about(z.number().int(), description, example)
}

const detail = z.strictObject({
  type: about(z.literal('lease'), 'of the detail (RFC 9396 §2)', 'lease'),
  actions: about(z.array(z.string()), 'verbs', ['read']),
  identifier: text('exact, or ending in `/*`: everything below', 'crm:customer/9821'),
  sensitivity: about(z.enum(sensitivities), 'ceiling', 'confidential'),
  constraints: about(
    z
      .strictObject({
        max_calls: z.number().int().optional(),
        max_bytes: z.number().int().optional(),
        max_amount: z.string().optional(),
        max_rate: z.string().optional(),
        max_risk: z.enum(risks).optional(),
      })
      .optional(),
    '`max_calls`, `max_bytes`, `max_amount`, `max_rate`, `max_risk`; may be absent, as may each of them',
    { max_calls: 20 },
  ),
})
const exampleDetails = [
  { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
] satisfies z.infer<typeof detail>[]

const user = z.strictObject({
  id: text('as leases name them', 'alice@example.com'),
  kind: about(z.enum(['user', 'workflow']), 'a person, or a process of its own', 'user'),
  issuer: text('the identity provider that spoke for them', 'https://login.example.com'),
  groups: about(
    z.array(z.string()),
    'as the identity provider says; data/users has the ones that count here',
    ['support'],
  ),
  auth_time: about(z.number().int().nullable(), 'when they logged in; null: not said', 1_795_296_400),
  acr: about(z.string().nullable(), 'how they logged in (OpenID Connect `acr`); null: not said', 'mfa'),
})

const agent = z.strictObject({
  id: text('the agent that asks', 'agent:support-triage'),
  version: text('of the agent, as its file says', '3.2.1'),
  env: text('where it runs', 'prod'),
  profile: text('which policy profile holds', 'support'),
  tenant: text("whose agent it is; empty: nobody's in particular", ''),
  authenticated_by: text('how it proved who it is', 'private_key_jwt'),
  bound: about(z.boolean(), 'it proved that it holds a key: its tokens will be bound to it', true),
})

const delegating = z.strictObject({
  id: text('an agent that hands a part of its own lease on', 'agent:planner'),
  version: text('as its lease says', '1.4.0'),
  profile: text('which policy profile holds for it', 'support'),
})

const task = z.strictObject({
  system: text('where the task is kept', 'jira'),
  id: text('its name there', 'SUP-4711'),
  purpose: text('why the lease is asked for', "answer the customer's billing question"),
})

const request = z.strictObject({
  kind: about(
    z.enum(['exchange', 'delegation', 'renewal']),
    "a first lease, a part of another agent's lease, or a further token of a lease",
    'exchange',
  ),
  details: about(
    z.array(detail).nullable(),
    'alternatives that are asked for; null: the client leaves it to policy',
    exampleDetails,
  ),
  backends: about(z.array(z.string()), 'backends that the lease is asked for', ['crm']),
  stage: about(z.enum(stages), 'how far the agent wants to go', 'observe'),
  ttl_seconds: integer('how long the token is to live', 300),
  lease_seconds: integer('how long the lease is to live, with all renewals', 3600),
  task: about(task.nullable(), 'what it is for; null: not said', {
    system: 'jira',
    id: 'SUP-4711',
    purpose: "answer the customer's billing question",
  }),
})

const parent = z.strictObject({
  id: text('of the lease that is renewed or handed on', 'lse_01K9ZQ4C6V8B3N5M7P9R1T3W5Y'),
  stage: about(z.enum(stages), 'of that lease', 'observe'),
  details: about(z.array(detail), 'what it grants', exampleDetails),
})

const context = z.strictObject({
  now: integer('seconds since 1970', 1_795_300_012),
  weekday: about(z.enum(weekdays), 'of `now`, UTC', 'sat'),
  hour: integer('of `now`, 0 to 23, UTC', 22),
  minute: integer('of `now`, 0 to 59, UTC', 26),
  approved_by: about(
    z.array(z.string()).nullable(),
    'people who have said yes to exactly this; null: nobody yet',
    null,
  ),
})

/** The document `input` of every decision to issue. A change that is not purely additive needs a new `version`. */
export const issueInputSchema = z.strictObject({
  version: about(z.literal(1), 'of this document; fields are only ever added', 1),
  user,
  agent,
  delegated_by: about(z.array(delegating), 'agents that the lease is handed on by, nearest first', []),
  request,
  parent: about(parent.nullable(), 'null for a first lease', null),
  context,
})

/** JSON Schema (draft 7, the newest that OPA's type checker reads) of `issueInputSchema`, as stored text. */
export function issueSchemaText(): string {
  return `${JSON.stringify(z.toJSONSchema(issueInputSchema, { target: 'draft-7' }), null, 2)}\n`
}
