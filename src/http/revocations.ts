// `POST /revocations`: one write that kills a lease, or every lease of an agent, version, user, task or session. 201,
// and 200 with the entry that stands for an order that would add nothing to it.
// An operator with a tenant kills single leases of that tenant: everything else could be another's as well.
import { revokeAll } from '../broker/lifecycle.ts'
import type { RevocationAsk } from '../broker/revocation.ts'
import { type RevocationScope, revocationScopes } from '../lease/lease.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type Caller, changers, isWithin } from './caller.ts'
import type { ControlAnswer, Endpoint } from './control.ts'
import { type OrderedCall, type OrderParts, ordered } from './ordered.ts'

/** The endpoint. */
export function revocationEndpoints(parts: OrderParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/revocations',
      access: changers,
      takes: 'json',
      errors: 'problem',
      ...ordered('revoke', parts, (call) => revoke(call, parts.store)),
    },
  ]
}

/** `{ "lease": "lse_…", "reason": "…" }`: exactly one scope, a reason, optionally `issuer` and `by`. */
async function revoke(
  { json, caller, order, now }: OrderedCall,
  store: OrderParts['store'],
): Promise<ControlAnswer | Refusal> {
  const ask = readAsk(json, caller?.person.user ?? 'operator')
  if (isRefusal(ask)) return ask
  order.scope = ask.scope
  if (caller?.by === 'session' && ask.by !== caller.person.user) {
    return badAsk('leave by out: the record is of whoever is signed in')
  }
  const problem = await beyondTenant(ask, caller, store)
  if (problem !== undefined) return problem
  const revoked = await revokeAll(ask, store, now)
  if (isRefusal(revoked)) return revoked
  order.repeated = revoked.repeated
  const { scope, value, cutoff, expiresAt, reason, by, at } = revoked.entry
  const body = { scope, value, cutoff, expires_at: expiresAt, reason, by, at }
  return { status: revoked.repeated ? 200 : 201, body }
}

/** The same answer for a lease that nobody knows and for another tenant's. */
async function beyondTenant(
  { scope, value, by }: RevocationAsk,
  caller: Caller | undefined,
  { leases }: OrderParts['store'],
): Promise<Refusal | undefined> {
  if (caller?.tenant === undefined) return undefined
  if (scope !== 'lease' || by !== caller.person.user) {
    return refuse('operator_not_allowed', {
      detail: 'an operator of a tenant revokes single leases, under their own name',
    })
  }
  const record = await leases.get(value)
  return record !== undefined && isWithin(caller, record) ? undefined : refuse('lease_unknown')
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
