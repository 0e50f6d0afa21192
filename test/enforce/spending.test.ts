// What a call takes of its limits, what it is told when there is too little, and what comes back of a call that no
// backend has seen. On the real store.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type CommitSources, type Committed, commit } from '../../src/enforce/commit.ts'
import type { Permit } from '../../src/enforce/decide.ts'
import { LeftMemory } from '../../src/enforce/left.ts'
import type { CallerRates } from '../../src/enforce/limits.ts'
import type { Operation } from '../../src/enforce/operation.ts'
import { RecentCallCounter } from '../../src/enforce/recent.ts'
import type { Evidence } from '../../src/enforce/stages.ts'
import type { LeaseConstraints } from '../../src/lease/constraints.ts'
import type { Lease } from '../../src/lease/lease.ts'
import { parseRate } from '../../src/lease/rate.ts'
import type { Revocation, Store, Total } from '../../src/ports.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { backendOf, leaseOf, now, operationOf, permitOf } from '../support/evidence.ts'

let dir: string
let store: Store
let time: number
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-spending-'))
  time = now * 1_000
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => time })
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

function sources(changes: Partial<CommitSources> = {}): CommitSources {
  return {
    budgets: store.budgets,
    approvals: { use: async () => false },
    revocations: store.revocations,
    intents: { fault: () => undefined, intend: () => Promise.resolve() },
    rates: {},
    left: new LeftMemory(() => time),
    notGivenBack: (error) => {
      throw error
    },
    recent: new RecentCallCounter(),
    readsOnFault: 'refuse',
    deadlineMs: 1_000,
    ...changes,
  }
}

const leased = (constraints: LeaseConstraints, changes: Partial<Lease> = {}) =>
  leaseOf({ ...changes, grants: [{ ...leaseOf().grants[0]!, constraints: { ...constraints } }] })
const rate = (text: string) => parseRate(text)!

interface Call {
  readonly lease?: Lease
  readonly operation?: Partial<Operation>
  readonly amount?: bigint
  readonly body?: number
  readonly rates?: CallerRates
  readonly sources?: Partial<CommitSources>
}

function permitFor(
  { lease = leaseOf(), operation = {}, amount, body }: Call,
  more: Partial<Evidence> = {},
): Permit {
  const backend = backendOf({
    operations: [operationOf('PUT /customers/{id}', { verb: 'update', ...operation })],
  })
  const changes: Partial<Evidence> = {
    ...(amount !== undefined && { amount: { value: amount } }),
    ...(body !== undefined && { bodyBytes: new Uint8Array(body) }),
    ...more,
  }
  return permitOf({ ask: { method: 'PUT' }, lease, backend }, changes)
}

async function call(asked: Call): Promise<Committed | Refusal> {
  return commit(permitFor(asked), 'dec_1', sources({ rates: asked.rates ?? {}, ...asked.sources }))
}

async function passed(asked: Call): Promise<Committed> {
  const result = await call(asked)
  if (isRefusal(result)) throw new Error(`refused with ${result.code}: ${result.facts.detail}`)
  return result
}

async function codesOf(count: number, asked: () => Call): Promise<Record<string, number>> {
  const results = await Promise.all(Array.from({ length: count }, () => call(asked())))
  const codes: Record<string, number> = {}
  for (const result of results) {
    const code = isRefusal(result) ? result.code : 'passed'
    codes[code] = (codes[code] ?? 0) + 1
  }
  return codes
}

describe('of forty parallel calls', () => {
  const amount = { from: 'body', path: ['total'] } as const

  test.each<[string, () => Call, string]>([
    ['calls', () => ({ lease: leased({ max_calls: 20 }) }), 'budget_exhausted'],
    [
      'an amount',
      () => ({ lease: leased({ max_amount: '5.00' }), operation: { amount }, amount: 250_000n }),
      'budget_exhausted',
    ],
    ['a rate of the lease', () => ({ lease: leased({ max_rate: '20/1h' }) }), 'rate_limited'],
    ['a rate of leases', () => ({ rates: { lease: rate('20/1h') } }), 'rate_limited'],
    ['a rate of agents', () => ({ rates: { agent: rate('20/1h') } }), 'rate_limited'],
    ['a rate of users', () => ({ rates: { user: rate('20/1h') } }), 'rate_limited'],
    ['a rate of the operation', () => ({ operation: { rate: rate('20/1h') } }), 'rate_limited'],
  ])('%s lets exactly twenty through', async (_, asked, code) => {
    expect(await codesOf(40, asked)).toEqual({ passed: 20, [code]: 20 })
  })
})

describe('a counter', () => {
  const twice = async (first: Call, second: Call) => [
    isRefusal(await call(first)) ? 'refused' : 'passed',
    isRefusal(await call(second)) ? 'refused' : 'passed',
  ]
  const other = { id: 'lse_2', tokenId: 'ltk_2' }
  const one = rate('1/1h')

  test.each<[string, Call, Call, string]>([
    [
      'of an agent is one for its leases',
      { rates: { agent: one } },
      { lease: leaseOf(other), rates: { agent: one } },
      'refused',
    ],
    [
      'of a user is one for its leases',
      { rates: { user: one } },
      { lease: leaseOf(other), rates: { user: one } },
      'refused',
    ],
    [
      'of a lease is not that of another',
      { rates: { lease: one } },
      { lease: leaseOf(other), rates: { lease: one } },
      'passed',
    ],
    [
      'of a lease is that of what was handed on from it',
      { rates: { lease: one } },
      { lease: leaseOf({ ...other, ancestors: ['lse_1'] }), rates: { lease: one } },
      'refused',
    ],
    [
      'of an agent is not that of one of another issuer',
      { rates: { agent: one } },
      { lease: leaseOf({ ...other, issuer: 'https://other.example' }), rates: { agent: one } },
      'passed',
    ],
    [
      'of a rate of the lease is one for all its grants',
      { lease: leased({ max_rate: '1/1h' }) },
      { lease: leased({ max_rate: '1/1h burst 1' }, { tokenId: 'ltk_2' }) },
      'refused',
    ],
    [
      'of an operation is one for everybody',
      { operation: { rate: one } },
      { lease: leaseOf({ ...other, user: 'bob@example.com' }), operation: { rate: one } },
      'refused',
    ],
  ])('%s', async (_, first, second, then) => {
    expect(await twice(first, second)).toEqual(['passed', then])
  })
})

describe('too little', () => {
  test.each<[string, Call, Partial<Refusal['facts']>]>([
    [
      'of the calls',
      { lease: leased({ max_calls: 0 }) },
      {
        reasons: ['calls_exhausted'],
        retryAfter: 3_588,
        quota: { policy: '"calls";q=0', state: '"calls";r=0;t=3588' },
      },
    ],
    [
      'of the amount',
      {
        lease: leased({ max_amount: '2.50' }),
        operation: { amount: { from: 'body', path: ['total'] } },
        amount: 2_500_001n,
      },
      {
        reasons: ['amount_exhausted'],
        detail: '2.5 of 2.5 are left to the lease, and this call takes 2.500001',
        quota: {
          policy: '"amount";q=2500000;qu="millionths"',
          state: '"amount";r=2500000;t=3588',
        },
      },
    ],
    [
      'of the bytes',
      { lease: leased({ max_bytes: 10 }), body: 11 },
      {
        reasons: ['bytes_exhausted'],
        quota: { policy: '"bytes";q=10;qu="content-bytes"', state: '"bytes";r=10;t=3588' },
      },
    ],
    ['of no bytes at all', { lease: leased({ max_bytes: 0 }) }, { reasons: ['bytes_exhausted'] }],
  ])('%s is refused for good', async (_, asked, facts) => {
    expect(await call(asked)).toMatchObject({ code: 'budget_exhausted', row: { status: 429 }, facts })
  })

  test.each<[string, Call, string, string]>([
    ['a lease', { lease: leased({ max_rate: '1/1m' }) }, 'max_rate', '"max_rate";r=0;t=60'],
    ['leases', { rates: { lease: rate('1/1m') } }, 'rate_lease', '"lease";r=0;t=60'],
    ['agents', { rates: { agent: rate('1/1m') } }, 'rate_agent', '"agent";r=0;t=60'],
    ['users', { rates: { user: rate('1/1m') } }, 'rate_user', '"user";r=0;t=60'],
    ['the operation', { operation: { rate: rate('1/1m') } }, 'rate_operation', '"operation";r=0;t=60'],
  ])('of the rate of %s is refused until it refills', async (_, asked, reason, state) => {
    await passed(asked)
    expect(await call(asked)).toMatchObject({
      code: 'rate_limited',
      row: { status: 429, nextAction: 'retry' },
      facts: { reasons: [reason], retryAfter: 60, quota: { state } },
    })
    time += 60_000
    expect(isRefusal(await call(asked))).toBe(false)
  })

  test('of a total and of a rate is refused for the total, and nothing is spent', async () => {
    const asked: Call = { lease: leased({ max_calls: 0, max_rate: '1/1h' }) }
    expect(await call(asked)).toMatchObject({ code: 'budget_exhausted' })
    expect(await call({ lease: leased({ max_rate: '1/1h' }) })).not.toHaveProperty('code')
  })
})

describe('an answer', () => {
  test('says what is left of the limits of the lease, and nothing of what others share', async () => {
    const rates = { lease: rate('600/1m'), agent: rate('6000/1m'), user: rate('6000/1m') }
    const { quota } = await passed({
      lease: leased({ max_calls: 20 }),
      rates,
      operation: { rate: rate('9/1s') },
    })
    expect(quota).toEqual({
      policy: '"calls";q=20, "lease";q=600;w=60',
      state: '"calls";r=19;t=3588, "lease";r=599;t=1',
    })
  })

  test('says how many bytes are left, not how few are left beside those set aside for it', async () => {
    const { quota } = await passed({ lease: leased({ max_bytes: 5_000 }), body: 1_000 })
    expect(quota?.state).toBe('"bytes";r=4000;t=3588')
  })

  test('of a call without limits says nothing', async () => {
    expect((await passed({})).quota).toBeUndefined()
  })

  test('never holds a number that a structured field cannot', async () => {
    const lease = leased({ max_calls: Number.MAX_SAFE_INTEGER })
    expect((await passed({ lease })).quota?.policy).toBe('"calls";q=999999999999999')
  })
})

describe('bytes', () => {
  const left = async (lease: Lease, max: bigint) => {
    const key = `bytes\n${lease.issuer}\n${lease.id}`
    const total: Total = { kind: 'total', key, max, take: 0n, expiresAt: lease.maxExpiresAt }
    return (await store.budgets.look([total]))[0]?.left
  }

  test.each<[string, number, number, bigint]>([
    ['what is announced and a first part of the answer', 1_000_000, 1_000, 1_000_000n - 66_536n],
    ['all there is, where that is less', 30_000, 1_000, 0n],
    ['what is announced, where that is all there is', 1_000, 1_000, 0n],
  ])('are reserved: %s', async (_, max_bytes, body, expected) => {
    const lease = leased({ max_bytes })
    await passed({ lease, body })
    expect(await left(lease, BigInt(max_bytes))).toBe(expected)
  })

  test('that are left of a first part are enough for a second call', async () => {
    const lease = leased({ max_bytes: 70_000 })
    await passed({ lease })
    await passed({ lease })
    expect(await left(lease, 70_000n)).toBe(0n)
    expect(await call({ lease })).toMatchObject({ facts: { reasons: ['bytes_exhausted'] } })
  })
})

describe('what was spent', () => {
  const amount = { from: 'body', path: ['total'] } as const
  const asked = (): Call => ({
    lease: leased({ max_calls: 1, max_amount: '1', max_bytes: 65_536 }),
    operation: { amount },
    amount: 1_000_000n,
  })
  const settled = () => new Promise((resolve) => setImmediate(resolve))

  async function comesBack(): Promise<void> {
    const deadline = Date.now() + 10_000
    while (isRefusal(await call(asked()))) {
      if (Date.now() > deadline) throw new Error('nothing came back')
      await settled()
    }
  }

  test('comes back when the record of what it intends cannot be written', async () => {
    const intents = { fault: () => undefined, intend: () => Promise.reject(new Error('EIO')) }
    expect(await call({ ...asked(), sources: { intents } })).toMatchObject({ code: 'audit_unavailable' })
    await comesBack()
  })

  test('comes back when the approval has been used meanwhile', async () => {
    const approval = { id: 'act_1', kind: 'exact', approvedBy: ['carol'], version: 2 } as const
    const result = await commit(permitFor(asked(), { approval }), 'dec_1', sources())
    expect(result).toMatchObject({ code: 'approval_used' })
    await comesBack()
  })

  test('comes back when the lease is revoked meanwhile', async () => {
    const revoked: Revocation = {
      ...{ scope: 'lease', value: 'lse_1', cutoff: now, expiresAt: now + 60 },
      ...{ reason: 'stop', by: 'test', at: now },
    }
    const revocations = { ...store.revocations, find: () => revoked, suspension: () => undefined }
    expect(await call({ ...asked(), sources: { revocations } })).toMatchObject({ code: 'lease_revoked' })
    await comesBack()
  })

  test('comes back once when no backend has seen the call', async () => {
    const committed = await passed(asked())
    committed.giveBack()
    committed.giveBack()
    await comesBack()
    expect(await call(asked())).toMatchObject({ code: 'budget_exhausted' })
  })

  test('of a rate stays spent', async () => {
    const limited: Call = { rates: { lease: rate('1/1h') } }
    const committed = await passed(limited)
    committed.giveBack()
    await settled()
    expect(await call(limited)).toMatchObject({ code: 'rate_limited' })
  })

  test('stays spent, and is reported, when the store cannot take it back', async () => {
    const errors: unknown[] = []
    const gone = new Error('the store is gone')
    const budgets = { ...store.budgets, giveBack: () => Promise.reject(gone) }
    const changes = { budgets, notGivenBack: (error: unknown) => errors.push(error) }
    const lease = leased({ max_calls: 1 })
    const committed = await passed({ lease, sources: changes })
    committed.giveBack()
    await settled()
    expect(errors).toEqual([gone])
    expect(await call({ lease })).toMatchObject({ code: 'budget_exhausted' })
  })

  test('is not given back where the store did not say that it was taken', async () => {
    const given: unknown[] = []
    const budgets = {
      spend: () => Promise.reject(new Error('no answer')),
      giveBack: async (totals: readonly Total[]) => {
        given.push(totals)
      },
    }
    expect(await call({ ...asked(), sources: { budgets } })).toMatchObject({ code: 'evidence_unavailable' })
    expect(given).toEqual([])
  })
})
