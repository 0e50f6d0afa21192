// In: how long to measure. Out: what limits of a lease and strict reading cost a request, on both stores, in turns in
// one run: the gate with a lease that has none, with `max_calls`, with `max_calls` and a rate, and with `strict: true`.
// Every limit is far away, so that each call is counted and none is refused.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redisServerPath } from '../scripts/redis.ts'
import { startRedis } from '../test/support/redis.ts'
import { compilePolicy } from './fixture.ts'
import { closedLoop, fixedRate, type Load } from './load.ts'
import { percentiles, printTable, round, type Spread, spread, writeResult } from './numbers.ts'
import { pin, type ServerProcess, startServer, twoCores, unpin } from './process.ts'
import { requestText, type Sample, sample } from './throughput.ts'

/** Seconds, but for `rounds`. */
export interface LimitedOptions {
  readonly warmUp: number
  readonly rounds: number
  readonly round: number
  readonly latency: number
}

/** Requests a second at which the time of one is taken: no store is near its end there. */
const perSecond = 500

/** One sort of request to one gate. */
interface Arm {
  readonly store: string
  readonly what: string
  readonly server: ServerProcess
  readonly token: string
}

interface Measured {
  readonly rps: number
  readonly cpu_us: number
  readonly p50_ms: number
  readonly p99_ms: number
  /** CPU time per request against that of `plain` on the same store, in pairs. */
  readonly cpu_to_plain: Spread
}

/** Measures, prints a table, returns what goes into `limited.json`. */
export async function measureLimited(options: LimitedOptions): Promise<object> {
  const cores = twoCores()
  if (cores === undefined) console.log('not pinned: no taskset, or a single core; compare with care')
  pin(process.pid, cores?.[1])
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  const policy = await compilePolicy(join(dir, 'policy.wasm'))
  const redis = redisServerPath() === undefined ? undefined : await startRedis()
  if (redis === undefined) console.log('no redis-server on PATH: Redis is not measured')
  else pin(redis.pid, cores?.[1])
  const backend = await startServer('backend.ts', [], cores?.[1])
  const servers: ServerProcess[] = []
  try {
    const start = async (state: string) => {
      const args = ['enforced', String(backend.port), '--policy', policy, '--state', state]
      const server = await startServer('server.ts', args, cores?.[0])
      servers.push(server)
      return server
    }
    const states: Record<string, (more: string) => string> = {
      embedded: (more) => `store: embedded, path: ./state.db${more}`,
    }
    if (redis !== undefined) {
      // All that is measured shares two cores: an answer may take longer than a gate would usually wait.
      states.redis = (more) => `store: redis, redis: { url: "${redis.url}", max_staleness: 10s${more} }`
    }
    const arms: Arm[] = []
    for (const [store, state] of Object.entries(states)) {
      arms.push(...armsOf(store, await start(state('')), await start(state(', strict: true'))))
    }
    return await measureInTurns(arms, options)
  } finally {
    for (const server of [...servers, backend]) await server.stop()
    unpin()
    await redis?.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

function armsOf(store: string, server: ServerProcess, strict: ServerProcess): Arm[] {
  const { calls, calls_and_rate } = server.limited!
  return [
    { store, what: 'plain', server, token: server.token! },
    { store, what: 'max_calls', server, token: calls },
    { store, what: 'max_calls and max_rate', server, token: calls_and_rate },
    { store, what: 'strict', server: strict, token: strict.token! },
  ]
}

async function measureInTurns(
  arms: readonly Arm[],
  { warmUp, rounds, round: seconds, latency }: LimitedOptions,
): Promise<object> {
  const load = ({ server, token }: Arm, duration: number): Load => {
    return { port: server.port, request: requestText(token), connections: 32, seconds: duration }
  }
  for (const arm of arms) await closedLoop(load(arm, warmUp))
  const samples = arms.map((): Sample[] => [])
  for (let n = 1; n <= rounds; n++) {
    console.log(`  round ${n} of ${rounds}`)
    for (const [at, arm] of arms.entries()) samples[at]!.push(await sample(arm.server, load(arm, seconds)))
  }
  const result: Record<string, Record<string, Measured>> = {}
  let plain = samples[0]!
  for (const [at, arm] of arms.entries()) {
    if (arm.what === 'plain') plain = samples[at]!
    const took = percentiles(await fixedRate(load(arm, latency), perSecond))
    result[arm.store] ??= {}
    result[arm.store]![arm.what] = {
      rps: round(spread(samples[at]!.map(({ rps }) => rps)).median),
      cpu_us: round(spread(samples[at]!.map(({ cpuUs }) => cpuUs)).median),
      p50_ms: took.p50,
      p99_ms: took.p99,
      cpu_to_plain: spread(samples[at]!.map(({ cpuUs }, n) => round(cpuUs / plain[n]!.cpuUs))),
    }
  }
  report(result)
  return { ...result, fixed_rate: perSecond }
}

function report(result: Readonly<Record<string, Readonly<Record<string, Measured>>>>): void {
  printTable(
    ['lease', 'requests/s', 'CPU µs/request', 'against plain', `p50 ms at ${perSecond}/s`, 'p99 ms'],
    Object.entries(result).flatMap(([store, rows]) =>
      Object.entries(rows).map(([what, { rps, cpu_us, p50_ms, p99_ms, cpu_to_plain }]) => [
        `${store}: ${what}`,
        ...[rps, cpu_us, `${cpu_to_plain.median} (${cpu_to_plain.min} to ${cpu_to_plain.max})`],
        ...[p50_ms, p99_ms],
      ]),
    ),
  )
}

if (import.meta.main) {
  writeResult('limited', await measureLimited({ warmUp: 3, rounds: 5, round: 2, latency: 4 }))
}
