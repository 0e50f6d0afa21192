// In: what a request to the broker proves about its sender. Out: the key that its lease is going to be bound
// to, or the refusal in the words of OAuth (RFC 9449 §5, §8). A proof comes before a certificate.
import type { SenderVerifier } from '../broker/parties.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { createProofVerifier, type ProofOptions } from './proof.ts'
import { type ProofFault, proofFacts } from './proof_faults.ts'

/** Proves senders to the broker; its nonces are those of every gate that shares the store. */
export function createSenderVerifier(options: ProofOptions): SenderVerifier {
  const proofs = createProofVerifier(options)

  return {
    nonce: proofs.nonce,
    async verify({ proofs: sent, certificate, method, url }, now, token) {
      const [proof, second] = sent
      if (proof === undefined) {
        return certificate && { method: 'mtls', thumbprint: certificate.thumbprint }
      }
      if (second !== undefined) return refused('proof_repeated')
      const proven = await proofs.verify({ proof, method, url, ...(token !== undefined && { token }) }, now)
      return typeof proven === 'string' ? refused(proven) : { method: 'dpop', thumbprint: proven.thumbprint }
    },
  }
}

function refused(fault: ProofFault): Refusal {
  return refuse(fault === 'proof_nonce' ? 'use_dpop_nonce' : 'invalid_dpop_proof', proofFacts(fault))
}
