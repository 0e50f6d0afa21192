// Which read shows what stands there before a write, and the lease that it is made under.
import { describe, expect, test } from 'vitest'
import type { HeldCall } from '../../src/approval/actions.ts'
import { beforeRead, consoleLease, consoleProfile } from '../../src/approval/before.ts'
import type { Backend } from '../../src/enforce/operation.ts'
import { createRouter } from '../../src/enforce/route.ts'
import { isRefusal } from '../../src/refusals.ts'
import { backendOf, leaseOf, operationOf, rules } from '../support/evidence.ts'

const operations = [
  operationOf('GET /customers/{id}'),
  operationOf('GET /customers/me'),
  operationOf('PATCH /customers/{id}', { verb: 'update', before: 'GET /customers/{id}' }),
  operationOf('PUT /customers/{id}/notes/{note}', { verb: 'update', before: 'GET /customers/{id}' }),
  operationOf('POST /customers/{id}/rename', { verb: 'update', before: 'GET /customers/{other}' }),
  operationOf('DELETE /customers/{id}', { verb: 'delete' }),
]

function readOf(method: string, target: string, backend: Backend = backendOf({ operations })) {
  const [authority = ''] = rules.authorities
  const call: HeldCall = {
    method,
    target,
    authority,
    headers: ['content-type', 'application/json', 'if-match', '"1"'],
    body: Buffer.from('{}'),
    peer: '10.0.0.1',
    provenance: 'untrusted',
    lease: leaseOf(),
  }
  const read = beforeRead(call, { rules, router: createRouter([backend]) })
  return isRefusal(read) ? read.code : read
}

describe('the read of a write', () => {
  test.each([
    ['of the same path', 'PATCH', '/crm/customers/9821', '/crm/customers/9821'],
    ['has nothing of the query', 'PATCH', '/crm/customers/9821?dry=1', '/crm/customers/9821'],
    ['keeps what is encoded as it was sent', 'PATCH', '/crm/customers/a%20b', '/crm/customers/a%20b'],
    ['of a longer path', 'PUT', '/crm/customers/9821/notes/4', '/crm/customers/9821'],
  ])('%s', (_, method, target, path) => {
    expect(readOf(method, target)).toMatchObject({
      call: { method: 'GET', target: path, headers: [], body: new Uint8Array(), provenance: 'trusted' },
      operation: { match: 'GET /customers/{id}' },
    })
  })

  test.each([
    ['the operation names none', 'DELETE', '/crm/customers/9821'],
    ['what it names is not mapped', 'POST', '/crm/customers/9821/rename'],
    ['the write is not mapped any more', 'PATCH', '/crm/orders/1'],
    ['the path would lead to another read', 'PUT', '/crm/customers/me/notes/4'],
  ])('is none where %s', (_, method, target) => {
    expect(readOf(method, target)).toBe('operation_unmapped')
  })

  test('is for the person that looks, for this resource alone, and for half a minute', () => {
    const read = readOf('PATCH', '/crm/customers/9821')
    if (typeof read === 'string') throw new Error(read)
    const asked = {
      user: 'carol@example.com',
      session: 'ses_9',
      action: 'act_1',
      audience: 'https://gate.example',
    }
    const lease = consoleLease(asked, read, { id: 'lse_9', tokenId: 'ltk_9', now: 100 })
    expect(lease).toMatchObject({
      user: 'carol@example.com',
      stage: 'observe',
      agent: { id: 'agent:leasegate-console', profile: consoleProfile },
      task: { id: 'act_1' },
      expiresAt: 130,
      grants: [{ actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' }],
    })
    expect(lease.revocationKeys).toContain('user\ncarol@example.com')
  })
})
