// What the processes of the revocation benchmark agree on: the store, the leases, their revocations, the message.
import { type Lease, revocationKeys, revocationScopes } from '../src/lease/lease.ts'
import type { Revocation, Store } from '../src/ports.ts'
import { openEmbedded } from '../src/stores/embedded.ts'
import { openRedis } from '../src/stores/redis.ts'

const maxStalenessMs = 2_000

/** Of the keys in Redis. */
export const prefix = 'leasegate-bench:'

/** Where the state is: one of the two stores. */
export type Place = { readonly path: string } | { readonly url: string }

export function open(place: Place): Promise<Store> {
  return 'path' in place
    ? openEmbedded({ ...place, maxStalenessMs })
    : // A server that has only just been filled would be followed for a while before it is believed.
      openRedis({ ...place, prefix, maxStalenessMs, settleMs: 0 })
}

/** Sent by the process that did not write the revocation. */
export interface Refused {
  readonly value: string
  /** On the machine's monotonic clock, which all processes share. */
  readonly atNs: string
}

/** A lease with this id, as far as revocation is concerned. */
export function revokedLease(id: string): Pick<Lease, 'revocationKeys' | 'issuedAt'> {
  const issuedAt = 1_795_300_000
  const lease: Omit<Lease, 'revocationKeys'> = {
    id,
    issuer: 'http://broker.bench',
    tokenId: 'ltk_1',
    user: 'alice@example.com',
    agent: {
      id: 'agent:support-triage',
      version: '3.2.1',
      env: 'prod',
      instance: '',
      profile: 'support',
      profileVersion: '9',
    },
    clientId: 'support-triage',
    audience: 'http://gate.bench',
    task: { system: 'jira', id: 'SUP-4711', purpose: 'benchmark' },
    stage: 'observe',
    session: 'ses_1',
    grants: [],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt,
    notBefore: issuedAt,
    expiresAt: issuedAt + 300,
    maxExpiresAt: issuedAt + 3_600,
    clockTolerance: 0,
  }
  return { revocationKeys: revocationKeys(lease), issuedAt }
}

/** The revocation of a lease of this id. */
export function entry(value: string): Revocation {
  const at = revokedLease(value).issuedAt + 1
  return { scope: 'lease', value, cutoff: at, expiresAt: 9_999_999_999, reason: 'benchmark', by: 'bench', at }
}

/** One of many over all scopes, each other one for a single issuer. */
export function spread(n: number): Revocation {
  const scope = revocationScopes[n % revocationScopes.length]!
  const { value, ...rest } = entry(`lse_01K9ABCDEFGHJKMN${String(n).padStart(10, '0')}`)
  return { ...rest, scope, value, ...(n % 2 === 1 && { issuer: 'http://broker.bench' }) }
}
