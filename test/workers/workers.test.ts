// Two workers under one supervisor, as processes: what is promised for a gate holds for both together, and for
// the one that takes the place of a worker that died.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../support/gate.ts'
import { prover } from '../support/proofs.ts'
import { ask, type RawConnection } from '../support/raw.ts'
import { TwoWorkers } from '../support/workers.ts'

let gate: TwoWorkers
beforeAll(async () => {
  gate = await TwoWorkers.start()
}, 60_000)
afterAll(() => gate[Symbol.asyncDispose]())

const dispose = (connections: readonly RawConnection[]) => {
  for (const connection of connections) connection[Symbol.dispose]()
}
const digestsOf = async () => (await gate.readiness()).workers.map(({ detail }) => detail.split(', ')[1])

test('both serve agents on one port, and say by which policy', async () => {
  const [first, second] = await gate.pids()
  expect(first).not.toBe(second)
  for (const pid of [first, second]) {
    expect(await gate.with(pid, () => gate.call(gate.token()))).toEqual({ status: 200 })
  }
  const [one, other] = await digestsOf()
  expect(one).toMatch(/^sha256:[0-9a-f]{64}$/)
  expect(other).toBe(one)
  expect(gate.served.output()).toMatch(/workers +2/)
})

test('40 calls at once on both, with 20 in the lease: 20 reach the backend', async () => {
  const [first, second] = await gate.pids()
  const halves = [await gate.connections(first, 20), await gate.connections(second, 20)].flat()
  const token = gate.token({}, { max_calls: 20 })
  const before = gate.backend.requests.length
  const answers = await Promise.all(halves.map((connection) => gate.call(token, connection)))
  dispose(halves)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(20)
  expect(answers.filter(({ code }) => code === 'budget_exhausted')).toHaveLength(20)
  expect(gate.backend.requests).toHaveLength(before + 20)
})

test('a revocation, sent to the supervisor, ends a lease at both, on connections that stand', async () => {
  const pids = await gate.pids()
  const connections = (await Promise.all([gate.connections(pids[0], 1)])).flat()
  connections.push(...(await gate.connections(pids[1], 1)))
  const token = gate.token({ lease: { ...leaseOf(gate.token()), id: 'lse_to_revoke' } })
  for (const connection of connections) expect(await gate.call(token, connection)).toEqual({ status: 200 })
  expect((await gate.revoke({ lease: 'lse_to_revoke' })).status).toBe(201)
  for (const connection of connections) {
    await eventually(
      async () => (await gate.call(token, connection)).code === 'lease_revoked',
      'the end of the lease',
    )
  }
  dispose(connections)
  const events = auditLines().filter(({ event }) => event === 'revocation')
  expect(events).toHaveLength(1)
})

describe('a worker that is killed', () => {
  test('is replaced; the other goes on; what was acknowledged and used stays so', async () => {
    const [first, second] = await gate.pids()
    const [standing] = await gate.connections(second, 1)
    const agent = prover()
    const bound = gate.token({ cnf: { jkt: agent.thumbprint } })
    const proof = agent.proof({ url: `${gate.place.origin}/crm/customers/9821`, token: bound })
    const proven = gate.request(bound, { scheme: 'DPoP', fields: [`DPoP: ${proof}`] })
    expect((await gate.with(first, () => ask(gate.port, proven))).status).toBe(200)
    const revoked = gate.token({ lease: { ...leaseOf(gate.token()), id: 'lse_stays_revoked' } })
    expect((await gate.revoke({ lease: 'lse_stays_revoked' })).status).toBe(201)
    const budget = gate.token({}, { max_calls: 1 })
    expect(await gate.with(first, () => gate.call(budget))).toEqual({ status: 200 })
    const allowed = 'leasegate_decisions_total{backend="crm",verb="read",effect="allow",code="none"}'
    const counted = await gate.metric(allowed)

    process.kill(first, 'SIGKILL')
    expect(await gate.call(gate.token(), standing!)).toEqual({ status: 200 })
    await gate.replaced(first)
    dispose([standing!])

    const [successor] = await gate.pids()
    await gate.with(successor, async () => {
      expect(await gate.call(revoked)).toEqual({ status: 401, code: 'lease_revoked' })
      expect(await gate.call(budget)).toEqual({ status: 429, code: 'budget_exhausted' })
      const again = await ask(gate.port, proven)
      expect([again.status, again.body.toString()]).toEqual([401, expect.stringContaining('proof_')])
    })
    expect(await gate.metric(allowed)).toBeGreaterThanOrEqual(counted)
    expect(await gate.metric('leasegate_worker_restarts_total')).toBe(1)
    expect(await gate.metric('leasegate_workers{state="ready"}')).toBe(2)
  }, 90_000)

  test('again and again is replaced later and later, and readiness is lost meanwhile', async () => {
    for (const delay of [200, 400]) {
      const [first] = await gate.pids()
      process.kill(first, 'SIGKILL')
      await eventually(
        () => gate.served.output().includes(`"again_in_ms":${delay}`),
        `a pause of ${delay} ms`,
      )
      const { ready, workers } = await gate.readiness()
      if (!ready) expect(workers[0]!.ready).toBe(false)
      await gate.replaced(first)
    }
  }, 120_000)
})

test('one that does not answer is ended and replaced; the other takes its connections', async () => {
  const [, second] = await gate.pids()
  process.kill(second, 'SIGSTOP')
  for (let call = 0; call < 5; call++) expect(await gate.call(gate.token())).toEqual({ status: 200 })
  await eventually(async () => {
    const row = (await gate.readiness()).workers[1]
    return row?.detail.includes('does not answer') === true
  }, 'a worker that is not ready')
  expect(await gate.metric('leasegate_workers{state="silent"}')).toBe(1)
  await gate.replaced(second)
}, 90_000)

describe('a policy', () => {
  const file = () => gate.place.path('policies/data/groups.json')

  test('that is edited decides at both; one that is broken at neither', async () => {
    const [before] = await digestsOf()
    const text = readFileSync(file(), 'utf8')
    writeFileSync(file(), text.replace('"read", ', ''))
    await eventually(async () => {
      const [one, other] = await digestsOf()
      return one === other && one !== before
    }, 'another policy at both')
    const [after] = await digestsOf()
    for (const pid of await gate.pids()) {
      const answer = await gate.with(pid, () => gate.call(gate.token()))
      expect(answer).toEqual({ status: 403, code: 'policy_denied' })
    }
    writeFileSync(file(), '{"broken"')
    await eventually(
      async () => (await gate.metric('leasegate_policy_reloads_total{result="rejected"}')) > 0,
      'a rejection',
    )
    expect(await digestsOf()).toEqual([after, after])
    writeFileSync(file(), text)
    await eventually(async () => (await digestsOf()).every((digest) => digest === before), 'the first policy')
    const events = auditLines().filter(({ event, digest }) => event === 'policy' && digest !== undefined)
    expect(events.map(({ digest }) => digest)).toEqual([after, before])
  }, 60_000)

  test('is what a replacement starts with', async () => {
    const text = readFileSync(file(), 'utf8')
    const [before] = await digestsOf()
    writeFileSync(file(), text.replace('"read", ', ''))
    await eventually(async () => (await digestsOf()).every((digest) => digest !== before), 'the edit')
    const [first] = await gate.pids()
    process.kill(first, 'SIGKILL')
    await gate.replaced(first)
    const [successor] = await gate.pids()
    expect(await gate.with(successor, () => gate.call(gate.token()))).toMatchObject({ status: 403 })
    writeFileSync(file(), text)
    await eventually(async () => (await digestsOf()).every((digest) => digest === before), 'the first policy')
  }, 90_000)
})

test('SIGHUP: all go on in a new audit file, and no record is lost', async () => {
  const file = gate.place.path('data/audit.jsonl')
  const [first, second] = await gate.pids()
  const connections = [...(await gate.connections(first, 1)), ...(await gate.connections(second, 1))]
  const calls = async () => {
    for (const connection of connections)
      expect(await gate.call(gate.token(), connection)).toMatchObject({ status: 200 })
  }
  const known = auditLines().length
  await calls()
  renameSync(file, `${file}.1`)
  gate.served.child.kill('SIGHUP')
  await eventually(async () => {
    await calls()
    return auditLines().length >= 2
  }, 'records of both in the new file')
  dispose(connections)
  expect(auditLines(`${file}.1`).length).toBeGreaterThanOrEqual(known + 2)
})

function auditLines(file = gate.place.path('data/audit.jsonl')): { event?: string; digest?: string }[] {
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    // Moved away, and nobody has made the next one yet.
  }
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as { event?: string; digest?: string })
}

/** The member `lease` of a token. */
function leaseOf(token: string): Record<string, unknown> {
  const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { lease: object }
  return { ...claims.lease }
}
