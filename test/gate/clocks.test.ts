// A gate on a real Redis whose machine has the wrong time, and commands on such a machine: what they let through, what
// they issue, and what they say. Redis has the right time throughout.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { cliPath } from '../cli/process.ts'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { sharedRedis } from '../support/redis.ts'

const realNow = Date.now
let offMs = 0
// Before the gate is composed, which takes hold of the clock.
Date.now = () => realNow() + offMs

const issuers = [
  { issuer: 'https://broker.example', jwks: { file: './jwks.json' } },
  { issuer: 'https://local.example', jwks: { local: true } },
]
let redis: Awaited<ReturnType<typeof sharedRedis>>
let gate: TestGate
beforeAll(async () => {
  redis = await sharedRedis()
  const state = { store: 'redis', redis: { url: redis.url, prefix: redis.prefix() } }
  gate = await startTestGate({ config: { state, issuers, broker: { issuer: 'https://local.example' } } })
})
afterEach(() => {
  offMs = 0
})
afterAll(async () => {
  Date.now = realNow
  await gate.close()
  await redis.stop()
})

async function call(token: string) {
  const { status, body } = await gate.ask(message({ token }))
  const { code, detail } = JSON.parse(body.toString()) as { code?: string; detail?: string }
  return { status, code, detail }
}

const seconds = () => Math.floor(realNow() / 1000)

describe.each([
  [90, 'ahead of'],
  [-90, 'behind'],
])('a gate whose clock is off by %s s', (off, words) => {
  test('lets nothing through, says to the caller only that it cannot tell, and to the audit why', async () => {
    const now = seconds()
    const tokens = [
      gate.token(),
      gate.token({ iat: now - 360, nbf: now - 360, exp: now - 60 }),
      gate.token({ iat: now + 90, nbf: now + 90, exp: now + 390 }),
    ]
    const [seen, recorded] = [gate.backend.bytesSeen().length, gate.records().length]
    offMs = off * 1000
    for (const token of tokens) {
      const answer = await call(token)
      expect(answer).toMatchObject({ status: 503, code: 'evidence_unavailable' })
      expect(answer.detail ?? '').not.toMatch(/clock|\d/)
    }
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
    const [record] = await gate.recordsAfter(recorded)
    expect(record?.decision.cause).toMatch(new RegExp(`clock of this machine is (90|89)\\.\\d s ${words}`))
  })

  test('is not ready, and says how far off it is', async () => {
    expect((await gate.readiness()).checks).toContainEqual(
      expect.objectContaining({ name: 'clock', ready: true }),
    )
    offMs = off * 1000
    const { status, checks } = await gate.readiness()
    expect(status).toBe(503)
    const row = checks.find(({ name }) => name === 'clock')
    expect(row).toMatchObject({ ready: false })
    expect(row?.detail).toMatch(
      new RegExp(`^synchronise the clock: it is (90|89)\\.\\d s ${words} the state`),
    )
    const metric = /^leasegate_clock_offset_seconds (\S+)$/m.exec(await gate.metrics())
    expect(Math.abs(Number(metric?.[1]) - 90)).toBeLessThan(5)
  })

  test('revokes all the same, up to the right time at least; and goes on once the clock is right', async () => {
    const token = gate.token({}, { session: `ses_off_${words}` })
    offMs = off * 1000
    const revoked = await gate.revoke({ session: `ses_off_${words}`, reason: 'leaked' })
    expect(revoked.status).toBe(201)
    expect(((await revoked.json()) as { cutoff: number }).cutoff).toBeGreaterThanOrEqual(seconds() - 1)
    offMs = 0
    await eventually(async () => (await call(gate.token())).status === 200, 'traffic')
    expect(await call(token)).toMatchObject({ status: 401, code: 'lease_revoked' })
  })
})

describe('a command on a machine whose clock is off', () => {
  const run = async (off: number, ...args: string[]) => {
    const clock = `data:text/javascript,const now=Date.now;Date.now=()=>now()+${off * 1000}`
    const all = ['--import', clock, cliPath, ...args, '--config', gate.configFile, '--json']
    try {
      const { stdout } = await promisify(execFile)(process.execPath, all, { env: {} })
      return { code: 0, told: '', answer: JSON.parse(stdout) }
    } catch (error) {
      const { code, stderr } = error as { code: number; stderr: string }
      return { code, told: stderr, answer: undefined }
    }
  }
  const issue = (off: number) =>
    run(
      off,
      ...['lease', 'issue', '--user', 'alice@example.com', '--agent', 'support-triage', '--task', 'T-1'],
      ...['--purpose', 'a test', '--allow', 'read crm:customer/9821'],
    )

  test.each([90, -90])('(%s s) neither issues nor renews, and names the fault', async (off) => {
    const told = { code: 1, told: expect.stringMatching(/clock of this machine is (90|89)\.\d s/) }
    expect(await issue(off)).toMatchObject(told)
    const { answer } = await issue(0)
    expect(await run(off, 'lease', 'renew', answer.lease.id)).toMatchObject(told)
    expect(await (await gate.store()).leases.get(answer.lease.id)).toMatchObject({ renewals: 0 })
  })

  test('(3 s ahead) issues what is no later than the time of the store', async () => {
    const { answer } = await issue(3)
    expect(answer.lease.issued_at).toBeLessThanOrEqual(seconds())
  })

  test.each([
    ['revoke', '--lease'],
    ['lease', 'complete'],
  ])('(a year behind) ends a lease for as long as any other: %s %s', async (...words) => {
    const { answer } = await issue(0)
    const { code } = await run(-31_536_000, ...words, answer.lease.id, '--reason', 'r')
    expect(code).toBe(0)
    expect(await call(answer.token)).toMatchObject({ status: 401, code: 'lease_revoked' })
    const { revocations } = await gate.store()
    const entry = revocations.find([`lease\n${answer.lease.id}`], 0)
    expect(entry?.expiresAt).toBeGreaterThan(seconds() + 30 * 86_400)
  })
})
