// `GET /status`: which processes are up on this store, and how each of them is. In: a call of an operator or an
// auditor. Out: what they say of themselves. Never of a lease or of an agent, and never to one tenant of many.
import type { Store } from '../ports.ts'
import { refuse } from '../refusals.ts'
import { readers } from './caller.ts'
import type { Endpoint } from './control.ts'
import { type GateStatus, readGates, storeTime } from './presence.ts'
import { orUnavailable } from './store_answer.ts'
import { refuseTenant } from './visible.ts'

/** Who is up, the youngest first, and the time by which their times count. */
export interface Status {
  readonly gates: readonly GateStatus[]
  /** Of the store, seconds since 1970. */
  readonly now: number
}

export interface StatusParts {
  readonly store: Pick<Store, 'records' | 'clockOffset'>
  /** The wall clock, milliseconds. */
  readonly clock: () => number
}

/** Throws `Unavailable`. */
export async function readStatus(parts: StatusParts): Promise<Status> {
  return { gates: await readGates(parts.store), now: storeTime(parts) }
}

/** `GET /status`, for operators and auditors. */
export function statusEndpoint(parts: StatusParts): Endpoint {
  return {
    method: 'GET',
    path: '/status',
    access: readers,
    takes: 'nothing',
    errors: 'problem',
    serve({ caller }) {
      if (caller === undefined) return refuse('operator_required')
      return refuseTenant(caller) ?? orUnavailable(readStatus(parts).then((body) => ({ status: 200, body })))
    },
  }
}
