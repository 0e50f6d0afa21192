// A store that does not answer, as callers of the control listener see it. Whatever was written stays, so every
// endpoint that answers through here can be asked again.
import { Unavailable } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'

/** The answer, or `evidence_unavailable` (503) where the state store had none. A bug stays a bug. */
export async function orUnavailable<A>(answer: Promise<A>): Promise<A | Refusal> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    const detail = error.told ?? 'the state store did not answer: try again'
    return refuse('evidence_unavailable', { detail, cause: error.message })
  }
}
