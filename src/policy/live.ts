// In: a policy directory. Out: the policy that decides now, and an event whenever that changes or could not.
// A policy goes live only whole: read, checked, tested on both engines, compiled, loaded. Until then, and
// after any failure, the one before stays. Never compiles in this process.
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Policy } from '../ports.ts'
import { type Diagnostic, fileError, PolicyError } from './diagnostic.ts'
import { type LoadedPolicy, loadPolicy } from './evaluate.ts'
import { type PolicyFiles, parsePolicy, readPolicyFiles } from './sources.ts'
import { runToolchain } from './toolchain.ts'

// A swap takes one poll, one settling and about a second and a half of compiling and testing.
const pollMs = 150
const settleMs = 50
const retryMs = 10_000
const toolchainFailed = 'toolchain_failed'

export interface OpenPolicyOptions {
  readonly dir: string
  readonly reload: 'on_change' | 'never'
  /** Called after every attempt to replace the live policy; not for the first load. Must not throw. */
  readonly onEvent: (event: PolicyEvent) => void
}

export type PolicyEvent =
  | { readonly type: 'reloaded'; readonly digest: string }
  | { readonly type: 'rejected'; readonly diagnostics: readonly Diagnostic[] }

export interface PolicyStatus {
  /** Of the live policy. */
  readonly digest: string
  readonly loadedAtMs: number
  /** Why the directory's present content is not live; one diagnostic a line. */
  readonly lastError?: string
  /** Replacements and refused replacements since the start. */
  readonly reloads: number
  readonly rejected: number
}

export interface LivePolicy {
  /** The policy that decides now. Take it once per decision. */
  readonly current: Policy
  status(): PolicyStatus
  /** Reads and compiles the directory now, changed or not; for SIGHUP. Rejects only after `close`. */
  reloadNow(): Promise<PolicyEvent>
  /** Ends polling and any compilation under way. `current` stays usable. */
  close(): Promise<void>
}

/** Opens the policy in `dir`. Rejects with a `PolicyError` that lists everything wrong with it. */
export async function openPolicy({ dir, reload, onEvent }: OpenPolicyOptions): Promise<LivePolicy> {
  const closing = new AbortController()
  const { signal } = closing
  const first = await readContent(dir)
  let seen = first.fingerprint
  let current: Policy = await compile(first, signal)
  let status: PolicyStatus = { digest: current.digest, loadedAtMs: Date.now(), reloads: 0, rejected: 0 }

  const replace = async (): Promise<PolicyEvent> => {
    let event: PolicyEvent
    try {
      const content = await readSettled(dir, signal)
      seen = content.fingerprint
      current = await compile(content, signal)
      const { digest } = current
      status = { digest, loadedAtMs: Date.now(), reloads: status.reloads + 1, rejected: status.rejected }
      event = { type: 'reloaded', digest }
    } catch (thrown) {
      signal.throwIfAborted()
      const { diagnostics, message } = asPolicyError(thrown)
      status = { ...status, lastError: message, rejected: status.rejected + 1 }
      event = { type: 'rejected', diagnostics }
    }
    onEvent(event)
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

  const poll = async (): Promise<never> => {
    for (;;) {
      await sleep(pollMs, undefined, { ref: false, signal })
      await turn
      if ((await readContent(dir)).fingerprint === seen) continue
      const event = await reloadNow()
      if (event.type !== 'rejected' || event.diagnostics[0]?.code !== toolchainFailed) continue
      // Not the policy's fault: a child that was killed, say. The same content deserves another try.
      await sleep(retryMs, undefined, { ref: false, signal })
      seen = ''
    }
  }
  // Only `close` ends it.
  const polling = reload === 'on_change' ? poll().catch(() => undefined) : undefined

  return {
    get current() {
      return current
    },
    status: () => status,
    reloadNow,
    async close() {
      closing.abort()
      await Promise.all([polling, turn])
    },
  }
}

/** What a directory holds at one moment; equal fingerprints mean equal bytes under equal names. */
interface Content {
  readonly fingerprint: string
  readonly files: PolicyFiles | PolicyError
}

async function readContent(dir: string): Promise<Content> {
  try {
    const files = await readPolicyFiles(dir)
    const hash = createHash('sha256')
    for (const [path, bytes] of files) hash.update(`${path}\0${bytes.byteLength}\0`).update(bytes)
    return { fingerprint: hash.digest('hex'), files }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    const problem = fileError('', 'policy_unreadable', `the policy directory cannot be read (${code})`)
    return { fingerprint: `unreadable ${code}`, files: problem }
  }
}

/** Reads until two readings agree: an editor or a volume may be half-way through its changes. */
async function readSettled(dir: string, signal: AbortSignal): Promise<Content> {
  let content = await readContent(dir)
  for (;;) {
    await sleep(settleMs, undefined, { signal })
    const again = await readContent(dir)
    if (again.fingerprint === content.fingerprint) return again
    content = again
  }
}

/** From bytes to a policy that may decide. Throws `PolicyError`, or whatever kept the toolchain from working. */
async function compile({ files }: Content, signal: AbortSignal): Promise<Policy> {
  if (files instanceof PolicyError) throw files
  const sources = parsePolicy(files)
  let { wasm } = sources
  if (wasm === undefined) {
    const outcome = await runToolchain(sources, ['test', 'build'], signal)
    if (outcome.diagnostics.length > 0) throw new PolicyError(outcome.diagnostics)
    wasm = outcome.wasm
  }
  if (wasm === undefined) throw new Error('the Rego toolchain gave no module')
  return load(wasm, sources.data)
}

/** A module compiled elsewhere may be anything: what it would ask of its host is refused by name. */
async function load(wasm: Uint8Array, data: unknown): Promise<Policy> {
  let policy: LoadedPolicy
  try {
    policy = await loadPolicy({ wasm, data })
  } catch (thrown) {
    throw fileError('', 'policy_unusable', thrown instanceof Error ? thrown.message : 'cannot be loaded')
  }
  const { hostBuiltins } = policy
  if (hostBuiltins.length === 0) return policy
  throw fileError('', 'builtin_unavailable', `the policy calls ${hostBuiltins.join(', ')}`)
}

function asPolicyError(thrown: unknown): PolicyError {
  if (thrown instanceof PolicyError) return thrown
  return fileError('', toolchainFailed, thrown instanceof Error ? thrown.message : 'unknown failure')
}
