// In: a file to run. Out: a process of its own, pinned to one core where the system can do that, that says
// which port it serves and what it has used so far. Both ends of that conversation are here.
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** What a process has used since it started. */
export interface Usage {
  /** Microseconds of all its threads, in user and kernel mode. */
  readonly cpuUs: number
  /** Of that, the main thread. */
  readonly mainUs: number
  readonly rssBytes: number
}

/** What a process says once it serves. */
export interface Serving {
  readonly port: number
  /** Lease token that it accepts. */
  readonly token?: string
  /** Where its configuration, policy and audit file lie. */
  readonly dir?: string
  /** Port of its metrics. */
  readonly metrics?: number
  /** Of leases whose calls are counted; none of their limits is ever reached. */
  readonly limited?: { readonly calls: string; readonly calls_and_rate: string }
  /** Of further leases alike. */
  readonly tokens?: readonly string[]
  /** Of leases that may change customers, each counted on its own. */
  readonly writers?: { readonly execute: readonly string[]; readonly draft: readonly string[] }
  /** Processes that serve agents. */
  readonly pids?: readonly number[]
  /** Port and bearer token of its operators' listener. */
  readonly control?: { readonly port: number; readonly token: string }
}

/** A server in a process of its own. */
export interface ServerProcess extends Serving {
  usage(): Promise<Usage>
  stop(): Promise<void>
}

/** The first two cores this process may use; undefined without `taskset`, or with a single core. */
export function twoCores(): readonly [string, string] | undefined {
  return ownCores
}

// Asked before anything is pinned: a measurement that confines this process must not confine the ones after it.
let ownList: string | undefined
const ownCores = readCores()

function readCores(): readonly [string, string] | undefined {
  const { status, stdout } = spawnSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' })
  if (status !== 0) return undefined
  ownList = stdout.slice(stdout.lastIndexOf(':') + 1).trim()
  const ranges = ownList.split(',')
  const cores = ranges.flatMap((range) => {
    const [from, to = from] = range.split('-').map(Number)
    return Array.from({ length: to! - from! + 1 }, (_, at) => String(from! + at))
  })
  return cores.length < 2 ? undefined : [cores[0]!, cores[1]!]
}

/** Confines a process with all its threads to `core`; does nothing when there is none to confine it to. */
export function pin(pid: number, core: string | undefined): void {
  if (core === undefined) return
  const { status, stderr } = spawnSync('taskset', ['-acp', core, String(pid)], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`taskset: ${stderr.trim()}`)
}

/** Gives this process all its cores back: what it starts inherits them. */
export function unpin(): void {
  pin(process.pid, ownList)
}

/** Runs `file` of this directory on `core` and waits until it serves. */
export async function startServer(file: string, args: string[], core?: string): Promise<ServerProcess> {
  const child = fork(join(import.meta.dirname, file), args, { execArgv: ['--disable-warning=DEP0060'] })
  pin(child.pid!, core)
  const serving = (await message(child)) as Serving
  return {
    ...serving,
    async usage() {
      child.send('usage')
      return (await message(child)) as Usage
    },
    async stop() {
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

/** The next message of `child`. Rejects when it ends instead. */
export async function message(child: ChildProcess): Promise<unknown> {
  const waiting = new AbortController()
  const exited = once(child, 'exit', waiting).then(() => {
    throw new Error('a process of the benchmark ended')
  })
  exited.catch(() => undefined)
  try {
    const [answer] = await Promise.race([once(child, 'message', waiting), exited])
    return answer
  } finally {
    waiting.abort()
  }
}

/** The other end: says that this process serves, answers what it is asked, exits once its parent lets go. */
export async function serveParent(serving: Serving): Promise<void> {
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    const main = process.threadCpuUsage()
    const usage: Usage = {
      cpuUs: user + system,
      mainUs: main.user + main.system,
      rssBytes: process.memoryUsage.rss(),
    }
    process.send?.(usage)
  })
  process.send?.(serving)
  await once(process, 'disconnect')
  setImmediate(() => process.exit())
}
