// DPoP proofs (RFC 9449 §4.3). In: the value of a DPoP field, what it has to be for, the time. Out: the key
// that made it, or what is wrong. What costs nothing comes first; the signature is checked before the `jti` is
// used up, so that nobody can use up another's. Reads no clock, no Host, no X-Forwarded-* field.
import { hash } from 'node:crypto'
import type { Replay } from '../ports.ts'
import { normalHtu } from './htu.ts'
import { signatureIsValid } from './jose.ts'
import type { Nonces } from './nonces.ts'
import type { ProofFault } from './proof_faults.ts'
import { createProofKeys } from './proof_keys.ts'
import { readProof, type UnprovenProof } from './proof_text.ts'

/** A proof is taken from `iat` - 5 s to `iat` + 60 s. */
const maxAgeSeconds = 60
const maxAheadSeconds = 5
const rememberedKeys = 10_000

/** One use of a proof, and what it has to be for. */
export interface ProofUse {
  /** The value of the one DPoP field. */
  readonly proof: string
  readonly method: string
  /** As the server publishes it. */
  readonly url: string
  /** The token that is presented with it and the key that is bound to; absent: there is none yet. */
  readonly token?: { readonly text: string; readonly thumbprint: string }
}

/** A proof that holds. */
export interface ProvenProof {
  /** RFC 7638 thumbprint of the key that made it. */
  readonly thumbprint: string
  /** What the client should use from now on, where it used something older. */
  readonly nonce: string | undefined
}

export interface ProofVerifier {
  /**
   * Checks a proof and uses it up, or says what is wrong with it. Throws `Unavailable` when it could not be
   * remembered: what could be replayed is not let in.
   */
  verify(use: ProofUse, now: number): Promise<ProvenProof | ProofFault>
  /** The newest nonce. */
  nonce(now: number): string
}

export interface ProofOptions {
  /** Shared by all workers and machines. */
  readonly replay: Replay
  readonly nonces: Nonces
  /** Whether a proof without a nonce is refused; one that has a nonce has to have a good one either way. */
  readonly nonceRequired: boolean
}

/** Checks proofs for one server. */
export function createProofVerifier({ replay, nonces, nonceRequired }: ProofOptions): ProofVerifier {
  const keys = createProofKeys(rememberedKeys)

  function checkNonce({ nonce }: UnprovenProof, now: number): ReturnType<Nonces['check']> {
    if (nonce === undefined) return nonceRequired ? 'unknown' : 'current'
    return nonces.check(nonce, now)
  }

  /** Exactly one use of a `jti` under one key passes, over all processes. */
  function useUp({ jti }: UnprovenProof, thumbprint: string, now: number): Promise<boolean> {
    return replay.use(`dpop:${thumbprint}:${hash('sha256', jti, 'base64url')}`, now + 2 * maxAgeSeconds, now)
  }

  return {
    nonce: nonces.current,
    async verify(use, now) {
      const proof = readProof(use.proof)
      if (typeof proof === 'string') return proof
      const misused = faultOf(proof, use, now)
      if (misused !== undefined) return misused
      const nonce = checkNonce(proof, now)
      if (nonce === 'unknown') return 'proof_nonce'
      const key = await keys.of(proof)
      if (key === undefined) return 'proof_key'
      const { thumbprint } = key
      if (use.token !== undefined && thumbprint !== use.token.thumbprint) return 'proof_other_key'
      if (!(await signatureIsValid(proof.text, key.handle, proof.alg))) return 'proof_signature'
      keys.keep(proof, key)
      if (!(await useUp(proof, thumbprint, now))) return 'proof_replayed'
      return { thumbprint, nonce: nonce === 'stale' ? nonces.current(now) : undefined }
    },
  }
}

/** What the claims are held against: method, URL, time, token. */
function faultOf(proof: UnprovenProof, use: ProofUse, now: number): ProofFault | undefined {
  if (proof.htm !== use.method) return 'proof_htm'
  const htu = normalHtu(proof.htu)
  if (htu === undefined || htu !== normalHtu(use.url)) return 'proof_htu'
  // What has to hold is asked for, so that a time which is no number passes nothing.
  if (!(proof.iat >= now - maxAgeSeconds && proof.iat <= now + maxAheadSeconds)) return 'proof_iat'
  if (use.token !== undefined && proof.ath !== hash('sha256', use.token.text, 'base64url')) return 'proof_ath'
  return undefined
}
