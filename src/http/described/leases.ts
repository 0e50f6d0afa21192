// What `/leases` and `/revocations` say of themselves (docs/broker.md).
import { z } from 'zod'
import type { Description } from '../description.ts'
import { count, next, paging, reach, reasonBody, text, time } from './words.ts'

const state = z.enum(['active', 'suspended', 'revoked', 'completed', 'expired'])

const lease = z.looseObject({
  id: text,
  state,
  who: z.looseObject({ user: text, login: z.looseObject({ issuer: text, subject: text }).nullable() }),
  agent: z.looseObject({ id: text, version: text, env: text, client_id: text, profile: text }),
  what: z.looseObject({ audience: text, stage: text, authorization_details: z.array(z.looseObject({})) }),
  why: z.looseObject({ system: text, id: text, purpose: text }),
  when: z.looseObject({ issued_at: time, token_expires_at: time, ends_at: time, renewals: count }),
  what_happened: z.looseObject({ calls: count, refusals: count, last_used_at: time.nullable() }),
  session: text,
  issuer: text,
  tenant: text,
  parents: z.array(text),
})

const summary = z.looseObject({
  id: text,
  state,
  user: text,
  agent: text,
  agent_version: text,
  agent_env: text,
  profile: text,
  task: text,
  purpose: text,
  stage: text,
  issued_at: time,
  ends_at: time,
  calls: count,
  refusals: count,
  last_used_at: time.nullable(),
  points: z.number(),
})

const radius = z.looseObject({ points: z.number(), calls: count, reach: z.array(reach) })

const revocation = z.strictObject({
  lease: text.optional(),
  agent: text.optional(),
  user: text.optional(),
  task: text.optional(),
  session: text.optional(),
  reason: text.min(1).max(256),
  issuer: text.optional(),
  by: text.optional(),
})

const changed = (word: string): Description => ({
  summary: `${word} a lease; the second time as the first`,
  body: reasonBody,
  answer: z.looseObject({ id: text, state }),
  errors: ['malformed_request', 'lease_unknown', 'lease_state_conflict', 'evidence_unavailable'],
})

export const describedLeases: Readonly<Record<string, Description>> = {
  'GET /leases': {
    summary: 'Leases, the newest first',
    query: [
      { name: 'agent', description: 'an agent, without its version' },
      { name: 'user', description: 'a user' },
      { name: 'task', description: 'system:id' },
      { name: 'session', description: 'a session' },
      { name: 'state', description: state.options.join(', ') },
      { name: 'text', description: 'anywhere in id, user, agent, task, purpose or session' },
      { name: 'unused', description: 'true: active ones without a call for older_than' },
      { name: 'older_than', description: 'seconds, or 10m and the like; 10m unless told otherwise' },
      { name: 'summary', description: '1: short rows, for long lists' },
      ...paging,
    ],
    answer: z.looseObject({ leases: z.array(z.union([lease, summary])), next }),
    errors: ['malformed_request', 'evidence_unavailable'],
  },
  'GET /leases/{id}': {
    summary: 'A lease: who, which agent, what, why, when, what happened, and what could still happen',
    answer: lease.extend({ children: z.array(text), blast_radius: radius.optional() }),
    errors: ['lease_unknown', 'evidence_unavailable'],
  },
  'POST /leases/{id}/revoke': changed('End'),
  'POST /leases/{id}/suspend': changed('Hold'),
  'POST /leases/{id}/resume': changed('Let go'),
  'POST /leases/{id}/complete': changed('End, because the task is done,'),
  'POST /revocations': {
    summary: 'Revoke a lease, or every lease of an agent, a user, a task or a session so far',
    body: revocation,
    answer: z.looseObject({
      scope: text,
      value: text,
      cutoff: time,
      expires_at: time,
      reason: text,
      by: text,
    }),
    status: 201,
    errors: ['malformed_request', 'lease_unknown', 'evidence_unavailable'],
  },
}
