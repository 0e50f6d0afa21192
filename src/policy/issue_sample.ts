// One question about issuing, to show and to try policy on: a support agent asks to read the customer of its
// ticket. In: nothing. Out: plain data. Never a real request.
import type { IssueQuestion } from '../broker/issue_decision.ts'

/** Granted as it is by the policy that ships. Asked on a Monday, 09:26 UTC. */
export const sampleQuestion: IssueQuestion = {
  kind: 'exchange',
  user: {
    id: 'alice@example.com',
    kind: 'user',
    issuer: 'https://login.example.com',
    groups: ['support'],
    authTime: 1_795_422_372,
    acr: 'mfa',
  },
  agent: {
    id: 'agent:support-triage',
    version: '3.2.1',
    env: 'prod',
    profile: 'support',
    tenant: '',
    authenticatedBy: 'private_key_jwt',
    bound: true,
  },
  delegatedBy: [],
  request: {
    details: [
      { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
    ],
    backends: ['crm'],
    stage: 'observe',
    ttlSeconds: 300,
    leaseSeconds: 3600,
    task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
  },
  parent: undefined,
  approvedBy: undefined,
  now: 1_795_425_972,
}
