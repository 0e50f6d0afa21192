// A lease, an operation and the facts of one request, for the tests of what is recorded about it.
import type { Operation } from '../../src/enforce/operation.ts'
import { type Lease, revocationKeys } from '../../src/lease/lease.ts'
import type { AuditFacts } from '../../src/telemetry/audit.ts'

/** Alice's support agent, working on SUP-4711. */
export function leaseOf(changes: Partial<Lease> = {}): Lease {
  const lease = {
    id: 'lse_1',
    issuer: 'https://broker.example',
    tokenId: 'ltk_1',
    user: 'alice@example.com',
    agent: {
      id: 'agent:support-triage',
      version: '3.2.1',
      env: 'prod',
      instance: 'i-7c',
      profile: 'support',
      profileVersion: '9',
    },
    clientId: 'support-triage',
    audience: 'https://gate.example',
    task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
    stage: 'execute' as const,
    session: 'ses_1',
    grants: [
      {
        actions: ['update'],
        identifier: 'crm:customer/9821',
        sensitivity: 'confidential' as const,
        constraints: {},
      },
    ],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: 1_773_498_700,
    notBefore: 1_773_498_700,
    expiresAt: 1_773_499_000,
    maxExpiresAt: 1_773_502_300,
    clockTolerance: 5,
    ...changes,
  }
  return { ...lease, revocationKeys: revocationKeys(lease) }
}

/** `PATCH /customers/{id}` of the CRM. */
export function operationOf(changes: Partial<Operation> = {}): Operation {
  return {
    match: 'PATCH /customers/{id}',
    method: 'PATCH',
    segments: [{ literal: 'customers' }, { param: 'id' }],
    verb: 'update',
    resource: 'customer/{id}',
    sensitivity: 'confidential',
    risk: 'medium',
    body: 'stream',
    bodyLimit: 1024,
    allowEncodedSlash: false,
    opaqueQuery: [],
    ...changes,
  }
}

/** An allowed request that completed. */
export function factsOf(changes: Partial<AuditFacts> = {}): AuditFacts {
  return {
    timeMs: Date.UTC(2026, 2, 14, 14, 32, 1, 7),
    approval: undefined,
    decisionId: 'dec_1',
    traceId: '0af7651916cd43dd8448eb211c80319c',
    lease: leaseOf(),
    backend: 'crm',
    operation: operationOf(),
    resource: 'crm:customer/9821',
    method: 'PATCH',
    target: '/crm/customers/9821?notify=all',
    effect: 'allow',
    code: undefined,
    reasons: ['profile_allows'],
    policyDigest: 'sha256:00',
    cause: undefined,
    status: 200,
    bytesIn: 12,
    bytesOut: 340,
    durationMs: 12.3456,
    ended: 'completed',
    peerIp: '10.1.2.3',
    consultation: undefined,
    ...changes,
  }
}
