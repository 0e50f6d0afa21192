#!/usr/bin/env node
// The command line: one row per command. Output for people, `--json` for programs; exit codes 0, 1 (a
// "no"), 2 (usage or configuration).
import { Command, CommanderError } from 'commander'
import { addOnly, type CommandTable } from './commands/table.ts'
import { UsageError } from './commands/terminal.ts'
import { ConfigError } from './config/problems.ts'
import { PolicyError } from './policy/diagnostic.ts'
import { version } from './version.ts'

/** In the order in which `leasegate --help` lists them. */
const commands: CommandTable = {
  serve: async () => (await import('./commands/serve.ts')).addServeCommand,
  demo: async () => (await import('./commands/demo.ts')).addDemoCommand,
  lease: async () => (await import('./commands/lease.ts')).addLeaseCommands,
  keys: async () => (await import('./commands/keys.ts')).addKeysCommands,
  revoke: async () => (await import('./commands/revoke.ts')).addRevokeCommand,
  drill: async () => (await import('./commands/drill.ts')).addDrillCommands,
  'blast-radius': async () => (await import('./commands/blast_radius.ts')).addBlastRadiusCommand,
  console: async () => (await import('./commands/console.ts')).addConsoleCommand,
  approvals: async () => (await import('./commands/approvals.ts')).addApprovalsCommands,
  policy: async () => (await import('./commands/policy.ts')).addPolicyCommands,
  config: async () => (await import('./commands/config.ts')).addConfigCommands,
}

const program = new Command('leasegate')
  .description('Leases instead of keys: a policy-enforcing reverse proxy between AI agents and your APIs')
  .version(version)
  .exitOverride()

// A reader that has left (`| head`, a log collector that died) must not end a gate.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  await addOnly(commands, program, process.argv.slice(2))
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
