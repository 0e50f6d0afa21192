// What `/actions`, `/repeats` and `/approvers` say of themselves (docs/approvals.md).
import { z } from 'zod'
import { maxReason } from '../../approval/rules.ts'
import type { Description } from '../description.ts'
import { count, nextTime, paging, text, time } from './words.ts'

const state = z.enum([
  ...['pending', 'approved', 'refused', 'withdrawn', 'used', 'executing', 'executed', 'failed', 'expired'],
] as const)

const action = z.looseObject({
  id: text,
  kind: z.enum(['hold', 'draft', 'lease']),
  state,
  fingerprint: text,
  group: text,
  created_at: time,
  expires_at: time,
  yes: z.array(z.looseObject({ user: text, at: time, reason: text, shown_by: text.nullable() })),
  ended: z.looseObject({ by: text, at: time, reason: text }).optional(),
  outcome: z.looseObject({ at: time }).optional(),
  you: z.looseObject({
    may: z.boolean(),
    why_not: text.optional(),
    reason_required: z.boolean(),
    step_up: z.boolean(),
    passkey: z.boolean(),
  }),
})

const call = z.looseObject({
  method: text,
  target: text,
  headers: z.array(z.tuple([text, text])),
  body_base64: text,
})

const fingerprint = text.min(1)
const decided = (summary: string, body: Description['body']): Description => ({
  summary,
  ...(body !== undefined && { body }),
  answer: action,
  errors: [
    ...(['malformed_request', 'action_unknown', 'action_state_conflict', 'action_expired'] as const),
    ...(['approver_not_allowed', 'evidence_unavailable', 'audit_unavailable'] as const),
  ],
})

const repeat = z.looseObject({
  id: text,
  lease: text,
  user: text,
  agent: text,
  calls: count,
  calls_left: count,
  expires_at: time,
  by: text,
  at: time,
  reason: text,
  action: text,
  state: text,
})

export const describedActions: Readonly<Record<string, Description>> = {
  'GET /actions': {
    summary: 'Calls, drafts and requests for leases that wait for a human, the newest first',
    query: [
      { name: 'state', description: 'pending, or all' },
      { name: 'kind', description: 'hold, draft or lease' },
      { name: 'lease', description: 'id of a lease' },
      ...paging,
    ],
    answer: z.looseObject({ actions: z.array(action), next: nextTime }),
    errors: ['malformed_request', 'evidence_unavailable'],
  },
  'GET /actions/{id}': {
    summary: 'An action with exactly the call that it stands for',
    answer: action.extend({ call: call.nullable() }),
    errors: ['action_unknown', 'evidence_unavailable'],
  },
  'GET /actions/{id}/before': {
    summary: 'What a write would change, as the backend has it now',
    answer: z.union([
      z.looseObject({
        operation: text,
        target: text,
        status: z.int(),
        content_type: text.nullable(),
        body_base64: text,
      }),
      z.looseObject({ unavailable: text }),
    ]),
    errors: ['action_unknown', 'evidence_unavailable'],
  },
  'POST /actions/{id}/approve': {
    ...decided(
      'Say yes to exactly this action',
      z.strictObject({
        fingerprint,
        reason: text.optional(),
        repeat: z.strictObject({ calls: z.int().min(1), seconds: z.int().min(1) }).optional(),
        assertion: z.looseObject({}).optional(),
      }),
    ),
    errors: [
      ...(['malformed_request', 'action_unknown', 'action_state_conflict', 'action_expired'] as const),
      ...(['approver_not_allowed', 'confirmation_required', 'reauthentication_required'] as const),
      ...(['evidence_unavailable', 'audit_unavailable'] as const),
    ],
  },
  'POST /actions/{id}/refuse': decided(
    'Say no; the reason goes to the agent',
    z.strictObject({ fingerprint, reason: text.optional() }),
  ),
  'POST /actions/{id}/withdraw': decided(
    'Take a yes back before it is used',
    z.strictObject({ fingerprint }),
  ),
  'POST /actions/{id}/challenge': {
    summary: 'Options for a passkey to say yes to exactly this action (WebAuthn)',
    body: z.strictObject({ fingerprint }),
    answer: z.looseObject({ challenge: text }),
    errors: ['malformed_request', 'operator_not_allowed', 'confirmation_required', 'evidence_unavailable'],
  },
  'GET /repeats': {
    summary: 'Bounded repeats that somebody granted',
    query: [{ name: 'lease', description: 'id of a lease' }, ...paging],
    answer: z.looseObject({ repeats: z.array(repeat), next: nextTime }),
    errors: ['malformed_request', 'evidence_unavailable'],
  },
  'POST /repeats/{id}/revoke': {
    summary: 'End a repeat',
    body: z.strictObject({ reason: text.min(1).max(maxReason) }),
    answer: repeat,
    errors: [
      ...(['malformed_request', 'action_unknown', 'approver_not_allowed'] as const),
      ...(['evidence_unavailable', 'audit_unavailable'] as const),
    ],
  },
  'GET /approvers': {
    summary: 'How people decide: how often they say yes, and how often in under two seconds',
    answer: z.looseObject({
      approvers: z.array(z.looseObject({ user: text, yes: count, no: count, fast_yes: count })),
    }),
    errors: ['evidence_unavailable'],
  },
}
