// `leasegate lease …`: leases to start with, and what becomes of leases, one file per command.
import type { Command } from 'commander'
import { addOnly, type CommandTable } from './table.ts'

/** In the order in which `leasegate lease --help` lists them. */
const commands: CommandTable = {
  issue: async () => (await import('./lease/issue.ts')).addIssueCommand,
  list: async () => (await import('./lease/list.ts')).addListCommand,
  show: async () => (await import('./lease/show.ts')).addShowCommand,
  suspend: async () => (await import('./lease/change.ts')).addSuspendCommand,
  resume: async () => (await import('./lease/change.ts')).addResumeCommand,
  complete: async () => (await import('./lease/change.ts')).addCompleteCommand,
  renew: async () => (await import('./lease/renew.ts')).addRenewCommand,
}

/** Adds the lease commands, or the one that `words` begin with. */
export function addLeaseCommands(program: Command, words: readonly string[]): Promise<void> {
  const lease = program.command('lease').description('issue, look at, hold and end leases')
  return addOnly(commands, lease, words)
}
