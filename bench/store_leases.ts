// In: both stores. Out: how many leases a second are put and renewed, each durable before it resolves, alone and
// many at once; how many single-use ids a second pass, and what each of them costs the event loop.

import type { LeaseRecord, Store } from '../src/ports.ts'
import { onBothStores } from './both_stores.ts'
import { percentiles, printTable, round, writeResult } from './numbers.ts'

interface Rate {
  readonly what: string
  /** Calls under way at once. */
  readonly at_once: number
  readonly per_second: number
  /** CPU time of this process per call, kernel included; Redis has its own beside it. */
  readonly cpu_us: number
  readonly p50_ms: number
  readonly p99_ms: number
}

/** `count` calls of each sort, on both stores. */
export async function measureStoreLeases(count: number): Promise<object> {
  const result = await onBothStores((store) => rates(store, count))
  printTable(
    ['state of leases', 'at once', 'per second', 'CPU µs', 'p50 ms', 'p99 ms'],
    Object.entries(result).flatMap(([store, all]) =>
      all.map(({ what, at_once, per_second, cpu_us, p50_ms, p99_ms }) => [
        `${store}: ${what}`,
        ...[at_once, per_second, cpu_us, p50_ms, p99_ms],
      ]),
    ),
  )
  return result
}

async function rates(store: Store, count: number): Promise<Rate[]> {
  try {
    const all: Rate[] = []
    for (const atOnce of [1, 32]) {
      const id = (n: number) => `lse_${atOnce}_${n}`
      const issuedAt = Math.floor(Date.now() / 1000)
      const token = { issuedAt, expiresAt: issuedAt + 600 }
      all.push(await rate('put', atOnce, count, (n) => store.leases.put(leaseRecord(id(n)))))
      all.push(await rate('renew', atOnce, count, (n) => store.leases.renew(id(n), token)))
      all.push(await rate('used id', atOnce, 4 * count, (n) => used(store, id(n))))
    }
    return all
  } finally {
    await store.close()
  }
}

async function used(store: Store, id: string): Promise<void> {
  const now = Date.now() / 1000
  if (!(await store.replay.use(id, now + 65, now))) throw new Error('a fresh id was refused')
}

async function rate(
  what: string,
  atOnce: number,
  count: number,
  call: (n: number) => Promise<unknown>,
): Promise<Rate> {
  const took = new Float64Array(count)
  let next = 0
  const worker = async () => {
    while (next < count) {
      const n = next++
      const began = performance.now()
      await call(n)
      took[n] = performance.now() - began
    }
  }
  const [began, before] = [performance.now(), process.cpuUsage()]
  await Promise.all(Array.from({ length: atOnce }, worker))
  const { user, system } = process.cpuUsage(before)
  const seconds = (performance.now() - began) / 1000
  const { p50, p99 } = percentiles(took)
  const cpu_us = round((user + system) / count)
  return { what, at_once: atOnce, per_second: round(count / seconds), cpu_us, p50_ms: p50, p99_ms: p99 }
}

/** One as the broker makes it, about a kilobyte of JSON. */
function leaseRecord(id: string): LeaseRecord {
  const issuedAt = Math.floor(Date.now() / 1000)
  return {
    id,
    issuer: 'https://broker.bench',
    tenant: 'acme',
    user: 'alice@example.com',
    login: { issuer: 'https://idp.bench', subject: 'alice' },
    agent: 'agent:support-triage',
    agentVersion: '3.2.1',
    agentEnv: 'prod',
    clientId: 'support-triage',
    profile: 'support',
    profileVersion: '9',
    task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the customer’s billing question' },
    session: `ses_${id}`,
    stage: 'observe',
    audience: 'https://gate.bench',
    details: ['customer/9821', 'customer/9821/*', 'invoice/77'].map((resource) => ({
      type: 'lease',
      actions: ['read', 'list'],
      identifier: `crm:${resource}`,
      sensitivity: 'confidential',
      constraints: { max_calls: 20 },
    })),
    binding: { method: 'dpop', thumbprint: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' },
    ancestors: [],
    delegatedBy: [],
    issuedAt,
    expiresAt: issuedAt + 300,
    maxExpiresAt: issuedAt + 3600,
    renewals: 0,
    state: 'active',
    version: 0,
    decision: { id: 'dec_1', reasons: ['profile_allows'], policyDigest: `sha256:${'0'.repeat(64)}` },
  }
}

if (import.meta.main) writeResult('store_leases', await measureStoreLeases(5_000))
