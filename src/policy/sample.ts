// One policy input to show and to try policy on: a support agent reads the customer of its ticket. In:
// nothing. Out: plain data in the shape of input_schema.ts. Never a real lease.
import type { PolicyInput } from './input_schema.ts'

/** The example of docs/policy.md: permitted by the policy that ships. */
export const sampleInput: PolicyInput = {
  version: 1,
  lease: {
    id: 'lse_01K9ZQ4C6V8B3N5M7P9R1T3W5Y',
    user: 'alice@example.com',
    agent: {
      id: 'agent:support-triage',
      version: '3.2.1',
      env: 'prod',
      profile: 'support',
      profile_version: '9',
    },
    task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
    stage: 'observe',
    session: 'ses_01K9ZQ4C6V8B3N5M7P9R1T3W5Y',
    bound: true,
    delegated_by: [],
    granted: [{ actions: ['read'], resource: 'crm:customer/9821', sensitivity: 'confidential' }],
    age_seconds: 12,
    expires_in_seconds: 288,
  },
  request: {
    backend: 'crm',
    operation: 'GET /customers/{id}',
    verb: 'read',
    resource: 'crm:customer/9821',
    sensitivity: 'confidential',
    risk: 'low',
    method: 'GET',
    path: '/customers/9821',
    amount: null,
    amount_whole: null,
    params: { id: '9821' },
    query: {},
    body: null,
  },
  context: {
    now: 1_795_300_012,
    source_ip: '10.1.2.3',
    recent_calls: { lease_1m: 4, agent_1m: 40 },
    provenance: 'untrusted',
    approval: null,
    budget: null,
  },
}

/** Somebody's yes to exactly this. */
export const sampleApproval: NonNullable<PolicyInput['context']['approval']> = {
  id: 'act_01K9ZQ4C6V8B3N5M7P9R1T3W5Y',
  approved_by: ['carol@example.com'],
  kind: 'exact',
}

/**
 * `policies/input.json`, which editors complete and evaluate with: the sample, with an approval and a budget, as they
 * offer only fields that are there.
 */
export function editorInputText(): string {
  const budget = {
    calls_left: 12,
    bytes_left: 40_000,
    amount_left: '25.5',
    amount_left_whole: 25,
    lease_rate_left: 5,
  }
  const context = { ...sampleInput.context, approval: sampleApproval, budget }
  return `${JSON.stringify({ ...sampleInput, context }, null, 2)}\n`
}
