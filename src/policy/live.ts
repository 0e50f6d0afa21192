// In: a source of policy. Out: the policy that decides now, and an event whenever that changes or could not.
// A policy goes live only whole: read, checked, tested on both engines, compiled, loaded. Until then, and
// after any failure, the one before stays. Never compiles in this process.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Activation, Policy } from '../ports.ts'
import { type Diagnostic, fileError, isError, PolicyError } from './diagnostic.ts'
import { type LoadedPolicy, loadPolicy, type PolicyModule, undefinedDecision } from './evaluate.ts'
import { sampleInput } from './sample.ts'
import type { PolicySource, Reading } from './source.ts'
import { runToolchain } from './toolchain.ts'

const retryMs = 10_000
const toolchainFailed = 'toolchain_failed'

export interface OpenPolicyOptions {
  readonly source: PolicySource
  /**
   * Called after every attempt to replace the live policy; for the first load only when what the source kept
   * had to stand in. Must not throw.
   */
  readonly onEvent: (event: PolicyEvent) => void
}

export type PolicyEvent =
  | {
      readonly type: 'reloaded'
      readonly digest: string
      /** What `policy check` would warn about; absent when there is nothing. */
      readonly warnings?: readonly Diagnostic[]
      /** Who made it live, where the source knows. */
      readonly activation?: Activation
    }
  | { readonly type: 'rejected'; readonly diagnostics: readonly Diagnostic[] }

export interface PolicyStatus {
  /** Of the live policy. */
  readonly digest: string
  readonly loadedAtMs: number
  /** Why the source's present content is not live; one diagnostic a line. */
  readonly lastError?: string
  /** Replacements and refused replacements since the start. */
  readonly reloads: number
  readonly rejected: number
}

export interface LivePolicy {
  /** The policy that decides now. Take it once per decision. */
  readonly current: Policy
  status(): PolicyStatus
  /** Reads and compiles the source now, changed or not; for SIGHUP. Rejects only after `close`. */
  reloadNow(): Promise<PolicyEvent>
  /** Ends polling and any compilation under way. `current` stays usable. */
  close(): Promise<void>
}

/** Opens the policy of `source`. Rejects with a `PolicyError` that lists everything wrong with it. */
export async function openPolicy({ source, onEvent }: OpenPolicyOptions): Promise<LivePolicy> {
  const closing = new AbortController()
  const { signal } = closing
  const first = await openFirst(source, signal)
  let current = first.policy
  let status: PolicyStatus = { digest: current.digest, loadedAtMs: Date.now(), reloads: 0, rejected: 0 }
  if (first.problem !== undefined) {
    const { message, diagnostics } = first.problem
    status = { ...status, lastError: message, rejected: 1 }
    onEvent({ type: 'rejected', diagnostics })
  }

  const replace = async (): Promise<PolicyEvent> => {
    let event: PolicyEvent
    let accepted: Reading['accepted']
    try {
      const reading = await source.read(signal)
      const { policy, warnings } = await compile(reading, signal)
      current = policy
      accepted = reading.accepted
      const { digest } = policy
      const { activation } = reading
      status = { digest, loadedAtMs: Date.now(), reloads: status.reloads + 1, rejected: status.rejected }
      event = {
        type: 'reloaded',
        digest,
        ...(warnings.length === 0 ? {} : { warnings }),
        ...(activation === undefined ? {} : { activation }),
      }
    } catch (thrown) {
      signal.throwIfAborted()
      const { diagnostics, message } = asPolicyError(thrown)
      status = { ...status, lastError: message, rejected: status.rejected + 1 }
      event = { type: 'rejected', diagnostics }
    }
    onEvent(event)
    await accepted?.()
    return event
  }

  // Attempts queue up, so that an older content never overtakes a newer one.
  let turn: Promise<unknown> = Promise.resolve()
  const reloadNow = (): Promise<PolicyEvent> => {
    const attempt = turn.then(() => {
      signal.throwIfAborted()
      return replace()
    })
    turn = attempt.catch(() => undefined)
    return attempt
  }

  const follow = async (): Promise<never> => {
    for (;;) {
      await source.changed(signal)
      let event = await reloadNow()
      // Not the policy's fault: a child that was killed, say. The same content deserves another try.
      while (event.type === 'rejected' && event.diagnostics[0]?.code === toolchainFailed) {
        await sleep(retryMs, undefined, { ref: false, signal })
        event = await reloadNow()
      }
    }
  }
  // Only `close` ends it.
  const following = follow().catch(() => undefined)

  return {
    get current() {
      return current
    },
    status: () => status,
    reloadNow,
    async close() {
      closing.abort()
      await Promise.all([following, turn])
    },
  }
}

/** What the source has now; else what it kept, with the problem that is to be mended. Throws as `compile`. */
async function openFirst(
  source: PolicySource,
  signal: AbortSignal,
): Promise<{ policy: Policy; problem?: PolicyError }> {
  const adopt = async (reading: Reading): Promise<Policy> => {
    const { policy } = await compile(reading, signal)
    await reading.accepted?.()
    return policy
  }
  try {
    return { policy: await adopt(await source.read(signal)) }
  } catch (thrown) {
    const kept = await source.kept?.(signal)
    if (kept === undefined) throw thrown
    const problem = asPolicyError(thrown)
    try {
      return { policy: await adopt(kept), problem }
    } catch (also) {
      throw new PolicyError([...problem.diagnostics, ...asPolicyError(also).diagnostics])
    }
  }
}

/** From bytes to a policy that may decide. Throws `PolicyError`, or whatever kept the toolchain from working. */
async function compile(
  reading: Reading,
  signal: AbortSignal,
): Promise<{ policy: Policy; warnings: readonly Diagnostic[] }> {
  const sources = reading.sources()
  if (sources.wasm !== undefined)
    return { policy: await load({ wasm: sources.wasm, data: sources.data }), warnings: [] }
  const { wasm, diagnostics } = await runToolchain(sources, ['check', 'test', 'build'], signal)
  const errors = diagnostics.filter(isError)
  if (errors.length > 0) throw new PolicyError(errors)
  if (wasm === undefined) throw new Error('the Rego toolchain gave no module')
  return { policy: await load({ wasm, data: sources.data }), warnings: diagnostics }
}

/**
 * A module compiled elsewhere may be anything: what it would ask of its host is refused by name, and so is a
 * module whose answer to the sample input the gate cannot read. No answer at all is one: the sample is nobody's.
 * Throws `PolicyError`.
 */
export async function load(module: PolicyModule): Promise<Policy> {
  let policy: LoadedPolicy
  try {
    policy = await loadPolicy(module)
  } catch (thrown) {
    throw fileError('', 'policy_unusable', thrown instanceof Error ? thrown.message : 'cannot be loaded')
  }
  const { hostBuiltins } = policy
  if (hostBuiltins.length > 0) {
    throw fileError('', 'builtin_unavailable', `the policy calls ${hostBuiltins.join(', ')}`)
  }
  const { fault } = policy.evaluate(JSON.stringify(sampleInput))
  if (fault === undefined || fault === undefinedDecision) return policy
  throw fileError('', 'decision_invalid', `${fault}; asked with the sample input of docs/policy.md`)
}

function asPolicyError(thrown: unknown): PolicyError {
  if (thrown instanceof PolicyError) return thrown
  return fileError('', toolchainFailed, thrown instanceof Error ? thrown.message : 'unknown failure')
}
