// In: how long to measure. Out: what several processes on one port do under each way of handing connections out, what
// becomes of connections when one of them hangs and dies, and the gate with two workers against the gate with one.
// Load generator and backend take part of the same cores: compare ratios, and CPU per request before all.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureAccepting } from './accepting_ways.ts'
import { compilePolicy } from './fixture.ts'
import { closedLoop } from './load.ts'
import { printTable, round, spread, writeResult } from './numbers.ts'
import { type ServerProcess, startServer } from './process.ts'
import { requestText } from './throughput.ts'
import { revokeUnderLoad } from './worker_revocations.ts'

const connections = 64

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
    const propagation = await revokeUnderLoad(servers[1]!)
    const of = ({ rps, cpu }: (typeof gates)[number]) => ({
      rps: spread(rps),
      cpu_us_per_request: spread(cpu),
    })
    return { one: of(gates[0]!), two: of(gates[1]!), two_against_one: ratios, ...propagation }
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

if (import.meta.main) {
  const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values
  const options = quick ? { rounds: 1, round: 1, revocations: 20 } : { rounds: 3, round: 2, revocations: 100 }
  const result = await measureWorkers(options)
  if (!quick) writeResult('workers', result)
}
