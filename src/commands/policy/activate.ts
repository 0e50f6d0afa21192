// `leasegate policy activate`: one write to the state store; every gate that follows it has that policy.
import type { Command } from 'commander'
import { digestsNamed } from '../../policy/rollout.ts'
import { UsageError } from '../terminal.ts'
import { activate, type RolloutOptions, rolloutCommand, shortDigest, withFollowedSets } from './rollout.ts'

/** Adds `policy activate <digest>`. */
export function addActivateCommand(policy: Command): void {
  rolloutCommand(policy, 'activate', 'make a published policy the active one, on every gate that follows')
    .argument('<digest>', 'of a published policy, or its first digits')
    .action(run)
}

async function run(text: string, options: RolloutOptions): Promise<void> {
  if (!/^(sha256:)?[0-9a-f]{4,64}$/.test(text)) {
    throw new UsageError(
      `'${text}' is no digest: write what publish printed, or its first digits, four at least`,
    )
  }
  await withFollowedSets(options, async (sets) => {
    const [digest, ...others] = digestsNamed(text, await sets.list())
    if (digest === undefined)
      throw new Error(`no published policy has the digest ${text}; policy history --json lists them`)
    if (others.length > 0) {
      throw new UsageError(`${text} may be ${[digest, ...others].map(shortDigest).join(' or ')}`)
    }
    await activate(sets, { digest, kind: 'activate' }, options)
  })
}
