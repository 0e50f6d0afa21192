// `GET /.well-known/oauth-authorization-server`: what the broker serves and in which words (RFC 8414). In: the
// endpoints that are there, and what they take. Out: the endpoint that tells. Never says more than is true.
import { z } from 'zod'
import type { ControlAnswer, Endpoint } from './control.ts'

/** What the broker is made of. Empty lists and endpoints that are not there are left out. */
export interface MetadataParts {
  /** `iss` of its tokens; the URLs of its endpoints begin with it. */
  readonly issuer: string
  /** Everything that the listener serves. */
  readonly endpoints: readonly Endpoint[]
  /** Grant types of the token endpoint. */
  readonly grantTypes: readonly string[]
  /** How agents prove who they are: RFC 7523 §2.2, RFC 8705 §2. */
  readonly clientAuthentication: readonly string[]
  /** What their assertions may be signed with. */
  readonly assertionAlgorithms: readonly string[]
  /** What DPoP proofs may be signed with (RFC 9449 §5.1). */
  readonly proofAlgorithms: readonly string[]
  /** Whether tokens are bound to the client certificate of a connection (RFC 8705 §3.3). */
  readonly certificateBound: boolean
}

/** Well-known path of RFC 8414 §3; the path of the issuer follows it. */
const wellKnown = '/.well-known/oauth-authorization-server'

/** The grant type of a poll for a deferred answer (draft-ietf-oauth-deferred-token-response). */
const deferredGrant = 'urn:ietf:params:oauth:grant-type:deferred'

/** The endpoint; its document is made once. None where the issuer is no URL: nobody could ask there. */
export function metadataEndpoints(parts: MetadataParts): Endpoint[] {
  const issuer = URL.parse(parts.issuer)
  if (issuer === null) return []
  const answer: ControlAnswer = {
    status: 200,
    body: metadata(parts),
    headers: { 'cache-control': 'max-age=300' },
  }
  return [
    {
      method: 'GET',
      path: `${wellKnown}${issuer.pathname.replace(/\/$/, '')}`,
      access: 'open',
      takes: 'nothing',
      errors: 'problem',
      describe: {
        summary: 'What this broker serves and where (RFC 8414)',
        answer: z.looseObject({ issuer: z.string() }),
      },
      serve: () => answer,
    },
  ]
}

function metadata(parts: MetadataParts): Readonly<Record<string, unknown>> {
  const { issuer, endpoints } = parts
  const urlOf = (path: string) =>
    endpoints.some((endpoint) => endpoint.path === path) ? `${issuer.replace(/\/$/, '')}${path}` : undefined
  const token = urlOf('/token')
  return present({
    issuer,
    jwks_uri: urlOf('/jwks'),
    token_endpoint: token,
    ...(token === undefined ? {} : tokenEndpoint(parts)),
    introspection_endpoint: urlOf('/introspect'),
    revocation_endpoint: urlOf('/revoke'),
  })
}

/** What is true of a broker that gives tokens. */
function tokenEndpoint(parts: MetadataParts): Readonly<Record<string, unknown>> {
  const { grantTypes, clientAuthentication: methods, certificateBound } = parts
  return {
    grant_types_supported: grantTypes,
    token_endpoint_auth_methods_supported: methods,
    // RFC 8414 §2: required beside `private_key_jwt`, and without meaning elsewhere.
    token_endpoint_auth_signing_alg_values_supported: methods.includes('private_key_jwt')
      ? parts.assertionAlgorithms
      : [],
    dpop_signing_alg_values_supported: parts.proofAlgorithms,
    tls_client_certificate_bound_access_tokens: certificateBound || undefined,
    authorization_details_types_supported: ['lease'],
    deferred_token_response_supported: grantTypes.includes(deferredGrant) || undefined,
    // There is no authorization endpoint; MCP clients refuse a server that does not say it.
    code_challenge_methods_supported: ['S256'],
  }
}

/** Without members that have nothing to say (RFC 8414 §3.2). */
function present(members: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const says = (value: unknown) => value !== undefined && !(Array.isArray(value) && value.length === 0)
  return Object.fromEntries(Object.entries(members).filter(([, value]) => says(value)))
}
