// `POST /token`: the token endpoint (RFC 6749 §3.2, RFC 8693 §2). In: a form. Out: a lease token, or an OAuth
// error. Never cached, never without a nonce for the next proof.
import { issue } from '../broker/exchange.ts'
import type { Given } from '../broker/give.ts'
import { accessTokenType } from '../broker/grant.ts'
import type { BrokerParts } from '../broker/parts.ts'
import { isRefusal } from '../refusals.ts'
import type { Endpoint } from './control.ts'
import { observed } from './observed.ts'

/** The endpoint of a broker made of `parts`. */
export function tokenEndpoints(parts: BrokerParts): Endpoint[] {
  const { observer, senders, now } = parts
  const told = observed('token', { observer, clock: () => now() * 1000 }, async ({ form, sender, trail }) => {
    const issued = await issue({ form, sender }, trail, parts)
    return isRefusal(issued) ? issued : { status: 200, body: answerOf(issued) }
  })
  return [
    {
      method: 'POST',
      path: '/token',
      access: 'open',
      takes: 'form',
      errors: 'oauth',
      headers: () => ({ 'dpop-nonce': senders.nonce(now()) }),
      ...told,
    },
  ]
}

/** RFC 8693 §2.2.1, RFC 9396 §7; what is granted is told even where it is what was asked for. */
function answerOf({ token, claims, record, expiresIn, leaseExpiresIn }: Given): object {
  return {
    access_token: token,
    issued_token_type: accessTokenType,
    token_type: record.binding?.method === 'dpop' ? 'DPoP' : 'Bearer',
    expires_in: expiresIn,
    scope: claims.scope,
    authorization_details: claims.authorization_details,
    lease_id: record.id,
    lease_expires_in: leaseExpiresIn,
    stage: claims.lease.stage,
  }
}
