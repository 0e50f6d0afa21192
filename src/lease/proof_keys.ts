// In: the public key in a proof. Out: the key imported, with its thumbprint. Keys that have signed a good proof
// are remembered, so that an agent's key is imported once; a stranger's never pushes one out.
import { type CryptoKey, importPublicKey, thumbprint } from './jose.ts'
import type { UnprovenProof } from './proof_text.ts'

/** A key that proofs are checked with. */
export interface ProofKey {
  readonly handle: CryptoKey
  /** RFC 7638, SHA-256. */
  readonly thumbprint: string
}

export interface ProofKeys {
  /** Undefined: the members make no key, e.g. a point off the curve. */
  of(proof: UnprovenProof): Promise<ProofKey | undefined>
  /** Keeps the key of a proof whose signature was good. */
  keep(proof: UnprovenProof, key: ProofKey): void
}

/** Remembers `size` keys; the one unused for longest makes room. */
export function createProofKeys(size: number): ProofKeys {
  const kept = new Map<string, ProofKey>()
  return {
    async of(proof) {
      return kept.get(nameOf(proof)) ?? (await importKey(proof))
    },
    keep(proof, key) {
      const name = nameOf(proof)
      kept.delete(name)
      const [oldest] = kept.keys()
      if (kept.size >= size && oldest !== undefined) kept.delete(oldest)
      kept.set(name, key)
    },
  }
}

function nameOf({ alg, jwk }: UnprovenProof): string {
  return `${alg} ${jwk.x} ${jwk.kty === 'EC' ? jwk.y : ''}`
}

async function importKey({ alg, jwk }: UnprovenProof): Promise<ProofKey | undefined> {
  const named = { ...jwk, alg, kid: '', use: 'sig' } as const
  try {
    return { handle: await importPublicKey(named), thumbprint: await thumbprint(named) }
  } catch {
    return undefined
  }
}
