// In: a gate with two workers. Out: how long after its acknowledgement a revocation is refused by each of them, while the
// gate serves other requests: with each revocation a lease of its own that is called on both workers without a pause.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { compilePolicy } from './fixture.ts'
import { closedLoop, fixedRate } from './load.ts'
import { percentiles, round } from './numbers.ts'
import { Probe } from './probe.ts'
import { type ServerProcess, startServer } from './process.ts'
import { requestText } from './throughput.ts'

const connections = 32
const loadPerSecond = 500

/** What both workers did. */
export interface WorkerPropagation {
  /** From the acknowledgement until a worker has refused; 0 where it did so before. */
  readonly propagation_ms: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly revocations: number
  /** Beside those of the agents whose leases are revoked. */
  readonly requests_per_second: number
}

/** `count` revocations, one after the other. */
export async function measureWorkerRevocations(count: number): Promise<WorkerPropagation> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  const servers: ServerProcess[] = []
  try {
    const policy = await compilePolicy(join(dir, 'policy.wasm'))
    const backend = await startServer('backend.ts', [])
    servers.push(backend)
    const options = ['--policy', policy, '--workers', '2', '--leases', String(count)]
    const gate = await startServer('server.ts', ['enforced', String(backend.port), ...options])
    servers.unshift(gate)
    await closedLoop({ port: gate.port, request: requestText(gate.token!), connections, seconds: 2 })
    return await revokeUnderLoad(gate)
  } finally {
    for (const server of servers) await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

/**
 * From the acknowledgement of a revocation to the end of the first answer that refuses the lease, on a connection to
 * each worker, on which requests follow one another; the gate meanwhile serves `loadPerSecond` other requests a second.
 */
export async function revokeUnderLoad({
  port,
  pids = [],
  tokens = [],
  token: own,
  control,
}: ServerProcess): Promise<WorkerPropagation> {
  const request = requestText(own!)
  const load = { port, request, connections, seconds: 1 }
  const over = new AbortController()
  const busy = (async () => {
    while (!over.signal.aborted) await fixedRate(load, loadPerSecond)
  })()
  let probes: readonly Probe[] = []
  const took: number[] = []
  for (const token of tokens) {
    probes = await openProbes({ port, pids, request }, probes)
    const refused = Promise.all(probes.map((probe) => untilRefused(probe, requestText(token))))
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
  const max = round(sorted.at(-1)!)
  console.log(`acknowledged to refused, two workers: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`)
  const propagation_ms = { p50, p99, max }
  return { propagation_ms, revocations: tokens.length, requests_per_second: loadPerSecond }
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
