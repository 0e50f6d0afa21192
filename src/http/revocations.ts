// `POST /revocations`: one write that kills a lease, or every lease of an agent, version, user, task or session.
import { makeRevocation } from '../broker/revocation.ts'
import { type RevocationScope, revocationScopes } from '../lease/lease.ts'
import type { Store } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'

/** The endpoint on `store`; `now` in seconds. */
export function revocationEndpoints(store: Store, now: () => number): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/revocations',
      access: 'operator',
      takes: 'json',
      errors: 'problem',
      serve: (call) => revoke(call, store, now),
    },
  ]
}

/** `{ "lease": "lse_…", "reason": "…" }`: exactly one scope, a reason, optionally `issuer` and `by`. */
async function revoke(
  { json, operator }: ControlCall,
  store: Store,
  now: () => number,
): Promise<ControlAnswer | Refusal> {
  const ask = readAsk(json, operator?.name ?? 'operator')
  if (isRefusal(ask)) return ask
  const entry = makeRevocation(ask, Math.floor(now()))
  if (isRefusal(entry)) return entry
  try {
    await store.revocations.revoke(entry)
  } catch (error) {
    const cause = error instanceof Error ? error.message : 'unknown'
    return refuse('evidence_unavailable', { detail: 'not revoked: the store did not take the entry', cause })
  }
  const { scope, value, cutoff, expiresAt, reason, by, at } = entry
  return { status: 201, body: { scope, value, cutoff, expires_at: expiresAt, reason, by, at } }
}

function readAsk(body: unknown, caller: string) {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return badAsk('send a JSON object')
  const fields = body as Record<string, unknown>
  for (const [name, value] of Object.entries(fields)) {
    const known = name === 'reason' || name === 'by' || name === 'issuer' || isScope(name)
    if (!known) return badAsk(`unknown member ${JSON.stringify(name)}`)
    if (typeof value !== 'string' || !/^[^\p{Cc}]{1,256}$/u.test(value)) {
      return badAsk(`${name} has to be a string of 1 to 256 characters`)
    }
  }
  const scopes = Object.keys(fields).filter(isScope)
  const { reason, by, issuer } = fields as Record<string, string>
  if (scopes.length !== 1) return badAsk(`name exactly one of ${revocationScopes.join(', ')}`)
  if (reason === undefined) return badAsk('give a reason')
  const scope = scopes[0]!
  const value = fields[scope] as string
  return { scope, value, reason, by: by ?? caller, ...(issuer === undefined ? {} : { issuer }) }
}

function isScope(name: string): name is RevocationScope {
  return (revocationScopes as readonly string[]).includes(name)
}

function badAsk(detail: string): Refusal {
  return refuse('malformed_request', { detail })
}
