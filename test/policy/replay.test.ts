// A replay: recorded lines in, a report out. Every line is counted once, and only what changed is a change.
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { PolicyInput } from '../../src/policy/input_schema.ts'
import { readRecorded, timeOf } from '../../src/policy/recorded.ts'
import { openRehearsal, type Rehearsal } from '../../src/policy/rehearsal.ts'
import { Replay, type ReplayReport } from '../../src/policy/replay.ts'
import { sampleInput } from '../../src/policy/sample.ts'
import { Tally } from '../../src/policy/tally.ts'
import type { Effect, PolicyAnswer } from '../../src/ports.ts'
import { type AuditFacts, auditRecord } from '../../src/telemetry/audit.ts'
import { inputRecorder, type RecordedInput } from '../../src/telemetry/policy_input.ts'
import { packageRoot } from '../../src/version.ts'
import { factsOf, leaseOf, operationOf } from '../telemetry/facts.ts'

const text = JSON.stringify(sampleInput)

interface Line {
  readonly answer?: PolicyAnswer
  readonly input?: Partial<RecordedInput>
  readonly facts?: Partial<AuditFacts>
}

/** A record as the gate writes it; allowed unless told otherwise. */
function lineOf({ answer = { effect: 'allow', reasons: [] }, input = {}, facts = {} }: Line = {}): string {
  const recorded = { text, redacted: [], omitted: undefined, ...input }
  return auditRecord(factsOf({ consultation: { answer, input: recorded }, ...facts }))
}

interface Setting {
  readonly says?: PolicyAnswer
  readonly reads?: readonly string[]
  readonly examples?: number
  readonly maxFlips?: number
}

/** Replays lines under a policy that always says the same. */
function replayed(lines: readonly string[], setting: Setting = {}): ReplayReport {
  const { says = { effect: 'allow', reasons: [] }, reads = [], examples = 3, ...rest } = setting
  const policy = { digest: 'sha256:candidate', evaluate: () => says }
  const replay = new Replay({ policy, reads, examples, ...rest })
  for (const [at, line] of lines.entries()) replay.add(line, () => `audit.jsonl:${at + 1}`)
  return replay.report()
}

const deny: PolicyAnswer = { effect: 'deny', reasons: ['closed'] }

describe('a replayed decision', () => {
  it.each<[Effect, Effect, Partial<ReplayReport>]>([
    ['allow', 'allow', { changed: 0, newlyAllowed: 0, newlyDenied: 0 }],
    ['allow', 'deny', { changed: 1, newlyAllowed: 0, newlyDenied: 1 }],
    ['allow', 'hold', { changed: 1, newlyAllowed: 0, newlyDenied: 0 }],
    ['deny', 'allow', { changed: 1, newlyAllowed: 1, newlyDenied: 0 }],
    ['hold', 'allow', { changed: 1, newlyAllowed: 1, newlyDenied: 0 }],
    ['draft', 'allow', { changed: 1, newlyAllowed: 1, newlyDenied: 0 }],
    ['hold', 'deny', { changed: 1, newlyAllowed: 0, newlyDenied: 1 }],
    ['deny', 'draft', { changed: 1, newlyAllowed: 0, newlyDenied: 0 }],
  ])('that was %s and is %s', (before, after, expected) => {
    const report = replayed([lineOf({ answer: { effect: before, reasons: [] } })], {
      says: { effect: after, reasons: [] },
    })
    expect(report).toMatchObject({ records: 1, replayed: 1, notReplayed: [], ...expected })
    expect(report.effects[before][after]).toBe(1)
  })

  it('is told by agent, verb and operation, most first, with examples', () => {
    const other = { ...leaseOf().agent, id: 'agent:billing' }
    const lines = [
      lineOf({ facts: { decisionId: 'dec_1', lease: leaseOf({ agent: other }) } }),
      ...['dec_2', 'dec_3', 'dec_4'].map((decisionId) => lineOf({ facts: { decisionId } })),
      lineOf({ facts: { operation: operationOf({ match: 'GET /customers', verb: 'list' }) } }),
    ]
    const { flips } = replayed(lines, { says: deny, examples: 2 })
    const usual = { agent: 'agent:support-triage', before: 'allow', after: 'deny' }
    expect(flips).toEqual([
      {
        ...usual,
        verb: 'update',
        operation: 'crm PATCH /customers/{id}',
        count: 3,
        examples: ['dec_2', 'dec_3'],
      },
      {
        ...usual,
        agent: 'agent:billing',
        verb: 'update',
        operation: 'crm PATCH /customers/{id}',
        count: 1,
        examples: ['dec_1'],
      },
      { ...usual, verb: 'list', operation: 'crm GET /customers', count: 1, examples: ['dec_1'] },
    ])
  })

  it('with the same effect for other reasons is no change, and is counted apart', () => {
    const before = { effect: 'deny', reasons: ['open'] } as const
    const report = replayed([lineOf({ answer: before }), lineOf({ answer: deny })], { says: deny })
    expect(report).toMatchObject({ changed: 0, flips: [], otherReasons: { count: 1, examples: ['dec_1'] } })
  })

  it('that the candidate fails at is the denial it would be, and named', () => {
    const says = { effect: 'deny', reasons: ['policy_failed'], fault: 'unreachable' } as const
    const report = replayed([lineOf()], { says })
    expect(report).toMatchObject({ newlyDenied: 1, faults: [{ name: 'unreachable', count: 1 }] })
  })

  it('is asked about with the very text that policy was asked with', () => {
    const asked: string[] = []
    const evaluate = (input: string) => {
      asked.push(input)
      return deny
    }
    const policy = { digest: '', evaluate }
    new Replay({ policy, reads: [], examples: 0 }).add(lineOf(), () => '')
    expect(asked).toEqual([text])
  })

  it('is told apart from others in bounded memory', () => {
    const lines = ['a', 'b', 'c', 'a'].map((id) =>
      lineOf({ facts: { lease: leaseOf({ agent: { ...leaseOf().agent, id } }) } }),
    )
    const { flips, otherFlips, changed } = replayed(lines, { says: deny, maxFlips: 2 })
    expect(flips.map(({ agent, count }) => [agent, count])).toEqual([
      ['a', 2],
      ['b', 1],
    ])
    expect([otherFlips, changed]).toEqual([1, 4])
  })
})

const withoutPolicy = () => {
  const { policy: _, ...rest } = JSON.parse(lineOf())
  return JSON.stringify(rest)
}
const changedPolicy = (change: object) => {
  const record = JSON.parse(lineOf())
  return JSON.stringify({ ...record, policy: { ...record.policy, ...change } })
}
const refused = { consultation: undefined, effect: 'deny', code: 'lease_revoked', ended: 'refused' } as const

describe('a record that cannot be replayed', () => {
  it.each([
    ['refused before policy', lineOf({ facts: refused }), 'not_asked', 'lease_revoked'],
    [
      'answered by the gate',
      lineOf({ facts: { consultation: undefined, ended: 'answered_locally' } }),
      'not_asked',
      'answered_locally',
    ],
    ['of an older gate', withoutPolicy(), 'recorded_before', ''],
    ['without input', lineOf({ input: { text: undefined, omitted: 'off' } }), 'off', ''],
    [
      'with too large an input',
      lineOf({ input: { text: undefined, omitted: 'too_large' } }),
      'too_large',
      '',
    ],
    ['that was cut', lineOf().slice(0, -9), 'damaged', 'audit.jsonl:1'],
    ['that is empty', '', 'damaged', 'audit.jsonl:1'],
    ['that is no object', '[]', 'damaged', 'audit.jsonl:1'],
    ['that is no record', '{"time":"2026-03-14T14:32:01.007Z"}', 'damaged', 'audit.jsonl:1'],
    ['with an unknown effect', changedPolicy({ effect: 'permit' }), 'damaged', 'audit.jsonl:1'],
    ['with reasons that are none', changedPolicy({ reasons: [1] }), 'damaged', 'audit.jsonl:1'],
    ['with an input that is none', changedPolicy({ input: 'x' }), 'damaged', 'audit.jsonl:1'],
    [
      'nested deeper than any',
      lineOf({ input: { text: `{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}` } }),
      'damaged',
      'audit.jsonl:1',
    ],
    ['with an unknown omission', changedPolicy({ omitted: 'lost' }), 'damaged', 'audit.jsonl:1'],
    ['without its redactions', changedPolicy({ redacted: undefined }), 'damaged', 'audit.jsonl:1'],
  ])('%s is counted by its cause', (_name, line, name, detail) => {
    const report = replayed([line], { says: deny })
    expect(report).toMatchObject({ records: 1, replayed: 0, changed: 0 })
    expect(report.notReplayed).toEqual([{ name, count: 1, of: [{ name: detail, count: 1 }], rest: 0 }])
  })

  it.each([
    [['request.body'], ['request.body'], 'request.body'],
    [['request.body'], ['request.body.card'], 'request.body'],
    [['request.body.card'], ['request.body'], 'request.body.card'],
    [['request.body', 'request.query', 'lease.user'], ['request'], 'request.body, request.query'],
    [['request.query'], [''], 'request.query'],
  ])('lost %s, and the candidate reads %s', (redacted, reads, detail) => {
    const { notReplayed } = replayed([lineOf({ input: { redacted } })], { says: deny, reads })
    expect(notReplayed).toMatchObject([{ name: 'redacted', of: [{ name: detail, count: 1 }] }])
  })

  it.each([
    [['request.body'], ['request.query', 'lease.user', 'request.verb']],
    [['request.body.card'], ['request.body.sum']],
    [['request.body'], ['request.body_limit']],
    [[], ['']],
  ])('is not one that lost %s, where the candidate reads %s', (redacted, reads) => {
    expect(replayed([lineOf({ input: { redacted } })], { reads })).toMatchObject({ replayed: 1 })
  })

  it('is not an event of the gate or an intent: those are no decisions', () => {
    const lines = [
      JSON.stringify({ time: '2026-03-14T14:32:01.007Z', event: 'policy', digest: 'sha256:00' }),
      lineOf({ facts: { consultation: undefined, ended: 'intent' } }),
    ]
    expect(replayed(lines)).toMatchObject({ records: 0, notReplayed: [] })
  })
})

describe('any line at all', () => {
  it('is counted once, and never throws', () => {
    const mutated = fc
      .tuple(fc.nat(), fc.string({ maxLength: 3 }))
      .map(([at, bit]) => lineOf().slice(0, at % 2000) + bit + lineOf().slice((at % 2000) + 1))
    fc.assert(
      fc.property(fc.array(fc.oneof(mutated, fc.string(), fc.json(), fc.constant(lineOf()))), (lines) => {
        const report = replayed(lines)
        const left = report.notReplayed.reduce((sum, { count }) => sum + count, 0)
        expect(report.replayed + left).toBe(report.records)
        const others = lines.filter((line) => readRecorded(line).kind === 'other').length
        expect(report.records + others).toBe(lines.length)
      }),
    )
  })

  it.each([
    [lineOf(), '2026-03-14T14:32:01.007Z'],
    ['{"time":"yesterday"}', undefined],
    [' {"time":"2026-03-14T14:32:01.007Z"}', undefined],
    ['', undefined],
  ])('%.40s says when it was written: %s', (line, time) => expect(timeOf(line)).toBe(time))
})

describe('a tally', () => {
  it('counts names beyond its bound together', () => {
    const tally = new Tally(2)
    for (const name of ['a', 'b', 'b', 'c', 'd', 'a', 'b']) tally.add(name)
    expect(tally.counts()).toEqual([
      { name: 'b', count: 3 },
      { name: 'a', count: 2 },
    ])
    expect([tally.rest, tally.total]).toEqual([2, 7])
  })
})

describe('the policy that ships', () => {
  let candidate: Rehearsal
  beforeAll(async () => {
    candidate = await openRehearsal(join(packageRoot, 'policies'))
  })

  const verb = fc.constantFrom('read', 'list', 'update', 'delete', 'export')
  const words = fc.constantFrom('support', 'support-trial', 'nobody')
  const inputs = fc
    .record({
      verb,
      risk: fc.constantFrom('low', 'medium', 'high'),
      stage: fc.constantFrom('observe', 'draft', 'execute'),
      profile: words,
      provenance: fc.constantFrom('trusted', 'untrusted'),
      calls: fc.nat({ max: 200 }),
      approvers: fc.option(fc.array(fc.constantFrom('alice@example.com', 'carol@example.com'))),
      body: fc.jsonValue(),
      query: fc.dictionary(fc.string(), fc.string()),
      granted: fc.array(verb, { minLength: 1 }),
    })
    .map(
      ({ verb, risk, stage, profile, provenance, calls, approvers, body, query, granted }): PolicyInput => {
        const { lease, request, context } = sampleInput
        const [grant] = lease.granted
        return {
          version: 1,
          lease: {
            ...lease,
            stage: stage as 'draft',
            agent: { ...lease.agent, profile },
            granted: [{ ...grant!, actions: granted }],
          },
          request: { ...request, verb, risk: risk as 'low', query, body },
          context: {
            ...context,
            provenance: provenance as 'trusted',
            recent_calls: { lease_1m: calls, agent_1m: calls },
            approval: approvers === null ? null : { id: 'act_1', approved_by: approvers, kind: 'exact' },
          },
        }
      },
    )

  it('changes nothing that it decided itself, whatever was redacted', () => {
    const record = inputRecorder({
      record: true,
      redact: ['request.body', 'request.query'],
      maxBytes: 65_536,
    })
    const before = new Set<Effect>()
    fc.assert(
      fc.property(fc.array(inputs, { minLength: 1 }), (all) => {
        const replay = new Replay({ ...candidate, examples: 1 })
        for (const input of all) {
          const asked = JSON.stringify(input)
          const answer = candidate.policy.evaluate(asked)
          before.add(answer.effect)
          replay.add(lineOf({ answer, input: record(asked) }), () => '')
        }
        expect(replay.report()).toMatchObject({
          replayed: all.length,
          changed: 0,
          otherReasons: { count: 0 },
          faults: [],
        })
      }),
    )
    expect([...before].toSorted()).toEqual(['allow', 'deny', 'draft', 'hold'])
  })
})
