// In: how long to measure. Out: requests per second, latency at a fixed rate and CPU per request of three
// servers, measured in turns: http-proxy, the gate's forwarder without enforcement, the gate. Each server has
// one core to itself; backend and load generator share another.
import { target } from './fixture.ts'
import { closedLoop, fixedRate, type Load } from './load.ts'
import { percentiles, printTable, round, type Spread, spread, writeResult } from './numbers.ts'
import { pin, type ServerProcess, startServer, twoCores, unpin } from './process.ts'

const kinds = ['http_proxy', 'forwarder', 'enforced'] as const
type Kind = (typeof kinds)[number]

/** Seconds, but for `rounds`. */
export interface ThroughputOptions {
  readonly warmUp: number
  readonly rounds: number
  readonly round: number
  readonly latency: number
}

/** One server's results. */
interface Measured {
  readonly rps: Spread
  readonly cpuUs: Spread
  readonly p50_ms: number
  readonly p99_ms: number
  readonly rssBytes: number
}

/** Measures, prints a table, returns what goes into `throughput.json`. */
export async function measureThroughput(options: ThroughputOptions): Promise<object> {
  const cores = twoCores()
  if (cores === undefined) console.log('not pinned: no taskset, or a single core; compare with care')
  pin(process.pid, cores?.[1])
  const backend = await startServer('backend.ts', [], cores?.[1])
  const servers: ServerProcess[] = []
  try {
    for (const kind of kinds)
      servers.push(await startServer('server.ts', [kind, String(backend.port)], cores?.[0]))
    return await measureInTurns(servers, options)
  } finally {
    for (const server of [...servers, backend]) await server.stop()
    unpin()
  }
}

async function measureInTurns(
  servers: readonly ServerProcess[],
  options: ThroughputOptions,
): Promise<object> {
  const token = servers.find((server) => server.token !== undefined)?.token
  if (token === undefined) throw new Error('no server has a token')
  const load = { request: requestText(token), connections: 32 }
  for (const [at, { port }] of servers.entries()) {
    console.log(`  warming up ${kinds[at]}`)
    await closedLoop({ ...load, port, seconds: options.warmUp })
  }
  const rounds: Sample[][] = []
  for (let n = 1; n <= options.rounds; n++) {
    console.log(`  round ${n} of ${options.rounds}`)
    const round: Sample[] = []
    for (const server of servers)
      round.push(await sample(server, { ...load, port: server.port, seconds: options.round }))
    rounds.push(round)
  }
  const slowest = Math.min(...rounds.flat().map(({ rps }) => rps))
  // All three at the rate that the slowest of them can just about sustain half of.
  const perSecond = Math.round(slowest / 200) * 100
  const measured: Measured[] = []
  for (const [at, server] of servers.entries()) {
    console.log(`  latency of ${kinds[at]} at ${perSecond} requests/s`)
    const took = await fixedRate({ ...load, port: server.port, seconds: options.latency }, perSecond)
    const { p50, p99 } = percentiles(took)
    const samples = rounds.map((round) => round[at]!)
    const { rssBytes } = await server.usage()
    measured.push({
      rps: spread(samples.map(({ rps }) => rps)),
      cpuUs: spread(samples.map(({ cpuUs }) => cpuUs)),
      p50_ms: p50,
      p99_ms: p99,
      rssBytes,
    })
  }
  return report(measured, rounds, perSecond)
}

/** What one server did in one round. */
export interface Sample {
  readonly rps: number
  /** CPU time of the server per request, microseconds: less disturbed by what else the machine does. */
  readonly cpuUs: number
  /** Of that, the main thread. */
  readonly mainUs: number
}

/** Keeps one server busy for a while. */
export async function sample(server: ServerProcess, load: Load): Promise<Sample> {
  const before = await server.usage()
  const rps = await closedLoop(load)
  const after = await server.usage()
  const answers = rps * load.seconds
  return {
    rps,
    cpuUs: (after.cpuUs - before.cpuUs) / answers,
    mainUs: (after.mainUs - before.mainUs) / answers,
  }
}

/** As agents' HTTP clients send it. */
export function requestText(token: string): Buffer {
  const lines = [
    `GET ${target} HTTP/1.1`,
    'Host: gate.bench',
    'Accept: application/json',
    'Accept-Encoding: gzip, deflate, br',
    'Connection: keep-alive',
    'User-Agent: support-triage/3.2.1',
    `Authorization: Bearer ${token}`,
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
}

function report(measured: readonly Measured[], rounds: readonly Sample[][], perSecond: number): object {
  printTable(
    ['server', 'requests/s', 'CPU µs/request', `p50 ms at ${perSecond}/s`, 'p99 ms', 'RSS MB'],
    measured.map((one, at) => [
      kinds[at]!,
      round(one.rps.median),
      round(one.cpuUs.median),
      one.p50_ms,
      one.p99_ms,
      Math.round(one.rssBytes / 1e6),
    ]),
  )
  const ratio = (over: Kind) => {
    const at = kinds.indexOf(over)
    const by = (of: (enforced: Sample, other: Sample) => number) => {
      const { median, min, max } = spread(rounds.map((each) => of(each[2]!, each[at]!)))
      return { median: round(median), min: round(min), max: round(max) }
    }
    const rps = by((enforced, other) => enforced.rps / other.rps)
    const cpu = by((enforced, other) => other.cpuUs / enforced.cpuUs)
    console.log(`enforced / ${over}: ${rps.median} by requests/s (${rps.min} to ${rps.max})`)
    console.log(`${' '.repeat(over.length + 12)}${cpu.median} by CPU time (${cpu.min} to ${cpu.max})`)
    return { rps, cpu }
  }
  const rows = measured.map((one, at) => {
    const { p50_ms, p99_ms } = one
    const rps = round(one.rps.median)
    const cpu_us = round(one.cpuUs.median)
    return [kinds[at]!, { rps, p50_ms, p99_ms, cpu_us, rss_mb: Math.round(one.rssBytes / 1e6) }]
  })
  return {
    ...Object.fromEntries(rows),
    ratios: { enforced_to_http_proxy: ratio('http_proxy'), enforced_to_forwarder: ratio('forwarder') },
    fixed_rate: perSecond,
  }
}

if (import.meta.main) {
  writeResult('throughput', await measureThroughput({ warmUp: 4, rounds: 5, round: 3, latency: 4 }))
}
