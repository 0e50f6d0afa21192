// In: how much to measure. Out: how long one exchange takes and how many a second one core makes, each lease on
// disk before its token is answered; what a storm of renewals does to a gate in another process on the same
// file. The broker has one core to itself but for the client, which sends what was signed before.
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { type BenchAgent, type Binding, exchangeFixture } from './exchange_fixture.ts'
import type { GateLoad } from './gate_load.ts'
import { fixedRate, sendAll } from './load.ts'
import { type Percentiles, percentiles, printTable, round, spread, writeResult } from './numbers.ts'
import { message, pin, type ServerProcess, startServer, twoCores } from './process.ts'

/** `exchanges` and `leases` are counts, `latency` is seconds at a fixed rate. */
export interface ExchangeOptions {
  readonly rounds: number
  readonly exchanges: number
  readonly latency: number
  readonly leases: number
}

/** Requests a second that the gate serves beside the storm. */
const gateRate = 500
/** Seconds that one measurement of the gate takes; a storm lasts longer. */
const gateSeconds = 4

/** Measures, prints tables, returns what goes into `exchange.json`. */
export async function measureExchange(options: ExchangeOptions): Promise<object> {
  const cores = twoCores()
  if (cores === undefined) console.log('not pinned: no taskset, or a single core; compare with care')
  const [gateCore, brokerCore] = cores ?? []
  const backend = await startServer('backend.ts', [], gateCore)
  const { fixture, agent } = await exchangeFixture(backend.port)
  using _ = fixture
  const servers = [backend]
  try {
    const broker = await startServer('exchange_server.ts', ['broker', fixture.dir], brokerCore)
    servers.push(broker)
    // Here nothing but the client is on the other core.
    pin(process.pid, gateCore)
    const alone = await measureAlone(broker, agent, options)
    const gate = await startServer('exchange_server.ts', ['gate', fixture.dir], gateCore)
    servers.push(gate)
    pin(process.pid, brokerCore)
    return { ...alone, storm: await measureStorm({ broker, gate, gateCore }, agent, options) }
  } finally {
    for (const server of servers) await server.stop()
  }
}

interface Alone {
  readonly issues_per_second: ReturnType<typeof spread>
  readonly cpu_us: number
  readonly one_at_a_time: Percentiles
  readonly at_fixed_rate: Percentiles
  readonly fixed_rate: number
}

/** Exchanges with nobody else on the file. */
async function measureAlone(
  broker: ServerProcess,
  agent: BenchAgent,
  { rounds, exchanges, latency }: ExchangeOptions,
): Promise<Readonly<Record<Binding, Alone>>> {
  const many = (count: number, binding: Binding) =>
    Array.from({ length: count }, (_, n) => agent.exchange(n, binding))
  const { port } = broker
  const measure = async (binding: Binding): Promise<Alone> => {
    await sendAll({ port, connections: 32 }, many(exchanges, binding))
    const rates: number[] = []
    const before = await broker.usage()
    for (let n = 0; n < rounds; n++) {
      const { seconds } = await sendAll({ port, connections: 32 }, many(exchanges, binding))
      rates.push(round(exchanges / seconds))
    }
    const after = await broker.usage()
    const fixed_rate = Math.round(Math.min(...rates) / 20) * 10
    return {
      issues_per_second: spread(rates),
      cpu_us: round((after.cpuUs - before.cpuUs) / (rounds * exchanges)),
      one_at_a_time: await oneAtATime(port, many(exchanges / 4, binding)),
      at_fixed_rate: await atRate(port, many(fixed_rate * latency + 1, binding), fixed_rate, latency),
      fixed_rate,
    }
  }
  const result = { bearer: await measure('bearer'), dpop: await measure('dpop') }
  printTable(
    ['exchange', 'issues/s', 'min', 'max', 'CPU µs', 'p50 ms alone', 'p99', 'at rate', 'p50 ms', 'p99'],
    Object.entries(result).map(([binding, each]) => [
      binding,
      ...[each.issues_per_second.median, each.issues_per_second.min, each.issues_per_second.max, each.cpu_us],
      ...[each.one_at_a_time.p50, each.one_at_a_time.p99],
      ...[each.fixed_rate, each.at_fixed_rate.p50, each.at_fixed_rate.p99],
    ]),
  )
  return result
}

/** The next one is sent when an answer is in. Milliseconds. */
async function oneAtATime(port: number, requests: readonly Buffer[]): Promise<Percentiles> {
  const { took } = await sendAll({ port, connections: 1 }, requests)
  return percentiles(took)
}

/** Requests are due by the clock: what waits is counted as waiting. Milliseconds. */
async function atRate(
  port: number,
  requests: readonly Buffer[],
  perSecond: number,
  seconds: number,
): Promise<Percentiles> {
  let sent = 0
  const request = () => requests[sent++]!
  return percentiles(await fixedRate({ port, request, connections: 32, seconds }, perSecond))
}

interface Apart {
  readonly broker: ServerProcess
  readonly gate: ServerProcess
  readonly gateCore: string | undefined
}

/** Every lease is renewed as fast as the broker answers, while the gate serves a steady rate; in turns with peace. */
async function measureStorm(
  { broker, gate, gateCore }: Apart,
  agent: BenchAgent,
  { rounds, leases }: ExchangeOptions,
): Promise<object> {
  const client = fork(join(import.meta.dirname, 'gate_load.ts'))
  pin(client.pid!, gateCore)
  await message(client)
  const send = (requests: readonly Buffer[]) => sendAll({ port: broker.port, connections: 64 }, requests)
  const issue = (count: number, binding: Binding) =>
    Array.from({ length: count }, (_, n) => agent.exchange(n, binding))
  const all = await send(issue(leases, 'dpop'))
  const tokens = all.bodies.map(tokenOf)
  const measureGate = async (seconds: number): Promise<Percentiles> => {
    const token = tokenOf((await send(issue(1, 'bearer'))).bodies[0]!)
    const load: GateLoad = { port: gate.port, token, perSecond: gateRate, seconds }
    client.send(load)
    return (await message(client)) as Percentiles
  }
  try {
    await measureGate(gateSeconds)
    const [peace, storm, renewals]: number[][] = [[], [], []]
    for (let n = 0; n < rounds; n++) {
      peace!.push((await measureGate(gateSeconds)).p99)
      const requests = tokens.map((token, at) => agent.renewal(at, token))
      const measured = measureGate(gateSeconds)
      let isOver = false
      const renewed = send(requests).finally(() => {
        isOver = true
      })
      storm!.push((await measured).p99)
      if (isOver) throw new Error('the storm was over before the gate had been measured')
      const { seconds, bodies } = await renewed
      renewals!.push(round(leases / seconds))
      for (const [at, body] of bodies.entries()) tokens[at] = tokenOf(body)
    }
    return reportStorm({ peace: peace!, storm: storm!, renewals: renewals! }, leases)
  } finally {
    client.disconnect()
  }
}

function reportStorm(
  { peace, storm, renewals }: Readonly<Record<'peace' | 'storm' | 'renewals', readonly number[]>>,
  leases: number,
): object {
  const ratio = spread(storm.map((p99, at) => round(p99 / peace[at]!)))
  printTable(
    [`gate, p99 at ${gateRate}/s`, 'median', 'min', 'max'],
    [
      ['in peace, ms', ...Object.values(spread(peace))],
      [`while ${leases} leases are renewed, ms`, ...Object.values(spread(storm))],
      ['ratio', ...Object.values(ratio)],
      ['renewals/s', ...Object.values(spread(renewals))],
    ],
  )
  return {
    leases,
    gate_rate: gateRate,
    peace_p99_ms: spread(peace),
    storm_p99_ms: spread(storm),
    ratio,
    renewals_per_second: spread(renewals),
  }
}

function tokenOf(body: string): string {
  const { access_token: token } = JSON.parse(body) as { readonly access_token?: unknown }
  if (typeof token !== 'string') throw new Error('an answer without a token')
  return token
}

if (import.meta.main) {
  writeResult('exchange', await measureExchange({ rounds: 5, exchanges: 4_000, latency: 10, leases: 10_000 }))
}
