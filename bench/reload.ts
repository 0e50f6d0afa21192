// In: the gate under a steady load. Out: how long requests take while its policy is edited every few seconds,
// beside how long they take in peace. A request that is refused or fails ends the benchmark. Gate, compiler,
// backend and load generator share the cores that are there.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { closedLoop, fixedRate, type Load } from './load.ts'
import { percentiles, printTable, round, spread, writeResult } from './numbers.ts'
import { type ServerProcess, startServer } from './process.ts'
import { requestText } from './throughput.ts'

/** Seconds, but for `rounds` and `perSecond`. */
export interface ReloadOptions {
  readonly rounds: number
  readonly round: number
  readonly pause: number
  readonly perSecond: number
}

/** Measures in turns, prints a table, returns what goes into `reload.json`. */
export async function measureReload(options: ReloadOptions): Promise<object> {
  const backend = await startServer('backend.ts', [])
  const gate = await startServer('server.ts', ['enforced', String(backend.port)])
  try {
    return await inTurns(gate, options)
  } finally {
    await gate.stop()
    await backend.stop()
  }
}

async function inTurns(gate: ServerProcess, options: ReloadOptions): Promise<object> {
  const { port, token, dir } = gate
  if (token === undefined || dir === undefined) throw new Error('the gate has no lease or no policy')
  const load: Load = { port, request: requestText(token), connections: 32, seconds: options.round }
  await closedLoop({ ...load, seconds: 3 })
  const steady: number[] = []
  const reloading: number[] = []
  for (let n = 0; n < options.rounds; n++) {
    steady.push(percentiles(await fixedRate(load, options.perSecond)).p99)
    const edits = editEvery(options.pause, join(dir, 'policies/authz.rego'))
    reloading.push(percentiles(await fixedRate(load, options.perSecond)).p99)
    clearInterval(edits)
  }
  const { reloaded, rejected } = reloads(join(dir, 'audit.jsonl'))
  if (rejected > 0 || reloaded < options.rounds) throw new Error(`${reloaded} reloads, ${rejected} rejected`)
  const ratio = spread(reloading.map((p99, at) => round(p99 / steady[at]!)))
  printTable(
    [`p99 at ${options.perSecond}/s`, 'median ms', 'min', 'max'],
    [
      ['in peace', ...Object.values(spread(steady))],
      [`policy edited every ${options.pause} s`, ...Object.values(spread(reloading))],
      ['ratio', ...Object.values(ratio)],
    ],
  )
  console.log(`${reloaded} reloads, no request refused or failed`)
  return { steady_p99_ms: spread(steady), reloading_p99_ms: spread(reloading), ratio, reloaded, ...options }
}

/** Changes a comment, so that each edit is another policy that decides alike. */
function editEvery(seconds: number, file: string): NodeJS.Timeout {
  const source = readFileSync(file, 'utf8')
  let edits = 0
  const edit = () => writeFileSync(file, `${source}\n# edit ${++edits} of ${Date.now()}\n`)
  edit()
  return setInterval(edit, seconds * 1000)
}

/** What the audit file says came of the edits. */
function reloads(auditFile: string): { reloaded: number; rejected: number } {
  const events = readFileSync(auditFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"event":"policy"'))
  const rejected = events.filter((line) => line.includes('"rejected"')).length
  return { reloaded: events.length - rejected, rejected }
}

if (import.meta.main) {
  writeResult('reload', await measureReload({ rounds: 5, round: 12, pause: 4, perSecond: 1_000 }))
}
