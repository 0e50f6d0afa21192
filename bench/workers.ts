// In: how long to measure. Out: what several processes on one port do under each way of handing connections out, what
// becomes of connections when one of them hangs and dies, and the gate with two workers against the gate with one.
// Load generator and backend take part of the same cores: compare ratios, and CPU per request before all.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { measureAccepting } from './accepting_ways.ts'
import { compilePolicy } from './fixture.ts'
import { closedLoop, fixedRate, type Load } from './load.ts'
import { percentiles, printTable, round, spread, writeResult } from './numbers.ts'
import { Probe } from './probe.ts'
import { type ServerProcess, startServer } from './process.ts'
import { requestText } from './throughput.ts'

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

async function measureGate({ rounds, round: seconds, revocations }: WorkersOptions): Promise<object> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  const policy = await compilePolicy(join(dir, 'policy.wasm'))
  const backend = await startServer('backend.ts', [])
  const gates = [1, 2].map((workers) => ({ workers, rps: [] as number[], cpu: [] as number[] }))
  const servers: ServerProcess[] = []
  try {
    for (const { workers } of gates) {
      const more = ['--policy', policy, '--workers', String(workers), '--leases', String(revocations)]
      servers.push(await startServer('server.ts', ['enforced', String(backend.port), ...more]))
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
    const propagation = await measureRevocations(servers[1]!, load(1))
    const of = ({ rps, cpu }: (typeof gates)[number]) => ({
      rps: spread(rps),
      cpu_us_per_request: spread(cpu),
    })
    return { one: of(gates[0]!), two: of(gates[1]!), two_against_one: ratios, propagation_ms: propagation }
  } finally {
    for (const server of [...servers, backend]) await server.stop()
    rmSync(dir, { recursive: true, force: true })
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
): Promise<object> {
  const over = new AbortController()
  const busy = (async () => {
    while (!over.signal.aborted) await fixedRate({ ...load, seconds: 1 }, loadPerSecond)
  })()
  let probes: readonly Probe[] = []
  const took: number[] = []
  for (const token of tokens) {
    probes = await openProbes({ port, pids, request: load.request as Buffer }, probes)
    const request = requestText(token)
    const refused = Promise.all(probes.map((probe) => untilRefused(probe, request)))
    await Promise.race([sleep(5), busy])
    const began = performance.now()
    await Promise.race([revoke(control!, token), busy])
    const acknowledged = performance.now()
    for (const at of await refused) {
      if (at < began) throw new Error('a lease was refused before it was revoked')
      took.push(Math.max(0, at - acknowledged))
    }
  }
  over.abort()
  await busy
  for (const probe of probes) probe.close()
  const sorted = Float64Array.from(took)
  const { p50, p99 } = percentiles(sorted)
  const result = { p50, p99, max: round(sorted.at(-1)!), revocations: tokens.length }
  console.log(`acknowledged to refused, two workers: p50 ${p50} ms, p99 ${p99} ms, max ${result.max} ms`)
  return result
}

/** One to each process: those of `known` that are still open, and new ones. */
async function openProbes(
  {
    port,
    pids,
    request,
  }: { readonly port: number; readonly pids: readonly number[]; readonly request: Buffer },
  known: readonly Probe[],
): Promise<readonly Probe[]> {
  const probes: Probe[] = []
  for (const [at, pid] of pids.entries()) {
    if (known[at]?.isOpen === true) {
      probes.push(known[at])
      continue
    }
    const others = pids.filter((other) => other !== pid)
    // What connects while the others are stopped is this one's.
    for (const other of others) process.kill(other, 'SIGSTOP')
    try {
      const probe = await Probe.open(port)
      if ((await probe.ask(request)) !== 200) throw new Error('a worker does not answer')
      probes.push(probe)
    } finally {
      for (const other of others) process.kill(other, 'SIGCONT')
    }
  }
  return probes
}

/** When it was: an answer, or the end of the connection in the middle of one. */
async function untilRefused(probe: Probe, request: Buffer): Promise<number> {
  for (;;) {
    const status = await probe.ask(request)
    if (status === 401 || status === undefined) return performance.now()
    if (status !== 200) throw new Error(`not the expected answer: ${status}`)
  }
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

if (import.meta.main) {
  const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values
  const options = quick ? { rounds: 1, round: 1, revocations: 20 } : { rounds: 3, round: 2, revocations: 100 }
  const result = await measureWorkers(options)
  if (!quick) writeResult('workers', result)
}
