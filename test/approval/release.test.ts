// The life of a released draft, and the lease that it stands on.
import { describe, expect, test } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import { claimed, concluded, dueStep, failed, silentSeconds } from '../../src/approval/release.ts'
import { ownKeys, type StandingFacts, standingLease } from '../../src/approval/release_lease.ts'
import { type Lease, revocationKeys } from '../../src/lease/lease.ts'
import type { LeaseRecord, Revocation } from '../../src/ports.ts'
import { isRefusal } from '../../src/refusals.ts'
import { leaseOf } from '../support/evidence.ts'

const draft = { kind: 'draft', state: 'approved', expiresAt: 1000, decisionId: 'dec_1' } as Action

describe('what is due for', () => {
  test.each<[string, Partial<Action>, number, ReturnType<typeof dueStep>]>([
    ['a draft that was released', {}, 999, 'execute'],
    ['one whose time is over', {}, 1000, 'expire'],
    ['one whose end is no number', { expiresAt: Number.NaN }, 1, 'expire'],
    ['one that nobody has released', { state: 'pending' }, 1, undefined],
    ['one that a gate executes', { state: 'executing', aliveAt: 900 }, 900 + silentSeconds - 1, undefined],
    ['one that a gate has left', { state: 'executing', aliveAt: 900 }, 900 + silentSeconds, 'interrupt'],
    ['one of which no gate has ever said anything', { state: 'executing' }, 900, 'interrupt'],
    ['one that is over', { state: 'executed' }, 1, undefined],
    ['a call that is held, and approved', { kind: 'hold' }, 1, undefined],
  ])('%s', (_, facts, now, step) => {
    expect(dueStep({ ...draft, ...facts }, now)).toBe(step)
  })
})

test('an answer of the backend is an execution, whatever it says; none is a failure', () => {
  const came = { decisionId: 'dec_2', code: undefined, bytes: 3, kept: true }
  const claim = claimed(draft, 10)
  expect(claim).toMatchObject({ state: 'executing', aliveAt: 10 })
  const executed = concluded(claim, { ...came, status: 500 }, 11)
  expect(executed).toMatchObject({ state: 'executed', outcome: { status: 500, at: 11 } })
  expect(executed).not.toHaveProperty('aliveAt')
  expect(concluded(claim, { ...came, status: undefined, kept: false }, 11).state).toBe('failed')
  expect(failed(claim, 'interrupted', 12)).toMatchObject({
    state: 'failed',
    outcome: { code: 'interrupted', decisionId: 'dec_1', kept: false, at: 12 },
  })
})

describe('the lease of a draft', () => {
  const made = leaseOf({ expiresAt: 300, maxExpiresAt: 3600 })
  const lease: Lease = { ...made, revocationKeys: revocationKeys(made) }
  const record = (state: LeaseRecord['state'], changedAt?: number) =>
    ({
      id: lease.id,
      issuer: lease.issuer,
      state,
      ...(changedAt !== undefined && { changed: { at: changedAt, by: 'agent:a', reason: 'done' } }),
    }) as LeaseRecord
  const completion = { by: 'agent:a', reason: 'done' } as Revocation
  const standing = (facts: Partial<StandingFacts>) => {
    const usual = {
      lease,
      afterLease: 0,
      record: undefined,
      ended: undefined,
      issuers: [lease.issuer],
      now: 100,
    }
    const found = standingLease({ ...usual, ...facts })
    return isRefusal(found) ? found.code : found.lease.expiresAt
  }

  test.each<[string, Partial<StandingFacts>, ReturnType<typeof standing>]>([
    ['ends with the lease and not with its token', { now: 3599 }, 3600],
    ['has ended with it', { now: 3600 }, 'lease_expired'],
    [
      'has ended when its end is no number',
      { lease: { ...lease, maxExpiresAt: Number.NaN } },
      'lease_expired',
    ],
    ['is not taken when its issuer is gone from the configuration', { issuers: [] }, 'lease_invalid'],
    ['goes on after its end as policy states', { afterLease: 60, record: record('active'), now: 3659 }, 3660],
    ['and no longer', { afterLease: 60, record: record('active'), now: 3660 }, 'lease_expired'],
    [
      'is not taken when its record is revoked, whatever the view says',
      { record: record('revoked', 50) },
      'lease_revoked',
    ],
    ['does not where the store has none', { afterLease: 60, now: 3650 }, 'lease_expired'],
    [
      'does not where the store has one of that name of another issuer',
      { afterLease: 60, record: { ...record('active'), issuer: 'https://other.example' }, now: 3650 },
      'lease_expired',
    ],
    [
      'does not where it was revoked',
      { afterLease: 60, record: record('revoked', 50), now: 3650 },
      'lease_revoked',
    ],
    [
      'does not where it is suspended',
      { afterLease: 60, record: record('suspended', 50), now: 3650 },
      'lease_revoked',
    ],
    ['has ended when its agent completed it', { record: record('completed', 90) }, 'lease_expired'],
    [
      'goes on after its completion as policy states',
      { afterLease: 60, record: record('completed', 90), ended: completion },
      150,
    ],
    [
      'and no longer than that',
      { afterLease: 60, record: record('completed', 90), ended: completion, now: 150 },
      'lease_expired',
    ],
    [
      'does not where somebody else has ended it as well',
      { afterLease: 60, record: record('completed', 90), ended: { ...completion, by: 'operator' } },
      'lease_revoked',
    ],
    [
      'does not where a revocation stands beside a record that knows of none',
      { afterLease: 60, record: record('active'), ended: completion, now: 3650 },
      'lease_revoked',
    ],
  ])('%s', (_, facts, expected) => {
    expect(standing(facts)).toBe(expected)
  })

  test('that was completed can still be revoked with all that it is of', () => {
    const found = standingLease({
      lease,
      afterLease: 60,
      record: record('completed', 90),
      ended: completion,
      issuers: [lease.issuer],
      now: 100,
    })
    if (isRefusal(found)) throw new Error(found.code)
    const own = ownKeys(lease)
    expect([...lease.revocationKeys].filter((key) => !found.lease.revocationKeys.includes(key))).toEqual(own)
    expect(found.lease.revocationKeys.length).toBeGreaterThan(4)
  })
})
