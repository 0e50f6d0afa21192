// `leasegate policy …`: the loop of those who write policy, one file per step of it. Needs no `opa`, no Go.
import type { Command } from 'commander'
import { addOnly, type CommandTable } from './table.ts'

/** In the order in which `leasegate policy --help` lists them. */
const commands: CommandTable = {
  init: async () => (await import('./policy/init.ts')).addInitCommand,
  check: async () => (await import('./policy/check.ts')).addCheckCommand,
  test: async () => (await import('./policy/test.ts')).addTestCommand,
  explain: async () => (await import('./policy/explain.ts')).addExplainCommand,
  replay: async () => (await import('./policy/replay.ts')).addReplayCommand,
  fmt: async () => (await import('./policy/fmt.ts')).addFmtCommand,
  build: async () => (await import('./policy/build.ts')).addBuildCommand,
  bench: async () => (await import('./policy/bench.ts')).addBenchCommand,
  publish: async () => (await import('./policy/publish.ts')).addPublishCommand,
  activate: async () => (await import('./policy/activate.ts')).addActivateCommand,
  rollback: async () => (await import('./policy/rollback.ts')).addRollbackCommand,
  history: async () => (await import('./policy/history.ts')).addHistoryCommand,
}

/** Adds the policy commands, or the one that `words` begin with. */
export function addPolicyCommands(program: Command, words: readonly string[]): Promise<void> {
  const policy = program
    .command('policy')
    .description('write, test, understand, rehearse and ship Rego policy')
  return addOnly(commands, policy, words)
}
