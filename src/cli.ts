#!/usr/bin/env node
// The command line: one row per command. Output for people, `--json` for programs; exit codes 0, 1 (a
// "no"), 2 (usage or configuration).
import { Command, CommanderError } from 'commander'
import { checkConfig } from './commands/config.ts'
import { demo } from './commands/demo.ts'
import { addLeaseCommands } from './commands/lease.ts'
import { addPolicyCommands } from './commands/policy.ts'
import { addRevokeCommand } from './commands/revoke.ts'
import { serve } from './commands/serve.ts'
import { UsageError } from './commands/terminal.ts'
import { ConfigError } from './config/problems.ts'
import { PolicyError } from './policy/diagnostic.ts'
import { version } from './version.ts'

const program = new Command('leasegate')
  .description('Leases instead of keys: a policy-enforcing reverse proxy between AI agents and your APIs')
  .version(version)
  .exitOverride()

program
  .command('serve')
  .description('run the gate')
  .option('-c, --config <file>', 'configuration file', 'config.yaml')
  .action((options) => serve(options.config))

program
  .command('demo')
  .description('gate, sample backend and a lease to play with')
  .option('-c, --config <file>', 'configuration file')
  .option('--once', 'perform the steps, check every answer, then end')
  .action(demo)

addLeaseCommands(program)
addRevokeCommand(program)
addPolicyCommands(program)

program
  .command('config')
  .description('look at a configuration file')
  .command('check')
  .description('list everything wrong with a configuration file')
  .argument('[file]', 'configuration file', 'config.yaml')
  .option('--json', 'for programs')
  .action(checkConfig)

// A reader that has left (`| head`, a log collector that died) must not end a gate.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
}

/** Says what went wrong and which exit code it is. Never a stack trace for what a person can mend. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`leasegate: ${message}\n`)
  return [ConfigError, PolicyError, UsageError].some((kind) => error instanceof kind) ? 2 : 1
}
