// `leasegate drill …`: proves on a running deployment what is promised, one file per command.
import type { Command } from 'commander'
import { addOnly, type CommandTable } from './table.ts'

const commands: CommandTable = {
  revoke: async () => (await import('./drill/revoke.ts')).addDrillRevokeCommand,
}

/** Adds the drills, or the one that `words` begin with. */
export function addDrillCommands(program: Command, words: readonly string[]): Promise<void> {
  const drill = program.command('drill').description('prove on a running deployment what is promised')
  return addOnly(commands, drill, words)
}
