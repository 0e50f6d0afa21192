// `leasegate serve`: runs gate and broker, or one of them, until it is told to stop.
import type { Command } from 'commander'
import { type Running, type RunningGate, startBroker, startGate } from '../compose.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config.ts'
import { createLogger } from '../telemetry/log.ts'
import { version } from '../version.ts'
import { count, say, sayFacts, style, UsageError } from './terminal.ts'

/** Adds `serve`. */
export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('run gate and broker')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--only <gate|broker>', 'run one of the two')
    .action(serve)
}

interface ServeOptions {
  readonly config: string
  readonly only?: string
}

/** Serves until SIGTERM or SIGINT; SIGHUP reopens the audit file and reads the policy again. */
async function serve({ config: file, only }: ServeOptions): Promise<void> {
  if (only !== undefined && only !== 'gate' && only !== 'broker') {
    throw new UsageError('--only is gate or broker')
  }
  let running: Running | undefined
  // From the first moment: a log that is rotated during the start would end the process.
  process.on('SIGHUP', () => void running?.reload())
  running = only === 'broker' ? await serveBroker(file) : await serveGate(file, only)
  await new Promise<void>((resolve) => {
    const stop = () => {
      // A second signal ends at once: somebody is waiting.
      process.once('SIGINT', () => process.exit(130))
      resolve()
    }
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
  })
  say(style.dim('stopping: no new requests; those under way may finish'))
  await running.close()
}

async function serveGate(file: string, only: 'gate' | undefined): Promise<Running> {
  const config = loadConfig(file)
  const log = createLogger({ level: config.log.level })
  const gate = await startGate(config, log, { broker: only === undefined })
  sayStarted(config, gate)
  return gate
}

/** It forwards nothing, so credentials of backends need not be there. */
async function serveBroker(file: string): Promise<Running> {
  const config = loadConfig(file, process.env, { credentials: 'policy' })
  if (!config.issuers.some(({ jwks }) => 'local' in jwks)) {
    throw new UsageError('a broker needs an issuer with `jwks: { local: true }`: its tokens are made for it')
  }
  const broker = await startBroker(config, createLogger({ level: config.log.level }))
  say(`${style.bold('leasegate')} ${version}, the broker alone`)
  sayFacts([['agents', config.broker.issuer], ...sharedFacts(config, broker)])
  return broker
}

/** The addresses and the policy, for the person who has just started a gate. */
export function sayStarted(config: Config, gate: RunningGate): void {
  const operations = config.backends.reduce((sum, backend) => sum + backend.operations.length, 0)
  say(`${style.bold('leasegate')} ${version}`)
  sayFacts([
    [
      'agents',
      `${config.publicOrigin}  ${count(config.backends.length, 'backend')}, ${count(operations, 'operation')}`,
    ],
    ...(config.workers === 1 ? [] : [['workers', String(config.workers)] as [string, string]]),
    ...sharedFacts(config, gate),
  ])
}

function sharedFacts(
  { audit, console, tls }: Config,
  { control, metrics, policyDigest }: Running,
): [string, string][] {
  return [
    ['control', `${tls.control === undefined ? 'http' : 'https'}://${control.host}:${control.port}`],
    ['console', consoleFact(console)],
    ['metrics', `http://${metrics.host}:${metrics.port}/metrics  /healthz  /readyz`],
    ['policy', policyDigest()],
    ['audit', audit.file],
  ]
}

function consoleFact({ url, signIn }: Config['console']): string {
  return signIn === undefined ? `${url}/console  to sign in, run: leasegate console` : `${url}/console`
}
