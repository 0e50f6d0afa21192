// How an agent proves to the broker who it is. In: a private key, or what the platform gives. Out: the form
// parameters of RFC 7521 §4.2. The key is imported once and cannot be exported again.
import { nowSeconds, randomId, signJwt } from './encoding.ts'

/** Gives the form parameters that authenticate the agent at `issuer`, anew for each request. */
export type ClientAuthentication = (clientId: string, issuer: string) => Promise<Record<string, string>>

const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** Seconds that an assertion lives; the broker takes it once. */
const assertionSeconds = 60

/** A P-256 private key as JWK (RFC 7517). */
export interface PrivateKey {
  readonly kid: string
  readonly kty: string
  readonly crv: string
  readonly x: string
  readonly y: string
  readonly d: string
}

/** `private_key_jwt` (RFC 7523 §2.2) with a P-256 key as JWK; its `kid` is the one in the agent's file. */
export function privateKeyJwt(jwk: PrivateKey): ClientAuthentication {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const { kid, ...members } = jwk
  const key = crypto.subtle.importKey('jwk', members, algorithm, false, ['sign'])
  // A key that is none fails where it is used, with an error that holds nothing of it.
  key.catch(() => {})
  return async (clientId, issuer) => {
    const iat = nowSeconds()
    const names = { iss: clientId, sub: clientId, aud: issuer }
    const claims = { ...names, jti: randomId(), iat, exp: iat + assertionSeconds }
    const header = { typ: 'client-authentication+jwt', alg: 'ES256', kid }
    return { client_assertion_type: jwtBearer, client_assertion: await signJwt(header, claims, await key) }
  }
}

/** A token that the platform gives the agent: a Kubernetes service account, a SPIFFE JWT-SVID. */
export function workloadToken(read: () => Promise<string> | string): ClientAuthentication {
  return async () => ({ client_assertion_type: jwtBearer, client_assertion: (await read()).trim() })
}
