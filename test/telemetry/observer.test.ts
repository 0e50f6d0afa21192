// Every walk ends in one audit record and one count, whatever became of it.
import { describe, expect, it } from 'vitest'
import { decide } from '../../src/enforce/decide.ts'
import type { Outcome, StepName, Trail } from '../../src/enforce/gate.ts'
import type { Backend } from '../../src/enforce/operation.ts'
import type { CleanRequest, Evidence, Mapped } from '../../src/enforce/stages.ts'
import { policyInput } from '../../src/policy/input.ts'
import type { AuditSink, Consultation } from '../../src/ports.ts'
import { isRefusal, refuse } from '../../src/refusals.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { createObserver } from '../../src/telemetry/observer.ts'
import { inputRecorder } from '../../src/telemetry/policy_input.ts'
import { leaseOf, operationOf } from './facts.ts'

const operation = operationOf()
const backend: Backend = {
  name: 'crm',
  origin: 'http://127.0.0.1:3000',
  basePath: '',
  pathPrefix: '/crm',
  hosts: [],
  credential: undefined,
  connectTimeoutMs: 1,
  headersTimeoutMs: 1,
  idleTimeoutMs: 1,
  connections: 1,
  maxInFlight: 1,
  upgrade: false,
  env: undefined,
  requireBinding: 'never',
  forwardHeaders: [],
  operations: [operation],
}
const mapped: Mapped = {
  operation,
  params: { id: '9821' },
  resource: 'crm:customer/9821',
  backendPath: '/customers/9821',
  query: {},
}
const request: CleanRequest = {
  method: 'PATCH',
  authority: 'gate.example',
  path: '/crm/customers/9821',
  segments: ['crm', 'customers', '9821'],
  hasEncodedSlash: false,
  queryText: 'note=hunter2',
  query: [],
  headers: [],
  nominated: [],
  authorization: 'Bearer hunter2',
  proofs: [],
  contentType: undefined,
  contentEncoding: undefined,
  contentLength: undefined,
  chunked: false,
  expectsContinue: false,
  provenance: 'untrusted',
  statedTask: undefined,
  statedApproval: undefined,
  waitSeconds: undefined,
  statedSession: undefined,
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  maxForwards: undefined,
  offersWebSocket: false,
  peer: '10.1.2.3',
  certificate: undefined,
}
const evidence: Evidence = {
  request,
  backend,
  mapped,
  lease: leaseOf(),
  now: 1_773_498_721,
  revocation: undefined,
  suspension: undefined,
  viewAgeMs: 0,
  maxStalenessMs: 2000,
  clockOffset: 0,
  recentCalls: { lease: 0, agent: 0 },
  approval: undefined,
  bodyBytes: undefined,
  body: null,
}

/** What was asked about a body with a secret in it, and a refusal that came of it. */
const asked: Consultation = {
  input: policyInput({ ...evidence, body: { note: 'hunter2' } }),
  answer: { effect: 'draft', reasons: ['writes_are_drafts'] },
}

function permit() {
  const allow = { effect: 'allow', reasons: ['profile_allows'] } as const
  const made = decide(evidence, { digest: 'sha256:00', evaluate: () => allow })
  if (isRefusal(made)) throw new Error(made.code)
  return made
}

function trailOf(changes: Partial<Trail> = {}): Trail {
  return {
    decisionId: 'dec_1',
    startedAt: Date.UTC(2026, 2, 14, 14, 32, 1),
    began: performance.now(),
    mark: Number.NaN,
    action: undefined,
    waited: false,
    forwardedAt: undefined,
    head: {
      method: 'PATCH',
      target: '/crm/customers/9821?note=hunter2',
      httpVersion: '1.1',
      rawHeaders: ['Authorization', 'Bearer hunter2'],
      peer: '10.1.2.3',
    },
    traceparent: request.traceparent,
    request,
    routed: { request, backend, mapped },
    lease: leaseOf(),
    nonce: undefined,
    permit: undefined,
    policyDigest: 'sha256:00',
    consultation: undefined,
    refusal: undefined,
    ...changes,
  }
}

/** A sink that keeps what it gets: the file has tests of its own. */
function observed() {
  const records: string[] = []
  const durable: string[] = []
  let logged = ''
  const audit: AuditSink = {
    append: (record) => void records.push(record),
    appendDurably: async (record) => void durable.push(record),
    fault: () => 'full',
    close: async () => {},
  }
  const metrics = createMetrics({ backends: [backend], version: '1.2.3' })
  const target = {
    write: (line: string) => {
      logged += line
    },
  }
  const log = createLogger({ level: 'info', target })
  const recordInput = inputRecorder({ record: true, redact: ['request.body'], maxBytes: 16_384 })
  const observer = createObserver({ audit, metrics, log, requests: 'none', recordInput })
  return { observer, metrics, records, durable, logged: () => logged }
}

const outcome: Outcome = { status: 200, bytesIn: 3, bytesOut: 5, ended: 'completed' }
const refused: Outcome = { status: 403, bytesIn: 0, bytesOut: 9, ended: 'refused' }

describe('a finished request', () => {
  it.each([
    ['allowed', { permit: permit() }, outcome, 'allow', null, 'completed'],
    [
      'answered by the gate itself',
      {},
      { ...outcome, ended: 'answered_locally' as const },
      'allow',
      null,
      'answered_locally',
    ],
    ['refused by a check', { refusal: refuse('outside_lease') }, refused, 'deny', 'outside_lease', 'refused'],
    [
      'held for a human',
      { refusal: refuse('approval_required') },
      refused,
      'hold',
      'approval_required',
      'refused',
    ],
    [
      'held as a draft',
      { refusal: refuse('approval_required'), consultation: asked },
      refused,
      'draft',
      'approval_required',
      'refused',
    ],
    [
      'out of budget after a permit',
      { permit: permit(), refusal: refuse('budget_exhausted') },
      refused,
      'deny',
      'budget_exhausted',
      'refused',
    ],
    [
      'failed by the backend',
      { permit: permit(), forwardedAt: 0, refusal: refuse('backend_timeout') },
      refused,
      'allow',
      'backend_timeout',
      'backend_failed',
    ],
    [
      'ended by a revocation',
      { permit: permit() },
      { ...outcome, ended: 'revoked_midway' as const },
      'allow',
      null,
      'revoked_midway',
    ],
  ])('that was %s is one record and one count', async (_name, changes, result, effect, code, ended) => {
    const { observer, metrics, records } = observed()
    observer.finished(trailOf(changes), result)
    expect(records).toHaveLength(1)
    expect(JSON.parse(records[0]!)).toMatchObject({
      lease_id: 'lse_1',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      what: { backend: 'crm', resource: 'crm:customer/9821', path: '/crm/customers/9821' },
      decision: { effect, code, policy_digest: 'sha256:00' },
      outcome: { status: result.status, ended },
      peer: { ip: '10.1.2.3' },
    })
    expect(records[0]).not.toContain('hunter2')
    const { body } = await metrics.render()
    const labels = `backend="crm",verb="update",effect="${effect}",code="${code ?? 'none'}"`
    expect(body).toContain(`leasegate_decisions_total{${labels}} 1\n`)
  })

  it('that policy was asked about has the question and the answer on record', () => {
    const { observer, records } = observed()
    observer.finished(trailOf({ consultation: asked, refusal: refuse('approval_required') }), refused)
    const { policy } = JSON.parse(records[0]!)
    const input = JSON.parse(asked.input)
    expect(policy).toEqual({
      effect: 'draft',
      reasons: ['writes_are_drafts'],
      fault: null,
      input: { ...input, request: { ...input.request, body: null } },
      redacted: ['request.body'],
      omitted: null,
    })
    expect(records[0]).not.toContain('hunter2')
  })

  it('that was refused before policy was asked says so', () => {
    const { observer, records } = observed()
    observer.finished(trailOf({ refusal: refuse('lease_revoked') }), refused)
    expect(JSON.parse(records[0]!).policy).toBeNull()
  })

  it('in absolute form is recorded under the path that was decided on', () => {
    const { observer, records } = observed()
    const head = { ...trailOf().head, target: 'http://gate.example/crm/customers/9821?note=hunter2' }
    observer.finished(trailOf({ head }), outcome)
    expect(JSON.parse(records[0]!).what).toMatchObject({ path: '/crm/customers/9821', query: ['note'] })
    expect(records[0]).not.toContain('hunter2')
  })

  it('whose target could not be read has no path where that could hold a password', () => {
    const { observer, records } = observed()
    const head = { ...trailOf().head, target: 'http://user:hunter2@gate.example/crm' }
    observer.finished(trailOf({ head, request: undefined, refusal: refuse('malformed_request') }), refused)
    expect(JSON.parse(records[0]!).what).toMatchObject({ path: null, query: [] })
    expect(records[0]).not.toContain('hunter2')
  })

  it('that was never understood is recorded without what nobody verified', () => {
    const { observer, records } = observed()
    const refusal = refuse('lease_invalid', { cause: 'signature', reasons: ['bad_signature'] })
    observer.finished(
      trailOf({ lease: undefined, routed: undefined, refusal, policyDigest: undefined }),
      refused,
    )
    expect(JSON.parse(records[0]!)).toMatchObject({
      lease_id: null,
      who: null,
      what: { backend: null, operation: null },
      decision: { effect: 'deny', code: 'lease_invalid', reasons: ['bad_signature'], cause: 'signature' },
    })
  })

  it('is measured: the whole of each, and the steps of one in sixteen', async () => {
    const { observer, metrics } = observed()
    const steps: StepName[] = ['receive', 'route', 'authenticate', 'gather', 'decide', 'commit', 'outbound']
    for (let n = 0; n < 16; n++) {
      const trail = trailOf({ mark: observer.begin() })
      for (const step of steps) observer.step(trail, step)
      observer.finished(trail, outcome)
    }
    const { body } = await metrics.render()
    for (const step of steps) {
      expect(body).toContain(`leasegate_step_duration_seconds_count{step="${step}"} 1\n`)
    }
    expect(body).toContain('leasegate_request_duration_seconds_count{backend="crm"} 16\n')
  })
})

describe('the observer', () => {
  it('writes an intent durably, before anything is known of the outcome', async () => {
    const { observer, durable } = observed()
    await observer.intend(permit(), 'dec_2')
    expect(JSON.parse(durable[0]!)).toMatchObject({
      decision_id: 'dec_2',
      lease_id: 'lse_1',
      what: { resource: 'crm:customer/9821', path: '/crm/customers/9821', query: ['note'] },
      decision: { effect: 'allow', reasons: ['profile_allows'] },
      outcome: { status: null, ended: 'intent' },
      policy: null,
    })
    expect(durable[0]).not.toContain('hunter2')
    expect(observer.fault()).toBe('full')
  })

  it('records a revocation and logs a bug', () => {
    const { observer, records, logged } = observed()
    observer.revoked({
      scope: 'lease',
      value: 'lse_1',
      cutoff: 1,
      expiresAt: 2,
      reason: 'leak',
      by: 'cli:root',
      at: 1,
    })
    expect(JSON.parse(records[0]!)).toMatchObject({
      event: 'revocation',
      scope: 'lease',
      value: 'lse_1',
    })
    observer.bug(trailOf(), new Error('broken'))
    expect(logged()).toContain('"decision_id":"dec_1"')
    expect(logged()).toContain('broken')
  })
})
