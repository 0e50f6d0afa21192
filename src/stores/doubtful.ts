// In: the key of a stored entry that cannot be read: malformed, or of a newer version. Out: what it is taken as.
// The key names who was revoked or suspended; not knowing when, since or for how long, it is for good. It never
// guesses about a key that is not legible.
import { type RevocationScope, revocationScopes } from '../lease/lease.ts'
import type { Revocation, Suspension } from '../ports.ts'
import { suspensionKey } from './entry.ts'

const suspensionPrefix = suspensionKey('')
const said = {
  reason: 'the entry in the state store cannot be read, so it is taken as in force for good',
  by: 'leasegate',
  // `isDoubtful` knows it by this.
  at: 0,
} as const
const forGood = Number.MAX_SAFE_INTEGER

/** What a legible key concerns; undefined: the key is not legible, or of a scope of a newer version. */
export function concernOf(key: string): RevocationScope | 'suspension' | undefined {
  const split = key.indexOf('\n')
  // U+FFFD stands for bytes that were no text: the key would not be found under what is left of it.
  if (split === -1 || split === key.length - 1 || key.includes('\ufffd')) return undefined
  const name = key.slice(0, split)
  return name === 'suspension' ? name : revocationScopes.find((scope) => scope === name)
}

/** The strongest revocation under a key of a known scope. */
export function doubtfulRevocation(key: string): Revocation {
  const [scope, ...rest] = key.split('\n')
  const issuer = rest.length > 1 ? { issuer: rest.pop()! } : {}
  const names = { scope: scope as RevocationScope, value: rest.join('\n'), ...issuer }
  return { ...names, cutoff: forGood, expiresAt: forGood, ...said }
}

/** The strongest suspension of a lease. */
export function doubtfulSuspension(lease: string): Suspension {
  return { lease, suspended: true, version: forGood, expiresAt: forGood, ...said }
}

/** The lease that the key of a suspension names; undefined: the key of a revocation. */
export function suspendedLease(key: string): string | undefined {
  return key.startsWith(suspensionPrefix) ? key.slice(suspensionPrefix.length) : undefined
}
