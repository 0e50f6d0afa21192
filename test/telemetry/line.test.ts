// The line per request: readable, and nothing in it can act on the terminal or pass for something else.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { requestLine, visible } from '../../src/telemetry/line.ts'
import { factsOf, leaseOf, operationOf } from './facts.ts'

const plain = { colour: false }

describe('the line of a request', () => {
  it('says when, who, through which agent, for which task, what, and how it ended', () => {
    const facts = factsOf({ operation: operationOf({ verb: 'read' }) })
    expect(requestLine(facts, plain)).toBe(
      '2026-03-14 14:32:01 user:alice@example.com via agent:support-triage task:SUP-4711 ' +
        'READ crm:customer/9821 → allow 200 12ms',
    )
  })

  it('names the refusal', () => {
    const facts = factsOf({ effect: 'deny', code: 'outside_lease', status: 403, durationMs: 0.4 })
    expect(requestLine(facts, plain)).toMatch(/UPDATE crm:customer\/9821 → deny outside_lease 403 0ms$/)
  })

  it('names who approved the call, and nobody who is still asked', () => {
    const approval = {
      id: 'act_1',
      kind: 'exact',
      approved_by: ['carol@example.com', 'evil\u202e→'],
    } as const
    expect(requestLine(factsOf({ approval }), plain)).toMatch(
      / → allow 200 12ms approved by carol@example\.com, evil\\u\{202e\}\\u\{2192\}$/,
    )
    const waiting = { id: 'act_1', kind: null, approved_by: [] }
    expect(requestLine(factsOf({ approval: waiting }), plain)).toMatch(/12ms$/)
  })

  it('shows method and path, never the query, where nothing was mapped or verified', () => {
    const facts = factsOf({ lease: undefined, operation: undefined, resource: undefined, status: undefined })
    expect(requestLine(facts, plain)).toBe(
      '2026-03-14 14:32:01 nobody PATCH /crm/customers/9821 → allow - 12ms',
    )
  })

  it.each([
    ['http://user:hunter2@gate.example/crm', '-'],
    ['http://hunter2', '-'],
    ['/crm/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.hunter2', '/crm/[redacted]'],
    ['/crm#hunter2', '/crm'],
  ])('of %s shows %s', (target, shown) => {
    const line = requestLine(factsOf({ operation: undefined, resource: undefined, target }), plain)
    expect(line).toContain(` PATCH ${shown} → `)
    expect(line).not.toContain('hunter2')
  })

  it('shows no token that stands for a resource', () => {
    const resource = 'crm:customer/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.hunter2'
    expect(requestLine(factsOf({ resource }), plain)).toContain(' UPDATE crm:customer/[redacted] → ')
  })

  it('names a workflow once', () => {
    const agent = {
      id: 'workflow:nightly',
      version: '1',
      env: 'prod',
      instance: '',
      profile: '',
      profileVersion: '',
    }
    const facts = factsOf({ lease: leaseOf({ user: 'workflow:nightly', agent }) })
    expect(requestLine(facts, plain)).toContain(' workflow:nightly task:SUP-4711 ')
  })

  it('has colour only where asked for', () => {
    expect(requestLine(factsOf(), { colour: true })).toContain('\u001b[32mallow\u001b[0m')
    expect(requestLine(factsOf(), plain)).not.toContain('\u001b')
  })

  it.each([
    ['\u001b[2J', '\\u{1b}[2J'],
    ['a\nb', 'a\\u{a}b'],
    ['\u202efdp', '\\u{202e}fdp'],
    ['a → allow', 'a\\u{20}\\u{2192}\\u{20}allow'],
    ['\\u{1b}', '\\u{5c}u{1b}'],
    ['\u200b', '\\u{200b}'],
    ['\ud800', '\\u{d800}'],
    ['Zoë', 'Zoë'],
  ])('makes %j visible', (text, shown) => {
    expect(visible(text)).toBe(shown)
  })

  it('stays one line with one arrow, whatever the names in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const line = requestLine(factsOf({ resource: name, lease: leaseOf({ user: name }) }), plain)
        expect(line.split('→')).toHaveLength(2)
        expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
        expect(line.split(' ')).toHaveLength(12)
      }),
    )
  })
})
