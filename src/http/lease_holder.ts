// An agent that shows up with its lease token, to end its own lease. In: a call. Out: which recorded lease the
// token is of, or the refusal. The token has to be good now, and a bound one comes with its proof; whether the
// lease is still active is not asked here, so that completing twice is the same as once.
import type { SenderVerifier } from '../broker/parties.ts'
import { refuseRevoked } from '../enforce/revoked.ts'
import { fault } from '../lease/faults.ts'
import { type Lease, revocationKey } from '../lease/lease.ts'
import type { Verifier } from '../lease/verify.ts'
import type { LeaseRecord, Revocations } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { ControlCall } from './control.ts'

/** What an agent's token is checked with. */
export interface HolderParts {
  readonly verifier: Verifier
  readonly sender: SenderVerifier
  /** What `aud` of a lease token may be: all that gates here are called. */
  readonly audiences: readonly string[]
}

/** An agent that has proven that it holds a lease. */
export interface Holder {
  /** As the token names it. */
  readonly agent: string
  /** Whether a record is of that lease: the id alone would let another issuer name ours. */
  holds(record: LeaseRecord): boolean
}

/**
 * Proves it. Refuses with `operator_required` where nothing was sent, with `lease_invalid` or `lease_expired` as
 * a gate would, with `proof_invalid` or `proof_nonce_required` (RFC 9449 §7.1, §9), with `lease_revoked` where the
 * token itself was revoked: who has stolen it ends nothing with it any more (RFC 7009).
 */
export async function proveHolder(
  { header, sender }: ControlCall,
  parts: HolderParts | undefined,
  { now, revocations }: { readonly now: number; readonly revocations: Pick<Revocations, 'find'> },
): Promise<Holder | Refusal> {
  const [, scheme = '', token] = /^(bearer|dpop) +(\S+)$/i.exec(header('authorization') ?? '') ?? []
  if (token === undefined || parts === undefined) {
    return refuse('operator_required', { detail: 'send an operator token, or the token of this very lease' })
  }
  const lease = await parts.verifier.verify(token, now, parts.audiences)
  if (isRefusal(lease)) return lease
  const unproven = await proveKey(lease, token, scheme.toLowerCase(), { sender, parts, now })
  if (unproven !== undefined) return unproven
  const { id, issuer, tokenId, issuedAt } = lease
  const keys = [revocationKey('token', tokenId), revocationKey('token', tokenId, issuer)]
  const revocation = revocations.find(keys, issuedAt)
  if (revocation !== undefined) return refuseRevoked(revocation)
  return { agent: lease.agent.id, holds: (record) => record.id === id && record.issuer === issuer }
}

async function proveKey(
  { binding }: Lease,
  token: string,
  scheme: string,
  { sender, parts, now }: { sender: ControlCall['sender']; parts: HolderParts; now: number },
): Promise<Refusal | undefined> {
  const isDpop = scheme === 'dpop'
  // RFC 9449 §7.1, §7.2: each scheme for its own tokens. A certificate rides on Bearer (RFC 8705 §3).
  if (isDpop !== (binding?.method === 'dpop')) return fault('binding_not_proven')
  if (binding === undefined) return undefined
  const presented = isDpop ? { text: token, thumbprint: binding.thumbprint } : undefined
  const proven = await parts.sender.verify(sender, now, presented)
  if (isRefusal(proven)) {
    return proven.code === 'use_dpop_nonce'
      ? refuse('proof_nonce_required', { ...proven.facts, nonce: parts.sender.nonce(now) })
      : refuse('proof_invalid', proven.facts)
  }
  const fits = proven?.method === binding.method && proven.thumbprint === binding.thumbprint
  return fits ? undefined : fault('binding_not_proven')
}
