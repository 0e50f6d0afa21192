// The state store for one command, and the lease that it names there.
import { openStore } from '../../compose.ts'
import type { Config } from '../../config.ts'
import type { LeaseRecord, Store } from '../../ports.ts'
import { type Refusal, refusals } from '../../refusals.ts'
import { UsageError } from '../terminal.ts'

/** Runs `use` on the state store that the configuration names. */
export async function withStore<T>(config: Config, use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(config)
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}

/** The record of a lease. Throws an Error, which is exit code 1, where there is none. */
export async function requireLease(id: string, { leases }: Store): Promise<LeaseRecord> {
  const record = await leases.get(id)
  if (record === undefined) throw new Error(`no lease ${id}`)
  return record
}

/**
 * A refusal as commands tell it: what was typed wrong is a UsageError, a "no" of the broker an Error. Whoever has the
 * state store may know the cause.
 */
export function failure({ code, facts }: Refusal): Error {
  const message = facts.detail ?? facts.cause ?? refusals[code].title
  return code === 'malformed_request' ? new UsageError(message) : new Error(message)
}
