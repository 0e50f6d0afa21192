// THE table of metrics: every name, its labels and what it means. In: nothing. Out: what metrics.ts counts
// and docs/metrics.md lists (test/telemetry/metrics.test.ts compares the two). Add a metric here first.

/** One metric. Every label value comes from the configuration or from a table of the code. */
export interface MetricRow {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
  /** What the values of several workers become; absent: their sum. */
  readonly across?: 'max' | 'min'
}

/** By the word the code uses for it. */
export const metricTable = {
  decisions: {
    name: 'leasegate_decisions_total',
    type: 'counter',
    labels: ['backend', 'verb', 'effect', 'code'],
    help: 'Finished requests by what was decided; code is the refusal, or none.',
  },
  request: {
    name: 'leasegate_request_duration_seconds',
    type: 'histogram',
    labels: ['backend'],
    help: 'Time from a parsed request head to the end of the answer.',
  },
  step: {
    name: 'leasegate_step_duration_seconds',
    type: 'histogram',
    labels: ['step'],
    help: 'Time spent in one step of the pipeline, measured on a sample of the requests.',
  },
  upstream: {
    name: 'leasegate_upstream_duration_seconds',
    type: 'histogram',
    labels: ['backend'],
    help: 'Time from handing a request to a backend to the end of its answer.',
  },
  openStreams: {
    name: 'leasegate_open_streams',
    type: 'gauge',
    labels: [],
    help: 'Exchanges with a backend under way.',
  },
  revocationAge: {
    name: 'leasegate_revocation_view_age_seconds',
    type: 'gauge',
    labels: [],
    help: 'Time since the view of revocations was last complete.',
    across: 'max',
  },
  revocationEntries: {
    name: 'leasegate_revocation_entries',
    type: 'gauge',
    labels: [],
    help: 'Entries in the view of revocations.',
    across: 'max',
  },
  clockOffset: {
    name: 'leasegate_clock_offset_seconds',
    type: 'gauge',
    labels: [],
    help: 'How far the clock of this machine is from the state store’s, ahead or behind; above 5 every request is 503.',
    across: 'max',
  },
  storeUp: {
    name: 'leasegate_store_up',
    type: 'gauge',
    labels: [],
    help: '1 while the state store answers, 0 while it does not; /readyz says why.',
    across: 'min',
  },
  revocationMalformed: {
    name: 'leasegate_revocation_entries_malformed',
    type: 'gauge',
    labels: ['fate'],
    help: 'Stored revocations that cannot be read: taken_as_revoked, or unreadable: every request is 503. Alert above 0.',
    across: 'max',
  },
  policyInfo: {
    name: 'leasegate_policy_info',
    type: 'gauge',
    labels: ['digest'],
    help: 'Digest of the live policy; always 1.',
    across: 'max',
  },
  policyReloads: {
    name: 'leasegate_policy_reloads_total',
    type: 'counter',
    labels: ['result'],
    help: 'Changes of the policy directory: reloaded is live, rejected left the policy before it live.',
  },
  agentsReloads: {
    name: 'leasegate_agents_reloads_total',
    type: 'counter',
    labels: ['result'],
    help: 'Changes of the agents directory: reloaded is live, rejected left the agents before it as they were.',
  },
  policyFaults: {
    name: 'leasegate_policy_faults_total',
    type: 'counter',
    labels: [],
    help: 'Requests denied because policy gave no usable answer; the audit record names the cause. Alert above 0.',
  },
  policyConverged: {
    name: 'leasegate_policy_converged',
    type: 'gauge',
    labels: [],
    help: 'With policy.reload: on_activate, 0 unless the live policy is the active one. Otherwise 1.',
    across: 'min',
  },
  bundleAge: {
    name: 'leasegate_policy_bundle_age_seconds',
    type: 'gauge',
    labels: [],
    help: 'Time since the place of the policy bundle was last seen to have what decides; 0 without policy.bundle.',
    across: 'max',
  },
  shadowDecisions: {
    name: 'leasegate_shadow_decisions_total',
    type: 'counter',
    labels: ['source', 'result'],
    help: 'Decisions by what a policy in shadow said: same, different, fault, or dropped unasked.',
  },
  shadowDifferences: {
    name: 'leasegate_shadow_differences_total',
    type: 'counter',
    labels: ['source', 'live', 'shadow'],
    help: 'Decisions that a policy in shadow would have made otherwise, by both effects.',
  },
  shadowRunning: {
    name: 'leasegate_shadow_running',
    type: 'gauge',
    labels: ['source'],
    help: '1 while a policy runs in shadow, 0 while one should but cannot. Alert on 0.',
    across: 'min',
  },
  brokerRequests: {
    name: 'leasegate_broker_requests_total',
    type: 'counter',
    labels: ['endpoint', 'grant', 'outcome'],
    help: 'Requests to the broker by what became of them; outcome is the refusal, or ok.',
  },
  revocationRequests: {
    name: 'leasegate_revocation_requests_total',
    type: 'counter',
    labels: ['verb', 'scope', 'result'],
    help: 'Orders to revoke, suspend, resume or complete by what became of them: done, repeated or the refusal.',
  },
  leasesIssued: {
    name: 'leasegate_leases_issued_total',
    type: 'counter',
    labels: [],
    help: 'New leases; a renewal is none.',
  },
  approvalDecisions: {
    name: 'leasegate_approval_decisions_total',
    type: 'counter',
    labels: ['verb', 'result'],
    help: 'Attempts to approve, refuse, withdraw or revoke a repeat by what became of them: done, repeated or the refusal.',
  },
  signIns: {
    name: 'leasegate_sign_ins_total',
    type: 'counter',
    labels: ['result'],
    help: 'Sign-ins at the console: signed_in, refused (the person), unavailable (the provider did not answer).',
  },
  approvalWait: {
    name: 'leasegate_approval_wait_seconds',
    type: 'histogram',
    labels: ['outcome'],
    help: 'Time from asking a human to their answer, approved or refused, or until nobody had answered in time: expired.',
  },
  approvalsPending: {
    name: 'leasegate_approvals_pending',
    type: 'gauge',
    labels: [],
    help: 'Actions and token requests that wait for a human, in the whole store; half a minute old at most, 2000 at most.',
    across: 'max',
  },
  budgetNotGivenBack: {
    name: 'leasegate_budget_not_given_back_total',
    type: 'counter',
    labels: [],
    help: 'Calls that no backend has seen whose budget could not be given back: each cost its lease a call.',
  },
  blastRadius: {
    name: 'leasegate_blast_radius_points',
    type: 'gauge',
    labels: ['agent'],
    help: 'Harm that an agent could do with its live leases before somebody ends them; broker only, a minute old at most.',
  },
  notices: {
    name: 'leasegate_notices_total',
    type: 'counter',
    labels: ['result'],
    help: 'Attempts to tell a place of notify: sent, failed (tried again), given_up (its time is over), gone (410).',
  },
  noticesWaiting: {
    name: 'leasegate_notices_waiting',
    type: 'gauge',
    labels: [],
    help: 'Notices not yet taken by whom they are for, at most 100 of each place.',
    across: 'max',
  },
  auditFault: {
    name: 'leasegate_audit_fault',
    type: 'gauge',
    labels: [],
    help: '1 while audit records cannot be written. Alert above 0.',
    across: 'max',
  },
  auditLost: {
    name: 'leasegate_audit_lost_total',
    type: 'counter',
    labels: [],
    help: 'Audit records that could neither be written nor kept. Alert above 0.',
  },
  workers: {
    name: 'leasegate_workers',
    type: 'gauge',
    labels: ['state'],
    help: 'Worker processes: ready, unready, starting, or silent (no answer within a second). None where workers is 1.',
  },
  workerRestarts: {
    name: 'leasegate_worker_restarts_total',
    type: 'counter',
    labels: [],
    help: 'Worker processes that ended by themselves, or were ended because they hung, and were replaced.',
  },
  eventLoopDelay: {
    name: 'leasegate_event_loop_delay_seconds',
    type: 'gauge',
    labels: ['quantile'],
    help: 'How late the event loop ran since the last scrape.',
    across: 'max',
  },
  build: {
    name: 'leasegate_build_info',
    type: 'gauge',
    labels: ['version', 'node'],
    help: 'Version of Leasegate and of Node; always 1.',
    across: 'max',
  },
} as const satisfies Record<string, MetricRow>
