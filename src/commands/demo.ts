// `leasegate demo`: a gate before a real coarse API, a lease, what happens when an agent uses it, and a human who
// decides. Prints commands to try, or with `--once` performs them and checks every answer.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import type { Command } from 'commander'
import { revokeAll } from '../broker/lifecycle.ts'
import { openStore, startGate } from '../compose.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config.ts'
import { startCrmBackend } from '../demo/crm_backend.ts'
import { createDemoParties } from '../demo/login.ts'
import { type Step, sayCommands, stepsFor } from '../demo/steps.ts'
import type { Store } from '../ports.ts'
import { isRefusal } from '../refusals.ts'
import { createLogger } from '../telemetry/log.ts'
import { packageRoot } from '../version.ts'

import { askForLink } from './console.ts'
import { controlUrl } from './control_listener.ts'
import { sayStarted } from './serve.ts'
import { say, style } from './terminal.ts'

/** Adds `demo`. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('gate, broker, sample backend and an agent to play with')
    .option('-c, --config <file>', 'configuration file')
    .option('--once', 'perform the steps, check every answer, then end')
    .action(demo)
}

/** Runs the demo. With `once` the exit code is 0 only if every answer was the expected one. */
async function demo(options: { config?: string; once?: boolean }): Promise<void> {
  const file = options.config ?? join(packageRoot, 'config.example.yaml')
  const apiKey = randomBytes(18).toString('base64url')
  const loaded = loadConfig(file, { ...process.env, CRM_TOKEN: apiKey })
  const parties = await createDemoParties()
  // A demo is there to be watched, also through a pipe; what it does itself need not be logged.
  const log: Config['log'] =
    options.once === true ? { level: 'error', requests: 'none' } : { ...loaded.log, requests: 'line' }
  const broker = { ...loaded.broker, agents: parties.agents, identityProviders: [parties.provider] }
  const { control, console } = loaded
  const config: Config = {
    ...loaded,
    broker,
    log,
    control: { ...control, operators: [...control.operators, parties.approver] },
    // Its people have no provider to sign in at.
    console: { ...console, signIn: undefined },
  }
  const stops: (() => unknown)[] = [() => parties.close()]
  try {
    const { deletes } = await startAll(config, apiKey, stops)
    const store = await openStore(config)
    stops.push(() => store.close())
    const { name: user, groups, tokenFile } = parties.approver
    const facts = {
      config,
      parties,
      controlUrl: controlUrl(config),
      signInLink: (await askForLink({ user, groups, roles: [] }, config)).url,
      readApproverToken: () => readFileSync(tokenFile, 'utf8').trim(),
      deletes,
      revoke: (id: string) => revokeLease(id, store),
    }
    const steps = stepsFor(facts)
    say()
    if (options.once === true) process.exitCode = await perform(steps)
    else {
      await sayCommands(steps, facts)
      await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
      say()
    }
  } finally {
    for (const stop of stops.reverse()) await stop()
  }
}

async function startAll(
  config: Config,
  apiKey: string,
  stops: (() => unknown)[],
): Promise<{ deletes(): number }> {
  const { hostname, port } = new URL(config.backends[0]!.origin)
  const backend = await startCrmBackend({ host: hostname, port: Number(port), apiKey })
  stops.push(() => stopServer(backend))
  let deletes = 0
  backend.on('request', ({ method }) => {
    if (method === 'DELETE') deletes++
  })
  const gate = await startGate(config, createLogger({ level: config.log.level }))
  stops.push(() => gate.close())
  sayStarted(config, gate)
  say(`  ${style.dim('sample backend: json-server on')} ${config.backends[0]!.origin}`)
  return { deletes: () => deletes }
}

function stopServer(server: Server): void {
  server.close()
  server.closeAllConnections()
}

async function revokeLease(id: string, store: Store): Promise<void> {
  const ask = { scope: 'lease', value: id, reason: 'demo', by: 'demo' } as const
  const revoked = await revokeAll(ask, store, Date.now() / 1000)
  if (isRefusal(revoked)) throw new Error(revoked.facts.detail)
}

async function perform(steps: readonly Step[]): Promise<number> {
  let failed = 0
  const lease = { token: '', id: '' }
  for (const step of steps) {
    say(`${style.bold(step.title)}\n${style.dim(`$ ${step.shown}`)}`)
    const { lines, problem } = await step.perform(lease)
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
