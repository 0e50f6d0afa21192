// Revoking an agent is one write, however many leases are recorded under its name.
import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import { sharedRedis } from '../support/redis.ts'

/** Leases of an agent that has many. */
const many = 2_000

let file: TestGate
let shared: TestGate
let server: Awaited<ReturnType<typeof sharedRedis>>
beforeAll(async () => {
  server = await sharedRedis()
  const redis = { url: server.url, prefix: server.prefix() }
  file = await startTestGate()
  shared = await startTestGate({ config: { state: { store: 'redis', redis } } })
}, 120_000)
afterAll(async () => {
  await file?.close()
  await shared?.close()
  await server?.stop()
})

/** Records `count` leases of `agent`. */
async function record(gate: TestGate, agent: string, count: number): Promise<void> {
  const { leases } = await gate.store()
  const all = Array.from({ length: count }, (_, at) =>
    leaseRecord({ id: `lse_${agent}_${at}`, agent: `agent:${agent}` }),
  )
  for (let at = 0; at < count; at += 50) {
    await Promise.all(all.slice(at, at + 50).map((each) => leases.put(each)))
  }
}

/** A call of a lease of `agent` that nobody has recorded. */
async function call(gate: TestGate, agent: string): Promise<number> {
  const { act } = gate.issuer.claims() as { act: Record<string, unknown> }
  const token = gate.token({ act: { ...act, sub: `agent:${agent}` } })
  return (await gate.ask(message({ token }))).status
}

async function revoke(gate: TestGate, agent: string): Promise<void> {
  expect((await gate.revoke({ agent, reason: 'leaked' })).status).toBe(201)
  expect(await call(gate, agent)).toBe(401)
}

test('in a state file: one row, and no lease is touched', async () => {
  const { state } = file.config
  if (state.store !== 'embedded') throw new Error('the gate of this test has a state file')
  using db = new DatabaseSync(state.path)
  const rows = () => ({
    revocations: db.prepare('SELECT count(*) AS n FROM revocations').get()!.n as number,
    leases: db.prepare('SELECT id, state, record FROM leases ORDER BY id').all(),
  })
  await record(file, 'many', many)
  const before = rows()
  expect(before.leases).toHaveLength(many)
  await revoke(file, 'many')
  expect(rows()).toEqual({ ...before, revocations: before.revocations + 1 })
})

test('in Redis: the same commands for one lease as for thousands, one of them a write', async () => {
  await record(shared, 'single', 1)
  await record(shared, 'many', many)
  const client = new Redis(server.url)
  const monitor = await client.monitor()
  const seen: { readonly source: string; readonly args: string[] }[] = []
  monitor.on('monitor', (_time: string, args: string[], source: string) => seen.push({ source, args }))
  /** What Redis was told of `agent`: commands, and in brackets what a script of them did. */
  const commandsFor = async (agent: string) => {
    seen.length = 0
    await revoke(shared, agent)
    await client.ping('over')
    await eventually(() => seen.some(({ args }) => args[1] === 'over'), 'all that Redis has done')
    return seen
      .filter(({ args }) => args.some((each) => each.includes(agent)))
      .map(({ source, args }) => (source === 'lua' ? `[${args[0]!.toLowerCase()}]` : args[0]!.toLowerCase()))
  }
  try {
    // Redis has to be shown a script once.
    await revoke(shared, 'first')
    const single = await commandsFor('single')
    expect(await commandsFor('many')).toEqual(single)
    for (const write of ['evalsha', '[hset]', '[xadd]']) {
      expect(single.filter((name) => name === write)).toHaveLength(1)
    }
  } finally {
    monitor.disconnect()
    client.disconnect()
  }
})
