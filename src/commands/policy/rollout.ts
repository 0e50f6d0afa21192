// What publish, activate, rollback and history share: the state store they work on, and how they speak of
// what is in it.
import type { Command } from 'commander'
import { openStore } from '../../compose.ts'
import type { Config } from '../../config.ts'
import { isPlainText } from '../../lease/text.ts'
import { PolicyError } from '../../policy/diagnostic.ts'
import { load } from '../../policy/live.ts'
import { historyLength } from '../../policy/rollout.ts'
import { unpackSet } from '../../policy/set.ts'
import type { ActivationRequest, ActivationResult, PolicySets } from '../../ports.ts'
import { loadStateConfig } from '../state_config.ts'
import { operator, say, sayJson, style, UsageError } from '../terminal.ts'
import { shown } from './excerpt.ts'

/** What activate and rollback are asked. */
export interface RolloutOptions {
  readonly config: string
  readonly reason: string
  readonly json?: boolean
}

/** A command that makes another policy the active one. */
export function rolloutCommand(policy: Command, name: string, description: string): Command {
  return policy
    .command(name)
    .description(description)
    .option('--reason <text>', 'why; kept in the history', '')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
}

/** Runs `use` on the published policies of the configured state store. */
export async function withSets<T>(config: Config, use: (sets: PolicySets) => Promise<T>): Promise<T> {
  const store = await openStore(config)
  try {
    return await use(store.policySets)
  } finally {
    await store.close()
  }
}

/**
 * As `withSets`, for what changes the active policy. Throws a UsageError, before anything is opened, where
 * no gate would follow, or for a reason that a history could not show.
 */
export async function withFollowedSets<T>(
  { config: file, reason }: RolloutOptions,
  use: (sets: PolicySets) => Promise<T>,
): Promise<T> {
  if (reason !== '' && !isPlainText(reason, 500)) {
    throw new UsageError('write the reason on one line, 500 characters at most')
  }
  const config = loadStateConfig(file)
  if (config.policy.reload !== 'on_activate') {
    throw new UsageError(`${file}: no gate would follow: set policy.reload to on_activate`)
  }
  return withSets(config, use)
}

/**
 * Loads the policy as a gate would, then asks the store and says what came of it. Throws an `Error` where it
 * did not become active.
 */
export async function activate(
  sets: PolicySets,
  request: Pick<ActivationRequest, 'digest' | 'kind' | 'expected'>,
  { reason, json }: RolloutOptions,
): Promise<void> {
  await requireUsable(sets, request.digest)
  const at = Date.now() / 1000
  const result = await sets.activate({ ...request, by: operator(), at, reason })
  const { activation } = requireActive(result, request.digest)
  if (json === true) return sayJson({ outcome: result.outcome, ...activation })
  if (result.outcome === 'unchanged') return say(`unchanged  ${activation.digest} is active already`)
  say(`${style.green('active')} ${activation.digest}  activation ${activation.number}`)
  say(style.dim('  gates follow within a second; leasegate_policy_converged is 0 on one that has not'))
}

async function requireUsable(sets: PolicySets, digest: string): Promise<void> {
  const packed = await sets.get(digest)
  if (packed === undefined) throw notStored(digest)
  try {
    await load(await unpackSet(digest, packed))
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    throw new Error(`no gate could load it, so nothing changed: ${thrown.message}`)
  }
}

function notStored(digest: string): Error {
  return new Error(`the state store no longer has ${digest}: publish it again`)
}

function requireActive(result: ActivationResult, digest: string) {
  switch (result.outcome) {
    case 'not_stored':
      throw notStored(digest)
    case 'not_expected': {
      const { digest: other, by } = result.active ?? { digest: 'no policy', by: 'nobody' }
      throw new Error(`nothing changed: ${other} was made active by ${shown(by)} meanwhile; see the history`)
    }
    default:
      return result
  }
}

/** The whole history, newest first. */
export function wholeHistory(sets: PolicySets) {
  return sets.history(historyLength)
}

/** Enough of a digest for people, and for `policy activate`. */
export function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12)
}
