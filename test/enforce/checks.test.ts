// The built-in checks: for each a row that passes and a row per way to fail, and their order.
import { describe, expect, test } from 'vitest'
import { checks, coveringGrant } from '../../src/enforce/checks.ts'
import { decide } from '../../src/enforce/decide.ts'
import type { Operation } from '../../src/enforce/operation.ts'
import type { Evidence } from '../../src/enforce/stages.ts'
import type { Binding, Grant, Lease } from '../../src/lease/lease.ts'
import type { Revocation } from '../../src/ports.ts'
import {
  type Ask,
  allowing,
  authenticatedOf,
  backendOf,
  codeOf,
  evidenceOf,
  leaseOf,
  now,
  operationOf,
  policyOf,
} from '../support/evidence.ts'

const decided = (evidence: Evidence) => codeOf(decide(evidence, allowing))
const grantOf = (changes: Partial<Grant> = {}): Grant => ({ ...leaseOf().grants[0]!, ...changes })
const withGrants = (...grants: readonly Partial<Grant>[]): Lease => leaseOf({ grants: grants.map(grantOf) })
const revocation: Revocation = {
  scope: 'agent',
  value: 'agent:support-triage',
  cutoff: now,
  expiresAt: now + 60,
  reason: 'leaked prompt',
  by: 'cli:ann',
  at: now - 1,
}

test('evidence that nothing stands against is allowed', () => {
  expect(decided(evidenceOf())).toBe('accepted')
})

describe('clockAgreesWithStore', () => {
  test.each([0, 5, -5])('a clock %s s from the store’s passes', (clockOffset) => {
    expect(decided(evidenceOf({}, { clockOffset }))).toBe('accepted')
  })

  test.each([5.1, -5.1, 90, -90, Number.NaN])('a clock %s s from the store’s does not', (clockOffset) => {
    expect(decided(evidenceOf({}, { clockOffset }))).toBe('evidence_unavailable')
  })
})

describe('revocationViewIsFresh', () => {
  test.each([0, 2_000, -5])('a view %s ms old passes', (viewAgeMs) => {
    expect(decided(evidenceOf({}, { viewAgeMs }))).toBe('accepted')
  })

  test.each([2_001, Number.POSITIVE_INFINITY, Number.NaN])('D18 a view %s ms old does not', (viewAgeMs) => {
    expect(decided(evidenceOf({}, { viewAgeMs }))).toBe('evidence_unavailable')
  })
})

describe('leaseIsNotRevoked', () => {
  test('D16, D17 a revocation refuses and says of what, not why', () => {
    const refusal = decide(evidenceOf({}, { revocation }), allowing)
    expect(refusal).toMatchObject({
      code: 'lease_revoked',
      row: { status: 401, error: 'invalid_token' },
      facts: { detail: 'revoked by agent', reasons: ['lease_inactive', 'revoked_by_agent'] },
    })
    expect(refusal).toMatchObject({ facts: { cause: expect.stringContaining('leaked prompt') } })
  })
})

describe('leaseIsNotSuspended', () => {
  test('D16 a suspension refuses and says that, not why', () => {
    const suspension = {
      ...{ lease: 'lse_1', suspended: true, version: 1, expiresAt: now + 60 },
      ...{ reason: 'odd reads', by: 'cli:ann', at: now - 1 },
    }
    const refusal = decide(evidenceOf({}, { suspension }), allowing)
    expect(refusal).toMatchObject({
      code: 'lease_revoked',
      row: { status: 401, error: 'invalid_token' },
      facts: { detail: 'the lease is suspended', reasons: ['lease_inactive', 'lease_suspended'] },
    })
    expect(refusal).toMatchObject({ facts: { cause: expect.stringContaining('odd reads') } })
    expect(decide(evidenceOf({}, { revocation, suspension }), allowing)).toMatchObject({
      facts: { detail: 'revoked by agent' },
    })
  })
})

describe('leaseHasNotExpired', () => {
  test.each([
    ['the last moment within the tolerance', now + 288 + 4, 'accepted'],
    ['the first moment after it', now + 288 + 5, 'lease_expired'],
  ])('%s', (_, at, code) => {
    expect(decided(evidenceOf({}, { now: at }))).toBe(code)
  })
})

describe('leaseIsBoundWhereRequired', () => {
  const operations = [
    operationOf('GET /customers/{id}', { verb: 'read', risk: 'low' }),
    operationOf('POST /customers/{id}', { verb: 'list', risk: 'high' }),
    operationOf('PATCH /customers/{id}', { verb: 'update', risk: 'medium' }),
    operationOf('DELETE /customers/{id}', { verb: 'delete', risk: 'high' }),
  ]
  const lease = leaseOf({ grants: [grantOf({ actions: ['*'] })] })
  const bindings: readonly Binding[] = [
    { method: 'dpop', thumbprint: 'a'.repeat(43) },
    { method: 'mtls', thumbprint: 'a'.repeat(43) },
  ]

  test.each([
    ['never', []],
    ['high', ['POST', 'DELETE']],
    ['writes', ['POST', 'PATCH', 'DELETE']],
    ['always', ['GET', 'POST', 'PATCH', 'DELETE']],
  ] as const)(
    'K1 %s: bearer tokens are refused for %j, bound ones for nothing',
    (requireBinding, refused) => {
      const backend = backendOf({ operations, requireBinding })
      for (const method of ['GET', 'POST', 'PATCH', 'DELETE'] as const) {
        const code = refused.some((each) => each === method) ? 'binding_required' : 'accepted'
        expect(decided(evidenceOf({ ask: { method }, backend, lease }))).toBe(code)
        for (const binding of bindings) {
          expect(decided(evidenceOf({ ask: { method }, backend, lease: { ...lease, binding } }))).toBe(
            'accepted',
          )
        }
      }
    },
  )

  const offer = ['Connection', 'Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Version', '13']
  const key = ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==']
  test.each([
    ['never', true, 'accepted'],
    ['high', true, 'accepted'],
    ['writes', true, 'binding_required'],
    ['writes', false, 'accepted'],
    ['always', true, 'binding_required'],
  ] as const)(
    '%s: a WebSocket on an operation that reads, where the backend takes them: %s',
    (requireBinding, upgrade, code) => {
      const ask = { headers: [...offer, ...key] }
      const backend = backendOf({ operations, requireBinding, upgrade })
      expect(decided(evidenceOf({ ask, backend, lease }))).toBe(code)
    },
  )
})

describe('environmentMatches', () => {
  test.each([
    ['prod', 'accepted'],
    [undefined, 'accepted'],
    ['dev', 'outside_lease'],
  ])('D20 a lease for prod at a backend of %s', (env, code) => {
    expect(decided(evidenceOf({ backend: backendOf({ env }) }))).toBe(code)
  })
})

describe('leaseIsForStatedTask', () => {
  const german = { system: 'jira', id: 'SÜP 1', purpose: 'p' }
  const bare = { system: 'task', id: 'SUP-4711', purpose: 'p' }
  const colons = { system: 'urn', id: 'a:b', purpose: 'p' }
  test.each<[string, readonly string[], Partial<Lease>]>([
    ['nothing', [], {}],
    ['its task', ['Lease-Task', 'jira:SUP-4711'], {}],
    ['its session', ['Lease-Session', 'ses_1'], {}],
    ['both', ['Lease-Session', 'ses_1', 'Lease-Task', 'jira:SUP-4711'], {}],
    [
      'a task that is not ASCII as the gate writes it',
      ['Lease-Task', 'jira%3AS%C3%9CP%201'],
      { task: german },
    ],
    ['a task without a system', ['Lease-Task', 'SUP-4711'], { task: bare }],
    ['the same with its system', ['Lease-Task', 'task:SUP-4711'], { task: bare }],
    ['a task with a colon in it', ['Lease-Task', 'urn:a:b'], { task: colons }],
  ])('a request that states %s passes', (_, headers, changes) => {
    expect(decided(evidenceOf({ ask: { headers }, lease: leaseOf(changes) }))).toBe('accepted')
  })

  test.each<[string, readonly string[], readonly string[], object]>([
    ['another task', ['Lease-Task', 'jira:SUP-4712'], ['task_mismatch'], { task: 'jira:SUP-4712' }],
    ['a longer task', ['Lease-Task', 'jira:SUP-47110'], ['task_mismatch'], { task: 'jira:SUP-47110' }],
    ['another system', ['Lease-Task', 'snow:SUP-4711'], ['task_mismatch'], { task: 'snow:SUP-4711' }],
    ['no system', ['Lease-Task', 'SUP-4711'], ['task_mismatch'], { task: 'SUP-4711' }],
    ['another case', ['Lease-Task', 'JIRA:SUP-4711'], ['task_mismatch'], { task: 'JIRA:SUP-4711' }],
    ['two tasks', ['Lease-Task', 'jira:SUP-4711, jira:SUP-4712'], ['task_mismatch'], expect.anything()],
    ['another session', ['Lease-Session', 'ses_2'], ['session_mismatch'], { session: 'ses_2' }],
    ['a wildcard', ['Lease-Task', '*', 'Lease-Session', '*'], ['task_mismatch', 'session_mismatch'], {}],
  ])('a request that states %s is refused and told what to ask for', (_, headers, reasons, answer) => {
    expect(decide(evidenceOf({ ask: { headers } }), allowing)).toMatchObject({
      code: 'lease_mismatch',
      row: { status: 403, error: 'insufficient_scope', nextAction: 'request' },
      facts: {
        reasons,
        answer,
        missing: [
          { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
        ],
      },
    })
  })
})

describe('max_risk', () => {
  const operations = (['low', 'medium', 'high'] as const).map((risk) =>
    operationOf(`GET /${risk}/{id}`, { risk }),
  )
  const at = (risk: string, maxRisk: unknown) => {
    const lease = withGrants({ constraints: { max_risk: maxRisk } })
    const ask: Ask = { target: `/crm/${risk}/9821` }
    return decide(evidenceOf({ ask, lease, backend: backendOf({ operations }) }), allowing)
  }

  test.each([
    ['low', 'low', 'accepted'],
    ['low', 'high', 'accepted'],
    ['medium', 'low', 'outside_lease'],
    ['medium', 'medium', 'accepted'],
    ['high', 'low', 'outside_lease'],
    ['high', 'medium', 'outside_lease'],
    ['high', 'high', 'accepted'],
  ])('an operation of %s risk under a ceiling of %s: %s', (risk, ceiling, code) => {
    expect(codeOf(at(risk, ceiling))).toBe(code)
  })

  test('the refusal names the ceiling that would do', () => {
    expect(at('high', 'low')).toMatchObject({
      facts: { reasons: ['risk_above_ceiling'], missing: [{ constraints: { max_risk: 'high' } }] },
    })
  })

  test.each(['', 'none', 'HIGH', 3, null, true, ['high'], { high: 1 }])(
    'F5 a ceiling of %j is none that can be enforced',
    (ceiling) => {
      const refusal = at('low', ceiling)
      expect(refusal).toMatchObject({ facts: { reasons: ['constraint_not_enforceable'] } })
      expect(JSON.stringify(refusal)).not.toContain('max_risk')
    },
  )
})

describe('grantCoversRequest', () => {
  test.each<[string, Partial<Grant>]>([
    ['exactly', { actions: ['read'], sensitivity: 'confidential' }],
    ['with every verb', { actions: ['*'] }],
    ['with everything below', { identifier: 'crm:customer/*' }],
    ['with everything below the backend', { identifier: 'crm:customer/*', actions: ['list', 'read'] }],
    ['with a budget', { constraints: { max_calls: 20 } }],
    ['with a budget of none, which commit refuses', { constraints: { max_calls: 0 } }],
  ])('a grant that covers it %s', (_, grant) => {
    expect(decided(evidenceOf({ lease: withGrants(grant) }))).toBe('accepted')
  })

  test.each<[string, Partial<Grant>, string]>([
    ['F1 another verb', { actions: ['list'] }, 'verb_not_in_lease'],
    ['F1 a verb that contains it', { actions: ['readonly'] }, 'verb_not_in_lease'],
    ['F1 no verb', { actions: [] }, 'verb_not_in_lease'],
    ['F2 another id', { identifier: 'crm:customer/9822' }, 'resource_not_in_lease'],
    ['F2 an id that it begins with', { identifier: 'crm:customer/982' }, 'resource_not_in_lease'],
    ['F2 a longer id', { identifier: 'crm:customer/98210' }, 'resource_not_in_lease'],
    ['F2 the collection', { identifier: 'crm:customer' }, 'resource_not_in_lease'],
    ['F2 below it', { identifier: 'crm:customer/9821/*' }, 'resource_not_in_lease'],
    ['F2 a star within a segment', { identifier: 'crm:customer/98*' }, 'resource_not_in_lease'],
    ['F2 a star alone', { identifier: '*' }, 'resource_not_in_lease'],
    ['F2 another backend', { identifier: 'erp:customer/9821' }, 'resource_not_in_lease'],
    ['F2 another case', { identifier: 'crm:Customer/9821' }, 'resource_not_in_lease'],
    ['a lower ceiling', { sensitivity: 'internal' }, 'sensitivity_above_ceiling'],
    ['F5 an unknown constraint', { constraints: { only_on: 'monday' } }, 'constraint_not_enforceable'],
    ['F5 one beside a known', { constraints: { max_calls: 1, x: 1 } }, 'constraint_not_enforceable'],
    ['F5 a budget in words', { constraints: { max_calls: '20' } }, 'constraint_not_enforceable'],
    ['F5 a negative budget', { constraints: { max_calls: -1 } }, 'constraint_not_enforceable'],
    ['F5 half a call', { constraints: { max_calls: 0.5 } }, 'constraint_not_enforceable'],
    ['F5 no number', { constraints: { max_calls: null } }, 'constraint_not_enforceable'],
  ])('%s does not cover it', (_, grant, reason) => {
    const refusal = decide(evidenceOf({ lease: withGrants(grant) }), allowing)
    expect(refusal).toMatchObject({
      code: 'outside_lease',
      row: { status: 403, error: 'insufficient_scope', nextAction: 'request' },
      facts: {
        reasons: [reason],
        missing: [
          { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
        ],
      },
    })
  })

  test('a lease without a grant covers nothing', () => {
    expect(decided(evidenceOf({ lease: withGrants() }))).toBe('outside_lease')
  })

  test('grants are alternatives: no two of them add up', () => {
    const halves = withGrants({ actions: ['list'] }, { identifier: 'crm:customer/1' })
    expect(decided(evidenceOf({ lease: halves }))).toBe('outside_lease')
    expect(decided(evidenceOf({ lease: withGrants({ actions: ['list'] }, {}) }))).toBe('accepted')
  })

  describe('of several that cover the call charges it to', () => {
    const useless = [{ actions: ['list'] }, { constraints: { x: 1 } }]

    test.each<[string, Grant['constraints'][], number]>([
      ['one without limits', [{ max_calls: 2 }, { max_calls: 9 }, { max_risk: 'low' }], 2],
      ['the widest', [{ max_calls: 2 }, { max_calls: 9 }, { max_calls: 5 }], 1],
      ['the first of the same width', [{ max_calls: 9, max_risk: 'low' }, { max_calls: 9 }], 0],
      ['one with fewer limits', [{ max_calls: 9, max_rate: '1/1s' }, { max_calls: 9 }], 1],
      ['the first where neither contains the other', [{ max_calls: 9 }, { max_amount: '1' }], 0],
      ['the faster rate', [{ max_rate: '1/1m' }, { max_rate: '1/1s' }], 1],
    ])('%s', (_, constraints, at) => {
      const lease = withGrants(...useless, ...constraints.map((each) => ({ constraints: each })))
      const charged = coveringGrant(lease, authenticatedOf({ lease }).mapped)
      expect(charged).toBe(lease.grants[useless.length + at])
    })
  })

  describe('with max_amount', () => {
    const lease = withGrants({ actions: ['*'], constraints: { max_amount: '250.00' } })
    const put = (changes: Partial<Operation>) =>
      backendOf({ operations: [operationOf('PUT /customers/{id}', { verb: 'update', ...changes })] })
    const ask: Ask = { method: 'PUT' }
    const amount = { from: 'body', path: ['total'] } as const

    test.each<[string, Partial<Operation>, string]>([
      ['an operation that says how much it moves', { amount }, 'accepted'],
      ['a reading', { verb: 'read' }, 'accepted'],
      ['a listing', { verb: 'list' }, 'accepted'],
      ['a write that does not say how much it moves', {}, 'outside_lease'],
      ['a search by another name', { verb: 'search' }, 'outside_lease'],
    ])('%s: %s', (_, operation, code) => {
      const evidence = evidenceOf({ lease, ask, backend: put(operation) }, { amount: { value: 1n } })
      expect(decided(evidence)).toBe(code)
    })

    test('an amount that cannot be read is refused, where it is limited', () => {
      const unreadable = { amount: { problem: 'total of the body has to be there' } }
      const backend = put({ amount })
      expect(decide(evidenceOf({ lease, ask, backend }, unreadable), allowing)).toMatchObject({
        code: 'malformed_request',
        facts: { detail: unreadable.amount.problem, reasons: ['amount_unreadable'] },
      })
      expect(decided(evidenceOf({ ask, backend }, unreadable))).toBe('accepted')
    })
  })

  test.each([
    ['an encoded slash', '/crm/files/a%2Fb'],
    ['a star', '/crm/files/*'],
  ])('%s in an id never makes it a path below', (_, target) => {
    const operations = [operationOf('GET /files/{id}', { resource: 'file/{id}', allowEncodedSlash: true })]
    const ask: Ask = { target }
    const lease = withGrants({ identifier: 'crm:file/a/*' }, { identifier: 'crm:file/a/b' })
    expect(decided(evidenceOf({ ask, lease, backend: backendOf({ operations }) }))).toBe('outside_lease')
  })
})

test('the checks run in order, and a dead lease is refused before what it grants is looked at', () => {
  expect(checks.map((check) => check.name)).toEqual([
    'revocationViewIsFresh',
    'clockAgreesWithStore',
    'leaseIsNotRevoked',
    'leaseIsNotSuspended',
    'leaseHasNotExpired',
    'leaseIsBoundWhereRequired',
    'environmentMatches',
    'leaseIsForStatedTask',
    'grantCoversRequest',
    'amountIsReadable',
  ])
  const scene = { lease: withGrants(), backend: backendOf({ env: 'dev' }) }
  const late = now + 3_600
  expect(decided(evidenceOf(scene, { viewAgeMs: 9_999, revocation, now: late }))).toBe('evidence_unavailable')
  expect(decided(evidenceOf(scene, { revocation, now: late }))).toBe('lease_revoked')
  expect(decided(evidenceOf(scene, { now: late }))).toBe('lease_expired')
})

test('policy is not asked when a check has refused', () => {
  const asked = {
    digest: 'sha256:00',
    evaluate: () => {
      throw new Error('must not be asked')
    },
  }
  expect(codeOf(decide(evidenceOf({ lease: withGrants() }), asked))).toBe('outside_lease')
  expect(codeOf(decide(evidenceOf({}, { revocation }), asked))).toBe('lease_revoked')
})

test('policy cannot widen a lease', () => {
  const generous = policyOf({ effect: 'allow', reasons: ['whatever'] })
  expect(codeOf(decide(evidenceOf({ lease: withGrants({ actions: ['list'] }) }), generous))).toBe(
    'outside_lease',
  )
})
