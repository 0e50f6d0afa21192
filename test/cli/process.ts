// The program as people run it: child processes of src/cli.ts with a configuration file of their own. Never
// leaves a process behind: `close` ends what is still running, and so does the end of the test process.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { stringify } from 'yaml'
import { build } from '../../src/policy/toolchain.ts'
import { packageRoot } from '../../src/version.ts'
import { eventually } from '../support/gate.ts'
import { freePorts } from '../support/ports.ts'
import type { Json } from '../support/tokens.ts'

/** How a command ended and what it printed. */
export interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs. */
export interface Served {
  readonly child: ChildProcess
  /** Everything printed so far, on either stream. */
  output(): string
  /** Sends a signal and waits for the end; the exit code, or null after a deadly signal. */
  stop(signal: NodeJS.Signals): Promise<number | null>
}

/** Beside the usual; undefined: without it. */
type Environment = Readonly<Record<string, string | undefined>>

interface ServeOptions {
  readonly limits?: string
  readonly only?: 'gate' | 'broker'
  readonly env?: Environment
}

export const cliPath = join(packageRoot, 'src/cli.ts')

/** What the backend's credential is in these processes. */
export const crmToken = 'backend-key-8d21f0aa'

/** Once per test file. */
let compiled: ReturnType<typeof build> | undefined

/** A directory with a configuration file in it, and the processes that use it. */
export class Workplace implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'leasegate-cli-'))
  readonly ports: { readonly proxy: number; readonly control: number; readonly metrics: number }
  readonly #children = new Set<ChildProcess>()

  private constructor(ports: readonly number[]) {
    const [proxy, control, metrics] = ports
    this.ports = { proxy: proxy!, control: control!, metrics: metrics! }
  }

  /** Reserves three ports; `configure` next. */
  static async open(): Promise<Workplace> {
    return new Workplace(await freePorts(3))
  }

  /**
   * Lays the policies that ship into the directory, compiled: `serve` then starts in half a second instead
   * of three. Sources stay away; a policy has one form.
   */
  async compilePolicy(): Promise<void> {
    const shipped = join(packageRoot, 'policies')
    compiled ??= build(shipped)
    const { wasm, diagnostics } = await compiled
    if (wasm === undefined) throw new Error(JSON.stringify(diagnostics))
    cpSync(join(shipped, 'data'), this.path('policies/data'), { recursive: true })
    writeFileSync(this.path('policies/policy.wasm'), wasm)
  }

  get origin(): string {
    return `http://127.0.0.1:${this.ports.proxy}`
  }

  get config(): string {
    return join(this.dir, 'config.yaml')
  }

  path(name: string): string {
    return join(this.dir, name)
  }

  /** Writes a file below the directory. */
  write(name: string, text: string): string {
    mkdirSync(dirname(this.path(name)), { recursive: true })
    writeFileSync(this.path(name), text)
    return this.path(name)
  }

  /** The usual configuration in front of `backendUrl`, with the local broker. Needs `compilePolicy`. */
  configure(backendUrl: string, changes: Json = {}, crm: Json = {}): void {
    const { proxy, control, metrics } = this.ports
    const operation = { resource: 'customer/{id}', sensitivity: 'confidential' }
    this.write(
      'config.yaml',
      stringify({
        listen: {
          proxy: `127.0.0.1:${proxy}`,
          control: `127.0.0.1:${control}`,
          metrics: `127.0.0.1:${metrics}`,
        },
        public_origin: this.origin,
        policy: { dir: './policies' },
        backends: {
          crm: {
            url: backendUrl,
            path_prefix: '/crm',
            credential: { header: 'authorization', value: `Bearer \${env:CRM_TOKEN}` },
            operations: [
              { match: 'GET /customers/{id}', verb: 'read', ...operation },
              { match: 'PATCH /customers/{id}', verb: 'update', ...operation, risk: 'low' },
            ],
            ...crm,
          },
        },
        ...changes,
      }),
    )
  }

  /** Runs a command to its end. */
  async run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
    const child = this.#spawn(process.execPath, [cliPath, ...args], env)
    const printed = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream]!.setEncoding('utf8').on('data', (text: string) => {
        printed[stream] += text
      })
    }
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, ...printed }
  }

  /** Starts `serve` and waits until it answers. `limits`: arguments for `ulimit`; `only`: one of its parts. */
  async serve({ limits, only, env = {} }: ServeOptions = {}): Promise<Served> {
    const part = only === undefined ? [] : ['--only', only]
    const args = [cliPath, 'serve', '--config', this.config, ...part]
    const child =
      limits === undefined
        ? this.#spawn(process.execPath, args, env)
        : this.#spawn('bash', ['-c', `ulimit ${limits}; exec "$@"`, 'bash', process.execPath, ...args], env)
    const served = running(child)
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`serve ended with ${child.exitCode}: ${served.output()}`)
      return (await this.get('/healthz').catch(() => undefined))?.status === 200
    }, 'a gate that serves')
    return served
  }

  /** Starts a command that runs until it is stopped. */
  start(args: readonly string[]): Served {
    return running(this.#spawn(process.execPath, [cliPath, ...args], {}))
  }

  /** From the operators' listener. */
  get(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.ports.metrics}${path}`)
  }

  /** A token of the local broker that may read and update customer 9821, and its lease. */
  async issue(...more: string[]): Promise<{ token: string; lease: { id: string } & Json }> {
    const { code, stdout, stderr } = await this.run([...issueArguments(this.config), '--json', ...more])
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as { token: string; lease: { id: string } & Json }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ends = [...this.#children].map((child) => once(child, 'exit'))
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(ends)
    rmSync(this.dir, { recursive: true, force: true })
  }

  #spawn(command: string, args: readonly string[], env: Environment): ChildProcess {
    const { PATH } = process.env
    const child = spawn(command, args, {
      cwd: this.dir,
      env: { PATH, CRM_TOKEN: crmToken, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const kill = () => void child.kill('SIGKILL')
    process.once('exit', kill)
    this.#children.add(child)
    child.once('exit', () => {
      process.off('exit', kill)
      this.#children.delete(child)
    })
    return child
  }
}

function running(child: ChildProcess): Served {
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  return {
    child,
    output: () => output,
    async stop(signal) {
      const exited = once(child, 'exit')
      child.kill(signal)
      return ((await exited) as [number | null])[0]
    },
  }
}

/** `lease issue` for Alice's agent, to read and update customer 9821. */
export function issueArguments(config: string): string[] {
  return [
    ...['lease', 'issue', '--config', config, '--user', 'alice@example.com'],
    ...['--agent', 'support-triage@3.2.1', '--task', 'jira:SUP-4711', '--purpose', 'billing question'],
    ...['--allow', 'read,update crm:customer/9821', '--stage', 'execute', '--profile', 'support'],
  ]
}
