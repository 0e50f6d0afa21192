// What identity providers tell: `POST /backchannel_logout` (OpenID Connect Back-Channel Logout 1.0 §2.5) and
// `POST /ssf/events` (RFC 8935). In: a token that the provider signed. Out: an acknowledgement once every gate on the
// store hears of it. Whoever sends needs no credential: the signature is what counts.
import { hash } from 'node:crypto'
import { readLogoutToken } from '../broker/logout_token.ts'
import { readSecurityEvent } from '../broker/security_event.ts'
import { endLeases, type Signal, type SignalContext, type SignalSources } from '../broker/signals.ts'
import type { Store } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { ControlAnswer, Endpoint } from './control.ts'
import { type ObservedCall, type ObservedParts, observed } from './observed.ts'

export interface SignalParts extends ObservedParts {
  readonly sources: SignalSources
  readonly store: SignalContext['store'] & Pick<Store, 'replay'>
  /** Of this broker's leases. */
  readonly issuer: string
}

export function signalEndpoints(parts: SignalParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/backchannel_logout',
      access: 'open',
      takes: 'form',
      errors: 'oauth',
      ...observed('backchannel_logout', parts, (call) => logOut(call, parts)),
    },
    {
      method: 'POST',
      path: '/ssf/events',
      access: 'open',
      takes: 'jwt',
      errors: 'set',
      ...observed('ssf_events', parts, (call) => takeEvent(call, parts)),
    },
  ]
}

async function logOut(call: ObservedCall, parts: SignalParts): Promise<ControlAnswer | Refusal> {
  const text = call.form.get('logout_token')
  if (text === undefined) return refuse('invalid_request', { detail: 'send the token as `logout_token`' })
  const logout = await readLogoutToken(text, parts.sources, call.now)
  if (isRefusal(logout)) return logout
  await end(logout, call, parts)
  // Only now: a logout that could not be written has to be taken when it is sent again. One that has been written
  // ends nothing the second time (`endLeases`).
  const id = `logout:${hash('sha256', JSON.stringify([logout.provider.issuer, logout.id]), 'base64url')}`
  const isFirst = await parts.store.replay.use(id, logout.takenUntil, call.now)
  return isFirst
    ? { status: 200 }
    : refuse('invalid_request', { detail: 'the logout token has been used before', cause: 'replayed' })
}

async function takeEvent(call: ObservedCall, parts: SignalParts): Promise<ControlAnswer | Refusal> {
  const event = await readSecurityEvent(call.jwt, parts.sources, call.now)
  if (isRefusal(event)) return event
  if (event.type === 'session_revoked') await end(event.signal, call, parts)
  else call.trail.reasons = [event.type, `by:${event.provider.issuer}`]
  return { status: 202 }
}

/** Ends the leases, and notes which for the record. */
async function end(
  signal: Signal,
  { trail, now }: ObservedCall,
  { store, issuer }: SignalParts,
): Promise<void> {
  const ended = await endLeases(signal, { store, issuer, now })
  const users = ended.filter(({ scope }) => scope === 'user')
  if (users.length === 1) trail.user = users[0]?.value
  const told = ended.length === 0 ? ['nothing_to_end'] : ended.map(({ scope, value }) => `${scope}:${value}`)
  trail.reasons = [signal.reason.replaceAll(' ', '_'), `by:${signal.provider.issuer}`, ...told]
}
