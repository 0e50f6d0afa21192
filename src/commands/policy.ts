// `leasegate policy …`: the loop of those who write policy, one file per step of it. Needs no `opa`, no Go.
import type { Command } from 'commander'
import { addActivateCommand } from './policy/activate.ts'
import { addBenchCommand } from './policy/bench.ts'
import { addBuildCommand } from './policy/build.ts'
import { addCheckCommand } from './policy/check.ts'
import { addExplainCommand } from './policy/explain.ts'
import { addFmtCommand } from './policy/fmt.ts'
import { addHistoryCommand } from './policy/history.ts'
import { addInitCommand } from './policy/init.ts'
import { addPublishCommand } from './policy/publish.ts'
import { addReplayCommand } from './policy/replay.ts'
import { addRollbackCommand } from './policy/rollback.ts'
import { addTestCommand } from './policy/test.ts'

/** In the order in which `leasegate policy --help` lists them. */
const commands: readonly ((policy: Command) => void)[] = [
  addInitCommand,
  addCheckCommand,
  addTestCommand,
  addExplainCommand,
  addReplayCommand,
  addFmtCommand,
  addBuildCommand,
  addBenchCommand,
  addPublishCommand,
  addActivateCommand,
  addRollbackCommand,
  addHistoryCommand,
]

/** Adds the policy commands. */
export function addPolicyCommands(program: Command): void {
  const policy = program
    .command('policy')
    .description('write, test, understand, rehearse and ship Rego policy')
  for (const add of commands) add(policy)
}
