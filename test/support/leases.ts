// Lease records for tests: one that the broker could have written, but for what a test wants different.
import type { LeaseRecord } from '../../src/ports.ts'

/** An active lease of Alice's agent, an hour long, issued at `issuedAt` (default: now). */
export function leaseRecord(over: Partial<LeaseRecord> = {}): LeaseRecord {
  const issuedAt = over.issuedAt ?? Math.floor(Date.now() / 1000)
  return {
    id: 'lse_1',
    issuer: 'https://broker.example',
    tenant: '',
    user: 'alice@example.com',
    agent: 'agent:support-triage',
    agentVersion: '3.2.1',
    agentEnv: 'prod',
    clientId: 'support-triage',
    profile: 'support',
    profileVersion: '9',
    task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
    session: 'ses_1',
    stage: 'observe',
    audience: 'https://gate.example',
    details: [
      { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
    ],
    ancestors: [],
    delegatedBy: [],
    issuedAt,
    expiresAt: issuedAt + 300,
    maxExpiresAt: issuedAt + 3600,
    renewals: 0,
    state: 'active',
    version: 0,
    ...over,
  }
}
