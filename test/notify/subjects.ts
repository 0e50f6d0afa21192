// An action that waits, with something in every member that no notice may repeat, and who is told of it.
import type { Action } from '../../src/approval/action.ts'
import type { Destination } from '../../src/notify/notice.ts'

/** A place that is told of requests, signed. */
export const placeAt = (url: string): Destination => ({
  url,
  format: 'standard',
  secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  events: ['approval.requested'],
})

/** What is in no notice, whatever the format. */
export const unspoken = [
  'customer/9821',
  '/customers/9821',
  'sha-256:',
  'SUP-4711',
  'the purpose',
  'the reason of policy',
  'the reason of bob',
  'act_fingerprint',
  'lse_1',
  'ses_1',
] as const

/** `over` replaces members; it ends in ten minutes. */
export function action(over: Partial<Action> = {}): Action {
  const now = Date.now() / 1000
  return {
    id: 'act_01KAHFX2D9V0R5T3M8Q6ZJ7W4E',
    kind: 'hold',
    state: 'pending',
    fingerprint: 'act_fingerprint',
    createdAt: now,
    expiresAt: now + 600,
    decisionId: 'dec_1',
    what: {
      backend: 'crm',
      operation: 'DELETE /customers/{id}',
      verb: 'delete',
      resource: 'crm:customer/9821',
      sensitivity: 'restricted',
      risk: 'high',
      method: 'DELETE',
      path: '/customers/9821',
      contentType: undefined,
      bodyBytes: 0,
      bodyDigest: 'sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
    },
    lease: {
      id: 'lse_1',
      issuer: 'https://broker.example',
      user: 'alice@example.com',
      agent: { id: 'support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
      task: { system: 'jira', id: 'SUP-4711', purpose: 'the purpose' },
      session: 'ses_1',
      stage: 'execute',
    },
    said: { effect: 'hold', reasons: ['the reason of policy'], policyDigest: 'sha-256:1' },
    terms: {
      approvers: ['bob@example.com'],
      expiresIn: 600,
      quorum: 1,
      reasonRequired: true,
      afterLease: 0,
      repeat: undefined,
    },
    yes: [
      {
        by: { user: 'bob@example.com', issuer: 'https://login.example', subject: 'bob' },
        at: now,
        as: 'bob@example.com',
        reason: 'the reason of bob',
        shownBy: 'session',
      },
    ],
    ...over,
  }
}
