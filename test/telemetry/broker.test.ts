// One record and one count for each request to the broker, and what a record says about a lease.
import { describe, expect, test } from 'vitest'
import type { BrokerTrail } from '../../src/broker/observer.ts'
import type { AuditSink, LeaseRecord } from '../../src/ports.ts'
import { type Refusal, refuse } from '../../src/refusals.ts'
import { createBrokerObserver } from '../../src/telemetry/broker.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

const lease: LeaseRecord = {
  id: 'lse_1',
  issuer: 'https://broker.example',
  tenant: '',
  user: 'alice@example.com',
  agent: 'agent:reader',
  agentVersion: '2.0.0',
  agentEnv: 'prod',
  clientId: 'reader',
  profile: 'support',
  profileVersion: '9',
  task: { system: 'jira', id: 'SUP-1', purpose: 'answer' },
  session: 'ses_1',
  stage: 'observe',
  audience: 'https://gate.example',
  details: [{ type: 'lease', actions: ['read'], identifier: 'crm:customer/1', sensitivity: 'internal' }],
  ancestors: ['lse_0'],
  delegatedBy: [{ id: 'agent:triage', version: '1', profile: 'support' }],
  issuedAt: 1_795_300_000,
  expiresAt: 1_795_300_300,
  maxExpiresAt: 1_795_303_600,
  renewals: 0,
  state: 'active',
  version: 0,
}

function observed(trail: Partial<BrokerTrail>, refusal?: Refusal) {
  const records: string[] = []
  const log: string[] = []
  const metrics = createMetrics({ backends: [], version: '1' })
  const audit: AuditSink = {
    append: (record) => void records.push(record),
    appendDurably: async () => {},
    fault: () => undefined,
    close: async () => {},
  }
  const logger = createLogger({ level: 'info', target: { write: (line) => log.push(line) } })
  const observer = createBrokerObserver({ audit, metrics, log: logger })
  const empty = { grant: undefined, agent: undefined, user: undefined, task: undefined, lease: undefined }
  const start = { decisionId: 'dec_1', startedAt: Date.now(), endpoint: 'token', peer: '127.0.0.1' }
  const rest = { policyDigest: undefined, reasons: [], fault: undefined }
  observer.finished({ ...start, ...empty, ...rest, ...trail }, refusal)
  return { record: JSON.parse(records[0] ?? ''), records, metrics, observer, log }
}

const count = async ({ metrics }: ReturnType<typeof observed>, line: string) =>
  (await metrics.render()).body.split('\n').includes(line)

describe('a request', () => {
  test('that was given a lease says who, which agent, what, why, when, and by which policy', async () => {
    const seen = observed({
      ...{ grant: 'delegation', agent: 'agent:triage', user: 'alice@example.com', task: lease.task, lease },
      ...{ policyDigest: 'sha256:x', reasons: ['granted'] },
    })
    expect(seen.records).toHaveLength(1)
    expect(seen.record).toMatchObject({
      event: 'lease',
      decision_id: 'dec_1',
      endpoint: 'token',
      grant: 'delegation',
      asked_by: 'agent:triage',
      lease_id: 'lse_1',
      who: { user: 'alice@example.com' },
      agent: { id: 'agent:reader', version: '2.0.0', profile_version: '9' },
      why: { system: 'jira', id: 'SUP-1', purpose: 'answer' },
      when: { issued_at: 1_795_300_000, max_expires_at: 1_795_303_600 },
      what: { stage: 'observe', details: lease.details, bound_to: null },
      ancestors: ['lse_0'],
      decision: { effect: 'allow', code: null, reasons: ['granted'], policy_digest: 'sha256:x' },
    })
    const labels = '{endpoint="token",grant="delegation",outcome="ok"}'
    expect(await count(seen, `leasegate_broker_requests_total${labels} 1`)).toBe(true)
    expect(await count(seen, 'leasegate_leases_issued_total 1')).toBe(true)
  })

  test('that renewed one issued no new lease', async () => {
    const seen = observed({ lease: { ...lease, renewals: 1 } })
    expect(await count(seen, 'leasegate_leases_issued_total 0')).toBe(true)
  })

  test.each([
    [refuse('invalid_client'), 'deny'],
    [refuse('authorization_pending', { answer: { deferral_code: 'dfr_secret' } }), 'hold'],
  ])('that was refused says so, and nothing that it did not prove: %s', async (refusal, effect) => {
    const seen = observed({}, refusal)
    const { code } = refusal
    expect(seen.record).toMatchObject({
      who: null,
      agent: null,
      why: null,
      what: null,
      lease_id: null,
      decision: { effect, code },
    })
    expect(seen.records.join()).not.toContain('dfr_secret')
    const labels = `{endpoint="token",grant="none",outcome="${code}"}`
    expect(await count(seen, `leasegate_broker_requests_total${labels} 1`)).toBe(true)
  })

  test('that policy had no answer to is counted as such', async () => {
    const seen = observed({ fault: 'the decision is undefined' }, refuse('access_denied'))
    expect(seen.record.decision.fault).toBe('the decision is undefined')
    expect(await count(seen, 'leasegate_policy_faults_total 1')).toBe(true)
  })

  test('whose purpose holds a token does not tell it', () => {
    const token = `eyJhbGciOiJFUzI1NiJ9.${'e'.repeat(40)}.${'f'.repeat(40)}`
    const { records } = observed({ task: { ...lease.task, purpose: `use ${token}` } })
    expect(records.join()).not.toContain(token)
  })
})

test('a change of state and a bug are told', () => {
  const seen = observed({})
  const changed = { at: 1_795_300_100, by: 'bob', reason: 'done' }
  seen.observer.changed({ ...lease, state: 'completed', version: 1, changed })
  expect(JSON.parse(seen.records[1] ?? '')).toMatchObject({
    event: 'lease_state',
    lease_id: 'lse_1',
    state: 'completed',
    version: 1,
    changed,
  })
  seen.observer.bug(new Error('broken'))
  expect(seen.log.join()).toContain('broken')
})
