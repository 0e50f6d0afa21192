// What of a policy input gets into a record: all of it, less what is redacted, and never a token.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { policyInput } from '../../src/policy/input.ts'
import { isInputPath } from '../../src/policy/input_paths.ts'
import type { PolicyInput } from '../../src/policy/input_schema.ts'
import { sampleInput } from '../../src/policy/sample.ts'
import { blankedIn, inputRecorder, withoutContent } from '../../src/telemetry/policy_input.ts'
import { evidenceOf } from '../support/evidence.ts'

const content = ['request.body', 'request.query']
const jwt = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.hunter2'

function inputWith(request: Partial<PolicyInput['request']>, changes: Partial<PolicyInput> = {}): string {
  return JSON.stringify({ ...sampleInput, request: { ...sampleInput.request, ...request }, ...changes })
}

/** What is recorded, its text parsed. */
function recorded(input: string, { redact = content, maxBytes = 16_384, record = true } = {}) {
  const { text, ...rest } = inputRecorder({ record, redact, maxBytes })(input)
  return { ...rest, input: text === undefined ? undefined : (JSON.parse(text) as PolicyInput) }
}

describe('an input on record', () => {
  it('is the very text policy was asked with when there is nothing to hide', () => {
    const input = inputWith({})
    const asIs = { text: input, redacted: [], omitted: undefined }
    expect(inputRecorder({ record: true, redact: content, maxBytes: 16_384 })(input)).toEqual(asIs)
    const full = inputWith({ body: { a: 1 }, query: { b: '2' } })
    expect(inputRecorder({ record: true, redact: [], maxBytes: 16_384 })(full).text).toBe(full)
  })

  it.each([
    ['a body', { body: { card: '4111' } }, content, ['request.body']],
    ['a query', { query: { q: 'hunter2' } }, content, ['request.query']],
    ['both', { body: ['x'], query: { q: 'x' } }, content, ['request.body', 'request.query']],
    ['an empty body, which gives nothing away', { body: {}, query: {} }, content, []],
    ['a part of a body', { body: { card: '4111', sum: 3 } }, ['request.body.card'], ['request.body.card']],
    ['a part that is not there', { body: { sum: 3 } }, ['request.body.card.number'], []],
    ['a part named like a member of every object', { body: { a: 1 } }, ['request.body.toString'], []],
    ['who asked', {}, ['lease.user', 'context.source_ip'], ['lease.user', 'context.source_ip']],
    ['a whole section and a part of it', {}, ['lease', 'lease.user'], ['lease']],
  ] as const)('loses %s to redaction, by name', (_name, request, redact, expected) => {
    const { input, redacted } = recorded(inputWith(request), { redact: [...redact] })
    expect(redacted).toEqual(expected)
    const kept = JSON.parse(inputWith(request))
    for (const path of expected) {
      const names = path.split('.')
      const last = names.pop()!
      names.reduce((at, name) => at[name], kept)[last] = null
    }
    expect(input).toEqual(kept)
  })

  it.each([
    [
      'in each item of a list that is the body',
      { body: [{ card: '4111' }, { sum: 3 }] },
      'request.body.card',
      [{ card: null }, { sum: 3 }],
    ],
    [
      'in each item of lists further down',
      { body: { orders: [[{ card: { number: '4111' } }], []] } },
      'request.body.orders.card.number',
      { orders: [[{ card: { number: null } }], []] },
    ],
    [
      'under a name with dots, and under each way to read them',
      { body: { 'user.card': '4111', user: { card: '4111', 'card.x': 1 } } },
      'request.body.user.card',
      { 'user.card': null, user: { card: null, 'card.x': 1 } },
    ],
  ])('loses a part %s', (_name, request, path, body) => {
    const { input, redacted } = recorded(inputWith(request), { redact: [path] })
    expect([input?.request.body, redacted]).toEqual([body, [path]])
  })

  it('loses a parameter of the query with dots in its name', () => {
    const query = { 'user.name': 'hunter2', page: '2' }
    const { input, redacted } = recorded(inputWith({ query }), { redact: ['request.query.user.name'] })
    expect([input?.request.query, redacted]).toEqual([
      { 'user.name': null, page: '2' },
      ['request.query.user.name'],
    ])
  })

  it.each([
    ['the path', { path: `/customers/${jwt}` }, ['request.path']],
    ['the path after an escape', { path: `/customers/%20${jwt}` }, ['request.path']],
    [
      'an id',
      { params: { id: jwt }, resource: `crm:customer/${jwt}` },
      ['request.params', 'request.resource'],
    ],
    ['an id after a line break', { params: { id: `\n${jwt}` } }, ['request.params']],
    ['the query', { query: { q: jwt } }, ['request.query']],
    ['the name of a parameter', { query: { [jwt]: '' } }, ['request.query']],
    ['the body, deep down', { body: { a: [{ b: `x ${jwt}` }] } }, ['request.body']],
    ['a name in the body', { body: { [jwt]: 1 } }, ['request.body']],
  ])('never holds a token that was sent in %s, even with nothing redacted', (_name, request, expected) => {
    const { input, redacted } = recorded(inputWith(request), { redact: [] })
    expect(redacted.toSorted()).toEqual(expected.toSorted())
    expect(JSON.stringify(input)).not.toContain('hunter2')
  })

  it('never holds a token of a section that policy never sees content in', () => {
    const task = { ...sampleInput.lease.task, purpose: `see ${jwt}` }
    const { input, redacted } = recorded(inputWith({}, { lease: { ...sampleInput.lease, task } }))
    expect([input?.lease.task, redacted]).toEqual([null, ['lease.task']])
  })

  it('is left out whole when it is too large, counted in bytes after redaction', () => {
    const body = { note: 'ü'.repeat(600) }
    const bytes = Buffer.byteLength(inputWith({ body }))
    const fits = { redacted: [], omitted: undefined }
    expect(recorded(inputWith({ body }), { redact: [], maxBytes: bytes })).toMatchObject(fits)
    expect(recorded(inputWith({ body }), { redact: [], maxBytes: bytes - 1 })).toEqual({
      input: undefined,
      redacted: [],
      omitted: 'too_large',
    })
    expect(recorded(inputWith({ body }), { maxBytes: 1200 }).redacted).toEqual(['request.body'])
  })

  it('is left out when recording is off', () => {
    expect(recorded(inputWith({}), { record: false })).toEqual({
      input: undefined,
      redacted: [],
      omitted: 'off',
    })
  })
})

describe('the short cut that saves a parse', () => {
  const tricky = fc.constantFrom(
    '"query":{},"body":null},"context":{"now":',
    '},"query":{',
    '},"context":{"now":1',
    ',"body":null',
    ',"body":{}',
    'query',
    'body',
    'null',
  )
  const text = fc.oneof(tricky, fc.string())
  const query = fc.oneof(fc.constant({}), fc.dictionary(text, text))
  const part = fc.oneof(tricky, fc.jsonValue(), fc.constantFrom(null, {}))
  const body = fc.oneof(
    part,
    fc.record({ params: fc.constant({}), query: fc.constantFrom({}, null), body: part }),
    fc.record({ a: fc.record({ query: fc.constant({}), body: fc.constant(null) }), context: part }),
    fc.record({ a: fc.constant({}), context: fc.record({ now: part }) }),
    fc.array(part),
  )
  const request = fc.record({ query, body, params: fc.dictionary(text, text), path: text, resource: text })

  it('redacts what parsing would, whatever a caller sends', () => {
    fc.assert(
      fc.property(request, (changes) => {
        const input = inputWith(changes)
        const parsed = blankedIn(input, ['request.body', 'request.query'])
        fc.pre(!input.includes('eyJ'))
        expect(withoutContent(input)).toEqual(parsed)
      }),
      { numRuns: 2000 },
    )
  })

  it('knows the text that policy is really asked with', () => {
    const input = policyInput(evidenceOf({}, { body: { card: '4111' } }))
    expect(withoutContent(input)).toEqual(blankedIn(input, ['request.body']))
    expect(withoutContent(input)?.redacted).toEqual(['request.body'])
  })

  it('leaves anything else to the parser', () => {
    expect(withoutContent('{"request":{"query":{"a":"1"},"body":2}}')).toBeUndefined()
  })
})

describe('a path of the input', () => {
  it.each([
    ['request.body', true],
    ['request.body.card.number', true],
    ['request.params.id', true],
    ['request.query.q', true],
    ['lease.agent.id', true],
    ['context.approval.approved_by', true],
    ['lease', true],
    ['request.bodies', false],
    ['lease.user.name', false],
    ['lease.granted.resource', false],
    ['request.body.', false],
    ['request.body..card', false],
    ['body', false],
    ['', false],
    ['toString', false],
  ])('%s: %s', (path, expected) => expect(isInputPath(path)).toBe(expected))
})
