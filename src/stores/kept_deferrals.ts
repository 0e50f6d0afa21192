// In: a token request that waits, as it is stored, and what happens to it. Out: the same afterwards, alike for
// both adapters; its text. It never takes a text for a deferral that is not one.
import { type Deferral, Unavailable } from '../ports.ts'
import { parseObject } from './kept_leases.ts'

/** With the time of its latest poll; before the first one, of its creation. */
export interface KeptDeferral extends Deferral {
  readonly polledAt: number
}

/** RFC 8628 §3.5. */
const slowDownSeconds = 5

/** As the port shows it. */
export function shown({ polledAt: _, ...deferral }: KeptDeferral): Deferral {
  return deferral
}

/** After a poll at `now`. A clock that was set back makes no poll too early later on. */
export function polled(kept: KeptDeferral, now: number): { kept: KeptDeferral; tooFast: boolean } {
  const tooFast = now - kept.polledAt < kept.interval
  const interval = tooFast ? kept.interval + slowDownSeconds : kept.interval
  return { kept: { ...kept, interval, polledAt: now }, tooFast }
}

const states: readonly unknown[] = [
  'pending',
  'approved',
  'denied',
  'expired',
  'redeemed',
] satisfies Deferral['state'][]

/** Reads the JSON of a deferral. Throws `Unavailable` for anything else. */
export function decodeDeferral(text: string): KeptDeferral {
  const value = parseObject(text, 'deferral')
  if (!isKept(value)) throw new Unavailable('a stored deferral is malformed')
  return value
}

function isKept(value: Record<string, unknown>): value is Record<string, unknown> & KeptDeferral {
  const { id, clientId, key, request, approvers, state } = value
  const { createdAt, expiresAt, interval, polledAt } = value
  return (
    [id, clientId, key, request].every((text) => typeof text === 'string') &&
    [createdAt, expiresAt, interval, polledAt].every(Number.isFinite) &&
    Array.isArray(approvers) &&
    states.includes(state)
  )
}
