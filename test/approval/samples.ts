// One of each thing that waits for a human, for tests that change what matters to them.
import type { Action } from '../../src/approval/action.ts'
import type { HeldCall } from '../../src/approval/actions.ts'
import { type Lease, revocationKeys } from '../../src/lease/lease.ts'

/** When samples come about, seconds since 1970; the stores go by real time. */
export const sampledAt = Math.floor(Date.now() / 1000)

/** The lease of `lse_1`, as `verify.ts` would have it. */
export function leaseOf(over: Partial<Lease> = {}): Lease {
  const lease = {
    id: 'lse_1',
    issuer: 'https://broker.example',
    tokenId: 'ltk_1',
    user: 'alice@example.com',
    agent: {
      ...{ id: 'agent:support', version: '3.2.1', env: 'prod', instance: 'i-7c' },
      ...{ profile: 'support', profileVersion: '9' },
    },
    clientId: 'support',
    audience: 'https://gate.example',
    task: { system: 'jira', id: 'SUP-1', purpose: 'answer a question' },
    stage: 'execute',
    session: 'ses_1',
    grants: [
      {
        actions: ['delete'],
        identifier: 'crm:customer/*',
        sensitivity: 'restricted',
        constraints: { max_calls: 3 },
      },
    ],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: sampledAt - 60,
    notBefore: sampledAt - 60,
    expiresAt: sampledAt + 240,
    maxExpiresAt: sampledAt + 3600,
    clockTolerance: 5,
    ...over,
  } as const satisfies Omit<Lease, 'revocationKeys'>
  return { ...lease, revocationKeys: revocationKeys(lease) }
}

/** A delete that waits ten minutes for one of the owners. */
export function actionOf(id: string, over: Partial<Action> = {}): Action {
  return {
    id,
    kind: 'hold',
    state: 'pending',
    fingerprint: `sha-256:${id}`,
    createdAt: sampledAt,
    expiresAt: sampledAt + 600,
    decisionId: `dec_${id}`,
    what: {
      ...{
        backend: 'crm',
        operation: 'DELETE /customers/{id}',
        verb: 'delete',
        resource: 'crm:customer/9821',
      },
      ...{ sensitivity: 'restricted', risk: 'high', method: 'DELETE', path: '/crm/customers/9821' },
      ...{
        contentType: undefined,
        bodyBytes: 0,
        bodyDigest: 'sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
      },
    },
    lease: {
      id: 'lse_1',
      issuer: 'https://broker.example',
      user: 'alice@example.com',
      agent: { id: 'agent:support', version: '3.2.1', env: 'prod', profile: 'support' },
      task: { system: 'jira', id: 'SUP-1', purpose: 'answer a question' },
      session: 'ses_1',
      stage: 'execute',
    },
    said: { effect: 'hold', reasons: ['high_risk'], policyDigest: 'sha256:00' },
    terms: {
      ...{ approvers: ['group:crm-owners'], expiresIn: 600, quorum: 1, reasonRequired: true },
      ...{ afterLease: 0, repeat: undefined },
    },
    yes: [],
    ...over,
  }
}

/** The call of it. */
export function callOf(over: Partial<HeldCall> = {}): HeldCall {
  return {
    method: 'DELETE',
    target: '/crm/customers/9821?hard=1',
    authority: 'gate.example',
    headers: ['content-type', 'application/json', 'x-note', 'a', 'x-note', 'b'],
    body: Buffer.alloc(0),
    peer: '10.1.2.3',
    provenance: 'untrusted',
    lease: leaseOf(),
    ...over,
  }
}

/** One person's yes. */
export const yes: Action['yes'][number] = {
  by: { user: 'carol@example.com', issuer: 'https://idp.example', subject: '7' },
  as: 'group:crm-owners',
  at: sampledAt + 1,
  reason: 'asked for by the customer',
  shownBy: 'session',
}
