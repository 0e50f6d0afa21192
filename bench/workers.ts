// In: how long to measure. Out: what several processes on one port do under each way of handing connections out, what
// becomes of connections when one of them hangs and dies, and the gate with two workers against the gate with one.
// Load generator and backend take part of the same cores: compare ratios, and CPU per request before all.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Accepting } from './accepting.ts'
import { closedLoop, fixedRate, type Load } from './load.ts'
import { percentiles, printTable, round, spread, writeResult } from './numbers.ts'
import { type ServerProcess, startServer } from './process.ts'
import { requestText } from './throughput.ts'

const ways = ['single', 'shared_queue', 'round_robin', 'reuse_port'] as const
const connections = 64
const loadPerSecond = 500

/** Seconds, but for `rounds` and `revocations`. */
export interface WorkersOptions {
  readonly rounds: number
  readonly round: number
  readonly revocations: number
}

/** Measures, prints tables, returns what goes into `workers.json`. */
export async function measureWorkers(options: WorkersOptions): Promise<object> {
  const accepting = await measureAccepting(options)
  return { accepting, gate: await measureGate(options) }
}

/** The first part alone. */
export async function measureAccepting({ rounds, round: seconds }: WorkersOptions): Promise<object> {
  const results: Record<string, object> = {}
  const rows: (string | number)[][] = []
  for (const way of ways) {
    const server = (await startServer('accepting.ts', [way])) as Awaited<ReturnType<typeof startServer>> &
      Accepting
    const kept: number[] = []
    const closing: number[] = []
    const shares: number[] = []
    const closingShares: number[] = []
    for (let n = 0; n < rounds; n++) {
      shares.push(largestShare(await ownersOf(server.port)))
      kept.push(await closedLoop({ port: server.port, request: bare, connections, seconds }))
      const { perSecond, owners } = await closingLoop(server.port, seconds)
      closing.push(perSecond)
      closingShares.push(largestShare(owners))
    }
    const lost = way === 'single' ? undefined : await loseOne(server)
    const result = {
      keep_alive_rps: spread(kept.map(round)),
      close_rps: spread(closing.map(round)),
      keep_alive_largest_share: spread(shares.map(round)),
      close_largest_share: spread(closingShares.map(round)),
      ...(lost === undefined ? {} : { one_hangs_then_dies: lost }),
    }
    results[way] = result
    rows.push([
      way,
      result.keep_alive_rps.median,
      result.close_rps.median,
      result.keep_alive_largest_share.median,
      result.close_largest_share.median,
      ...(lost === undefined ? ['', '', ''] : [lost.answered_while_hung, lost.answered_later, lost.broken]),
    ])
    await server.stop()
  }
  printTable(
    ['way', 'keep-alive/s', 'close/s', 'share, kept', 'share, close', 'while hung', 'later', 'broken'],
    rows,
  )
  return results
}

const bare = Buffer.from('GET / HTTP/1.1\r\nHost: bench\r\n\r\n')
const closingRequest = 'GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n'

/** One request on a connection of its own: the process that answered; undefined when the connection broke. */
function askOnce(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(closingRequest))
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve(/\r\n\r\n(\d+)$/.exec(text)?.[1]))
  })
}

async function closingLoop(port: number, seconds: number) {
  const owners = new Map<string, number>()
  const until = performance.now() + seconds * 1000
  let answers = 0
  const client = async () => {
    while (performance.now() < until) {
      const owner = await askOnce(port)
      if (owner === undefined) throw new Error('a connection broke')
      owners.set(owner, (owners.get(owner) ?? 0) + 1)
      answers++
    }
  }
  await Promise.all(Array.from({ length: connections }, client))
  return { perSecond: answers / seconds, owners: [...owners.values()] }
}

/** How many of the connections that are opened at once each process has. */
async function ownersOf(port: number): Promise<number[]> {
  const owners = new Map<string, number>()
  for (const owner of await Promise.all(Array.from({ length: connections }, () => askOnce(port)))) {
    if (owner !== undefined) owners.set(owner, (owners.get(owner) ?? 0) + 1)
  }
  return [...owners.values()]
}

const largestShare = (counts: readonly number[]) =>
  Math.max(...counts) / counts.reduce((all, count) => all + count, 0)

/** 200 connections while one of two processes hangs; a second later it is killed. */
async function loseOne({ port, pids }: Accepting) {
  process.kill(pids[0]!, 'SIGSTOP')
  let killed = false
  const count = { answered_while_hung: 0, answered_later: 0, broken: 0 }
  const asked = Array.from({ length: 200 }, async () => {
    const answered = (await askOnce(port)) !== undefined
    count[answered ? (killed ? 'answered_later' : 'answered_while_hung') : 'broken']++
  })
  await sleep(1000)
  killed = true
  process.kill(pids[0]!, 'SIGKILL')
  await Promise.race([Promise.all(asked), sleep(5000)])
  return count
}

async function measureGate({ rounds, round: seconds, revocations }: WorkersOptions): Promise<object> {
  const backend = await startServer('backend.ts', [])
  const gates = [1, 2].map((workers) => ({ workers, rps: [] as number[], cpu: [] as number[] }))
  const servers: ServerProcess[] = []
  try {
    for (const { workers } of gates) {
      servers.push(
        await startServer('server.ts', [
          'enforced',
          String(backend.port),
          '--workers',
          String(workers),
          '--leases',
          '100',
        ]),
      )
    }
    const load = (at: number) => ({
      port: servers[at]!.port,
      request: requestText(servers[at]!.token!),
      connections,
      seconds,
    })
    for (const at of gates.keys()) await closedLoop(load(at))
    for (let n = 0; n < rounds; n++) {
      for (const [at, gate] of gates.entries()) {
        const pids = servers[at]!.pids!
        const before = cpuUs(pids)
        const rps = await closedLoop(load(at))
        gate.rps.push(round(rps))
        gate.cpu.push(round((cpuUs(pids) - before) / (rps * seconds)))
      }
    }
    const ratios = spread(gates[1]!.rps.map((rps, n) => round(rps / gates[0]!.rps[n]!)))
    const rows = gates.map(({ workers, rps, cpu }) => [workers, spread(rps).median, spread(cpu).median])
    printTable(['workers', 'requests/s', 'CPU µs/request'], rows)
    console.log(`two against one: ${ratios.median} (${ratios.min} to ${ratios.max})`)
    const propagation = await measureRevocations(servers[1]!, load(1), revocations)
    const of = ({ rps, cpu }: (typeof gates)[number]) => ({
      rps: spread(rps),
      cpu_us_per_request: spread(cpu),
    })
    return { one: of(gates[0]!), two: of(gates[1]!), two_against_one: ratios, propagation_ms: propagation }
  } finally {
    for (const server of [...servers, backend]) await server.stop()
  }
}

/** CPU time of processes in user and kernel mode (proc_pid_stat(5), ticks of 10 ms). */
function cpuUs(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  })
  return ticks.reduce((all, each) => all + each, 0) * 10_000
}

/**
 * From the acknowledgement of a revocation to the end of the first answer that refuses the lease, on a connection to
 * each worker, on which requests follow one another; the gate meanwhile serves `loadPerSecond` other requests a second.
 */
async function measureRevocations(
  { port, pids = [], tokens = [], control }: ServerProcess,
  load: Load,
  count: number,
): Promise<object> {
  const probes: Probe[] = []
  for (const pid of pids) {
    const others = pids.filter((other) => other !== pid)
    // What connects while the others are stopped is this one's.
    for (const other of others) process.kill(other, 'SIGSTOP')
    const probe = await Probe.open(port)
    await probe.ask(load.request as Buffer)
    probes.push(probe)
    for (const other of others) process.kill(other, 'SIGCONT')
  }
  const over = new AbortController()
  const busy = (async () => {
    while (!over.signal.aborted) await fixedRate({ ...load, seconds: 1 }, loadPerSecond)
  })()
  const took: number[] = []
  for (const token of tokens.slice(0, count)) {
    let acknowledged = Number.POSITIVE_INFINITY
    const request = requestText(token)
    const refused = probes.map(async (probe) => {
      while ((await probe.ask(request)) === 200);
      return performance.now()
    })
    await sleep(5)
    await revoke(control!, token)
    acknowledged = performance.now()
    for (const at of await Promise.all(refused)) took.push(Math.max(0, at - acknowledged))
  }
  over.abort()
  await busy
  for (const probe of probes) probe.close()
  const sorted = Float64Array.from(took)
  const { p50, p99 } = percentiles(sorted)
  const result = { p50, p99, max: round(sorted.at(-1)!), revocations: count }
  console.log(`acknowledged to refused, two workers: p50 ${p50} ms, p99 ${p99} ms, max ${result.max} ms`)
  return result
}

async function revoke(control: NonNullable<ServerProcess['control']>, token: string): Promise<void> {
  const { lease } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as {
    lease: { id: string }
  }
  const { status } = await fetch(`http://127.0.0.1:${control.port}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${control.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ lease: lease.id, reason: 'benchmark' }),
  })
  if (status !== 201) throw new Error(`a revocation was answered with ${status}`)
}

/** One connection on which requests follow one another. */
class Probe {
  readonly #socket: Socket
  #text = ''
  #answered: ((status: number) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      this.#text += chunk
      const end = this.#text.indexOf('\r\n\r\n')
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#text)?.[1])
      if (end < 0 || this.#text.length < end + 4 + length) return
      const status = Number(this.#text.slice(9, 12))
      this.#text = ''
      this.#answered?.(status)
    })
  }

  static async open(port: number): Promise<Probe> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Probe(socket)
  }

  /** Its status. */
  ask(request: Buffer): Promise<number> {
    return new Promise((resolve) => {
      this.#answered = resolve
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}

if (import.meta.main) {
  const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values
  const options = quick ? { rounds: 1, round: 1, revocations: 20 } : { rounds: 3, round: 2, revocations: 100 }
  const result = await measureWorkers(options)
  if (!quick) writeResult('workers', result)
}
