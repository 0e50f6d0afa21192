// THE table of what can be wrong with a proof of possession (RFC 9449 §4.3). Out: one word for the audit
// record and one sentence for the caller. Fixed texts only: nothing that a proof says ever goes in.

const details = {
  // the text
  proof_missing: 'The request carries no DPoP field.',
  proof_repeated: 'The request carries more than one DPoP field.',
  proof_too_large: 'The proof is larger than 4 KiB.',
  proof_not_compact_jws: 'The DPoP field is not exactly one signed JWT.',
  proof_not_canonical: 'A part of the proof is not canonical base64url of strict JSON.',
  // the header
  proof_typ: 'The proof is of another kind: typ has to be dpop+jwt.',
  proof_alg: 'The proof is signed with an algorithm that is not accepted: ES256 and EdDSA are.',
  proof_key: 'The jwk of the proof is not one plain public key for its algorithm.',
  proof_header: 'The proof header carries a member that is not accepted.',
  // the claims
  proof_claims: 'A claim of the proof is missing or malformed: jti (at most 256 characters), htm, htu, iat.',
  proof_htm: 'The proof is for another method.',
  proof_htu: 'The proof is for another URL: htu has to name this one as the server publishes it.',
  proof_iat: 'The proof is too old, or made in the future: check the clock.',
  proof_ath: 'The proof is for another token, or names none.',
  proof_nonce: 'The proof needs the nonce of the DPoP-Nonce field.',
  // the key
  proof_other_key: 'The proof is made with another key than the token is bound to.',
  proof_signature: 'The signature does not fit the proof.',
  proof_replayed: 'The proof has been used: make a new one for each request.',
} as const

/** One word for what was wrong; the `cause` in the audit record. */
export type ProofFault = keyof typeof details

/** What the caller and the audit record are told of a fault. */
export function proofFacts(cause: ProofFault): { readonly cause: ProofFault; readonly detail: string } {
  return { cause, detail: details[cause] }
}
