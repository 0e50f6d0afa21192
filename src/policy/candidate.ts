// In: where a candidate policy lies. Out: what its directory holds, once that can be used; the one before
// until then, and nothing before the first. A candidate that is broken, at the start too, is an event and
// never an error: nobody's request depends on it. Never decides.
import { setTimeout as sleep } from 'node:timers/promises'
import { PolicyError } from './diagnostic.ts'
import type { PolicyModule } from './evaluate.ts'
import { asPolicyError, type LivePolicy, openPolicy, type PolicyEvent, type PolicyStatus } from './live.ts'
import type { PolicySource } from './source.ts'

const retryMs = 10_000

export interface OpenCandidateOptions {
  readonly source: PolicySource
  /** Called after every attempt to read it, the first included. Must not throw. */
  readonly onEvent: (event: PolicyEvent) => void
}

/** A policy that is tried and never asked. */
export interface CandidatePolicy {
  /** What would decide if the candidate went live. Undefined: it has never been usable. */
  readonly module: PolicyModule | undefined
  status(): Partial<Pick<PolicyStatus, 'digest' | 'lastError'>>
  /** Reads the source now, changed or not; for SIGHUP. What goes wrong is an event. */
  reloadNow(): Promise<void>
  /** Ends polling and any compilation under way. */
  close(): Promise<void>
}

/** Follows the policy of `source`; returns before it has been read. */
export function openCandidate({ source, onEvent }: OpenCandidateOptions): CandidatePolicy {
  const closing = new AbortController()
  let live: LivePolicy | undefined
  let lastError: string | undefined
  let readAgain = new AbortController()

  const open = async (): Promise<void> => {
    while (live === undefined) {
      const interrupted = AbortSignal.any([closing.signal, readAgain.signal])
      try {
        live = await openPolicy({ source, onEvent, signal: closing.signal })
        const { digest, shadowRules } = live.status()
        onEvent({ type: 'reloaded', digest, ...(shadowRules === undefined ? {} : { shadowRules }) })
      } catch (thrown) {
        if (closing.signal.aborted) return
        const problem = asPolicyError(thrown)
        lastError = problem.message
        onEvent({ type: 'rejected', diagnostics: problem.diagnostics })
        // The same content deserves another try when it was not the policy's fault.
        const wait = thrown instanceof PolicyError ? source.changed(interrupted) : pause(interrupted)
        await wait.catch(() => undefined)
        readAgain = new AbortController()
      }
    }
  }
  const opening = open()

  return {
    get module() {
      return live?.module
    },
    status: () => live?.status() ?? (lastError === undefined ? {} : { lastError }),
    async reloadNow() {
      if (live === undefined) readAgain.abort()
      else await live.reloadNow()
    },
    async close() {
      closing.abort()
      await opening
      await live?.close()
    },
  }
}

function pause(signal: AbortSignal): Promise<void> {
  return sleep(retryMs, undefined, { ref: false, signal })
}
