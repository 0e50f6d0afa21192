// In: the identity providers of the configuration. Out: which one a token is of, and whether that one has
// signed it. Fetches only what the configuration names, or what the discovery document of a configured issuer
// names under its own name; never what a token says. Never follows a redirect.
import type { UnprovenToken } from '../../lease/compact.ts'
import { type Fetch, isKeyUrl, isLoopbackUrl } from '../../lease/fetch.ts'
import { algorithms, signatureIsValid } from '../../lease/jose.ts'
import { fetchSet, type KeyOptions, type KeySource, type KeyStatus, openKeys } from '../../lease/keys.ts'
import { isObject, own } from '../../lease/text.ts'
import type { Refusal } from '../../refusals.ts'
import { parseStrictJson } from '../../strict_json.ts'
import type { IdentityProvider } from '../parties.ts'
import { jwtFault } from './jwt.ts'

/** The configured identity providers and their keys. */
export interface Providers {
  /** The provider whose issuer is exactly this. */
  byIssuer(issuer: unknown): IdentityProvider | undefined
  /**
   * Undefined: the provider has signed the token, with an algorithm that is configured for it. Only then may
   * its claims be read as facts. Never rejects.
   */
  prove(token: UnprovenToken, provider: IdentityProvider): Promise<Refusal | undefined>
  /** For `/readyz`. */
  status(): KeyStatus[]
  close(): void
}

/** Bytes of a discovery document at most. */
const maxDocumentBytes = 64 * 1024

/** Opens every provider and resolves once the keys of each have been asked for; one that is down delays nothing. */
export async function openProviders(
  providers: readonly IdentityProvider[],
  options: KeyOptions = {},
): Promise<Providers> {
  const known = new Map(providers.map((provider) => [provider.issuer, provider]))
  const keys = await openKeys(providers.map(keySource), options)
  return {
    byIssuer: (issuer) => (typeof issuer === 'string' ? known.get(issuer) : undefined),
    async prove(token, { issuer, algorithms: accepted }) {
      const { alg, kid } = token
      if (!accepted.includes(alg) || !algorithms.has(alg)) return jwtFault('alg_not_allowed')
      let key = keys.find(issuer, kid, alg)
      if (key === undefined) {
        await keys.refresh(issuer)
        key = keys.find(issuer, kid, alg)
      }
      if (key === undefined) return jwtFault(keys.known(issuer) ? 'key_unknown' : 'keys_unavailable')
      return (await signatureIsValid(token.text, key.handle, alg)) ? undefined : jwtFault('signature_invalid')
    },
    status: () => keys.status(),
    close: () => keys.close(),
  }
}

function keySource({ issuer, keys, algorithms: assumed, subjects }: IdentityProvider): KeySource {
  // SPIFFE JWT-SVID §4 has a `use` of its own, and its bundles, like those of Entra, leave `alg` open.
  const uses = subjects === 'agents' ? ['sig', 'jwt-svid'] : ['sig']
  const jwks = 'discovery' in keys ? { load: (fetch: Fetch) => discover(issuer, fetch) } : keys
  return { issuer, jwks, rules: { uses, assumed } }
}

/** The JWK set that the provider's discovery document names (OpenID Connect Discovery 1.0 §4). */
async function discover(issuer: string, fetch: Fetch): Promise<Uint8Array | undefined> {
  if (!isKeyUrl(issuer)) return undefined
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const bounds = { accept: 'application/json', maxBytes: maxDocumentBytes, timeoutMs: 2000 }
  const bytes = await fetch(url, bounds)
  const json = bytes && parseStrictJson(bytes, { maxBytes: maxDocumentBytes })
  if (json?.ok !== true || !isObject(json.value)) return undefined
  // §4.3: a document that speaks for another issuer would bring that one's keys under this one's name.
  if (own(json.value, 'issuer') !== issuer) return undefined
  const jwksUri = own(json.value, 'jwks_uri')
  if (typeof jwksUri !== 'string' || !isKeyUrl(jwksUri)) return undefined
  // A provider elsewhere has no business with what listens on this machine.
  if (isLoopbackUrl(jwksUri) && !isLoopbackUrl(issuer)) return undefined
  return fetchSet(jwksUri, fetch)
}
