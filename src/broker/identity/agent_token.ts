// In: a JWT that an agent sent about itself: its client assertion, or the token that its platform gave it. Out:
// the agent, or the refusal. Never tells an unknown agent from a wrong signature, in words or in the path
// taken; never takes a token of another kind for one of these.
import { hash } from 'node:crypto'
import { readBinding } from '../../lease/claims.ts'
import type { UnprovenToken } from '../../lease/compact.ts'
import { decoyKey, signatureIsValid } from '../../lease/jose.ts'
import { type Key, type KeyRing, readKeyRing } from '../../lease/jwks.ts'
import { isObject, isPlainText, own } from '../../lease/text.ts'
import type { Replay } from '../../ports.ts'
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type { AgentClient, AgentEntry, AgentRegistry, IdentityProvider } from '../parties.ts'
import { jwtFault, onlyAudience, readJwt, readTimes } from './jwt.ts'
import type { Providers } from './providers.ts'

export interface AgentTokenParts {
  readonly agents: AgentRegistry
  readonly providers: Providers
  /** `aud` of a client assertion: ours, and nothing else of ours. */
  readonly issuer: string
  readonly replay: Replay
}

/** `spiffe`: nothing but a JWT-SVID. */
export type AgentTokenKind = 'any' | 'spiffe'

export interface AgentTokens {
  /** The agent that the token is of. Throws `Unavailable` when a used assertion could not be remembered. */
  prove(text: string, kind: AgentTokenKind, now: number): Promise<AgentClient | Refusal>
}

/** One answer to whoever cannot prove to be an agent, whether there is such an agent or not. */
export const notProven: Refusal = refuse('invalid_request', {
  cause: 'agent_not_proven',
  detail: 'There is no such agent, or this is not its credential.',
})

/** draft-ietf-oauth-rfc7523bis, and what clients sent before it. */
const assertionTypes = new Set([undefined, 'JWT', 'client-authentication+jwt'])
/** SPIFFE JWT-SVID §2; service account tokens of Kubernetes have none. */
const workloadTypes = new Set([undefined, 'JWT', 'JOSE'])
const allTypes = new Set([...assertionTypes, ...workloadTypes])

/** Claims that an agent's token never has: SETs and logout tokens, leases and proofs do. */
const foreign = ['events', 'lease', 'htm']

/** An assertion is good for this long at most, seconds, on a clock that may differ by so many. */
const maxAssertionSeconds = 300
const assertionTolerance = 5

/** Proves the tokens of the agents in the registry. `iss` says which of the two kinds a token is of. */
export function createAgentTokens(parts: AgentTokenParts): AgentTokens {
  const keyRings = createKeyRings()
  return {
    async prove(text, kind, now) {
      const token = readJwt(text, allTypes)
      if (isRefusal(token)) return token
      if (foreign.some((name) => Object.hasOwn(token.claims, name))) return jwtFault('claim_of_another_kind')
      const provider = parts.providers.byIssuer(own(token.claims, 'iss'))
      if (provider?.subjects === 'agents') return proveWorkload(token, provider, kind, now, parts)
      return kind === 'spiffe' ? jwtFault('issuer_unknown') : proveAssertion(token, keyRings, now, parts)
    },
  }
}

/** RFC 7523 §3, with `aud` as narrow as rfc7523bis has it. */
async function proveAssertion(
  token: UnprovenToken,
  keyRings: KeyRings,
  now: number,
  { agents, issuer, replay }: AgentTokenParts,
): Promise<AgentClient | Refusal> {
  if (!assertionTypes.has(token.typ)) return jwtFault('typ_not_allowed')
  const { claims } = token
  const { iss, sub, aud, jti } = claims
  const entry = typeof iss === 'string' ? agents.byClientId(iss) : undefined
  const key = entry && (await keyRings.find(entry, token))
  const { handle } = key ?? (await decoyKey(token.alg))
  const signed = await signatureIsValid(token.text, handle, token.alg)
  if (entry === undefined || key === undefined || !signed) return notProven
  if (sub !== entry.clientId || !isPlainText(jti)) return jwtFault('claim_malformed')
  if (aud !== issuer) return jwtFault('audience_not_allowed')
  const clock = { now, clockTolerance: assertionTolerance }
  const times = readTimes(claims, { ...clock, maxAheadSeconds: maxAssertionSeconds })
  if (isRefusal(times)) return times
  const confirmed = readBinding(own(claims, 'cnf'))
  if (isRefusal(confirmed)) return jwtFault('binding_not_supported')
  // Last, so that an assertion which is refused for another reason is not used up.
  const id = `client_assertion:${hash('sha256', JSON.stringify([entry.clientId, jti]), 'base64url')}`
  const fresh = await replay.use(id, times.expiresAt + assertionTolerance, now)
  return fresh ? { entry, method: 'private_key_jwt', instance: '', key: confirmed } : jwtFault('replayed')
}

/** A JWT-SVID or a service account token: the workload has it for minutes, so it is not single-use. */
async function proveWorkload(
  token: UnprovenToken,
  provider: IdentityProvider,
  kind: AgentTokenKind,
  now: number,
  { agents, providers }: AgentTokenParts,
): Promise<AgentClient | Refusal> {
  if (!workloadTypes.has(token.typ)) return jwtFault('typ_not_allowed')
  const unproven = await providers.prove(token, provider)
  if (unproven !== undefined) return unproven.code === 'evidence_unavailable' ? unproven : notProven
  const { claims } = token
  const { sub } = claims
  const entry = isPlainText(sub) ? agents.byWorkload(provider.issuer, sub) : undefined
  if (entry === undefined || !isPlainText(sub)) return notProven
  if (kind === 'spiffe' && !sub.startsWith('spiffe://')) return jwtFault('claim_malformed')
  if (onlyAudience(claims) !== provider.audience) return jwtFault('audience_not_allowed')
  const times = readTimes(claims, { now, ...provider })
  if (isRefusal(times)) return times
  const confirmed = readBinding(own(claims, 'cnf'))
  if (isRefusal(confirmed)) return jwtFault('binding_not_supported')
  return { entry, method: 'workload_jwt', instance: podOf(claims), key: confirmed }
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

/** Keys of agents, imported once for as long as the agents stay the same. */
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

function importKeys({ clientId, credentials }: AgentEntry): Promise<KeyRing | undefined> {
  const keys = credentials.flatMap((each) => (each.method === 'private_key_jwt' ? each.jwks : []))
  return readKeyRing(Buffer.from(JSON.stringify({ keys })), clientId, new Map())
}
