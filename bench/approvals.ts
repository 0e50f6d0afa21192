// In: how much to measure. Out: what a call costs that a human has to be asked about, on both stores: held, let
// through after the yes, executed as a draft; what those that wait cost everybody else; and how long the list of them
// takes. The gate has one core to itself; backend, load generator and approver share another.
import { setTimeout as sleep } from 'node:timers/promises'
import { redisServerPath } from '../scripts/redis.ts'
import { startRedis } from '../test/support/redis.ts'
import { authority } from './fixture.ts'
import { fixedRate } from './load.ts'
import { type Percentiles, percentiles, printTable, round, writeResult } from './numbers.ts'
import { Probe } from './probe.ts'
import { pin, type ServerProcess, startServer, twoCores, unpin } from './process.ts'
import { requestText } from './throughput.ts'

export interface ApprovalsOptions {
  /** Of each sort, one after the other. */
  readonly calls: number
  /** Calls that wait at once. */
  readonly waiting: number
  /** Of ordinary calls, once in peace and once beside those that wait. */
  readonly seconds: number
}

/** What a call costs, and how long it takes, milliseconds. */
interface Cost extends Percentiles {
  /** CPU time of the gate, microseconds. */
  readonly cpu_us: number
}

/** Measures both stores, prints a table each, returns what goes into `approvals.json`. */
export async function measureApprovals(options: ApprovalsOptions): Promise<object> {
  const cores = twoCores()
  pin(process.pid, cores?.[1])
  const backend = await startServer('backend.ts', [], cores?.[1])
  try {
    const measure = async (state?: string) => {
      const leases = String(Math.ceil(Math.max(options.waiting, 2 * options.calls) / perLease))
      const more = state === undefined ? [] : [state]
      const gate = await startServer(
        'approvals_server.ts',
        [String(backend.port), leases, ...more],
        cores?.[0],
      )
      return measureGate(gate, options).finally(() => gate.stop())
    }
    console.log('  embedded')
    const embedded = await measure()
    if (redisServerPath() === undefined) return { embedded }
    const server = await startRedis()
    console.log('  redis')
    const redis = await measure(`store: redis, redis: { url: "${server.url}", max_staleness: 10s }`).finally(
      () => server.stop(),
    )
    return { embedded, redis }
  } finally {
    await backend.stop()
    unpin()
  }
}

/** As many of one lease may wait at once. */
const perLease = 20

async function measureGate(gate: ServerProcess, { calls, waiting, seconds }: ApprovalsOptions) {
  const agent = await Probe.open(gate.port)
  const tokens = new Tokens(gate)
  // The first few of each sort pay for what is compiled and opened then.
  const plain = () =>
    cost(gate, calls, () => ask(agent, write(tokens.plain, 'Lease-Provenance: trusted'), 200))
  await plain()
  const trusted = await plain()
  const [held, approved] = await heldAndApproved(gate, agent, tokens, calls)
  const longer = await cost(gate, calls, () => ask(agent, write(tokens.next('draft')), 202))
  const through = await answeredAfterYes(gate, agent, tokens, calls)
  const released = await executedAfterYes(gate, calls)
  agent.close()
  const crowd = await besideWaiting(gate, tokens, waiting, seconds)
  const rows: [string, Cost | Percentiles][] = [
    ['a write that policy allows', trusted],
    ['a write that is held: 403, its action stored', held],
    ['the same, approved: decided again, used up, forwarded', approved],
    ['a write that becomes a draft: 202', longer],
    ['from the yes to the answer of the call that waited', through],
    ['from the yes to the end of the draft', released],
  ]
  printTable(
    ['', 'p50 ms', 'p99 ms', 'CPU µs'],
    rows.map(([what, each]) => [what, each.p50, each.p99, 'cpu_us' in each ? each.cpu_us : '']),
  )
  console.log(`  ${JSON.stringify(crowd)}`)
  return { trusted, held, approved, draft: longer, through, released, crowd }
}

/** What it costs to be held, and to be let through after the yes. */
async function heldAndApproved(gate: ServerProcess, agent: Probe, tokens: Tokens, calls: number) {
  const kept = Array.from({ length: calls }, () => write(tokens.next('execute')))
  const held = await cost(gate, calls, (n) => ask(agent, kept[n]!, 403))
  for (const action of await pending(gate)) await decide(gate, action)
  return [held, await cost(gate, calls, (n) => ask(agent, kept[n]!, 200))] as const
}

/** Tokens of leases that no further call waits under than may. */
class Tokens {
  readonly #writers: NonNullable<ServerProcess['writers']>
  readonly #used = { execute: 0, draft: 0 }

  constructor({ writers }: ServerProcess) {
    if (writers === undefined) throw new Error('the gate has no leases that may write')
    this.#writers = writers
  }

  get plain(): string {
    return this.#writers.execute[0]!
  }

  next(stage: 'execute' | 'draft'): string {
    const all = this.#writers[stage]
    return all[Math.floor(this.#used[stage]++ / perLease) % all.length]!
  }
}

let customers = 0

/** A write of a customer that nobody has written: policy asks for a human, unless trusted content asked for it. */
function write(token: string, ...fields: string[]): Buffer {
  const lines = [
    `PATCH /crm/customers/${++customers} HTTP/1.1`,
    `Host: ${authority}`,
    `Authorization: Bearer ${token}`,
    'Content-Length: 0',
    ...fields,
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
}

async function ask(agent: Probe, request: Buffer, wanted: number): Promise<void> {
  const status = await agent.ask(request)
  if (status !== wanted) throw new Error(`not the expected answer: ${status} in place of ${wanted}`)
}

/** One after the other. */
async function cost(gate: ServerProcess, count: number, call: (n: number) => Promise<void>): Promise<Cost> {
  const took = new Float64Array(count)
  const before = await gate.usage()
  for (let n = 0; n < count; n++) {
    const began = performance.now()
    await call(n)
    took[n] = performance.now() - began
  }
  const { cpuUs } = await gate.usage()
  return { ...percentiles(took), cpu_us: round((cpuUs - before.cpuUs) / count) }
}

interface Listed {
  readonly id: string
  readonly fingerprint: string
  readonly kind: string
}

async function control(gate: ServerProcess, path: string, init: RequestInit = {}): Promise<unknown> {
  const { port, token } = gate.control!
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

/** All that waits. */
async function pending(gate: ServerProcess): Promise<Listed[]> {
  const all: Listed[] = []
  let place: number | undefined
  do {
    const before = place === undefined ? '' : `&before=${place}`
    const page = await control(gate, `/actions?state=pending&limit=200${before}`)
    const { actions, next } = page as { actions: Listed[]; next?: number }
    all.push(...actions)
    place = next
  } while (place !== undefined)
  return all
}

async function decide(gate: ServerProcess, { id, fingerprint }: Listed): Promise<void> {
  await control(gate, `/actions/${id}/approve`, { method: 'POST', body: JSON.stringify({ fingerprint }) })
}

/** From the moment that an approver sends the yes until the agent has the answer of its call. */
async function answeredAfterYes(
  gate: ServerProcess,
  agent: Probe,
  tokens: Tokens,
  count: number,
): Promise<Percentiles> {
  const drafts = new Set((await pending(gate)).map(({ id }) => id))
  const took = new Float64Array(count)
  for (let n = 0; n < count; n++) {
    const answered = ask(agent, write(tokens.next('execute'), 'Prefer: wait=30'), 200)
    let action: Listed | undefined
    while (action === undefined) {
      action = (await newest(gate)).find(({ id }) => !drafts.has(id))
    }
    const began = performance.now()
    await Promise.all([decide(gate, action), answered])
    took[n] = performance.now() - began
  }
  return percentiles(took)
}

async function newest(gate: ServerProcess): Promise<Listed[]> {
  return ((await control(gate, '/actions?limit=1')) as { actions: Listed[] }).actions
}

/** From the moment that somebody sends the yes until the draft is executed. */
async function executedAfterYes(gate: ServerProcess, count: number): Promise<Percentiles> {
  const drafts = (await pending(gate)).filter(({ kind }) => kind === 'draft').slice(0, count)
  const took = new Float64Array(drafts.length)
  for (const [n, draft] of drafts.entries()) {
    const began = performance.now()
    await decide(gate, draft)
    while (((await control(gate, `/actions/${draft.id}`)) as { state: string }).state !== 'executed');
    took[n] = performance.now() - began
  }
  return percentiles(took)
}

/** What `count` calls that wait cost: the gate, those who make ordinary calls, and whoever asks for the list. */
async function besideWaiting(gate: ServerProcess, tokens: Tokens, count: number, seconds: number) {
  const load = { port: gate.port, request: requestText(gate.token!), connections: 16, seconds }
  await fixedRate(load, 500)
  const peace = percentiles(await fixedRate(load, 500))
  const idle = await share(gate, seconds)
  const before = await gate.usage()
  let early = 0
  const agents: Probe[] = []
  for (let n = 0; n < count; n++) {
    const agent = await Probe.open(gate.port)
    agents.push(agent)
    void agent.ask(write(tokens.next('execute'), 'Prefer: wait=60')).then((status) => {
      if (status !== undefined) early++
    })
    // As many at once would wait for each other's place on disk, beyond the time that a call has for it.
    await sleep(5)
  }
  await sleep(1_000)
  const list = await cost(gate, 20, async () => void (await control(gate, '/actions?limit=50')))
  const page = await cost(gate, 20, async () => void (await control(gate, '/actions?limit=200')))
  const waiting = await share(gate, seconds)
  const beside = percentiles(await fixedRate(load, 500))
  const { rssBytes } = await gate.usage()
  for (const agent of agents) agent.close()
  return {
    waiting: count - early,
    rss_mb: Math.round((rssBytes - before.rssBytes) / 1e6),
    core_share: { in_peace: round(idle), beside_them: round(waiting) },
    ordinary_calls_ms: { in_peace: peace, beside_them: beside },
    list_50: list,
    list_200: page,
  }
}

/** Of one core, while nobody asks anything. */
async function share(gate: ServerProcess, seconds: number): Promise<number> {
  const before = await gate.usage()
  await sleep(seconds * 1000)
  return ((await gate.usage()).cpuUs - before.cpuUs) / (seconds * 1e6)
}

if (import.meta.main)
  writeResult('approvals', await measureApprovals({ calls: 90, waiting: 1_000, seconds: 5 }))
