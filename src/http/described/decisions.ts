// What `/decisions` says of itself.
import { z } from 'zod'
import { decisionFilters, maxDecisions } from '../decision_query.ts'
import type { Description } from '../description.ts'
import { count, effect, next, risk, sensitivity, text } from './words.ts'

const task = z.looseObject({ system: text, id: text, purpose: text })
const agent = z.looseObject({ id: text, version: text, env: text, instance: text, profile: text })

/** An audit record of a request, without what policy was asked. */
export const decisionRow = z.looseObject({
  time: text,
  decision_id: text,
  trace_id: text.nullable(),
  lease_id: text.nullable(),
  token_id: text.nullable(),
  who: z.looseObject({ user: text }).nullable(),
  agent: agent.nullable(),
  why: task.nullable(),
  when: z.looseObject({ issued_at: z.number(), expires_at: z.number() }).nullable(),
  what: z.looseObject({
    backend: text.nullable(),
    operation: text.nullable(),
    verb: text.nullable(),
    sensitivity: sensitivity.nullable(),
    risk: risk.nullable(),
    resource: text.nullable(),
    method: text,
    path: text.nullable(),
    query: z.array(text),
  }),
  decision: z.looseObject({
    effect,
    code: text.nullable(),
    reasons: z.array(text),
    policy_digest: text.nullable(),
    cause: text.nullable(),
  }),
  outcome: z.looseObject({
    status: z.int().nullable(),
    bytes_in: count,
    bytes_out: count,
    duration_ms: z.number(),
    ended: text,
  }),
  peer: z.looseObject({ ip: text }),
})

const lines = z.array(z.looseObject({ time: text }))

export const describedDecisions: Readonly<Record<string, Description>> = {
  'GET /decisions': {
    summary: 'What became of requests, the newest first: audit records without what policy was asked',
    query: [
      ...Object.entries(decisionFilters).map(([name, description]) => ({ name, description })),
      { name: 'limit', description: `rows on a page, 100 unless told otherwise, at most ${maxDecisions}` },
      { name: 'before', description: 'next of the page before; a page may be empty and have a next' },
    ],
    answer: z.looseObject({ decisions: z.array(decisionRow), next }),
    errors: ['malformed_request', 'overloaded', 'audit_unavailable', 'evidence_unavailable'],
  },
  'GET /decisions/{id}': {
    summary: 'The whole audit record of a decision, with its intents and the events of its approval',
    answer: z.looseObject({ decision_id: text, intents: lines, events: lines }),
    errors: ['decision_unknown', 'overloaded', 'audit_unavailable', 'evidence_unavailable'],
  },
  'GET /decisions/{id}/explanation': {
    summary: 'What policy explain says of a decision: the rules that took part, the smallest change to a yes',
    answer: z.looseObject({
      recorded: z.looseObject({}).nullable(),
      notes: z.array(text),
      explanations: z.array(z.looseObject({ digest: text })),
    }),
    errors: ['decision_unknown', 'overloaded', 'audit_unavailable', 'evidence_unavailable'],
  },
}
