// The key that a lease is bound to, and the proofs made with it (RFC 9449 §4.2). Made anew for each client and
// not extractable: what steals a token without this process has nothing.
import { nowSeconds, randomId, sha256, signJwt } from './encoding.ts'

/** Proves possession of one key; remembers the nonce of each server. */
export interface Prover {
  /** RFC 7638 thumbprint of the key. */
  readonly thumbprint: string
  /** A proof for one request; `token` where one is sent with it. */
  prove(method: string, url: string, token?: string): Promise<string>
  /** Takes the `DPoP-Nonce` of an answer; `true` when it has one. */
  learn(answer: Response): boolean
}

/** A prover with a fresh P-256 key. */
export async function createProver(): Promise<Prover> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const { privateKey, publicKey } = await crypto.subtle.generateKey(algorithm, false, ['sign', 'verify'])
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', publicKey)
  const jwk = { kty, crv, x, y }
  const nonces = new Map<string, string>()
  return {
    thumbprint: await sha256(JSON.stringify({ crv, kty, x, y })),
    async prove(method, url, token) {
      const { origin, pathname } = new URL(url)
      const nonce = nonces.get(origin)
      const claims = {
        jti: randomId(),
        htm: method,
        htu: `${origin}${pathname}`,
        iat: nowSeconds(),
        ...(token !== undefined && { ath: await sha256(token) }),
        ...(nonce !== undefined && { nonce }),
      }
      return signJwt({ typ: 'dpop+jwt', alg: 'ES256', jwk }, claims, privateKey)
    },
    learn(answer) {
      const nonce = answer.headers.get('dpop-nonce')
      const { origin } = new URL(answer.url)
      if (nonce === null) return false
      nonces.set(origin, nonce)
      return true
    },
  }
}
