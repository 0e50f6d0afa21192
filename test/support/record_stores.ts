// In: nothing. Out: a state of each kind of store for a test, which this process and others open. Never a stand-in.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { startRedis, type TestRedis } from './redis.ts'

/** One state, and who has it open. */
export interface RecordStore {
  /** For another process, as JSON. */
  readonly where: string
  /** Of Redis: the server, and what is put before every key. */
  readonly redis: TestRedis | undefined
  readonly prefix: string
  readonly path: string
  open(): Promise<Store>
  /** Closes all that were opened, and ends the state. */
  end(): Promise<void>
}

/** A process that has the store open. It never outlives this one. */
export interface RecordChild {
  readonly process: ChildProcess
  /** Begins; resolves with what came of it. */
  work(): Promise<unknown>
}

const bounds = { maxStalenessMs: 2000, heartbeatMs: 100, commandTimeoutMs: 1000, settleMs: 0 }

/** By kind. `redisArguments`: of a Redis of its own. */
export async function recordStore(
  kind: Store['kind'],
  redisArguments: readonly string[] = [],
): Promise<RecordStore> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-records-'))
  const path = join(dir, 'state.db')
  const redis = kind === 'redis' ? await startRedis(redisArguments) : undefined
  const prefix = 'test:'
  const opened: Store[] = []
  return {
    where: JSON.stringify(redis === undefined ? { path } : { url: redis.url, prefix }),
    redis,
    prefix,
    path,
    async open() {
      const store =
        redis === undefined
          ? await openEmbedded({ path, maxStalenessMs: 2000, purgeEveryMs: 50 })
          : await openRedis({ url: redis.url, prefix, ...bounds })
      opened.push(store)
      return store
    },
    async end() {
      await Promise.all(opened.map((store) => store.close()))
      redis?.thaw()
      await redis?.stop()
      rmSync(dir, { recursive: true })
    },
  }
}

/** Starts test/stores/record-child.ts and waits until it is ready to begin. */
export async function recordChild(store: RecordStore, task: string, id: string, count: number) {
  const script = fileURLToPath(new URL('../stores/record-child.ts', import.meta.url))
  const args = [script, store.where, task, id, String(count)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  const lines = createInterface(child.stdout)
  const line = async () => {
    const [text] = await once(lines, 'line')
    return JSON.parse(String(text)) as unknown
  }
  await line()
  const work = () => {
    child.stdin.write('go\n')
    return line()
  }
  return { process: child, work } satisfies RecordChild
}

/** SIGKILL, and the process is gone. */
export async function killed({ process: child }: RecordChild): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
