// In: how long to measure. Out: what a policy in shadow costs the gate: requests per second and CPU with it off,
// on, and far too slow, in turns in one run; the main thread's share for one question; what is dropped.
import { setTimeout as sleep } from 'node:timers/promises'
import { openPolicy } from '../src/policy/live.ts'
import { sampleInput } from '../src/policy/sample.ts'
import { ShadowPolicy } from '../src/policy/shadow.ts'
import { directorySource } from '../src/policy/source.ts'
import { Fixture } from './fixture.ts'
import { closedLoop } from './load.ts'
import { printTable, round, spread, writeResult } from './numbers.ts'
import { pin, type ServerProcess, startServer, twoCores, unpin } from './process.ts'
import { requestText, type Sample, sample } from './throughput.ts'

const kinds = ['enforced', 'shadowed', 'overloaded'] as const

/** Seconds, but for `rounds`. */
interface ShadowOptions {
  readonly warmUp: number
  readonly rounds: number
  readonly round: number
}

/** Measures, prints tables, returns what goes into `shadow.json`. */
export async function measureShadow(options: ShadowOptions): Promise<object> {
  const main_us_per_question = round(await mainThreadUs(100_000))
  console.log(`one question costs the main thread ${main_us_per_question} µs`)
  const cores = twoCores()
  if (cores === undefined) console.log('not pinned: no taskset, or a single core; compare with care')
  pin(process.pid, cores?.[1])
  const backend = await startServer('backend.ts', [], cores?.[1])
  const servers: ServerProcess[] = []
  try {
    for (const kind of kinds)
      servers.push(await startServer('server.ts', [kind, String(backend.port)], cores?.[0]))
    return { main_us_per_question, ...(await measureInTurns(servers, options)) }
  } finally {
    for (const server of [...servers, backend]) await server.stop()
    unpin()
  }
}

async function measureInTurns(servers: readonly ServerProcess[], options: ShadowOptions): Promise<object> {
  const load = (server: ServerProcess, seconds: number) => ({
    request: requestText(server.token!),
    connections: 32,
    port: server.port,
    seconds,
  })
  for (const server of servers) await closedLoop(load(server, options.warmUp))
  const rounds: Sample[][] = []
  for (let n = 1; n <= options.rounds; n++) {
    console.log(`  round ${n} of ${options.rounds}`)
    const round: Sample[] = []
    for (const server of servers) round.push(await sample(server, load(server, options.round)))
    rounds.push(round)
  }
  const rows = await Promise.all(
    servers.map(async (server, at) => {
      const samples = rounds.map((round) => round[at]!)
      const median = (of: (one: Sample) => number) => round(spread(samples.map(of)).median)
      return {
        rps: median(({ rps }) => rps),
        cpu_us: median(({ cpuUs }) => cpuUs),
        main_us: median(({ mainUs }) => mainUs),
        dropped_percent: round(100 * (await droppedShare(server))),
      }
    }),
  )
  printTable(
    ['shadow', 'requests/s', 'CPU µs/request', 'of it the main thread', 'dropped %'],
    rows.map((row, at) => [kinds[at]!, row.rps, row.cpu_us, row.main_us, row.dropped_percent]),
  )
  return Object.fromEntries(rows.map((row, at) => [kinds[at]!, row]))
}

/** Of all questions so far; 0 where none was asked. */
async function droppedShare(server: ServerProcess): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${server.metrics}/metrics`)).text()
  const count = (result: string) =>
    Number(
      new RegExp(`shadow_decisions_total\\{source="candidate",result="${result}"\\} (\\d+)`).exec(
        text,
      )?.[1] ?? 0,
    )
  const dropped = count('dropped')
  const asked = count('same') + count('different') + count('fault')
  return dropped === 0 ? 0 : dropped / (dropped + asked)
}

/** CPU of the main thread for handing over one question and taking the answer, microseconds. */
async function mainThreadUs(count: number): Promise<number> {
  using fixture = new Fixture(1)
  const source = directorySource(fixture.config.policy.dir, { reload: 'never' })
  const live = await openPolicy({ source, onEvent: () => undefined })
  const policy = new ShadowPolicy({ onDifference: () => undefined, onFailed: fail })
  try {
    const inputs = Array.from({ length: 64 }, (_, n) => inputAt(sampleInput.context.now + n))
    policy.use(live.module)
    const run = async (questions: number) => {
      const end = policy.counts.same + questions
      while (policy.counts.same < end) {
        const burst = Math.min(2048, end - policy.counts.same)
        const answered = policy.counts.same + burst
        for (let n = 0; n < burst; n++) {
          const input = inputs[n % inputs.length]!
          policy.ask({ input, answer: allow, decisionId: 'dec_', policyDigest: live.current.digest })
        }
        while (policy.counts.same < answered) await sleep(5)
      }
    }
    await run(count / 10)
    const before = process.threadCpuUsage()
    await run(count)
    const { user, system } = process.threadCpuUsage(before)
    return (user + system) / count
  } finally {
    await policy.close()
    await live.close()
  }
}

const allow = { effect: 'allow', reasons: [] } as const

function fail(reason: string): never {
  throw new Error(reason)
}

function inputAt(now: number): string {
  return JSON.stringify({ ...sampleInput, context: { ...sampleInput.context, now } })
}

if (import.meta.main) writeResult('shadow', await measureShadow({ warmUp: 4, rounds: 5, round: 3 }))
