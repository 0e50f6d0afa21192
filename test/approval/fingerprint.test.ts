// The name of one exact action: the same for the same, another for whatever a human would want to look at again.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../src/approval/fingerprint.ts'
import { passedFields } from '../../src/enforce/outbound.ts'
import type { Authenticated } from '../../src/enforce/stages.ts'
import { authenticatedOf, backendOf, leaseOf, now } from '../support/evidence.ts'

const named = (call: Authenticated, body: string) =>
  fingerprintOf(call, passedFields(call), Buffer.from(body))

describe('a fingerprint', () => {
  const patch = (more: readonly string[] = [], target = '/crm/customers/9821') => ({
    method: 'PATCH',
    target,
    headers: ['Content-Length', '2', ...more],
  })
  const original = authenticatedOf({ ask: patch() })
  const name = named(original, '{}')
  const json = ['Content-Type', 'application/json']
  const wide = leaseOf({
    grants: [{ ...leaseOf().grants[0]!, identifier: 'crm:*' }],
  })

  test('is the same for the same action, with another token of the same lease', () => {
    const renewed = leaseOf({ tokenId: 'ltk_2', issuedAt: now - 1, expiresAt: now + 299 })
    expect(named(authenticatedOf({ ask: patch(), lease: renewed }), '{}')).toBe(name)
    expect(name).toMatch(/^sha-256:[A-Za-z0-9_-]{43}$/)
  })

  test.each([
    ['lease', authenticatedOf({ ask: patch(), lease: leaseOf({ id: 'lse_2' }) })],
    ['issuer', authenticatedOf({ ask: patch(), lease: leaseOf({ issuer: 'https://other.example' }) })],
    ['task', authenticatedOf({ ask: patch(), lease: leaseOf({ task: { ...leaseOf().task, id: 'SUP-1' } }) })],
    [
      'task system',
      authenticatedOf({ ask: patch(), lease: leaseOf({ task: { ...leaseOf().task, system: 'gh' } }) }),
    ],
    ['method', authenticatedOf({ ask: { ...patch(), method: 'PUT' } })],
    ['backend', authenticatedOf({ ask: patch(), backend: backendOf({ name: 'crm2' }) })],
    ['path', authenticatedOf({ ask: patch([], '/crm/customers/9822'), lease: wide })],
    ['query', authenticatedOf({ ask: patch([], '/crm/customers/9821?force=1') })],
    ['empty query', authenticatedOf({ ask: patch([], '/crm/customers/9821?') })],
    ['content type', authenticatedOf({ ask: patch(json) })],
    ['content encoding', authenticatedOf({ ask: patch(['Content-Encoding', 'br']) })],
  ])('changes with the %s', (_, changed) => {
    expect(named(changed, '{}')).not.toBe(name)
  })

  test('changes with every byte of the body, and with none', () => {
    expect(named(original, '{ }')).not.toBe(name)
    expect(named(original, '')).not.toBe(name)
  })

  test.each([
    ['a condition', ['If-Match', '"7"']],
    ['a key of idempotency', ['Idempotency-Key', 'k1']],
    ['a range', ['Range', 'bytes=0-9']],
    ['another preference', ['Prefer', 'return=minimal']],
  ])('changes with %s', (_, fields) => {
    expect(named(authenticatedOf({ ask: patch(fields) }), '{}')).not.toBe(name)
  })

  test('changes with a field that this backend gets', () => {
    const backend = backendOf({ forwardHeaders: ['x-tenant'] })
    const of = (tenant: string) => named(authenticatedOf({ ask: patch(['X-Tenant', tenant]), backend }), '{}')
    expect(of('acme')).not.toBe(of('globex'))
  })

  test.each([
    ['who sends it', ['User-Agent', 'agent/2']],
    ['how the answer is to look', ['Accept', 'text/csv']],
    ['its trace', ['Traceparent', '00-11111111111111111111111111111111-1111111111111111-01']],
    ['how long it waits', ['Prefer', 'wait=30']],
    ['the approval that it relies on', ['Lease-Approval', 'act_01K9ZQ4C6V8B3N5M7P9R1T3W5Y']],
  ])('stays with %s', (_, fields) => {
    expect(named(authenticatedOf({ ask: patch(fields) }), '{}')).toBe(name)
  })

  test('does not depend on where one part ends and the next begins', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii' }), fc.string({ unit: 'grapheme-ascii' }), (a, b) => {
        const call = (key: string, type: string) =>
          fingerprintOf(original, ['content-type', type, 'idempotency-key', key], Buffer.from('{}'))
        expect(call(a, b) === call(b, a)).toBe(a === b)
      }),
    )
  })
})
