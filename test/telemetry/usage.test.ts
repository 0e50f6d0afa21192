// Calls are added up per lease, and a store that is away gets them when it is back.
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Outcome, Trail } from '../../src/enforce/gate.ts'
import type { Mapped } from '../../src/enforce/stages.ts'
import type { LeaseUse, Store } from '../../src/ports.ts'
import { type Refusal, refuse } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { createUsageCounter, type UsageCounter } from '../../src/telemetry/usage.ts'
import { eventually } from '../stores/contract.ts'
import { lease } from '../stores/samples.ts'
import { leaseOf, operationOf } from './facts.ts'

const at = Date.UTC(2026, 2, 14, 14, 32, 1)
const denied = refuse('policy_denied', {})

interface Call {
  readonly id?: string
  readonly issuer?: string
  readonly verb?: string | Refusal
  readonly refusal?: Refusal
  readonly forwardedAt?: number
  readonly startedAt?: number
}

function trailOf(call: Call): Trail {
  const { id = 'lse_1', issuer = 'https://broker.example', verb = 'read', startedAt = at } = call
  const { refusal, forwardedAt } = call
  const rest = { params: {}, resource: 'crm:customer/9821', backendPath: '/customers/9821', query: {} }
  const mapped: Mapped | Refusal =
    typeof verb === 'string' ? { operation: operationOf({ verb }), ...rest } : verb
  return {
    decisionId: 'dec_1',
    startedAt,
    began: 0,
    mark: Number.NaN,
    action: undefined,
    waited: false,
    head: { method: 'GET', target: '/', httpVersion: '1.1', rawHeaders: [], peer: '10.1.2.3' },
    traceparent: undefined,
    request: undefined,
    routed: { backend: undefined, mapped } as Trail['routed'],
    lease: leaseOf({ id, issuer }),
    permit: undefined,
    policyDigest: undefined,
    consultation: undefined,
    forwardedAt,
    nonce: undefined,
    refusal,
  }
}

const outcome: Outcome = { status: 200, bytesIn: 10, bytesOut: 700, ended: 'completed' }

describe('the usage counter', () => {
  let dir: string
  let path: string
  let store: Store
  let counters: UsageCounter[]
  let errors: string[]
  const counter = (over: { flushMs?: number; maxLeases?: number } = {}) => {
    const onError = (error: Error) => errors.push(error.message)
    const made = createUsageCounter({ leases: store.leases, flushMs: 3_600_000, ...over, onError })
    counters.push(made)
    return made
  }

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'leasegate-usage-'))
    path = join(dir, 'leasegate.db')
    store = await openEmbedded({ path, maxStalenessMs: 2000 })
    for (const id of ['lse_1', 'lse_2', 'lse_3']) await store.leases.put(lease(id))
    counters = []
    errors = []
  })
  afterEach(async () => {
    for (const made of counters) await made.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })

  it('adds up calls, verbs, refusals, bytes and the last use, lease by lease', async () => {
    const counting = counter()
    counting.seen(trailOf({ startedAt: at + 500 }), outcome)
    counting.seen(trailOf({ verb: 'update' }), outcome)
    counting.seen(trailOf({ verb: 'update', refusal: denied }), { ...outcome, bytesOut: 300 })
    counting.seen(trailOf({ id: 'lse_2', verb: refuse('operation_unmapped', {}), refusal: denied }), outcome)
    await counting.close()
    expect(await store.leases.usage(lease('lse_1'))).toEqual({
      calls: 3,
      verbs: { read: 1, update: 2 },
      refusals: 1,
      bytesIn: 30,
      bytesOut: 1700,
      lastUsedAt: (at + 500) / 1000,
    })
    expect(await store.leases.usage(lease('lse_2'))).toMatchObject({ calls: 1, verbs: {}, refusals: 1 })
    expect(await store.leases.usage(lease('lse_3'))).toBeUndefined()
  })

  it('keeps the calls under two leases apart that have one id and two issuers', async () => {
    const counting = counter()
    counting.seen(trailOf({}), outcome)
    for (let n = 0; n < 3; n++) counting.seen(trailOf({ issuer: 'https://other.example' }), outcome)
    await counting.close()
    expect(await store.leases.usage(lease('lse_1'))).toMatchObject({ calls: 1 })
  })

  it('counts no refusal where the gate said yes and the backend failed', async () => {
    const counting = counter()
    counting.seen(trailOf({ refusal: refuse('backend_timeout', {}), forwardedAt: 1 }), outcome)
    await counting.close()
    expect(await store.leases.usage(lease('lse_1'))).toMatchObject({ calls: 1, refusals: 0 })
  })

  it('leaves out requests without a verified lease', async () => {
    const counting = counter()
    counting.seen({ ...trailOf({}), lease: undefined }, outcome)
    await counting.close()
    expect(await store.leases.usage(lease('lse_1'))).toBeUndefined()
  })

  it('reports by itself, again and again, and adds to what others reported', async () => {
    const [one, other] = [counter({ flushMs: 5 }), counter({ flushMs: 5 })]
    for (const counting of [one, other, one]) counting.seen(trailOf({}), outcome)
    const calls = async () => (await store.leases.usage(lease('lse_1')))?.calls
    await eventually(calls).toBe(3)
    one.seen(trailOf({}), outcome)
    await eventually(calls).toBe(4)
  })

  it('keeps what a store cannot take, says so once, and loses nothing when it is back', async () => {
    const counting = counter({ flushMs: 5 })
    renameSync(path, `${path}.away`)
    for (const id of ['lse_1', 'lse_2', 'lse_1']) counting.seen(trailOf({ id }), outcome)
    await eventually(() => errors).toHaveLength(1)
    for (const id of ['lse_1', 'lse_3'])
      counting.seen(trailOf({ id, verb: 'list', startedAt: at - 9 }), outcome)
    renameSync(`${path}.away`, path)
    const calls = async (id: string) => (await store.leases.usage(lease(id)))?.calls
    await eventually(() => calls('lse_1')).toBe(3)
    await eventually(() => calls('lse_3')).toBe(1)
    expect(await calls('lse_2')).toBe(1)
    expect(await store.leases.usage(lease('lse_1'))).toMatchObject({
      verbs: { read: 2, list: 1 },
      bytesIn: 30,
      lastUsedAt: at / 1000,
    })
    expect(errors).toEqual(['usage of leases waits: the state file was moved or deleted'])
  })

  it('keeps sums of so many leases only, goes on counting those it has, and says what it does', async () => {
    const counting = counter({ maxLeases: 2 })
    for (const id of ['lse_1', 'lse_2', 'lse_3', 'lse_3', 'lse_1']) counting.seen(trailOf({ id }), outcome)
    expect(errors).toEqual(['calls are not counted: too many leases wait for the state store'])
    await counting.close()
    const calls = await Promise.all(
      ['lse_1', 'lse_2', 'lse_3'].map(async (id) => (await store.leases.usage(lease(id)))?.calls),
    )
    expect(calls).toEqual([2, 1, undefined])
  })

  it('hands over many leases in steps, each once', async () => {
    const steps: LeaseUse[][] = []
    const addUsage = async (uses: readonly LeaseUse[]) => void steps.push([...uses])
    const counting = createUsageCounter({ leases: { addUsage }, flushMs: 3_600_000, onError: () => {} })
    for (let i = 0; i < 1234; i++) counting.seen(trailOf({ id: `lse_${i}` }), outcome)
    await counting.close()
    expect(Math.max(...steps.map(({ length }) => length))).toBeLessThanOrEqual(50)
    expect(new Set(steps.flat().map(({ id }) => id)).size).toBe(1234)
    expect(steps.flat()).toHaveLength(1234)
  })

  it('closes although the store is gone', async () => {
    const counting = counter()
    counting.seen(trailOf({}), outcome)
    await store.close()
    await expect(counting.close()).resolves.toBeUndefined()
    expect(errors).toHaveLength(1)
  })
})
