// `POST /token`: the token endpoint (RFC 6749 §3.2, RFC 8693 §2). In: a form. Out: a lease token, or an OAuth
// error. Never cached, never without a nonce for the next proof.
import type { Broker } from '../broker/exchange.ts'
import type { Given } from '../broker/give.ts'
import { accessTokenType } from '../broker/grant.ts'
import { isRefusal } from '../refusals.ts'
import type { Endpoint } from './control.ts'

/** The endpoint. */
export function tokenEndpoints(broker: Broker): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/token',
      access: 'open',
      takes: 'form',
      errors: 'oauth',
      headers: () => ({ 'dpop-nonce': broker.nonce() }),
      refused: broker.refused,
      async serve({ form, sender, peer }) {
        const issued = await broker.token({ form, sender, peer })
        return isRefusal(issued) ? issued : { status: 200, body: answerOf(issued) }
      },
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
