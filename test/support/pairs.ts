// Two gates that share a store, as people run them, in front of one backend: two workers of one machine, and two
// machines. Their agents, operators and records. Never asks them anything but through their sockets and files.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type GateProcess, layShared, startGateProcess } from '../faults/gate_process.ts'
import type { TestServer } from './backends.ts'
import { startFaultProxy } from './fault_proxy.ts'
import { authority, grantsFor, publicOrigin } from './gate.ts'
import { openMachine } from './machines.ts'
import { RawConnection } from './raw.ts'
import { startRedis } from './redis.ts'
import { type Json, testIssuer } from './tokens.ts'
import { TwoWorkers } from './workers.ts'

export interface Pair {
  /** What agents send in Host. */
  readonly authority: string
  /** Of a lease of its own that may read and update customer 9821. */
  token(constraints: Json, id?: string): string
  /** `count` connections to each, those to the first before the others. */
  connections(count: number): Promise<RawConnection[]>
  /** At the first of the two; the status of the answer. */
  revoke(ask: Readonly<Record<string, string>>): Promise<number | undefined>
  /** Whole lines of the audit files. */
  audit(): Json[]
  close(): Promise<void>
}

export interface PairOptions {
  readonly backend: TestServer
  readonly operations: readonly Json[]
}

let leases = 0

/** Two workers on one SQLite file. */
export async function openWorkers({ backend, operations }: PairOptions): Promise<Pair> {
  const gate = await TwoWorkers.start({}, { url: backend.url, operations })
  return {
    authority: `127.0.0.1:${gate.port}`,
    token: (constraints, id = `lse_pair_${leases++}`) => gate.token({}, constraints, id),
    async connections(count) {
      const [first, second] = await gate.pids()
      return [...(await gate.connections(first, count)), ...(await gate.connections(second, count))]
    },
    revoke: async (ask) => (await gate.revoke(ask)).status,
    audit: () => linesOf(gate.place.path('data/audit.jsonl')),
    close: () => gate[Symbol.asyncDispose](),
  }
}

/** A gate each in two network namespaces, on one Redis; without root, which is said, both on this machine. */
export async function openMachines(options: PairOptions): Promise<Pair> {
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    return { ...(await startMachines(options, closers)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function startMachines(options: PairOptions, closers: (() => unknown)[]): Promise<Omit<Pair, 'close'>> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-pair-'))
  closers.push(() => rmSync(dir, { recursive: true }))
  const issuer = testIssuer({ audience: publicOrigin })
  await layShared(dir, issuer)
  const redis = await startRedis(['--bind', '*', '--protected-mode', 'no'])
  closers.push(() => redis.stop())
  const gates: GateProcess[] = []
  for (const name of ['A', 'B']) {
    const place = { name, dir: join(dir, name), shared: dir, issuer }
    gates.push(await startMachine({ ...place, ...options, redisPort: redis.port }, closers))
  }
  const { lease } = issuer.claims() as { lease: Json }
  return {
    authority,
    token(constraints, id = `lse_pair_${leases++}`) {
      const [grant] = grantsFor('crm', ['customer/9821'])
      return issuer.token({
        jti: `ltk_${id}`,
        authorization_details: [{ ...grant, constraints }],
        lease: { ...lease, id, stage: 'execute' },
      })
    },
    async connections(count) {
      const all = gates.map(({ host, port }) =>
        Promise.all(Array.from({ length: count }, () => RawConnection.open(port, host))),
      )
      return (await Promise.all(all)).flat()
    },
    revoke: (ask) => gates[0]!.revoke({ reason: 'leaked', ...ask }),
    audit: () => gates.flatMap(({ name }) => linesOf(join(dir, name, `${name}.jsonl`))),
  }
}

type Parts = Pick<Parameters<typeof startGateProcess>[0], 'name' | 'dir' | 'shared' | 'issuer'>

async function startMachine(
  { redisPort, backend, ...parts }: Parts & PairOptions & { readonly redisPort: number },
  closers: (() => unknown)[],
): Promise<GateProcess> {
  const machine = openMachine()
  if (machine === undefined) console.warn('network namespaces need root: both gates are on this machine')
  else closers.push(() => machine.close())
  const relay = await startFaultProxy({ host: '127.0.0.1', port: backend.port }, machine?.agentsSide)
  closers.push(() => relay.close())
  mkdirSync(parts.dir)
  const gate = await startGateProcess({
    ...parts,
    backendUrl: `http://${relay.host}:${relay.port}`,
    state: { store: 'redis', redis: { url: `redis://${machine?.storeSide ?? '127.0.0.1'}:${redisPort}` } },
    ...(machine !== undefined && { machine }),
  })
  closers.push(() => gate.kill())
  return gate
}

function linesOf(file: string): Json[] {
  const lines = readFileSync(file, 'utf8').split('\n')
  // What follows the last line break is a line that is still being written.
  lines.pop()
  return lines.map((line) => JSON.parse(line) as Json)
}
