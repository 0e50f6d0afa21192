// The same gate on a real Redis: revoked by another process, Redis frozen, Redis gone and back empty. The
// gate refuses what it cannot know, and never forgets a revocation it has seen.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cliPath } from '../cli/process.ts'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

let redis: TestRedis
let gate: TestGate
beforeAll(async () => {
  redis = await startRedis()
  gate = await startTestGate({
    config: { state: { store: 'redis', redis: { url: redis.url, max_staleness: '500ms' } } },
  })
})
afterAll(async () => {
  redis.thaw()
  await gate.close()
  await redis.stop()
})

async function call(token: string, more = {}) {
  const { status, headers, body } = await gate.ask(message({ token, ...more }))
  return { status, headers, code: (JSON.parse(body.toString()) as { code?: string }).code }
}

const unavailable = {
  status: 503,
  code: 'evidence_unavailable',
  headers: { 'retry-after': expect.stringMatching(/^[1-9]/) },
}

test('a lease works, until another process revokes it', async () => {
  const token = gate.token({}, { id: 'lse_redis' })
  expect(await call(token)).toMatchObject({ status: 200 })
  await promisify(execFile)(
    process.execPath,
    [cliPath, 'revoke', '--lease', 'lse_redis', '--reason', 'leaked', '--config', gate.configFile],
    { env: { CRM_TOKEN: 'not-needed-here' } },
  )
  await eventually(async () => (await call(token)).code === 'lease_revoked', 'the revocation')
})

test('a budget is exact', async () => {
  const authorization_details = grantsFor('crm', ['customer/*']).map((grant) => ({
    ...grant,
    constraints: { max_calls: 20 },
  }))
  const token = gate.token({ authorization_details })
  const answers = await Promise.all(Array.from({ length: 40 }, () => call(token)))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(20)
  expect(answers.filter(({ code }) => code === 'budget_exhausted')).toHaveLength(20)
})

test('while Redis is frozen nothing is forwarded and the gate is not ready; then it recovers', async () => {
  redis.freeze()
  await eventually(async () => (await gate.readiness()).status === 503, 'the end of readiness')
  const { checks } = await gate.readiness()
  expect(checks.filter(({ ready }) => !ready).map(({ name }) => name)).toEqual(['revocations'])
  const seen = gate.backend.bytesSeen().length
  expect(await call(gate.token())).toMatchObject(unavailable)
  const write = { method: 'PUT', fields: ['Content-Type: application/json'], body: '{}' }
  expect(await call(gate.token(), write)).toMatchObject(unavailable)
  expect(gate.backend.bytesSeen()).toHaveLength(seen)
  expect((await gate.revoke({ lease: 'lse_unheard', reason: 'cannot be kept' })).status).toBe(503)
  redis.thaw()
  await eventually(async () => (await gate.readiness()).status === 200, 'readiness')
  expect(await call(gate.token())).toMatchObject({ status: 200 })
})

test('a revocation that Redis has lost stands', async () => {
  const token = gate.token({}, { id: 'lse_lost' })
  expect((await gate.revoke({ lease: 'lse_lost', reason: 'leaked' })).status).toBe(201)
  await redis.kill()
  await eventually(async () => (await gate.readiness()).status === 503, 'the end of readiness')
  expect(await call(token)).toMatchObject({ status: 503 })
  await redis.restart()
  await eventually(async () => (await gate.readiness()).status === 200, 'readiness')
  expect(await call(token)).toMatchObject({ status: 401, code: 'lease_revoked' })
  expect(await call(gate.token())).toMatchObject({ status: 200 })
})
