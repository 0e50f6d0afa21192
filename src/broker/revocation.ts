// What somebody asks to be revoked, and the entry that is written for it. Pure.
import { agentName, type Lease, maxLeaseSeconds, type RevocationScope } from '../lease/lease.ts'
import { isPlainText } from '../lease/text.ts'
import type { Revocation } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { parseAgent, parseTask } from './names.ts'

/** One thing to revoke, as people name it. */
export interface RevocationAsk {
  readonly scope: RevocationScope
  readonly value: string
  /** Limits the revocation to leases of one issuer. */
  readonly issuer?: string
  readonly reason: string
  readonly by: string
}

/** An entry is kept this long, seconds: longer than any lease it has to kill lives, on whatever clock. */
export const retentionSeconds = maxLeaseSeconds + 86_400

/** A revoked lease or token never lives again; everything else is killed as far as it was issued up to `now`. */
export const forGood = Number.MAX_SAFE_INTEGER

/**
 * The entry for `ask` at `now` (seconds since 1970). Refuses a value that could match no lease: an
 * acknowledged revocation that kills nothing is worse than none.
 */
export function makeRevocation(ask: RevocationAsk, now: number): Revocation | Refusal {
  const problem = problemWith(ask)
  if (problem !== undefined) return refuse('malformed_request', { detail: problem })
  return {
    scope: ask.scope,
    value: canonicalValue(ask),
    ...(ask.issuer === undefined ? {} : { issuer: ask.issuer }),
    cutoff: ask.scope === 'lease' || ask.scope === 'token' ? forGood : now,
    expiresAt: now + retentionSeconds,
    reason: ask.reason,
    by: ask.by,
    at: now,
  }
}

/** The entry that kills one token and leaves its lease alone; it stands for as long as the token would. */
export function revokeToken(lease: Lease, by: string, now: number): Revocation {
  return {
    scope: 'token',
    value: lease.tokenId,
    // Two issuers may use one `jti`.
    issuer: lease.issuer,
    cutoff: forGood,
    expiresAt: Math.ceil(lease.expiresAt) + lease.clockTolerance,
    reason: 'token revoked',
    by,
    at: Math.floor(now),
  }
}

function problemWith({ scope, value }: RevocationAsk): string | undefined {
  if (!isPlainText(value))
    return 'write the value as in the lease: NFC, no control characters, no spaces around it'
  if (scope === 'lease' && !value.startsWith('lse_')) return 'a lease id begins with lse_'
  const bareVersion = value.includes('@') && !value.includes(':')
  if (scope === 'agent' && bareVersion) return 'name the agent without @version, or revoke an agent version'
  if (scope !== 'agent_version') return undefined
  const { version } = parseAgent(value)
  return version === undefined || version === '' ? 'write an agent version as agent@version' : undefined
}

function canonicalValue({ scope, value }: RevocationAsk): string {
  switch (scope) {
    case 'agent':
      return agentName(value)
    case 'agent_version': {
      const { id, version } = parseAgent(value)
      return `${id}@${version ?? ''}`
    }
    case 'task': {
      const { system, id } = parseTask(value)
      return `${system}:${id}`
    }
    default:
      return value
  }
}
