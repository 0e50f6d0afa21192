// In: the form of a request to the broker and what its connection proves. Out: the agent that sent it, or
// `invalid_client`. One way to authenticate per request; which ways an agent has stands in its file. Never
// tells an unknown agent from a wrong signature, in words or in the path taken; never takes a shared secret.
import { hash } from 'node:crypto'
import { readBinding } from '../../lease/claims.ts'
import type { UnprovenToken } from '../../lease/compact.ts'
import { decoyKey, signatureIsValid } from '../../lease/jose.ts'
import { type Key, type KeyRing, readKeyRing } from '../../lease/jwks.ts'
import { isObject, isPlainText, own } from '../../lease/text.ts'
import type { Replay } from '../../ports.ts'
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type {
  AgentClient,
  AgentCredential,
  AgentEntry,
  AgentRegistry,
  ClientAuthenticator,
  ClientCertificate,
  Form,
  IdentityProvider,
} from '../parties.ts'
import { jwtFault, onlyAudience, readJwt, readTimes, under } from './jwt.ts'
import type { Providers } from './providers.ts'

/** RFC 7523 §2.2, and draft-ietf-oauth-spiffe-client-auth. */
const assertionTypes = {
  jwt: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  spiffe: 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe',
} as const

const jwtTokenType = 'urn:ietf:params:oauth:token-type:jwt'

/** draft-ietf-oauth-rfc7523bis, and what clients sent before it. */
const assertionTyps = new Set([undefined, 'JWT', 'client-authentication+jwt'])
/** SPIFFE JWT-SVID §2; service account tokens of Kubernetes have none. */
const workloadTyps = new Set([undefined, 'JWT', 'JOSE'])
const allTyps = new Set([...assertionTyps, ...workloadTyps])

/** Claims that an agent's token never has: SETs and logout tokens, leases and proofs do. */
const foreign = ['events', 'lease', 'htm']

/** An assertion is good for this long at most, seconds, on a clock that may differ by so many. */
const maxAssertionSeconds = 300
const assertionTolerance = 5

export interface ClientParts {
  readonly agents: AgentRegistry
  readonly providers: Providers
  /** `aud` of a client assertion: ours, and nothing else of ours. */
  readonly issuer: string
  readonly replay: Replay
}

type WorkloadKind = 'any' | 'spiffe'

/** Authenticates agents. Throws `Unavailable` when a used assertion could not be remembered. */
export function createClientAuthenticator(parts: ClientParts): ClientAuthenticator {
  const keyRings = createKeyRings()

  async function proveJwt(text: string, now: number, workload: WorkloadKind): Promise<AgentClient | Refusal> {
    const token = readJwt(text, allTyps)
    if (isRefusal(token)) return token
    if (foreign.some((name) => Object.hasOwn(token.claims, name))) return jwtFault('claim_of_another_kind')
    const provider = parts.providers.byIssuer(own(token.claims, 'iss'))
    if (provider?.subjects === 'agents') return proveWorkload(token, provider, now, workload)
    return workload === 'spiffe' ? jwtFault('issuer_unknown') : proveAssertion(token, now)
  }

  /** RFC 7523 §3, with `aud` as narrow as rfc7523bis has it. */
  async function proveAssertion(token: UnprovenToken, now: number): Promise<AgentClient | Refusal> {
    if (!assertionTyps.has(token.typ)) return jwtFault('typ_not_allowed')
    const { claims } = token
    const { iss, sub, aud, jti } = claims
    const entry = typeof iss === 'string' ? parts.agents.byClientId(iss) : undefined
    const key = entry && (await keyRings.find(entry, token))
    const signed = await signatureIsValid(token.text, (key ?? (await decoyKey(token.alg))).handle, token.alg)
    if (entry === undefined || key === undefined || !signed) return notProven
    if (sub !== entry.clientId || !isPlainText(jti)) return jwtFault('claim_malformed')
    if (aud !== parts.issuer) return jwtFault('audience_not_allowed')
    const clock = { now, clockTolerance: assertionTolerance }
    const times = readTimes(claims, { ...clock, maxAheadSeconds: maxAssertionSeconds })
    if (isRefusal(times)) return times
    const confirmed = readBinding(own(claims, 'cnf'))
    if (isRefusal(confirmed)) return jwtFault('binding_not_supported')
    // Last, so that an assertion which is refused for another reason is not used up.
    const id = `client_assertion:${hash('sha256', JSON.stringify([entry.clientId, jti]), 'base64url')}`
    const fresh = await parts.replay.use(id, times.expiresAt + assertionTolerance, now)
    return fresh ? { entry, method: 'private_key_jwt', instance: '', key: confirmed } : jwtFault('replayed')
  }

  /** A token that the platform gave to the workload: JWT-SVID, service account token. Not single-use. */
  async function proveWorkload(
    token: UnprovenToken,
    provider: IdentityProvider,
    now: number,
    kind: WorkloadKind,
  ): Promise<AgentClient | Refusal> {
    if (!workloadTyps.has(token.typ)) return jwtFault('typ_not_allowed')
    const unproven = await parts.providers.prove(token, provider)
    if (unproven !== undefined) return unproven.code === 'evidence_unavailable' ? unproven : notProven
    const { claims } = token
    const subject = own(claims, 'sub')
    const entry = isPlainText(subject) ? parts.agents.byWorkload(provider.issuer, subject) : undefined
    if (entry === undefined || !isPlainText(subject)) return notProven
    if (kind === 'spiffe' && !subject.startsWith('spiffe://')) return jwtFault('claim_malformed')
    if (onlyAudience(claims) !== provider.audience) return jwtFault('audience_not_allowed')
    const times = readTimes(claims, { now, ...provider })
    if (isRefusal(times)) return times
    const key = readBinding(own(claims, 'cnf'))
    if (isRefusal(key)) return jwtFault('binding_not_supported')
    return { entry, method: 'workload_jwt', instance: podOf(claims), key }
  }

  return {
    async authenticate(form, { certificate }, now) {
      const client = await authenticated(form, certificate, now)
      if (isRefusal(client)) return client
      const named = form.get('client_id')
      return named === undefined || named === client.entry.clientId
        ? client
        : refuse('invalid_client', { cause: 'client_id_mismatch', detail: 'client_id names another agent.' })
    },
    async actor(token, type, now) {
      if (type !== jwtTokenType)
        return badRequest('actor_token_type_unknown', 'actor_token_type is not served.')
      return proveJwt(token, now, 'any')
    },
  }

  async function authenticated(
    form: Form,
    certificate: ClientCertificate | undefined,
    now: number,
  ): Promise<AgentClient | Refusal> {
    const assertion = form.get('client_assertion')
    const type = form.get('client_assertion_type')
    if (form.has('client_secret')) {
      return assertion === undefined
        ? refuse('invalid_client', { cause: 'client_secret', detail: 'Shared secrets are not accepted.' })
        : badRequest('several_authentications', 'The request authenticates in more than one way.')
    }
    if (assertion === undefined && type === undefined) return byCertificate(form, certificate)
    if (assertion === undefined || type === undefined) {
      return badRequest('assertion_incomplete', 'client_assertion and client_assertion_type go together.')
    }
    if (type !== assertionTypes.jwt && type !== assertionTypes.spiffe) {
      return refuse('invalid_client', {
        cause: 'client_assertion_type_unknown',
        detail: 'client_assertion_type is not served.',
      })
    }
    const client = await proveJwt(assertion, now, type === assertionTypes.spiffe ? 'spiffe' : 'any')
    return isRefusal(client) ? under('invalid_client', client) : client
  }

  /** RFC 8705 §2: `client_id` says whose certificate it should be. */
  function byCertificate(form: Form, certificate: ClientCertificate | undefined): AgentClient | Refusal {
    const clientId = form.get('client_id')
    if (clientId === undefined || certificate === undefined) {
      return refuse('invalid_client', {
        cause: 'not_authenticated',
        detail: 'Send a client_assertion, or client_id over a connection with a client certificate.',
      })
    }
    const entry = parts.agents.byClientId(clientId)
    const credential = entry?.credentials.find((each) => certificateFits(each, certificate))
    if (entry === undefined || credential === undefined) {
      return under('invalid_client', notProven)
    }
    return { entry, method: credential.method, instance: '', key: undefined }
  }
}

/** One answer to whoever cannot prove to be an agent, whether there is such an agent or not. */
const notProven = refuse('invalid_request', {
  cause: 'agent_not_proven',
  detail: 'There is no such agent, or this is not its credential.',
})

function badRequest(cause: string, detail: string): Refusal {
  return refuse('invalid_request', { cause, detail })
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

/** Name of the pod, as Kubernetes binds it into a service account token. */
function podOf(claims: Record<string, unknown>): string {
  const kubernetes = own(claims, 'kubernetes.io')
  const pod = isObject(kubernetes) ? own(kubernetes, 'pod') : undefined
  const name = isObject(pod) ? own(pod, 'name') : undefined
  return isPlainText(name) ? name : ''
}

interface KeyRings {
  /** The key of the agent that the token names, for the token's algorithm. */
  find(entry: AgentEntry, token: UnprovenToken): Promise<Key | undefined>
}

/** Keys of agents, imported once for as long as the agent's file stays the same. */
function createKeyRings(): KeyRings {
  const rings = new WeakMap<AgentEntry, Promise<KeyRing | undefined>>()
  return {
    async find(entry, { kid, alg }) {
      let ring = rings.get(entry)
      if (ring === undefined) {
        ring = importKeys(entry)
        rings.set(entry, ring)
      }
      const key = (await ring)?.get(kid)
      return key?.alg === alg ? key : undefined
    },
  }
}

async function importKeys({ clientId, credentials }: AgentEntry): Promise<KeyRing | undefined> {
  const keys = credentials.flatMap((each) => (each.method === 'private_key_jwt' ? each.jwks : []))
  return readKeyRing(Buffer.from(JSON.stringify({ keys })), clientId, new Map())
}
