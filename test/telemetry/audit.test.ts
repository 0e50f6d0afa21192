// The audit record: the fast text is the object, and no value that could be a secret gets into it.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AuditFacts, auditEntry, auditRecord } from '../../src/telemetry/audit.ts'
import { factsOf, leaseOf, operationOf } from './facts.ts'

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string(),
  fc.constantFrom('"', '\\', '\n', '\u2028', '\ud800', ''),
)
const number = fc.oneof(fc.double(), fc.integer())

const anyFacts: fc.Arbitrary<AuditFacts> = fc
  .record({
    decisionId: text,
    traceId: fc.option(text, { nil: undefined }),
    resource: fc.option(text, { nil: undefined }),
    method: text,
    target: fc.oneof(
      text,
      text.map((t) => `/${t}?${t}=${t}&${t}`),
    ),
    reasons: fc.array(text),
    policyDigest: fc.option(text, { nil: undefined }),
    cause: fc.option(text, { nil: undefined }),
    status: fc.option(fc.integer(), { nil: undefined }),
    bytesIn: number,
    bytesOut: number,
    durationMs: number,
    peerIp: text,
    timeMs: fc.integer({ min: 0, max: 4e12 }),
    lease: fc.option(
      fc
        .record({ user: text, id: text, purpose: text })
        .map(({ user, id, purpose }) => leaseOf({ user, id, task: { system: 'jira', id, purpose } })),
      { nil: undefined },
    ),
    operation: fc.option(
      text.map((match) => operationOf({ match })),
      { nil: undefined },
    ),
    backend: fc.option(text, { nil: undefined }),
    consultation: fc.option(
      fc.record({
        answer: fc.record({
          effect: fc.constantFrom('allow', 'deny', 'hold', 'draft'),
          reasons: fc.array(text),
        }),
        input: fc.record({
          text: fc.option(
            fc.jsonValue().map((value) => JSON.stringify(value)),
            { nil: undefined },
          ),
          redacted: fc.array(text),
          omitted: fc.constantFrom('off', 'too_large', undefined),
        }),
      }),
      { nil: undefined },
    ),
  })
  .map((changes) => factsOf(changes))

describe('the text of a record', () => {
  it('is the JSON of the record as an object, on one line, for any text in it', () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const record = auditRecord(facts)
        expect(record).toBe(JSON.stringify(auditEntry(facts)))
        expect(auditRecord(facts)).toBe(record)
        expect(record).not.toContain('\n')
        expect(JSON.parse(record)).toEqual(JSON.parse(JSON.stringify(auditEntry(facts))))
      }),
    )
  })

  it('answers who, which agent, what, why, until when, and how it ended', () => {
    expect(JSON.parse(auditRecord(factsOf()))).toEqual({
      time: '2026-03-14T14:32:01.007Z',
      decision_id: 'dec_1',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      lease_id: 'lse_1',
      token_id: 'ltk_1',
      who: { user: 'alice@example.com' },
      agent: {
        id: 'agent:support-triage',
        version: '3.2.1',
        env: 'prod',
        instance: 'i-7c',
        profile: 'support',
      },
      why: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
      when: { issued_at: 1_773_498_700, expires_at: 1_773_499_000 },
      what: {
        backend: 'crm',
        operation: 'PATCH /customers/{id}',
        verb: 'update',
        sensitivity: 'confidential',
        risk: 'medium',
        resource: 'crm:customer/9821',
        method: 'PATCH',
        path: '/crm/customers/9821',
        query: ['notify'],
      },
      decision: {
        effect: 'allow',
        code: null,
        reasons: ['profile_allows'],
        policy_digest: 'sha256:00',
        cause: null,
      },
      outcome: { status: 200, bytes_in: 12, bytes_out: 340, duration_ms: 12.346, ended: 'completed' },
      approval: null,
      peer: { ip: '10.1.2.3' },
      policy: null,
    })
  })

  it('has null for what the request did not get to', () => {
    const nothing = { lease: undefined, backend: undefined, operation: undefined, resource: undefined }
    const record = JSON.parse(auditRecord(factsOf({ ...nothing, status: undefined, traceId: undefined })))
    expect(record).toMatchObject({
      lease_id: null,
      token_id: null,
      who: null,
      agent: null,
      why: null,
      when: null,
    })
    expect(record.what).toMatchObject({ backend: null, operation: null, verb: null, resource: null })
    expect(record).toMatchObject({ trace_id: null, outcome: { status: null } })
  })
})

describe('the target in a record', () => {
  it.each([
    ['/a?x=hunter2&y=hunter2', '/a', ['x', 'y']],
    ['/a?hunter2', '/a', ['?']],
    ['/a?hun%20ter2=1', '/a', ['?']],
    ['/a?x=1#hunter2', '/a', ['x']],
    ['/a#hunter2', '/a', []],
    ['http://user:hunter2@gate/a', null, []],
    ['/crm/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.hunter2/x', '/crm/[redacted]/x', []],
    ['/crm/eyJhbGciOiJub25lIn0%2eeyJzdWIiOiJhIn0%2Ehunter2', '/crm/[redacted]', []],
    ['/songs/heyJude.mp3/eyJolf', '/songs/heyJude.mp3/eyJolf', []],
    ['*', '*', []],
    ['', null, []],
    [`/a?${'k'.repeat(65)}=1`, '/a', ['?']],
  ])('%s keeps a path without tokens, and parameter names only', (target, path, query) => {
    const record = auditRecord(factsOf({ target }))
    expect(JSON.parse(record).what).toMatchObject({ path, query })
    expect(record).not.toContain('hunter2')
  })

  it('gives no token away in the resource either', () => {
    const resource = 'crm:customer/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.hunter2'
    const record = auditRecord(factsOf({ resource }))
    expect(JSON.parse(record).what.resource).toBe('crm:customer/[redacted]')
    expect(record).toBe(JSON.stringify(auditEntry(factsOf({ resource }))))
  })
})
