// The shape of what policy sees, version 1. In: nothing. Out: a zod schema, and the JSON Schema that
// policies/input.schema.json holds and `policy check` types Rego against. Never run per request.
import { z } from 'zod'
import { risks, sensitivities, stages } from '../lease/lease.ts'

/** A description as docs/policy.md shows it, and one value the gate could send. */
function about<S extends z.ZodType>(schema: S, description: string, example: z.core.output<S>): S {
  return schema.meta({ description, examples: [example] })
}

function text(description: string, example: string) {
  return about(z.string(), description, example)
}

const granted = z.strictObject({
  actions: about(z.array(z.string()), 'verbs; `*` is every verb', ['read']),
  resource: text('exact, or ending in `/*`: everything below', 'crm:customer/9821'),
  sensitivity: about(z.enum(sensitivities), 'ceiling', 'confidential'),
})

const delegating = z.strictObject({
  id: text('an agent that handed a part of its own lease on', 'agent:planner'),
  version: text('as its lease said', '1.4.0'),
  profile: text('which policy profile holds for it', 'support'),
})

const lease = z.strictObject({
  id: text('on every record of what the lease was used for', 'lse_01K9ZQ4C6V8B3N5M7P9R1T3W5Y'),
  user: text('on whose behalf; the workflow itself where there is no user', 'alice@example.com'),
  agent: z.strictObject({
    id: text('who acts; an actor of another issuer is `iss#sub`', 'agent:support-triage'),
    version: text('of the agent, as its lease says', '3.2.1'),
    env: text('where the agent runs', 'prod'),
    profile: text('which policy profile holds', 'support'),
    profile_version: text('of the profile when the lease was made; empty where its issuer does not say', '9'),
  }),
  task: z.strictObject({
    system: text('where the task is kept', 'jira'),
    id: text('its name there', 'SUP-4711'),
    purpose: text('why the lease was asked for', "answer the customer's billing question"),
  }),
  stage: about(z.enum(stages), 'how far the agent may go', 'observe'),
  session: text('groups the leases of one run of the agent', 'ses_01K9ZQ4C6V8B3N5M7P9R1T3W5Y'),
  bound: about(z.boolean(), 'the token was presented with a proof of possession (DPoP, mTLS)', true),
  delegated_by: about(z.array(delegating), 'agents that handed the lease on, nearest first', [
    { id: 'agent:planner', version: '1.4.0', profile: 'support' },
  ]),
  granted: about(z.array(granted), 'alternatives: one of them has to cover the request alone', [
    { actions: ['read'], resource: 'crm:customer/9821', sensitivity: 'confidential' },
  ]),
  age_seconds: about(z.number().int(), 'since `iat` of the token', 12),
  expires_in_seconds: about(z.number().int(), 'until `exp` of the token', 288),
})

const request = z.strictObject({
  backend: text('its name in the configuration', 'crm'),
  operation: text('`match` as configured', 'GET /customers/{id}'),
  verb: text('as configured', 'read'),
  resource: text('as configured, with the parameters filled in', 'crm:customer/9821'),
  sensitivity: about(z.enum(sensitivities), 'as configured', 'confidential'),
  risk: about(z.enum(risks), 'as configured', 'low'),
  method: text('as sent: HEAD stays HEAD', 'GET'),
  path: text('as the backend gets it, before the path of its `url`', '/customers/9821'),
  amount: about(
    z.string().nullable().default(null),
    'what the request moves, a decimal, where its operation has an `amount` that can be read; else null',
    null,
  ),
  amount_whole: about(
    z.number().int().nonnegative().nullable().default(null),
    '`amount`, rounded up: a number that rules can compare',
    null,
  ),
  params: about(z.record(z.string(), z.string()), 'parameters of `match`, decoded', { id: '9821' }),
  query: about(z.record(z.string(), z.string()), 'decoded, each name once, without `opaque_query`', {
    limit: '20',
  }),
  body: about(z.unknown(), 'the JSON body of an operation with `body: json`; else null', null),
})

const calls = (description: string, example: number) =>
  about(z.number().int().nonnegative(), description, example)

const approval = z.strictObject({
  id: text('of the action that was approved, or of the repeat', 'act_01K9ZQ4C6V8B3N5M7P9R1T3W5Y'),
  approved_by: about(z.array(z.string()), 'people, each once, as leases name users', ['carol@example.com']),
  kind: about(
    z.enum(['exact', 'repeat']).default('exact'),
    '`exact`: a yes to this very call, once. `repeat`: to so many calls of this verb on this resource under this lease',
    'exact',
  ),
})

const left = (description: string, example: number) =>
  about(z.number().int().nonnegative().nullable(), description, example)

const budget = z.strictObject({
  calls_left: left('of `max_calls`; null: not limited', 12),
  bytes_left: left('of `max_bytes`; null: not limited', 40_000),
  amount_left: about(z.string().nullable(), 'of `max_amount`, a decimal; null: not limited', '25.5'),
  amount_left_whole: left('`amount_left`, rounded down: a number that rules can compare', 25),
  lease_rate_left: left('calls that `max_rate` would let through at once; null: not limited', 5),
})

const context = z.strictObject({
  now: about(z.number().int(), 'seconds since 1970', 1_795_300_012),
  source_ip: text('the other end of the connection: your load balancer, if there is one', '10.1.2.3'),
  recent_calls: z.strictObject({
    lease_1m: calls('calls of the lease before this one in a minute, at this gate', 4),
    agent_1m: calls('the same of all leases of the agent', 40),
  }),
  provenance: about(
    z.enum(['trusted', 'untrusted']),
    "what the agent's runtime said in `Lease-Provenance` about the content that asked for this; nothing said is `untrusted`",
    'untrusted',
  ),
  approval: about(
    approval.nullable(),
    'once somebody has said yes: asked again before the call goes through; null: nobody yet',
    null,
  ),
  budget: about(
    budget.nullable().default(null),
    'what the lease had left before this call, at most a second ago; null where the grant that covers it limits nothing',
    null,
  ),
})

/** The document `input` of every decision. A change that is not purely additive needs a new `version`. */
export const policyInput = z.strictObject({
  version: about(z.literal(1), 'of this document; fields are only ever added', 1),
  lease,
  request,
  context,
})

/** One policy input. */
export type PolicyInput = z.infer<typeof policyInput>

/** JSON Schema (draft 7, the newest that OPA's type checker reads) of `policyInput`, as stored text. */
export function inputSchemaText(): string {
  return `${JSON.stringify(z.toJSONSchema(policyInput, { target: 'draft-7' }), null, 2)}\n`
}
