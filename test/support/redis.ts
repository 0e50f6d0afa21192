// In: nothing, or REDIS_URL. Out: a real Redis for a test, on a random loopback port, without persistence,
// that can be frozen, killed and restarted empty. It never outlives the test process.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { missingRedis, redisServerPath } from '../../scripts/redis.ts'

/** A server of the test's own. */
export interface TestRedis {
  readonly url: string
  /** Of the running server; changes with `restart`. */
  readonly pid: number
  /** SIGSTOP: connections stay open, nothing is answered. */
  freeze(): void
  thaw(): void
  /** SIGKILL, and what it held is gone. */
  kill(): Promise<void>
  /** Starts an empty server on the same port; `kill` first. */
  restart(): Promise<void>
  /** Ends it and removes its directory. */
  stop(): Promise<void>
}

/** Starts a server and waits until it answers. `args` are passed on, e.g. `--requirepass`. */
export async function startRedis(args: readonly string[] = []): Promise<TestRedis> {
  const binary = redisServerPath()
  if (binary === undefined) throw new Error(missingRedis)
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-redis-'))
  const start = async () => {
    const listen = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no']
    const started = spawn(binary, [...listen, '--dir', dir, ...args], { stdio: 'ignore' })
    started.once('exit', cleanUpAtExit(started))
    await answers(port, started)
    return started
  }
  let child = await start()
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid!
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill: end,
    async restart() {
      child = await start()
    },
    async stop() {
      await end()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** The server most tests share: REDIS_URL, or one of our own. `prefix()` is one that nobody else uses. */
export async function sharedRedis(): Promise<{ url: string; prefix(): string; stop(): Promise<void> }> {
  const prefix = () => `leasegate-test-${randomBytes(6).toString('hex')}:`
  const url = process.env.REDIS_URL
  if (url !== undefined) return { url, prefix, stop: async () => {} }
  const server = await startRedis()
  return { url: server.url, prefix, stop: server.stop }
}

/** Kills the server when this process ends first; returns the way out. */
function cleanUpAtExit(child: ChildProcess): () => void {
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  return () => void process.off('exit', kill)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (child.exitCode !== null) throw new Error(`redis-server exited with ${child.exitCode}`)
    // A server with a password answers too, with NOAUTH.
    if (/^(\+PONG|-NOAUTH)/.test(await ping(port))) return
    await sleep(20)
  }
  throw new Error('redis-server did not answer')
}

function ping(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.once('data', (data) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.once('error', () => resolve(''))
  })
}
