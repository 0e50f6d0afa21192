// Agents under a running gate: a broken change is loud and changes nothing, a mended one is live. And a gate
// whose agents are broken from the start does not start.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, startTestGate, type TestGate } from '../support/gate.ts'

let dir: string
let gate: TestGate
const file = (lines: string) =>
  writeFileSync(
    join(dir, 'triage.yaml'),
    `client_id: triage\nversion: "1"\nenv: prod\nprofile: support\n${lines}`,
  )
const whole = 'credentials: [{ method: tls_client_auth, san: "DNS:triage.example" }]\n'

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-agents-'))
  file(whole)
  const provider = { issuer: 'http://127.0.0.1:1', audience: 'leasegate' }
  gate = await startTestGate({ config: { broker: { agents: dir, identity_providers: [provider] } } })
})
afterAll(async () => {
  await gate.close()
  rmSync(dir, { recursive: true })
})

const counted = async (result: string) =>
  (await gate.metrics()).includes(`leasegate_agents_reloads_total{result="${result}"} 1\n`)
const told = () => gate.audit().filter(({ event }) => event === 'agents')

test('a broken file is told in the log, the audit file and the metrics; so is the mended one', async () => {
  file('credentails: []\n')
  await eventually(() => counted('rejected'), 'the rejection')
  expect(told()).toMatchObject([
    { rejected: expect.arrayContaining([expect.stringMatching(/did you mean credentials\?$/)]) },
  ])
  expect(gate.logText()).toContain('agents rejected; those before stay')
  file(`${whole}tenant: acme\n`)
  await eventually(() => counted('reloaded'), 'the reload')
  expect(told()[1]).toMatchObject({ agents: 1 })
})

test('SIGHUP reads the agents too', async () => {
  const before = told().length
  await gate.running.reload()
  await eventually(() => told().length > before, 'the reload')
  expect(told().slice(before)).toMatchObject([{ agents: 1 }])
})

test('an identity provider that is down does not make the gate unready', async () => {
  const { status, checks } = await gate.readiness()
  expect(status).toBe(200)
  expect(checks).toContainEqual({
    name: 'keys of identity provider http://127.0.0.1:1',
    ready: true,
    detail: '0 usable',
  })
})
