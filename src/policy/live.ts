// In: a source of policy. Out: the policy that decides now, and an event whenever that changes or could not.
// A policy goes live only whole: read, checked, tested on both engines, compiled, loaded. Until then, and
// after any failure, the one before stays. Never compiles in this process.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Activation } from '../ports.ts'
import { undefinedDecision } from './answer.ts'
import { type Diagnostic, fileError, isError, PolicyError } from './diagnostic.ts'
import { type LoadedPolicy, loadPolicy, type PolicyModule } from './evaluate.ts'
import { issueEntrypoint, noIssueEntrypoint } from './issue.ts'
import { sampleQuestion } from './issue_sample.ts'
import { sampleInput } from './sample.ts'
import type { PolicySource, Reading } from './source.ts'
import type { PolicySources } from './sources.ts'
import { runToolchain } from './toolchain.ts'

const retryMs = 10_000
/** Faults of a policy that has nothing to say about the sample question. */
const silences: ReadonlySet<string> = new Set([noIssueEntrypoint, undefinedDecision])
const toolchainFailed = 'toolchain_failed'

export interface OpenPolicyOptions {
  readonly source: PolicySource
  /**
   * Called after every attempt to replace the live policy; for the first load only when what the source kept
   * had to stand in. Must not throw.
   */
  readonly onEvent: (event: PolicyEvent) => void
  /** Gives up the first load and all that follows. */
  readonly signal?: AbortSignal
}

export type PolicyEvent =
  | {
      readonly type: 'reloaded'
      readonly digest: string
      /** What `policy check` would warn about; absent when there is nothing. */
      readonly warnings?: readonly Diagnostic[]
      /** Who made it live, where the source knows. */
      readonly activation?: Activation
      /** Rules marked shadow, with file and line: they take no part in decisions. Absent: none is marked. */
      readonly shadowRules?: readonly string[]
    }
  | { readonly type: 'rejected'; readonly diagnostics: readonly Diagnostic[] }

export interface PolicyStatus {
  /** Of the live policy. */
  readonly digest: string
  /** Rules of the live policy that are marked shadow. Absent: none is. */
  readonly shadowRules?: readonly string[]
  readonly loadedAtMs: number
  /** Why the source's present content is not live; one diagnostic a line. */
  readonly lastError?: string
  /** Replacements and refused replacements since the start. */
  readonly reloads: number
  readonly rejected: number
}

export interface LivePolicy {
  /** The policy that decides now. Take it once per decision. */
  readonly current: LoadedPolicy
  /** What `current` was loaded from, with the module of its shadow where rules are marked so. */
  readonly module: PolicyModule
  status(): PolicyStatus
  /** Reads and compiles the source now, changed or not; for SIGHUP. Rejects only after `close`. */
  reloadNow(): Promise<PolicyEvent>
  /** Ends polling and any compilation under way. `current` stays usable. */
  close(): Promise<void>
}

/** Opens the policy of `source`. Rejects with a `PolicyError` that lists everything wrong with it. */
export async function openPolicy({ source, onEvent, ...given }: OpenPolicyOptions): Promise<LivePolicy> {
  const closing = new AbortController()
  const signal = given.signal === undefined ? closing.signal : AbortSignal.any([closing.signal, given.signal])
  const first = await openFirst(source, signal)
  let current = first.compiled
  let status: PolicyStatus = { ...factsOf(current), loadedAtMs: Date.now(), reloads: 0, rejected: 0 }
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
      current = await compile(reading, signal)
      accepted = reading.accepted
      const { activation } = reading
      const { warnings } = current
      const { reloads, rejected } = status
      status = { ...factsOf(current), loadedAtMs: Date.now(), reloads: reloads + 1, rejected }
      event = {
        type: 'reloaded',
        ...factsOf(current),
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
      return current.policy
    },
    get module() {
      return current.module
    },
    status: () => status,
    reloadNow,
    async close() {
      closing.abort()
      await Promise.all([following, turn])
    },
  }
}

/** A policy that may decide, and what it was loaded from. */
interface Compiled {
  readonly policy: LoadedPolicy
  readonly module: PolicyModule
  readonly shadowRules: readonly string[] | undefined
  readonly warnings: readonly Diagnostic[]
}

function factsOf({ policy, shadowRules }: Compiled): Pick<PolicyStatus, 'digest' | 'shadowRules'> {
  return { digest: policy.digest, ...(shadowRules === undefined ? {} : { shadowRules }) }
}

/** What the source has now; else what it kept, with the problem that is to be mended. Throws as `compile`. */
async function openFirst(
  source: PolicySource,
  signal: AbortSignal,
): Promise<{ compiled: Compiled; problem?: PolicyError }> {
  const adopt = async (reading: Reading): Promise<Compiled> => {
    const compiled = await compile(reading, signal)
    await reading.accepted?.()
    return compiled
  }
  try {
    return { compiled: await adopt(await source.read(signal)) }
  } catch (thrown) {
    const kept = await source.kept?.(signal)
    if (kept === undefined) throw thrown
    const problem = asPolicyError(thrown)
    try {
      return { compiled: await adopt(kept), problem }
    } catch (also) {
      throw new PolicyError([...problem.diagnostics, ...asPolicyError(also).diagnostics])
    }
  }
}

/** From bytes to a policy that may decide. Throws `PolicyError`, or whatever kept the toolchain from working. */
async function compile(reading: Reading, signal: AbortSignal): Promise<Compiled> {
  const sources = reading.sources()
  const isCompiled = sources.wasm !== undefined
  const outcome = await runToolchain(
    sources,
    isCompiled ? ['rehearse'] : ['check', 'test', 'build', 'rehearse'],
    signal,
  )
  const errors = outcome.diagnostics.filter(isError)
  if (errors.length > 0) throw new PolicyError(errors)
  const built: Pick<PolicySources, 'wasm' | 'shadow' | 'shadowRules'> = isCompiled ? sources : outcome
  const { wasm, shadow, shadowRules } = built
  if (wasm === undefined) throw new Error('the Rego toolchain gave no module')
  const module = { wasm, data: sources.data, ...(shadow === undefined ? {} : { shadow }) }
  return { policy: await load(module), module, shadowRules, warnings: outcome.diagnostics }
}

/**
 * A module compiled elsewhere may be anything: what it would ask of its host is refused by name, and so is a
 * module whose answer to the sample input, or to the sample question about issuing, cannot be read. No answer at all
 * is one: the sample is nobody's.
 * Throws `PolicyError`.
 */
export async function load(module: PolicyModule): Promise<LoadedPolicy> {
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
  if (fault !== undefined && fault !== undefinedDecision) {
    throw fileError('', 'decision_invalid', `${fault}; asked with the sample input of docs/policy.md`)
  }
  const answer = policy.issue.decide(sampleQuestion)
  if (answer.effect !== 'deny' || answer.fault === undefined || silences.has(answer.fault)) return policy
  throw fileError('', 'decision_invalid', `${answer.fault}; asked ${issueEntrypoint} with a sample question`)
}

/** What kept a source from being live, as diagnostics: those of the policy, or one about the toolchain. */
export function asPolicyError(thrown: unknown): PolicyError {
  if (thrown instanceof PolicyError) return thrown
  return fileError('', toolchainFailed, thrown instanceof Error ? thrown.message : 'unknown failure')
}
