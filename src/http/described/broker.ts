// What the OAuth endpoints of the broker say of themselves (docs/broker.md); their specifications say the rest.
import { z } from 'zod'
import type { Description } from '../description.ts'
import { count, text } from './words.ts'

const token = z.looseObject({ token: text, token_type_hint: text.optional() })

export const describedBroker: Readonly<Record<string, Description>> = {
  'POST /token': {
    summary:
      'A lease for an agent: exchange, renewal, or the poll of a request that waits (RFC 8693, RFC 7523)',
    body: z.looseObject({
      grant_type: text,
      subject_token: text.optional(),
      subject_token_type: text.optional(),
      client_assertion: text.optional(),
      client_assertion_type: text.optional(),
      authorization_details: text.optional(),
      scope: text.optional(),
    }),
    answer: z.looseObject({
      access_token: text,
      issued_token_type: text,
      token_type: z.enum(['Bearer', 'DPoP']),
      expires_in: count,
      authorization_details: z.array(z.looseObject({})),
      lease_id: text,
      lease_expires_in: count,
      stage: text,
    }),
    errors: [
      ...(['invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client'] as const),
      ...(['unsupported_grant_type', 'invalid_scope', 'invalid_target'] as const),
      ...(['invalid_authorization_details', 'invalid_dpop_proof', 'use_dpop_nonce'] as const),
      ...(['authorization_pending', 'slow_down', 'access_denied', 'expired_token'] as const),
      'evidence_unavailable',
    ],
  },
  'POST /introspect': {
    summary: 'What a lease token is worth now (RFC 7662)',
    body: token,
    answer: z.looseObject({ active: z.boolean() }),
    errors: ['invalid_request', 'invalid_client', 'evidence_unavailable'],
  },
  'POST /revoke': {
    summary: 'End a lease token (RFC 7009)',
    body: token,
    errors: ['invalid_request', 'invalid_client', 'unsupported_token_type', 'evidence_unavailable'],
  },
  'POST /backchannel_logout': {
    summary: 'An identity provider says that somebody has signed out (OpenID Connect Back-Channel Logout)',
    body: z.looseObject({ logout_token: text }),
    errors: ['invalid_request', 'evidence_unavailable'],
  },
  'POST /ssf/events': {
    summary: 'An identity provider says what has happened to a user (RFC 8935)',
    status: 202,
    errors: ['invalid_request', 'invalid_key', 'invalid_issuer', 'invalid_audience', 'evidence_unavailable'],
  },
  'GET /statuslists/{list}': {
    summary: 'Which leases are over, as a token status list',
    media: 'application/statuslist+jwt',
    errors: ['operation_unmapped', 'evidence_unavailable'],
  },
  'GET /jwks': {
    summary: 'The keys that lease tokens are signed with (RFC 7517)',
    answer: z.looseObject({ keys: z.array(z.looseObject({ kid: text })) }),
  },
}
