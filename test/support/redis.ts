// In: nothing, or REDIS_URL. Out: a real Redis for a test, on a random loopback port, without persistence,
// that can be frozen, killed and restarted empty. It never outlives the test process.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { missingRedis, redisServerPath } from '../../scripts/redis.ts'
import { freePort } from './ports.ts'

/** A server of the test's own. */
export interface TestRedis {
  readonly url: string
  readonly port: number
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

/** How to run a server. */
export interface ServerForm {
  /** Default: a Redis or Valkey on PATH. */
  readonly binary?: string
  /** Every argument; `dir` is the server's own. */
  args(port: number, dir: string): readonly string[]
  /** Whether it answers; default: to a plain PING. */
  answers?(port: number): Promise<boolean>
}

/** Starts a server and waits until it answers. `args` are passed on, e.g. `--requirepass`. */
export function startRedis(args: readonly string[] = [], binary?: string): Promise<TestRedis> {
  return startServer({ ...(binary === undefined ? {} : { binary }), args: plainArguments(args) })
}

/** A server on a loopback port that keeps nothing on disk, unless `args` say otherwise. */
export function plainArguments(args: readonly string[]): ServerForm['args'] {
  const listen = (port: number) => ['--bind', '127.0.0.1', '--port', String(port)]
  return (port, dir) => [...listen(port), '--save', '', '--appendonly', 'no', '--dir', dir, ...args]
}

/** Starts a server of any form. */
export async function startServer({ binary = redisServerPath(), ...form }: ServerForm): Promise<TestRedis> {
  if (binary === undefined) throw new Error(missingRedis)
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-redis-'))
  const start = async () => {
    const started = spawn(binary, form.args(port, dir), { stdio: 'ignore' })
    running.add(started)
    started.once('exit', () => running.delete(started))
    await answers(port, started, form.answers ?? answersPlainly)
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
    port,
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

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

async function answers(
  port: number,
  child: ChildProcess,
  itAnswers: (port: number) => Promise<boolean>,
): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (child.exitCode !== null) throw new Error(`redis-server exited with ${child.exitCode}`)
    if (await itAnswers(port)) return
    await sleep(20)
  }
  throw new Error('redis-server did not answer')
}

/** A server with a password answers too, with NOAUTH. */
async function answersPlainly(port: number): Promise<boolean> {
  return /^(\+PONG|-NOAUTH)/.test(await ping(port))
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
