// `POST /revoke` (RFC 7009): ends one token, at every gate on the store. Its lease goes on and may be renewed; who
// wants the lease to end says so to the lease. A token that is not the caller's gets the same 200 as an unknown one.
import { revokeToken } from '../broker/revocation.ts'
import type { Revocations } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { changers } from './caller.ts'
import { type CallerParts, callerOf, type TokenParts, tokenOf } from './callers.ts'
import type { ControlAnswer, Endpoint } from './control.ts'
import { type ObservedCall, type ObservedParts, observed } from './observed.ts'

export interface TokenRevocationParts
  extends ObservedParts,
    CallerParts,
    Pick<TokenParts, 'verifier' | 'audiences'> {
  readonly store: {
    readonly leases: TokenParts['leases']
    readonly revocations: Pick<Revocations, 'revoke'>
  }
}

export function tokenRevocationEndpoints(parts: TokenRevocationParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/revoke',
      access: 'open',
      takes: 'form',
      errors: 'oauth',
      ...observed('revoke', parts, (call) => revoke(call, parts)),
    },
  ]
}

/** `token_type_hint` says where to look first; there is one place, so it is not read (RFC 7009 §2.1). */
async function revoke(call: ObservedCall, parts: TokenRevocationParts): Promise<ControlAnswer | Refusal> {
  const caller = await callerOf(call, parts, changers)
  if (isRefusal(caller)) return caller
  const token = call.form.get('token')
  if (token === undefined) return refuse('invalid_request', { detail: 'send the token as `token`' })
  const { leases, revocations } = parts.store
  const known = await tokenOf(token, caller, { ...parts, leases }, call.now)
  if (isRefusal(known)) {
    const { cause } = known.facts
    if (known.code === 'evidence_unavailable') return known
    if (cause === 'typ_not_allowed') return notServed()
    call.trail.reasons = [cause ?? known.code]
    return done
  }
  if (known === undefined) {
    call.trail.reasons = ['token_not_of_caller']
    return done
  }
  call.trail.lease = known.record
  await revocations.revoke(revokeToken(known.lease, caller.name, call.now))
  call.trail.reasons = ['token_revoked']
  return done
}

const done: ControlAnswer = { status: 200 }

/** RFC 7009 §2.2.1: a JWT of another kind than the one that can be revoked here. */
function notServed(): Refusal {
  return refuse('unsupported_token_type', { detail: 'only lease tokens (typ at+jwt) can be revoked here' })
}
