// A bounded repeat as people and programs read it. In: the repeat, the time. Out: plain data. Pure.
import { type Repeat, repeatState } from './repeats.ts'

/** The document; times are seconds since 1970. */
export function repeatView(repeat: Repeat, now: number) {
  const { id, action, lease, user, agent, backend, operation, verb, resource, calls, revoked } = repeat
  return {
    ...{ id, lease, user, agent, backend, operation, verb, resource, calls },
    calls_left: repeat.callsLeft,
    expires_at: repeat.expiresAt,
    by: repeat.by.map(({ by }) => by.user).join(', '),
    at: repeat.at,
    reason: repeat.reason,
    action,
    state: repeatState(repeat, now),
    ...(revoked !== undefined && { revoked }),
  }
}
