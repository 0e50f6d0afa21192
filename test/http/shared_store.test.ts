// A whole gate on Redis: strict reading, a revocation that too few have, and what `/readyz` says of the server.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyOf } from '../../src/stores/entry.ts'
import { revokeArguments } from '../../src/stores/revocation_scripts.ts'
import { revocation } from '../stores/samples.ts'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { adminOf } from '../support/redis_topologies.ts'

let redis: TestRedis
let gate: TestGate
beforeAll(async () => {
  redis = await startRedis()
  gate = await startTestGate({
    config: {
      state: {
        store: 'redis',
        redis: {
          url: redis.url,
          prefix: 'gate:',
          strict: true,
          acknowledge: { replicas: 1, timeout: '50ms' },
        },
      },
    },
  })
})
afterAll(async () => {
  redis.thaw()
  await gate.close()
  await redis.stop()
})

test('strict: what another process writes into Redis alone is refused with the very next request', async () => {
  const token = gate.token({}, { id: 'lse_strict' })
  expect((await gate.ask(message({ token }))).status).toBe(200)
  const admin = adminOf(redis)
  const entry = revocation('lse_strict')
  // The hash, not the stream: no feed hears of it.
  await admin.hset('gate:{leasegate}:revocations', keyOf(entry), revokeArguments(entry).join(' '))
  admin.disconnect()
  const refused = await gate.ask(message({ token }))
  expect([refused.status, JSON.parse(refused.body.toString())]).toMatchObject([
    401,
    { code: 'lease_revoked' },
  ])
})

test('a revocation that too few replicas have says so, and is in effect', async () => {
  const token = gate.token({}, { id: 'lse_short' })
  const answer = await gate.revoke({ lease: 'lse_short', reason: 'leaked', by: 'kim' })
  expect([answer.status, await answer.json()]).toMatchObject([
    503,
    { code: 'evidence_unavailable', detail: 'written, but 0 of 1 replicas have it: send it again' },
  ])
  expect((await gate.ask(message({ token }))).status).toBe(401)
})

test('a server that does not answer: 503, not ready, and both say why', async () => {
  const token = gate.token()
  redis.freeze()
  const refused = await gate.ask(message({ token }))
  expect([refused.status, JSON.parse(refused.body.toString())]).toMatchObject([
    503,
    { code: 'evidence_unavailable' },
  ])
  const row = async () => (await gate.readiness()).checks.find(({ name }) => name === 'revocations')
  await eventually(async () => (await row())?.ready === false, 'a gate that is not ready')
  expect((await row())?.detail).toMatch(/; Redis: (?:timed out|connection lost)$/)
  expect(await gate.metrics()).toMatch(/^leasegate_store_up 0$/m)
  redis.thaw()
  await eventually(async () => (await gate.readiness()).status === 200, 'a gate that is ready again')
  expect(await gate.metrics()).toMatch(/^leasegate_store_up 1$/m)
})
