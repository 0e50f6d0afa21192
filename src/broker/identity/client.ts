// In: the form of a request to the broker and what its connection proves. Out: the agent that sent it, or why
// it is not believed. One way to authenticate per request; which ways an agent has stands in its file. Never
// takes a shared secret.
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type {
  AgentClient,
  AgentCredential,
  AgentRegistry,
  ClientAuthenticator,
  ClientCertificate,
  Form,
} from '../parties.ts'
import {
  type AgentTokenKind,
  type AgentTokenParts,
  type AgentTokens,
  createAgentTokens,
  notProven,
} from './agent_token.ts'
import { about, under } from './jwt.ts'

/** RFC 7523 §2.2, and draft-ietf-oauth-spiffe-client-auth. */
const assertionTypes: ReadonlyMap<string, AgentTokenKind> = new Map([
  ['urn:ietf:params:oauth:client-assertion-type:jwt-bearer', 'any'],
  ['urn:ietf:params:oauth:client-assertion-type:jwt-spiffe', 'spiffe'],
])

/** RFC 8693 §3. */
const jwtTokenType = 'urn:ietf:params:oauth:token-type:jwt'

/** Authenticates agents. Throws `Unavailable` when a used assertion could not be remembered. */
export function createClientAuthenticator(parts: AgentTokenParts): ClientAuthenticator {
  const tokens = createAgentTokens(parts)
  return {
    async authenticate(form, { certificate, authorization }, now) {
      // RFC 6749 §2.3.1: what stands there is a secret, or meant for somebody else.
      if (authorization === true) {
        return notTheClient(
          'authorization_field',
          'Agents prove who they are in the form, not in Authorization.',
        )
      }
      const secret = readSecret(form)
      if (secret !== undefined) return secret
      const client = hasAssertion(form)
        ? await byAssertion(form, now, tokens)
        : byCertificate(form, certificate, parts.agents)
      if (isRefusal(client)) return client
      const named = form.get('client_id')
      return named === undefined || named === client.entry.clientId
        ? client
        : notTheClient('client_id_mismatch', 'client_id names another agent.')
    },
    async actor(token, type, now) {
      if (type !== jwtTokenType) {
        return badRequest('actor_token_type_unknown', 'actor_token_type is not served.')
      }
      const actor = await tokens.prove(token, 'any', now)
      return isRefusal(actor) ? about('actor_token', actor) : actor
    },
  }
}

function notTheClient(cause: string, detail: string): Refusal {
  return refuse('invalid_client', { cause, detail })
}

function badRequest(cause: string, detail: string): Refusal {
  return refuse('invalid_request', { cause, detail })
}

function hasAssertion(form: Form): boolean {
  return form.has('client_assertion') || form.has('client_assertion_type')
}

/** RFC 6749 §2.3: one way per request; and a secret that two parties know proves neither. */
function readSecret(form: Form): Refusal | undefined {
  if (!form.has('client_secret')) return undefined
  return hasAssertion(form)
    ? badRequest('several_authentications', 'The request authenticates in more than one way.')
    : notTheClient('client_secret', 'Shared secrets are not accepted.')
}

async function byAssertion(form: Form, now: number, tokens: AgentTokens): Promise<AgentClient | Refusal> {
  const assertion = form.get('client_assertion')
  const type = form.get('client_assertion_type')
  if (assertion === undefined || type === undefined) {
    return badRequest('assertion_incomplete', 'client_assertion and client_assertion_type go together.')
  }
  const kind = assertionTypes.get(type)
  if (kind === undefined) {
    return notTheClient('client_assertion_type_unknown', 'client_assertion_type is not served.')
  }
  const client = await tokens.prove(assertion, kind, now)
  if (!isRefusal(client)) return client
  // Who is not known is told the same whichever way it came.
  return under('invalid_client', client === notProven ? client : about('client_assertion', client))
}

/** RFC 8705 §2: `client_id` says whose certificate it should be. */
function byCertificate(
  form: Form,
  certificate: ClientCertificate | undefined,
  agents: AgentRegistry,
): AgentClient | Refusal {
  const clientId = form.get('client_id')
  if (clientId === undefined || certificate === undefined) {
    const detail = 'Send a client_assertion, or client_id over a connection with a client certificate.'
    return notTheClient('not_authenticated', detail)
  }
  const entry = agents.byClientId(clientId)
  const credential = entry?.credentials.find((each) => certificateFits(each, certificate))
  return entry === undefined || credential === undefined
    ? under('invalid_client', notProven)
    : { entry, method: credential.method, instance: '', key: undefined }
}

function certificateFits(credential: AgentCredential, certificate: ClientCertificate): boolean {
  switch (credential.method) {
    case 'tls_client_auth':
      return certificate.trusted && certificate.names.includes(credential.san)
    case 'self_signed_tls_client_auth':
      return certificate.thumbprint === credential.thumbprint
    default:
      return false
  }
}
