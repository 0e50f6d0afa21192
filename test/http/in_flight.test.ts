// Exchanges under way and what ends them, with revocations from a real store.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { InFlight } from '../../src/http/in_flight.ts'
import { type Lease, revocationKeys } from '../../src/lease/lease.ts'
import type { Revocation, Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { eventually } from '../support/gate.ts'

const now = 1_795_300_000
let dir: string
let store: Store
let clockMs: number
let inFlight: InFlight

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-in-flight-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => clockMs })
  clockMs = now * 1000
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  inFlight = new InFlight(store.revocations, () => clockMs, 2_000)
})
afterEach(async () => {
  inFlight.close()
  vi.useRealTimers()
  await store.close()
  rmSync(dir, { recursive: true })
})

function lease(overrides: Partial<Lease> = {}): Lease {
  const terms: Omit<Lease, 'revocationKeys'> = {
    id: 'lse_1',
    issuer: 'https://broker.example',
    tokenId: 'ltk_1',
    user: 'alice@example.com',
    agent: {
      id: 'agent:triage',
      version: '1.0',
      env: 'prod',
      instance: '',
      profile: 'support',
      profileVersion: '9',
    },
    clientId: 'triage',
    audience: 'https://gate.example',
    task: { system: 'jira', id: 'SUP-1', purpose: 'p' },
    stage: 'observe',
    session: 'ses_1',
    grants: [],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: now,
    notBefore: now,
    expiresAt: now + 300,
    maxExpiresAt: now + 3600,
    clockTolerance: 5,
    ...overrides,
  }
  return { ...terms, revocationKeys: revocationKeys(terms) }
}

/** An exchange that is under way with `lease`, and how it was ended. */
function open(of: Lease) {
  const ends: string[] = []
  const opened = inFlight.add(
    {
      end(ended) {
        ends.push(ended)
        inFlight.delete(opened)
      },
    },
    of,
  )
  return { open: opened, ends }
}

function entry(overrides: Partial<Revocation>): Revocation {
  const when = { cutoff: now, expiresAt: now + 86_400, at: now }
  return { scope: 'lease', value: 'lse_1', ...when, reason: 'test', by: 'test', ...overrides }
}

describe('a revocation ends', () => {
  const hits: readonly (readonly [string, Partial<Revocation>])[] = [
    ['its lease', {}],
    ['a lease of its agent', { scope: 'agent', value: 'agent:triage' }],
    ['a lease of its agent version', { scope: 'agent_version', value: 'agent:triage@1.0' }],
    ['a lease of its user', { scope: 'user', value: 'alice@example.com' }],
    ['a lease of its task', { scope: 'task', value: 'jira:SUP-1' }],
    ['a lease of its session', { scope: 'session', value: 'ses_1' }],
    ['a lease of its issuer', { issuer: 'https://broker.example' }],
    ['a lease that another clock may have issued before', { cutoff: now - 5 }],
  ]
  test.each(hits)('%s', async (_, revocation) => {
    const { ends } = open(lease())
    await store.revocations.revoke(entry(revocation))
    expect(ends).toEqual(['revoked_midway'])
  })

  const misses: readonly (readonly [string, Partial<Revocation>])[] = [
    ['another lease', { value: 'lse_2' }],
    ['another scope with the same value', { scope: 'session', value: 'lse_1' }],
    ['another version', { scope: 'agent_version', value: 'agent:triage@2.0' }],
    ['a lease of another issuer', { issuer: 'https://other.example' }],
    ['a lease issued after its cutoff', { cutoff: now - 6 }],
  ]
  test.each(misses)('not %s', async (_, revocation) => {
    const { ends } = open(lease())
    await store.revocations.revoke(entry(revocation))
    expect(ends).toEqual([])
  })

  test('nothing that is over, and nothing once closed', async () => {
    const { open: over, ends } = open(lease())
    const late = open(lease({ id: 'lse_late' }))
    inFlight.delete(over)
    await store.revocations.revoke(entry({}))
    inFlight.close()
    await store.revocations.revoke(entry({ value: 'lse_late' }))
    expect([ends, late.ends]).toEqual([[], []])
  })
})

/** Sets the clock, and waits until the view has been proven complete by it. */
async function at(seconds: number): Promise<void> {
  clockMs = seconds * 1000
  await eventually(() => store.revocations.ageMs(clockMs) < 1_000, 'a fresh view')
}

test('expiry ends what is open, after the tolerance for clocks and not before it', async () => {
  const short = open(lease({ expiresAt: now + 10 }))
  const long = open(lease())
  await at(now + 14.9)
  vi.advanceTimersByTime(1_000)
  expect([short.ends, long.ends]).toEqual([[], []])
  await at(now + 15)
  vi.advanceTimersByTime(1_000)
  expect([short.ends, long.ends]).toEqual([['expired_midway'], []])
})

test('a suspension ends what is open under its lease and under those handed on from it', async () => {
  const own = open(lease())
  const child = open(lease({ id: 'lse_child', ancestors: ['lse_1'] }))
  const other = open(lease({ id: 'lse_2' }))
  const suspension = { lease: 'lse_1', suspended: true, version: 1, expiresAt: now + 3_600 }
  await store.revocations.suspend({ ...suspension, reason: 'test', by: 'test', at: now })
  expect([own.ends, child.ends, other.ends]).toEqual([['revoked_midway'], ['revoked_midway'], []])
})

test('size is the number of exchanges under way', () => {
  const first = open(lease())
  open(lease())
  expect(inFlight.size).toBe(2)
  inFlight.delete(first.open)
  inFlight.delete(first.open)
  expect(inFlight.size).toBe(1)
})
