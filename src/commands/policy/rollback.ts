// `leasegate policy rollback`: takes the latest activation back that has not been taken back yet.
import type { Command } from 'commander'
import { rollbackPath } from '../../policy/rollout.ts'
import { activate, type RolloutOptions, rolloutCommand, wholeHistory, withFollowedSets } from './rollout.ts'

/** Adds `policy rollback`. */
export function addRollbackCommand(policy: Command): void {
  rolloutCommand(
    policy,
    'rollback',
    'make the policy active that was before; again leads one further back',
  ).action(run)
}

async function run(options: RolloutOptions): Promise<void> {
  await withFollowedSets(options, async (sets) => {
    const history = await wholeHistory(sets)
    const [digest] = rollbackPath(history)
    if (digest === undefined) throw new Error('no policy was active before: there is nothing to go back to')
    // Two operators who roll back at once mean one step, not two.
    const expected = history[0]!.digest
    await activate(sets, { digest, kind: 'rollback', expected }, options)
  })
}
