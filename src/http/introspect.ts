// `POST /introspect` (RFC 7662): whether a token is good now, that is the token *and* its lease, and what it says.
// The answer is JSON, or a signed JWT for who asks for one (RFC 9701). Never says why a token is not active.
import { leaseStatus, statuses } from '../broker/status_list.ts'
import { accessTokenTypes, maxTokenLength, readCompact } from '../lease/compact.ts'
import { own } from '../lease/text.ts'
import type { Store } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { readers } from './caller.ts'
import {
  type Caller,
  type CallerParts,
  callerOf,
  type KnownToken,
  type TokenParts,
  tokenOf,
} from './callers.ts'
import type { ControlAnswer, Endpoint } from './control.ts'
import { type ObservedCall, type ObservedParts, observed } from './observed.ts'

/** Signs claims with the broker's key; `typ` of the header. */
export type Sign = (typ: string, claims: object) => Promise<string>

export interface IntrospectionParts
  extends ObservedParts,
    CallerParts,
    Pick<TokenParts, 'verifier' | 'audiences'> {
  readonly store: Pick<Store, 'leases' | 'revocations'>
  /** Beyond this age of the revocation view nothing is called active. */
  readonly maxStalenessMs: number
  readonly issuer: string
  readonly sign: Sign
}

const signedType = 'application/token-introspection+jwt'

export function introspectionEndpoints(parts: IntrospectionParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/introspect',
      access: 'open',
      takes: 'form',
      errors: 'oauth',
      ...observed('introspect', parts, (call) => introspect(call, parts)),
    },
  ]
}

async function introspect(call: ObservedCall, parts: IntrospectionParts): Promise<ControlAnswer | Refusal> {
  const caller = await callerOf(call, parts, readers)
  if (isRefusal(caller)) return caller
  const token = call.form.get('token')
  if (token === undefined) return refuse('invalid_request', { detail: 'send the token as `token`' })
  const { revocations, leases } = parts.store
  if (!(revocations.ageMs(call.now * 1000) <= parts.maxStalenessMs)) {
    return refuse('evidence_unavailable', {
      detail: 'the revocations cannot be read now',
      cause: 'view_stale',
    })
  }
  const known = await tokenOf(token, caller, { ...parts, leases }, call.now)
  if (isRefusal(known) && known.code === 'evidence_unavailable') return known
  // Where the store is read strictly, at each decision: whoever asks is about to make one.
  if (known !== undefined && !isRefusal(known)) await revocations.confirm(known.lease)
  const problem = problemWith(known, call, parts)
  call.trail.reasons = [problem ?? 'active']
  const told =
    isRefusal(known) || known === undefined || problem !== undefined
      ? { active: false }
      : tell(token, known, call)
  return wantsSigned(call) ? signed(told, caller, call.now, parts) : { status: 200, body: told }
}

/** What keeps a token from being active, for the record alone; undefined: nothing does. */
function problemWith(
  known: KnownToken | Refusal | undefined,
  { now }: ObservedCall,
  { store: { revocations } }: IntrospectionParts,
): string | undefined {
  if (isRefusal(known)) return known.facts.cause ?? known.code
  if (known === undefined) return 'token_not_of_caller'
  const { lease, record } = known
  if (leaseStatus(record, revocations, now) !== statuses.valid) return 'lease_not_active'
  // As the gate asks: by the keys of this very token, ancestors and agents before it included.
  const revoked = revocations.find(lease.revocationKeys, lease.issuedAt - lease.clockTolerance) !== undefined
  return revoked || revocations.suspension(lease) !== undefined ? 'token_not_active' : undefined
}

/** Claims of the token that are told as they stand in it (RFC 7662 §2.2, RFC 9396 §9.2, RFC 9449 §6.2). */
const toldClaims = [
  ...['scope', 'client_id', 'sub', 'aud', 'iss', 'exp', 'iat', 'nbf', 'jti'],
  ...['authorization_details', 'cnf', 'act'],
]

function tell(token: string, { lease, record }: KnownToken, { trail }: ObservedCall): object {
  trail.lease = record
  trail.user = record.user
  // The verifier has proven every one of them; it keeps what gates need, which is less than the token says.
  const proven = readCompact(token, accessTokenTypes, maxTokenLength)
  if (isRefusal(proven)) throw new Error('a proven token cannot be read')
  const claims = toldClaims.flatMap((name) => {
    const value = own(proven.claims, name)
    return value === undefined ? [] : [[name, value] as const]
  })
  const type = lease.binding?.method === 'dpop' ? 'DPoP' : 'Bearer'
  return { active: true, ...Object.fromEntries(claims), token_type: type, lease_id: lease.id }
}

function wantsSigned({ header }: ObservedCall): boolean {
  const accepted = (header('accept') ?? '')
    .split(',')
    .map((range) => range.split(';')[0]?.trim().toLowerCase())
  return accepted.includes(signedType)
}

/** RFC 9701 §5: `aud` is who asked; no `sub` and no `exp` at the top, so that it passes for no other kind of JWT. */
async function signed(
  told: object,
  caller: Caller,
  now: number,
  { issuer, sign }: IntrospectionParts,
): Promise<ControlAnswer> {
  const claims = { iss: issuer, aud: caller.name, iat: Math.floor(now), token_introspection: told }
  const body = await sign('token-introspection+jwt', claims)
  return { status: 200, body, headers: { 'content-type': signedType } }
}
