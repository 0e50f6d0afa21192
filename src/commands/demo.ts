// `leasegate demo`: a gate before a real coarse API, a lease, and what happens when an agent uses it. Prints
// commands to try, or with `--once` performs them and checks every answer.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { join } from 'node:path'
import type { Command } from 'commander'
import { makeRevocation } from '../broker/revocation.ts'
import { openStore, type RunningGate, startGate } from '../compose.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config.ts'
import { startCrmBackend } from '../demo/crm_backend.ts'
import { type Step, sayCommands, stepsFor } from '../demo/steps.ts'
import type { Store } from '../ports.ts'
import { isRefusal } from '../refusals.ts'
import { createLogger } from '../telemetry/log.ts'
import { packageRoot } from '../version.ts'
import { issueFrom } from './lease.ts'
import { sayStarted } from './serve.ts'
import { say, style } from './terminal.ts'

/** Adds `demo`. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('gate, sample backend and a lease to play with')
    .option('-c, --config <file>', 'configuration file')
    .option('--once', 'perform the steps, check every answer, then end')
    .action(demo)
}

/** Runs the demo. With `once` the exit code is 0 only if every answer was the expected one. */
async function demo(options: { config?: string; once?: boolean }): Promise<void> {
  const file = options.config ?? join(packageRoot, 'config.example.yaml')
  const apiKey = randomBytes(18).toString('base64url')
  const loaded = loadConfig(file, { ...process.env, CRM_TOKEN: apiKey })
  // A demo is there to be watched, also through a pipe.
  const requests = options.once === true ? 'none' : 'line'
  const config: Config = { ...loaded, log: { ...loaded.log, requests } }
  const running = await startAll(config, apiKey)
  try {
    const store = await openStore(config)
    running.stops.push(() => store.close())
    const { steps, token } = await prepare(config, store, file)
    say()
    if (options.once === true) process.exitCode = await perform(steps)
    else {
      sayCommands(steps, token)
      await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
      say()
    }
  } finally {
    for (const stop of running.stops.reverse()) await stop()
  }
}

async function startAll(
  config: Config,
  apiKey: string,
): Promise<{ gate: RunningGate; stops: (() => unknown)[] }> {
  const { hostname, port } = new URL(config.backends[0]!.origin)
  const backend = await startCrmBackend({ host: hostname, port: Number(port), apiKey })
  try {
    const gate = await startGate(config, createLogger({ level: config.log.level }))
    sayStarted(config, gate)
    say(`  ${style.dim('sample backend: json-server on')} ${config.backends[0]!.origin}`)
    return { gate, stops: [() => stopServer(backend), () => gate.close()] }
  } catch (error) {
    stopServer(backend)
    throw error
  }
}

function stopServer(server: Server): void {
  server.close()
  server.closeAllConnections()
}

async function prepare(
  config: Config,
  store: Store,
  file: string,
): Promise<{ steps: readonly Step[]; token: string }> {
  const { token, record } = await issueFrom(
    {
      config: file,
      user: 'alice@example.com',
      agent: 'support-triage@3.2.1',
      task: 'jira:SUP-4711',
      purpose: "answer the customer's billing question",
      allow: ['read,update crm:customer/9821'],
      stage: 'observe',
      ttl: '5m',
      env: 'prod',
      profile: 'support',
    },
    config,
    store,
  )
  const revoke = async () => {
    const ask = { scope: 'lease', value: record.id, reason: 'demo', by: 'demo' } as const
    const entry = makeRevocation(ask, Math.floor(Date.now() / 1000))
    if (isRefusal(entry)) throw new Error(entry.facts.detail)
    await store.revocations.revoke(entry)
  }
  return { steps: stepsFor({ config, token, leaseId: record.id, revoke }), token }
}

async function perform(steps: readonly Step[]): Promise<number> {
  let failed = 0
  for (const step of steps) {
    say(`${style.bold(step.title)}\n${style.dim(`$ ${step.shown}`)}`)
    const { lines, problem } = await step.perform()
    for (const line of lines) say(`  ${line}`)
    say(problem === undefined ? `  ${style.green('as expected')}\n` : `  ${style.red(problem)}\n`)
    if (problem !== undefined) failed++
  }
  say(
    failed === 0
      ? style.green(`${steps.length} steps, all as expected`)
      : style.red(`${failed} steps went wrong`),
  )
  return failed === 0 ? 0 : 1
}
