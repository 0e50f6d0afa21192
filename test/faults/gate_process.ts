// In: what a gate is to be configured with. Out: `leasegate serve` as a process of its own, which can be killed
// and frozen as a machine can. It never outlives this process.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { stringify } from 'yaml'
import { build } from '../../src/policy/toolchain.ts'
import { packageRoot } from '../../src/version.ts'
import { cliPath } from '../cli/process.ts'
import { backendCredential, eventually, publicOrigin } from '../support/gate.ts'
import { freePorts } from '../support/ports.ts'
import type { Json, TestIssuer } from '../support/tokens.ts'
import type { Target } from './traffic.ts'

/** Which machine a gate is on: this one unless it has a network namespace of its own. */
export interface Machine {
  readonly host: string
  /** What runs a command there. */
  readonly prefix: readonly string[]
}

export const thisMachine: Machine = { host: '127.0.0.1', prefix: [] }

export interface GateOptions {
  readonly name: string
  /** Holds what the gate writes; `policies` and `jwks.json` are in `shared`. */
  readonly dir: string
  readonly shared: string
  readonly issuer: TestIssuer
  readonly backendUrl: string
  /** Of the backend; default: one that reads customers. */
  readonly operations?: readonly Json[]
  /** The section `state` of its configuration. */
  readonly state: Json
  readonly machine?: Machine
}

/** A gate that serves, or has been killed. */
export interface GateProcess extends Target {
  readonly pid: number
  /** Its answer to an operator; undefined: none in time. */
  revoke(ask: Readonly<Record<string, string>>): Promise<number | undefined>
  /** What `/readyz` says, for people. */
  readiness(): Promise<string>
  output(): string
  signal(signal: NodeJS.Signals): void
  /** SIGKILL, and the process is gone. */
  kill(): Promise<void>
  /** Starts it anew with the same configuration and waits until it answers. */
  start(): Promise<void>
}

const readsCustomers: readonly Json[] = [
  { match: 'GET /customers/{id}', verb: 'read', resource: 'customer/{id}', sensitivity: 'confidential' },
]

/** Wall-clock steps, milliseconds, that SIGUSR2 brings about one after another. */
const clockSteps = '90000,-90000,0'
const clockStep = pathToFileURL(join(packageRoot, 'test/support/clock_step.ts')).href

/** Lays what gates share into `dir`: the policies that ship, compiled once, and the issuer's keys. */
export async function layShared(dir: string, issuer: TestIssuer): Promise<void> {
  const shipped = join(packageRoot, 'policies')
  const { wasm, diagnostics } = await build(shipped)
  if (wasm === undefined) throw new Error(JSON.stringify(diagnostics))
  cpSync(join(shipped, 'data'), join(dir, 'policies/data'), { recursive: true })
  writeFileSync(join(dir, 'policies/policy.wasm'), wasm)
  // Faults are looked for here, not the numbers of calls that ship.
  const profiles = join(dir, 'policies/data/profiles.json')
  writeFileSync(profiles, readFileSync(profiles, 'utf8').replaceAll(/"(lease|agent)": \d+/g, '"$1": 1e9'))
  writeFileSync(join(dir, 'jwks.json'), JSON.stringify(issuer.jwks))
}

/** Starts one. */
export async function startGateProcess(options: GateOptions): Promise<GateProcess> {
  const { name, dir, machine = thisMachine } = options
  const [port, control, metrics] = (await freePorts(3)) as [number, number, number]
  const { host } = machine
  const config = join(dir, `${name}.yaml`)
  mkdirSync(dirname(config), { recursive: true })
  writeFileSync(config, stringify(configuration(options, { host, port, control, metrics })))
  let child: ChildProcess | undefined
  let output = ''
  const gate: GateProcess = {
    name,
    host,
    port,
    get pid() {
      return child!.pid!
    },
    async revoke(ask) {
      const token = readFileSync(join(dir, `${name}.token`), 'utf8').trim()
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
      const request = {
        method: 'POST',
        headers,
        body: JSON.stringify(ask),
        signal: AbortSignal.timeout(3000),
      }
      return fetch(`http://${host}:${control}/revocations`, request).then(statusOf, () => undefined)
    },
    readiness: () => textOf(`http://${host}:${metrics}/readyz`),
    output: () => output,
    signal: (signal) => void child!.kill(signal),
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
    async start() {
      const started = launch([
        ...machine.prefix,
        process.execPath,
        cliPath,
        'serve',
        '-c',
        config,
        '--only',
        'gate',
      ])
      for (const stream of [started.stdout!, started.stderr!]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text
        })
      }
      child = started
      await eventually(
        async () => {
          if (started.exitCode !== null)
            throw new Error(`gate ${name} ended with ${started.exitCode}: ${output}`)
          return (await answerOf(`http://${host}:${metrics}/healthz`)) === 200
        },
        `gate ${name}`,
        30,
      )
    },
  }
  await gate.start()
  return gate
}

async function statusOf(response: Response): Promise<number> {
  await response.arrayBuffer()
  return response.status
}

function textOf(url: string): Promise<string> {
  return fetch(url, { signal: AbortSignal.timeout(1000) }).then(
    (response) => response.text(),
    (error) => String(error),
  )
}

function answerOf(url: string): Promise<number | undefined> {
  return fetch(url, { signal: AbortSignal.timeout(1000) }).then(statusOf, () => undefined)
}

function launch([command, ...args]: readonly string[]): ChildProcess {
  const child = spawn(command!, args, {
    env: {
      PATH: process.env.PATH,
      CRM_TOKEN: backendCredential,
      NODE_OPTIONS: `--import=${clockStep}`,
      LEASEGATE_TEST_CLOCK_STEPS: clockSteps,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return child
}

function configuration(
  { name, dir, shared, issuer, backendUrl, operations = readsCustomers, state }: GateOptions,
  { host, port, control, metrics }: { host: string; port: number; control: number; metrics: number },
): Json {
  return {
    listen: { proxy: `${host}:${port}`, control: `${host}:${control}`, metrics: `${host}:${metrics}` },
    public_origin: publicOrigin,
    issuers: [{ issuer: issuer.issuer, jwks: { file: join(shared, 'jwks.json') } }],
    state,
    policy: { dir: join(shared, 'policies'), reload: 'never' },
    audit: { file: join(dir, `${name}.jsonl`) },
    control: { token_file: join(dir, `${name}.token`) },
    log: { level: 'warn', requests: 'none' },
    backends: {
      crm: {
        url: backendUrl,
        path_prefix: '/crm',
        credential: { header: 'authorization', value: `Bearer \${env:CRM_TOKEN}` },
        require_binding: 'never',
        operations,
      },
    },
  }
}
