// In: a store, and gates in processes of their own that serve requests all the time. Out: how long a revocation takes
// to be acknowledged, how long after that another process refuses the lease, and how long an agent that calls
// without a pause is still served. On one machine, and on two (network namespaces).
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { redisServerPath } from '../scripts/redis.ts'
import type { Revocation } from '../src/ports.ts'
import { type GateProcess, layShared, type Machine, startGateProcess } from '../test/faults/gate_process.ts'
import { startCountingBackend, Traffic } from '../test/faults/traffic.ts'
import { type FaultProxy, startFaultProxy } from '../test/support/fault_proxy.ts'
import { grantsFor, publicOrigin } from '../test/support/gate.ts'
import { openMachine, type TestMachine } from '../test/support/machines.ts'
import { startRedis } from '../test/support/redis.ts'
import { type Json, type TestIssuer, testIssuer } from '../test/support/tokens.ts'
import { percentiles, printTable, round } from './numbers.ts'
import { message } from './process.ts'
import { open, type Place, prefix, type Refused } from './revocation_store.ts'

interface Durations {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** One set-up. */
interface Propagation {
  /** From the acknowledgement until the view of another process refuses; 0 where it did so before. */
  readonly propagation_ms: Durations
  /** From the acknowledgement until an agent of another gate that calls without a pause has its first refusal. */
  readonly first_refusal_ms: Durations
  /** From the call of `revoke` to its acknowledgement. */
  readonly acknowledged_ms: Durations
  readonly revocations: number
  /** Requests a second that the two gates were asked meanwhile, beside those of that agent. */
  readonly requests_per_second: number
}

interface SetUp {
  /** Where this process writes. */
  readonly here: Place
  readonly gates: readonly { readonly place: Place; readonly machine?: TestMachine }[]
  /** Members of `state.redis` of the gates. */
  readonly more?: Json
  close(): Promise<void>
}

const requestsPerSecond = 200

/** `count` revocations for each set-up that this machine can have; what it cannot is said and left out. */
export async function measurePropagation(count: number): Promise<Record<string, Propagation>> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  const issuer = testIssuer({ audience: publicOrigin })
  await layShared(dir, issuer)
  const results: Record<string, Propagation> = {}
  try {
    for (const [name, openSetUp] of Object.entries(setUps)) {
      const setUp = await openSetUp(dir)
      if (setUp === undefined) continue
      results[name] = await measure(setUp, { dir, issuer, count }).finally(() => setUp.close())
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
  report(results)
  return results
}

const setUps: Readonly<Record<string, (dir: string) => Promise<SetUp | undefined>>> = {
  async embedded_2_processes(dir) {
    const place = { path: join(dir, 'state.db') }
    return { here: place, gates: [{ place }, { place }], close: async () => {} }
  },
  redis_2_processes: () => onRedis(),
  redis_2_processes_strict: () => onRedis([], { strict: true }),
  async redis_2_machines() {
    const machines = [openMachine(), openMachine()]
    const found = machines.filter((machine) => machine !== undefined)
    if (found.length === 2) return onRedis(found)
    for (const machine of found) machine.close()
    console.log('two machines are not measured: network namespaces need root')
    return undefined
  },
}

/** Two gates on one Redis, here or on machines of their own. */
async function onRedis(machines: readonly TestMachine[] = [], more: Json = {}): Promise<SetUp | undefined> {
  if (redisServerPath() === undefined) {
    console.log('no redis-server on PATH: Redis is not measured')
    return undefined
  }
  const redis = await startRedis(machines.length > 0 ? ['--bind', '*', '--protected-mode', 'no'] : [])
  const { port } = new URL(redis.url)
  const away = machines.map((machine) => ({
    place: { url: `redis://${machine.storeSide}:${port}` },
    machine,
  }))
  const here = { url: redis.url }
  return {
    here,
    gates: away.length > 0 ? away : [{ place: here }, { place: here }],
    more,
    async close() {
      for (const machine of machines) machine.close()
      await redis.stop()
    },
  }
}

interface Run {
  readonly dir: string
  readonly issuer: TestIssuer
  readonly count: number
}

async function measure(setUp: SetUp, run: Run): Promise<Propagation> {
  const traffic = new Traffic()
  const backend = await startCountingBackend()
  const gates: GateProcess[] = []
  const relays: FaultProxy[] = []
  let peer: ChildProcess | undefined
  const store = await open(setUp.here)
  try {
    for (const [at, { place, machine }] of setUp.gates.entries()) {
      const relay = await startFaultProxy({ host: '127.0.0.1', port: backend.port }, machine?.agentsSide)
      relays.push(relay)
      gates.push(await startGate({ name: `gate${at}`, place, machine, relay, more: setUp.more }, run))
    }
    const observed = setUp.gates[1]!
    peer = startPeer(observed.place, observed.machine)
    await message(peer)
    const background = lease(run.issuer, 'background')
    for (const gate of gates) traffic.run(gate, requestsPerSecond / gates.length, () => background)
    const durations = { propagation: [], refusal: [], acknowledged: [] } as Record<string, number[]>
    for (let n = 0; n < run.count; n++) {
      const one = await revokeOnce(lease(run.issuer, `${n}`), { store, peer, traffic, gate: gates[1]! })
      for (const [name, ms] of Object.entries(one)) durations[name]!.push(ms)
      // Away from the rhythm of the poll, so that every phase of it is met.
      await sleep(1 + ((n * 7) % 11))
    }
    return {
      propagation_ms: durationsOf(durations.propagation!),
      first_refusal_ms: durationsOf(durations.refusal!),
      acknowledged_ms: durationsOf(durations.acknowledged!),
      revocations: run.count,
      requests_per_second: requestsPerSecond,
    }
  } finally {
    await traffic.stop()
    peer?.disconnect()
    await Promise.all(gates.map((gate) => gate.kill()))
    await Promise.all(relays.map((relay) => relay.close()))
    await store.close()
    await backend.close()
  }
}

interface Parties {
  readonly store: Awaited<ReturnType<typeof open>>
  readonly peer: ChildProcess
  readonly traffic: Traffic
  readonly gate: GateProcess
}

/** Revokes one lease while its agent calls `gate` without a pause. Milliseconds after the acknowledgement. */
async function revokeOnce(
  held: { readonly id: string; readonly token: string },
  { store, peer, traffic, gate }: Parties,
): Promise<{ propagation: number; refusal: number; acknowledged: number }> {
  const first = await traffic.ask(gate, held)
  if (first.status !== 200) throw new Error(`the lease was refused before it was revoked: ${first.code}`)
  const refused = (async () => {
    for (;;) {
      const { code, answeredMs } = await traffic.ask(gate, held)
      if (code === 'lease_revoked') return answeredMs
    }
  })()
  const heard = message(peer)
  const calledNs = process.hrtime.bigint()
  await store.revocations.revoke(entry(held.id))
  const doneNs = process.hrtime.bigint()
  const doneMs = performance.now()
  const answer = (await heard) as Refused
  if (answer.value !== held.id) throw new Error('the other process saw another revocation')
  return {
    propagation: Math.max(0, Number(BigInt(answer.atNs) - doneNs) / 1e6),
    refusal: Math.max(0, (await refused) - doneMs),
    acknowledged: Number(doneNs - calledNs) / 1e6,
  }
}

interface GateAt {
  readonly name: string
  readonly place: Place
  readonly machine: TestMachine | undefined
  /** The backend as it reaches it. */
  readonly relay: FaultProxy
  readonly more: Json | undefined
}

function startGate(
  { name, place, machine, relay, more }: GateAt,
  { dir, issuer }: Run,
): Promise<GateProcess> {
  const own = join(dir, name)
  mkdirSync(own, { recursive: true })
  const state: Json =
    'path' in place ? { path: place.path } : { store: 'redis', redis: { url: place.url, prefix, ...more } }
  const where: { machine?: Machine } = machine === undefined ? {} : { machine }
  const backendUrl = `http://${relay.host}:${relay.port}`
  return startGateProcess({ name, dir: own, shared: dir, issuer, backendUrl, state, ...where })
}

/** The observing process, on the machine of the gate. */
function startPeer(place: Place, machine: TestMachine | undefined): ChildProcess {
  const file = join(import.meta.dirname, 'revocation_peer.ts')
  const [command, ...args] = [...(machine?.prefix ?? []), process.execPath, file, JSON.stringify(place)]
  const peer = spawn(command!, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  peer.once('exit', (code) => {
    if (code !== 0 && code !== null) console.error(`the observing process ended with ${code}`)
  })
  return peer
}

function lease(issuer: TestIssuer, name: string): { id: string; token: string } {
  const id = `lse_${name}`
  const { lease: usual } = issuer.claims() as { lease: Json }
  const authorization_details = grantsFor('crm', ['customer/*'])
  return { id, token: issuer.token({ jti: `ltk_${name}`, authorization_details, lease: { ...usual, id } }) }
}

function entry(value: string): Revocation {
  const cutoff = Number.MAX_SAFE_INTEGER
  const at = Math.floor(Date.now() / 1000)
  return { scope: 'lease', value, cutoff, expiresAt: 9_999_999_999, reason: 'benchmark', by: 'bench', at }
}

function durationsOf(values: readonly number[]): Durations {
  const sorted = Float64Array.from(values)
  return { ...percentiles(sorted), max: round(sorted.at(-1)!) }
}

function report(results: Readonly<Record<string, Propagation>>): void {
  const cells = ({ p50, p99, max }: Durations) => [p50, p99, max]
  printTable(
    [
      'revoked, then ms',
      'in another view p50',
      'p99',
      'max',
      'first refusal p50',
      'p99',
      'max',
      'acknowledged p50',
      'p99',
      'max',
    ],
    Object.entries(results).map(([name, each]) => [
      name,
      ...cells(each.propagation_ms),
      ...cells(each.first_refusal_ms),
      ...cells(each.acknowledged_ms),
    ]),
  )
}
