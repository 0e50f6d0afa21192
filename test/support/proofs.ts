// An agent that holds a key: DPoP proofs as one could wish for, malformed ones too. Signs with node:crypto, so
// that what checks the proofs is not what made them.
import { createHash, randomUUID } from 'node:crypto'
import { type Json, type TestAlg, type TestKey, testIssuer, testKey } from './tokens.ts'

export interface ProofAsk {
  readonly method?: string
  readonly url: string
  /** The token it is sent with; without one there is no `ath`. */
  readonly token?: string
  readonly nonce?: string
  /** In place of the usual members; `undefined` leaves one out. */
  readonly claims?: Json
  readonly header?: Json
  /** Signs in place of the agent's key. */
  readonly signer?: TestKey
}

export interface Prover {
  readonly key: TestKey
  /** The public key, as it stands in a proof. */
  readonly jwk: Json
  /** RFC 7638. */
  readonly thumbprint: string
  /** A proof, valid but for what is asked otherwise. */
  proof(ask: ProofAsk): string
  /** Signs any header and payload, objects or text exactly as given. */
  raw(header: Json | string, payload: Json | string): string
  header(overrides?: Json): Json
  claims(ask: ProofAsk): Json
}

/** An agent with a key of its own. */
export function prover(alg: TestAlg = 'ES256'): Prover {
  const key = testKey('agent', alg)
  const sign = testIssuer().raw
  const jwk: Json = { ...key.publicKey.export({ format: 'jwk' }) }
  const header = (overrides: Json = {}): Json => ({ typ: 'dpop+jwt', alg, jwk, ...overrides })
  const claims = ({ method = 'GET', url, token, nonce, claims: overrides }: ProofAsk): Json => ({
    jti: randomUUID(),
    htm: method,
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ...(token !== undefined && { ath: digest(token) }),
    ...(nonce !== undefined && { nonce }),
    ...overrides,
  })
  return {
    key,
    jwk,
    thumbprint: thumbprintOf(jwk),
    header,
    claims,
    proof: (ask) => sign(header(ask.header), claims(ask), ask.signer ?? key),
    raw: (head, payload) => sign(head, payload, key),
  }
}

/** base64url of SHA-256. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function thumbprintOf({ kty, crv, x, y, n, e }: Json): string {
  if (kty === 'RSA') return digest(JSON.stringify({ e, kty, n }))
  return digest(JSON.stringify(kty === 'EC' ? { crv, kty, x, y } : { crv, kty, x }))
}
