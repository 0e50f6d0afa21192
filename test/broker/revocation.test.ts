// From what somebody asks to be revoked to the entry that kills exactly the right leases, in a real store.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeRevocation, type RevocationAsk, retentionSeconds } from '../../src/broker/revocation.ts'
import { type Lease, type RevocationScope, revocationScopes } from '../../src/lease/lease.ts'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { accepted, leaseOf, now } from '../support/evidence.ts'

const ask = (scope: RevocationScope, value: string, more: Partial<RevocationAsk> = {}): RevocationAsk => ({
  scope,
  value,
  reason: 'leaked prompt',
  by: 'cli:ann',
  ...more,
})

let dir: string
let store: Store
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-revocation-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => now * 1_000 })
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

const kills = async (asked: RevocationAsk, lease: Lease = leaseOf()) => {
  await store.revocations.revoke(accepted(makeRevocation(asked, now)))
  return store.revocations.find(lease.revocationKeys, lease.issuedAt) !== undefined
}

test('an entry says who, why, when and until when', () => {
  expect(makeRevocation(ask('user', 'alice@example.com'), now)).toEqual({
    scope: 'user',
    value: 'alice@example.com',
    cutoff: now,
    expiresAt: now + retentionSeconds,
    reason: 'leaked prompt',
    by: 'cli:ann',
    at: now,
  })
})

describe('a revocation kills the lease', () => {
  test.each([
    ['lease', 'lse_1'],
    ['agent', 'agent:support-triage'],
    ['agent', 'support-triage'],
    ['agent_version', 'agent:support-triage@3.2.1'],
    ['agent_version', 'support-triage@3.2.1'],
    ['user', 'alice@example.com'],
    ['task', 'jira:SUP-4711'],
    ['session', 'ses_1'],
  ] as const)('by %s %s', async (scope, value) => {
    expect(await kills(ask(scope, value))).toBe(true)
  })

  test('of the one issuer that is named', async () => {
    expect(await kills(ask('user', 'alice@example.com', { issuer: 'https://broker.example' }))).toBe(true)
  })
})

describe('a revocation spares the lease', () => {
  test.each([
    ['lease', 'lse_2'],
    ['agent', 'agent:support'],
    ['agent_version', 'support-triage@3.2.2'],
    ['user', 'alice'],
    ['task', 'SUP-4711'],
    ['task', 'gh:SUP-4711'],
    ['session', 'ses_11'],
  ] as const)('by %s %s', async (scope, value) => {
    expect(await kills(ask(scope, value))).toBe(false)
  })

  test('of another issuer', async () => {
    expect(await kills(ask('user', 'alice@example.com', { issuer: 'https://other.example' }))).toBe(false)
  })

  test('that was granted afterwards, unless it is revoked itself', async () => {
    const later = leaseOf({ issuedAt: now + 1 })
    expect(await kills(ask('user', 'alice@example.com'), later)).toBe(false)
    expect(await kills(ask('lease', 'lse_1'), later)).toBe(true)
  })
})

test.each(['support-triage', 'agent:support-triage'])(
  'an agent that its issuer calls %s dies by either name',
  async (id) => {
    const lease = leaseOf({ agent: { ...leaseOf().agent, id } })
    for (const name of ['support-triage', 'agent:support-triage']) {
      expect(await kills(ask('agent', name), lease)).toBe(true)
      expect(await kills(ask('agent_version', `${name}@3.2.1`), lease)).toBe(true)
    }
  },
)

test('a bare task belongs to the system `task`', async () => {
  const lease = leaseOf({ task: { system: 'task', id: 'SUP-4711', purpose: 'p' } })
  expect(await kills(ask('task', 'SUP-4711'), lease)).toBe(true)
})

test('every scope can be asked for', () => {
  for (const scope of revocationScopes) {
    const value = scope === 'lease' ? 'lse_1' : 'x:y@1'
    expect(accepted(makeRevocation(ask(scope, value), now)).scope).toBe(scope)
  }
})

describe('what could match no lease is refused', () => {
  test.each([
    ['lease', '01K9'],
    ['lease', ' lse_1 '],
    ['task', 'jira:cafe\u0301'],
    ['user', 'alice\u200b@example.com'],
    ['agent', 'support-triage@3.2.1'],
    ['agent_version', 'support-triage'],
    ['agent_version', 'support-triage@'],
  ] as const)('%s %s', (scope, value) => {
    expect(makeRevocation(ask(scope, value), now)).toMatchObject({ code: 'malformed_request' })
  })
})
