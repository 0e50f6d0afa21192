// `/status` of a real gate: it and another process on its store know of each other, and a stranger of none.
import { hostname } from 'node:os'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPresence } from '../../src/http/presence.ts'
import { readStatus, type Status } from '../../src/http/status.ts'
import { version } from '../../src/version.ts'
import { gateNow, gateSelf } from '../http/presence_samples.ts'
import { startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

async function status(): Promise<Status> {
  const headers = { authorization: `Bearer ${gate.operatorToken()}` }
  const response = await fetch(`http://127.0.0.1:${gate.running.control.port}/status`, { headers })
  expect(response.status).toBe(200)
  return (await response.json()) as Status
}

test('a gate tells of itself and of another on its store, and is gone when it stops', async () => {
  const parts = { store: await gate.store(), clock: Date.now }
  const onError = (error: unknown) => expect(error).toBeUndefined()
  const other = startPresence({ ...parts, self: gateSelf('gate_other'), now: async () => gateNow, onError })
  await expect.poll(async () => (await status()).gates.length, { timeout: 20_000 }).toBe(2)
  const { gates, now } = await status()
  const stranger = await fetch(`http://127.0.0.1:${gate.running.control.port}/status`)
  expect(stranger.status).toBe(401)
  expect(await stranger.text()).not.toContain(hostname())
  expect(gates[0]).toMatchObject({ ...gateSelf('gate_other'), ...gateNow })
  expect(gates[1]).toEqual({
    id: expect.stringMatching(/^gate_[0-9A-Z]{26}$/),
    ...{ host: hostname(), pid: process.pid, role: 'both', workers: 1, version, store: 'embedded' },
    ...{ policy_digest: gate.running.policyDigest(), ready: true, faults: [] },
    ...{ revocation_age_ms: expect.any(Number), revocation_entries: 0 },
    ...{ started_at: expect.any(Number), seen_at: expect.any(Number) },
  })
  expect(gates[1]!.seen_at).toBeLessThanOrEqual(now)
  await other.close()
  expect((await status()).gates).toHaveLength(1)
  await gate.running.close()
  expect(await readStatus(parts)).toMatchObject({ gates: [] })
})
