// The caller's credential in, a verified lease out. Reads the Authorization and DPoP fields and the certificate
// of the connection; never a query, a body or a cookie. What the token itself must satisfy is in
// lease/verify.ts, what a proof must is in lease/proof.ts.
import { fault } from '../lease/faults.ts'
import type { Lease } from '../lease/lease.ts'
import type { ProofVerifier } from '../lease/proof.ts'
import { type ProofFault, proofFacts } from '../lease/proof_faults.ts'
import { Unavailable } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Backend } from './operation.ts'
import type { Authenticated, CleanRequest, Routed } from './stages.ts'

/** Turns a compact token into a lease. A value for a known token, a promise where a signature is checked. */
export interface TokenVerifier {
  verify(token: string, now: number, audiences: readonly string[]): Lease | Refusal | Promise<Lease | Refusal>
}

/** Who checks credentials, and the names they may be for. */
export interface Credentials {
  readonly verifier: TokenVerifier
  readonly proofs: ProofVerifier
  /** What `aud` may be: the gate's origin, and the identifier of the routed backend. */
  readonly audiences: ReadonlyMap<Backend | undefined, readonly string[]>
  /** Of the URLs that agents call: with the authority and path of the request what `htu` has to name. */
  readonly publicScheme: string
}

/** A lease, presented by whoever may. */
export interface Presented {
  readonly lease: Lease
  /** For the caller's next proof; undefined: it has the newest, or uses none. */
  readonly nonce: string | undefined
}

type Answer<T> = T | Refusal | Promise<T | Refusal>

/**
 * Verifies the lease token of `routed`, and that its bearer holds the key it is bound to. `now` in seconds.
 * Refuses with `lease_missing`, `credential_ambiguous`, `proof_invalid`, `proof_nonce_required`,
 * `evidence_unavailable` or whatever the token verifier says.
 */
export function authenticate(routed: Routed, credentials: Credentials, now: number): Answer<Presented> {
  const { request, backend } = routed
  const credential = readCredential(request.authorization)
  if (isRefusal(credential)) return credential
  const present = (lease: Lease | Refusal): Answer<Presented> => {
    if (isRefusal(lease)) return lease
    return credential.scheme === 'dpop'
      ? withProof(lease, { request, token: credential.token, now }, credentials)
      : withoutProof(lease, request)
  }
  // What else a token may not hold is the verifier's to say: a known one is found without looking into it.
  const lease = credentials.verifier.verify(credential.token, now, credentials.audiences.get(backend)!)
  return lease instanceof Promise ? lease.then(present) : present(lease)
}

/**
 * The same for a lease whose token was verified when the request came, before it waited for a human: it has to be
 * good for the backend that the request leads to now. Refuses with `lease_invalid`.
 */
export function stand(
  { backend }: Routed,
  lease: Lease,
  { audiences }: Pick<Credentials, 'audiences'>,
): Presented | Refusal {
  const known = audiences.get(backend)?.includes(lease.audience) === true
  return known ? { lease, nonce: undefined } : fault('audience_not_here')
}

const scheme = /^(bearer|dpop) +/i

/** Whether the caller presents its token under the DPoP scheme (RFC 9449 §7.1). */
export function usesProof(request: Pick<CleanRequest, 'authorization'> | undefined): boolean {
  return /^dpop(?: |$)/i.test(request?.authorization ?? '')
}

function readCredential(
  credential: string | undefined,
): { readonly scheme: string; readonly token: string } | Refusal {
  if (credential === undefined || credential === '') {
    return refuse('lease_missing', { detail: 'send the lease token as `Authorization: Bearer …`' })
  }
  if (credential.includes(',')) {
    return refuse('credential_ambiguous', { detail: 'Authorization holds more than one credential' })
  }
  const found = scheme.exec(credential)
  if (found === null) {
    return refuse('lease_missing', {
      detail: 'only the schemes Bearer and DPoP carry a lease token here',
    })
  }
  const token = credential.slice(found[0].length).trimEnd()
  if (token.includes(' ')) return refuse('lease_missing', { detail: 'send one lease token and nothing else' })
  return { scheme: found[1]!.toLowerCase(), token }
}

/**
 * A token bound to a proof key and passed as a bearer token would lose its binding (RFC 9449 §7.2). One bound to a
 * certificate is a bearer token for whoever holds that certificate's key (RFC 8705 §3).
 */
function withoutProof(lease: Lease, { certificate }: CleanRequest): Presented | Refusal {
  const { binding } = lease
  const holds =
    binding === undefined ||
    (binding.method === 'mtls' && certificate !== undefined && certificate === binding.thumbprint)
  return holds ? { lease, nonce: undefined } : fault('binding_not_proven')
}

interface Proving {
  readonly request: CleanRequest
  readonly token: string
  readonly now: number
}

async function withProof(
  lease: Lease,
  { request, token, now }: Proving,
  { proofs, publicScheme }: Credentials,
): Promise<Presented | Refusal> {
  const { binding } = lease
  if (binding?.method !== 'dpop') return fault('binding_absent')
  const [proof, second] = request.proofs
  if (proof === undefined) return refuse('proof_invalid', proofFacts('proof_missing'))
  if (second !== undefined) return refuse('proof_invalid', proofFacts('proof_repeated'))
  // `receive` has let in only authorities of the configuration.
  const url = `${publicScheme}://${request.authority}${request.path}`
  const bound = { text: token, thumbprint: binding.thumbprint }
  try {
    const proven = await proofs.verify({ proof, method: request.method, url, token: bound }, now)
    if (typeof proven !== 'string') return { lease, nonce: proven.nonce }
    return refuseProof(proven, proofs.nonce(now))
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    return refuse('evidence_unavailable', {
      detail: 'it cannot be told now whether the proof has been used',
      cause: error.message,
    })
  }
}

function refuseProof(wrong: ProofFault, nonce: string): Refusal {
  return wrong === 'proof_nonce'
    ? refuse('proof_nonce_required', { ...proofFacts(wrong), nonce })
    : refuse('proof_invalid', proofFacts(wrong))
}

/** Joins lease and route. Only now may the caller learn that nothing is mapped at the address. */
export function admit(routed: Routed, lease: Lease): Authenticated | Refusal {
  const { request, backend, mapped } = routed
  if (isRefusal(mapped)) return mapped
  if (backend === undefined) throw new Error('an operation without a backend')
  return { request, backend, mapped, lease }
}
