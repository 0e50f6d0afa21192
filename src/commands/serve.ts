// `leasegate serve`: runs the gate until it is told to stop.
import type { Command } from 'commander'
import { type RunningGate, startGate } from '../compose.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config.ts'
import { createLogger } from '../telemetry/log.ts'
import { version } from '../version.ts'
import { count, say, sayFacts, style } from './terminal.ts'

/** Adds `serve`. */
export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('run the gate')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .action((options: { readonly config: string }) => serve(options.config))
}

/** Serves `configFile` until SIGTERM or SIGINT; SIGHUP reopens the audit file and reads the policy again. */
async function serve(configFile: string): Promise<void> {
  const config = loadConfig(configFile)
  const log = createLogger({ level: config.log.level })
  const gate = await startGate(config, log)
  sayStarted(config, gate)
  process.on('SIGHUP', () => void gate.reload())
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
  await gate.close()
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
    ['control', `http://${gate.control.host}:${gate.control.port}`],
    ['metrics', `http://${gate.metrics.host}:${gate.metrics.port}/metrics  /healthz  /readyz`],
    ['policy', gate.policyDigest()],
    ['audit', config.audit.file],
  ])
}
