// What the broker could ask issue policy, for its tests: Alice's agent wants to read customer 9821.
import type { IssueQuestion } from '../../src/broker/issue_decision.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'

/** Monday, 09:26 UTC. */
export const monday = 1_795_425_972

export const reads: LeaseDetail = {
  type: 'lease',
  actions: ['read'],
  identifier: 'crm:customer/9821',
  sensitivity: 'confidential',
}

/** Granted as it is by the policy that ships. */
export const asking: IssueQuestion = {
  kind: 'exchange',
  user: {
    id: 'alice@example.com',
    kind: 'user',
    issuer: 'https://login.example.com',
    groups: ['support'],
    authTime: monday - 3600,
    acr: undefined,
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
    details: [reads],
    backends: ['crm'],
    stage: 'observe',
    ttlSeconds: 300,
    leaseSeconds: 3600,
    task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
  },
  parent: undefined,
  approvedBy: undefined,
  now: monday,
}

/** `asking` with other members of the request. */
export function requesting(changes: Partial<IssueQuestion['request']>): IssueQuestion {
  return { ...asking, request: { ...asking.request, ...changes } }
}
