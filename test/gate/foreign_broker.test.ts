// Two processes that share nothing but HTTP: a broker with its store, and a gate elsewhere that accepts the broker's
// tokens by its JWKS and its status lists. What ends a lease at the broker ends it at the gate.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeRevocation } from '../../src/broker/revocation.ts'
import { createStatusContents, createStatusPlaces } from '../../src/broker/status_list.ts'
import { statusListEndpoints } from '../../src/http/status_lists.ts'
import { startTestBroker, type TestBroker } from '../support/endpoints.ts'
import { accepted } from '../support/evidence.ts'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'

const ttlSeconds = 1
const closers: (() => unknown)[] = []
let broker: TestBroker
let gate: TestGate

beforeAll(async () => {
  broker = await startTestBroker(({ store, issuer, sign, clock }) => {
    const contents = createStatusContents({ store, maxStalenessMs: 2_000, ttlSeconds })
    closers.push(() => contents.close())
    return statusListEndpoints({ contents, issuer, sign, ttlSeconds, clock })
  })
  closers.push(() => broker.close())
  const { url } = broker
  const issuer = { issuer: url, jwks: { url: `${url}/jwks` }, status_lists: [`${url}/statuslists`] }
  gate = await startTestGate({ config: { issuers: [issuer] } })
  closers.push(() => gate.close())
})
afterAll(async () => {
  for (const close of closers.reverse()) await close()
})

async function issue() {
  const now = Date.now() / 1000
  const { statusFor } = createStatusPlaces({ replay: broker.store.replay, issuer: broker.issuer })
  const notAfter = Math.floor(now) + 3600
  return broker.issue({ status: await statusFor(now, notAfter), notAfter })
}

/** Waits until the gate's answer is `wanted`. Not too fast: policy refuses an agent that calls too often. */
async function becomes(token: string, wanted: string) {
  await eventually(async () => {
    await sleep(300)
    return (await use(token)) === wanted
  }, wanted)
}

async function use(token: string) {
  const { status, body } = await gate.ask(message({ token }))
  return status === 200 ? 'ok' : `${status} ${(JSON.parse(body.toString()) as { code: string }).code}`
}

test('VALID, then INVALID: a lease that is revoked at the broker is over at the gate (D19)', async () => {
  const [lease, other] = [await issue(), await issue()]
  expect([await use(lease.token), await use(other.token)]).toEqual(['ok', 'ok'])
  const now = Math.floor(Date.now() / 1000)
  const ask = { scope: 'lease', value: lease.record.id, reason: 'leaked', by: 'op' } as const
  await broker.store.revocations.revoke(accepted(makeRevocation(ask, now)))
  await becomes(lease.token, '401 lease_revoked')
  expect(await use(other.token)).toBe('ok')
})

test('SUSPENDED, then VALID again', async () => {
  const { token, record } = await issue()
  const from = ['active', 'suspended'] as const
  const change = { from, at: 1, by: 'op', reason: 'r' }
  await broker.store.leases.transition(record.id, { ...change, to: 'suspended' })
  await becomes(token, '401 lease_revoked')
  await broker.store.leases.transition(record.id, { ...change, to: 'active' })
  await becomes(token, 'ok')
})
