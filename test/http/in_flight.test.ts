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
let offset: number
let inFlight: InFlight

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-in-flight-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => clockMs })
  clockMs = now * 1000
  offset = 0
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  inFlight = new InFlight({
    revocations: store.revocations,
    maxStalenessMs: 2_000,
    clock: () => clockMs,
    clockOffset: () => offset,
  })
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

test.each([
  ['ahead of', 90],
  ['behind', -90],
  ['an unknown time from', Number.NaN],
])('a clock that is %s the store’s ends everything: nobody knows what has expired', async (_, seconds) => {
  const { ends } = open(lease())
  offset = seconds
  vi.advanceTimersByTime(1_000)
  expect(ends).toEqual(['stale_midway'])
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

describe('an exchange that has been open for a while', () => {
  /** Two sweeps. */
  const settle = () => vi.advanceTimersByTime(1_000)

  test('is ended by each key of its lease, and the others stay', async () => {
    const own = open(lease())
    const same = open(lease())
    const other = open(lease({ id: 'lse_2', user: 'bob@example.com' }))
    settle()
    expect(inFlight.size).toBe(3)
    await store.revocations.revoke(entry({}))
    expect([own.ends, same.ends, other.ends]).toEqual([['revoked_midway'], ['revoked_midway'], []])
    await store.revocations.revoke(entry({ scope: 'user', value: 'bob@example.com', cutoff: now - 6 }))
    expect([other.ends, inFlight.size]).toEqual([[], 1])
    await store.revocations.revoke(entry({ scope: 'user', value: 'bob@example.com' }))
    expect([other.ends, inFlight.size]).toEqual([['revoked_midway'], 0])
  })

  test('is ended by a suspension of what its lease was handed on from, and not by its lifting', async () => {
    const child = open(lease({ id: 'lse_child', ancestors: ['lse_1'] }))
    settle()
    const suspension = { lease: 'lse_1', expiresAt: now + 3_600, reason: 'test', by: 'test', at: now }
    await store.revocations.suspend({ ...suspension, suspended: false, version: 1 })
    expect(child.ends).toEqual([])
    await store.revocations.suspend({ ...suspension, suspended: true, version: 2 })
    expect(child.ends).toEqual(['revoked_midway'])
  })

  test('is ended by expiry', async () => {
    const short = open(lease({ expiresAt: now + 10 }))
    settle()
    await at(now + 15)
    vi.advanceTimersByTime(1_000)
    expect(short.ends).toEqual(['expired_midway'])
  })

  test('is forgotten when it is over', async () => {
    const { open: over, ends } = open(lease())
    settle()
    inFlight.delete(over)
    inFlight.delete(over)
    await store.revocations.revoke(entry({}))
    expect([ends, inFlight.size]).toEqual([[], 0])
  })
})

describe('a view that has grown too old', () => {
  test('ends all, young and old, at a quarter of its bound after it at the latest', () => {
    const old = open(lease())
    vi.advanceTimersByTime(1_000)
    const young = open(lease({ id: 'lse_2' }))
    clockMs = now * 1000 + 60_000
    vi.advanceTimersByTime(500)
    expect([old.ends, young.ends]).toEqual([['stale_midway'], ['stale_midway']])
    expect(inFlight.size).toBe(0)
  })

  test('ends none while it is young enough', async () => {
    const { ends } = open(lease())
    await at(now + 60)
    clockMs += 900
    vi.advanceTimersByTime(500)
    expect(ends).toEqual([])
  })
})

test('more than a slice are ended, all of them', async () => {
  const all = Array.from({ length: 2_500 }, () => open(lease()))
  await store.revocations.revoke(entry({ scope: 'agent', value: 'agent:triage' }))
  await eventually(() => all.every(({ ends }) => ends.length === 1), 'all ends')
  expect(inFlight.size).toBe(0)
})

describe('an exchange that is about to begin', () => {
  const suspension = { lease: 'lse_1', suspended: true, version: 1, expiresAt: now + 3_600 }
  const late: readonly (readonly [string, () => Promise<void>, string | undefined])[] = [
    ['after a revocation of its lease', () => store.revocations.revoke(entry({})), 'lease_revoked'],
    [
      'after a suspension',
      () => store.revocations.suspend({ ...suspension, reason: 'test', by: 'test', at: now }),
      'lease_revoked',
    ],
    ['after a revocation of another', () => store.revocations.revoke(entry({ value: 'lse_2' })), undefined],
    ['after nothing', () => Promise.resolve(), undefined],
  ]
  test.each(late)('%s', async (_, change, code) => {
    const { changes } = inFlight
    await change()
    expect(inFlight.refusalSince(changes, lease())?.code).toBe(code)
  })
})
