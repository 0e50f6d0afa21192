// Waiting for a human. In: what waits, and a way to look at it. Out: how it stands once it has been decided, or when
// the time is up. Looks no more often than the gate asks for; a gate that cannot answer now is asked again later.
import { ApprovalRefused, LeaseRefused, type RefusalFacts } from './errors.ts'
import type { ApprovalTask } from './task.ts'

/** How a call that is held waits by itself. */
export interface ApprovalOptions {
  /** How long the gate may keep one request open, seconds. Default 30; 0: it is looked at again and again instead. */
  readonly waitSeconds?: number
  /** Stop waiting then, with `ApprovalRequired`; it stays where it is, and the same call goes on with it. Default: when
   * nobody can approve it any more. */
  readonly deadline?: Date
  /** Called once, with what to show to whoever is to approve it. */
  readonly onWaiting?: (task: ApprovalTask) => void
}

/** What is looked at. */
export interface Watched {
  /** Asks the gate, which may keep the question open for so many seconds. */
  readonly look: (waitSeconds: number) => Promise<ApprovalTask>
  readonly isDecided: (task: ApprovalTask) => boolean
  readonly options: ApprovalOptions
  readonly signal: AbortSignal | undefined
}

export const defaultWaitSeconds = 30
/** After its end a task is looked at for so long, in case that this clock is ahead of the gate's. */
const graceMs = 60_000
/** Whatever the gate asks for: a timer of more than 24 days would go off at once. */
const longestPauseMs = 300_000

/** Looks until it has been decided, or the time is up: then it may still be undecided. Rejects when aborted. */
export async function watch(task: ApprovalTask, watched: Watched): Promise<ApprovalTask> {
  const { look, isDecided, options, signal } = watched
  const { waitSeconds = defaultWaitSeconds, deadline } = options
  const until = Math.min(deadline?.getTime() ?? Number.POSITIVE_INFINITY, task.expiresAt.getTime() + graceMs)
  let seen = task
  let pauseSeconds = task.intervalSeconds
  while (!isDecided(seen)) {
    const leftMs = until - Date.now()
    if (!(leftMs > 0)) return seen
    await pause(Math.min(pauseSeconds * 1000, leftMs, longestPauseMs), signal)
    try {
      const left = Math.max(0, Math.floor((until - Date.now()) / 1000))
      seen = await look(Math.min(waitSeconds, left))
      pauseSeconds = seen.intervalSeconds
    } catch (error) {
      pauseSeconds = retrySeconds(error, signal) ?? fail(error)
    }
  }
  return seen
}

/** A gate that is busy, or a connection that broke: what waits there is still there. */
function retrySeconds(error: unknown, signal: AbortSignal | undefined): number | undefined {
  if (signal?.aborted === true) return undefined
  if (error instanceof LeaseRefused) {
    return error.nextAction === 'retry' ? (error.retryAfter ?? unreachableSeconds) : undefined
  }
  // What `fetch` rejects with when no answer came.
  return error instanceof TypeError ? unreachableSeconds : undefined
}

const unreachableSeconds = 5

function fail(error: unknown): never {
  throw error
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) stop()
  })
}

const refusals = {
  denied: ['approval_refused', 'a human has refused this'],
  expired: ['approval_expired', 'nobody approved this in time'],
  cancelled: ['approval_withdrawn', 'the request for approval was taken back'],
  failed: ['approval_used', 'it was released and refused, or nobody knows whether the backend has seen it'],
} as const

/** The error for what was not approved, or did not come about although it was; undefined: that is not so. */
export function refusalIn(
  { status, reason, outcome }: ApprovalTask,
  known: Partial<RefusalFacts> = {},
): LeaseRefused | undefined {
  if (status === 'pending' || status === 'approved') return undefined
  const [code, text] = refusals[status]
  const facts: RefusalFacts = {
    code: outcome?.code ?? code,
    status: 403,
    reasons: known.reasons ?? [],
    nextAction: status === 'expired' || status === 'cancelled' ? 'request' : 'none',
    decisionId: known.decisionId,
    missing: [],
    retryAfter: undefined,
  }
  return status === 'denied'
    ? new ApprovalRefused(reason ?? text, facts, reason)
    : new LeaseRefused(reason ?? text, facts)
}
