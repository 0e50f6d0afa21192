// A bound on waiting: nothing on the request path waits for ever.
import { Unavailable } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'

/** `promise`, or `Unavailable` after `ms`; what it comes to later is ignored. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Unavailable(`no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** What `asking` comes to, or the refusal where approvals cannot be read. */
export async function orUnavailable<T>(asking: Promise<T>): Promise<T | Refusal> {
  try {
    return await asking
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    return refuse('evidence_unavailable', { detail: 'approvals cannot be read now', cause: error.message })
  }
}
