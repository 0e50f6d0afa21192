// In: the token that says for whom a lease is asked for, and the agent that sent it. Out: the user or workflow,
// or the refusal. In order: form and kind, who issued it, signature, times, audience, what the kind demands,
// who it is. Never takes one kind of token for another, never believes a claim before the signature.
import { hash } from 'node:crypto'
import { readBinding } from '../../lease/claims.ts'
import { accessTokenTypes } from '../../lease/compact.ts'
import { newId } from '../../lease/ids.ts'
import { at, isObject, isPlainText, own } from '../../lease/text.ts'
import type { Replay } from '../../ports.ts'
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type { AgentClient, IdentityProvider, IdentityUse, Subject, SubjectVerifier } from '../parties.ts'
import { about, isTime, jwtFault, onlyAudience, readJwt, readTimes, under } from './jwt.ts'
import type { Providers } from './providers.ts'
import { sessionOf } from './session.ts'

type Claims = Record<string, unknown>
type SubjectUse = Exclude<IdentityUse, 'logout' | 'events'>

/** What makes a token one of its kind, and not of a kind that could be mistaken for it (RFC 8725 §3.12). */
interface KindRules {
  readonly types: ReadonlySet<string | undefined>
  /** Claims, plain text all, without which it is none. */
  readonly required: readonly string[]
  /** Claims that only other kinds have. */
  readonly foreign: readonly string[]
}

const plainTypes = new Set([undefined, 'JWT'])

// `events` marks SETs and logout tokens, `lease` ours, `htm` a proof; an ID token has no `scope` and no
// `client_id` (OpenID Connect Core §2), but access tokens of issuers that call all their tokens `JWT` do.
const kinds: Readonly<Record<SubjectUse, KindRules>> = {
  id_token: { types: plainTypes, required: [], foreign: ['events', 'lease', 'htm', 'scope', 'client_id'] },
  access_token: { types: accessTokenTypes, required: ['client_id', 'jti'], foreign: ['events', 'lease'] },
  jwt: { types: plainTypes, required: [], foreign: ['events', 'lease', 'htm'] },
  id_jag: {
    types: new Set(['oauth-id-jag+jwt']),
    required: ['client_id', 'jti'],
    foreign: ['events', 'lease'],
  },
}

/** Token types of RFC 8693 §3, and the assertion of RFC 7523 §2.1 under the word that SubjectVerifier has for it. */
const uses: ReadonlyMap<string, SubjectUse> = new Map([
  ['urn:ietf:params:oauth:token-type:id_token', 'id_token'],
  ['urn:ietf:params:oauth:token-type:access_token', 'access_token'],
  ['urn:ietf:params:oauth:token-type:jwt', 'jwt'],
  ['id_jag', 'id_jag'],
])

export interface SubjectParts {
  readonly providers: Providers
  /** `aud` of an ID-JAG: ours. */
  readonly issuer: string
  readonly replay: Replay
}

/**
 * Verifies subject tokens of the configured providers. Throws `Unavailable` when a used ID-JAG could not be
 * remembered.
 */
export function createSubjectVerifier(parts: SubjectParts): SubjectVerifier {
  return {
    async verify(token, type, client, now) {
      const use = uses.get(type)
      if (use === undefined) {
        const cause = 'subject_token_type_unknown'
        return refuse('invalid_request', { cause, detail: 'subject_token_type is not served.' })
      }
      const subject = await prove(token, use, client, now, parts)
      if (!isRefusal(subject)) return subject
      return use === 'id_jag'
        ? under('invalid_grant', about('assertion', subject))
        : about('subject_token', subject)
    },
  }
}

async function prove(
  text: string,
  use: SubjectUse,
  client: AgentClient,
  now: number,
  { providers, issuer, replay }: SubjectParts,
): Promise<Subject | Refusal> {
  const kind = kinds[use]
  const token = readJwt(text, kind.types)
  if (isRefusal(token)) return token
  const { claims } = token
  const provider = providers.byIssuer(own(claims, 'iss'))
  if (provider === undefined || provider.subjects === 'agents') return jwtFault('issuer_unknown')
  if (!provider.accept.includes(use)) return jwtFault('use_not_accepted')
  const unproven = await providers.prove(token, provider)
  if (unproven !== undefined) return unproven
  const times = readTimes(claims, { now, ...provider })
  if (isRefusal(times)) return times
  const audience = use === 'id_jag' ? issuer : provider.audience
  if (onlyAudience(claims) !== audience) return jwtFault('audience_not_allowed')
  if (kind.foreign.some((name) => Object.hasOwn(claims, name))) return jwtFault('claim_of_another_kind')
  if (!kind.required.every((name) => isPlainText(own(claims, name)))) return jwtFault('claim_malformed')
  const subject = readSubject(claims, use, provider, { ...times, now })
  if (isRefusal(subject) || use !== 'id_jag') return subject
  if (subject.clientId !== client.entry.clientId) return jwtFault('client_mismatch')
  // Last, so that a token which is refused for another reason is not used up.
  const id = `id_jag:${hash('sha256', JSON.stringify([provider.issuer, claims.jti]), 'base64url')}`
  const over = Math.min(times.expiresAt, times.issuedAt + provider.maxAgeSeconds) + provider.clockTolerance
  const fresh = await replay.use(id, over, now)
  return fresh ? subject : jwtFault('replayed')
}

/** Who the claims of a proven token are about. */
function readSubject(
  claims: Claims,
  use: SubjectUse,
  provider: IdentityProvider,
  {
    now,
    issuedAt,
    expiresAt,
  }: { readonly now: number; readonly issuedAt: number; readonly expiresAt: number },
): Subject | Refusal {
  const { issuer } = provider
  const subject = own(claims, 'sub')
  const id = readName(claims, provider)
  if (isRefusal(id)) return id
  if (!isPlainText(subject)) return jwtFault('claim_malformed')
  const login = readLogin(claims, now + provider.clockTolerance)
  const mayAct = readActors(own(claims, use === 'id_jag' ? 'act' : 'may_act'))
  if (login === undefined || mayAct === 'malformed') return jwtFault('claim_malformed')
  // Somebody acts already: the chain behind them cannot be told here, so it is not shortened either.
  if (use !== 'id_jag' && Object.hasOwn(claims, 'act')) return jwtFault('limits_not_understood')
  const binding = readBinding(own(claims, 'cnf'))
  if (isRefusal(binding)) return jwtFault('binding_not_supported')
  const details = readSettledDetails(claims, use)
  if (isRefusal(details)) return details
  const { sid, ...facts } = login
  return {
    kind: provider.subjects === 'workflows' ? 'workflow' : 'user',
    id,
    login: { issuer, subject },
    use,
    session: sid === undefined ? newId('ses_', now * 1000) : sessionOf(issuer, sid),
    ...facts,
    mayAct,
    clientId: use === 'id_jag' ? String(claims.client_id) : undefined,
    binding,
    details,
    issuedAt,
    expiresAt,
  }
}

/** The name that leases know the subject by. An address that somebody merely typed in names nobody. */
function readName(claims: Claims, { userClaim }: IdentityProvider): string | Refusal {
  const name = at(claims, userClaim)
  if (!isPlainText(name)) return jwtFault('claim_malformed')
  const verified = own(claims, 'email_verified')
  if (userClaim === 'email' && verified !== undefined && verified !== true) {
    return jwtFault('email_not_verified')
  }
  return name
}

/** How they logged in; undefined when a claim about it cannot be read. */
function readLogin(claims: Claims, latest: number) {
  const { sid, auth_time: authTime, acr, groups = [] } = claims
  if (sid !== undefined && !isPlainText(sid)) return undefined
  if (authTime !== undefined && !(isTime(authTime) && authTime <= latest)) return undefined
  if (acr !== undefined && !isPlainText(acr)) return undefined
  // A group that cannot be read could be one that policy forbids something.
  if (!Array.isArray(groups) || !groups.every((group) => isPlainText(group))) return undefined
  return { sid, authTime, acr, groups }
}

/** `may_act` (RFC 8693 §4.4), or `act` of an ID-JAG: one party or several, each `sub` and perhaps `iss`. */
function readActors(claim: unknown): Subject['mayAct'] | 'malformed' {
  if (claim === undefined) return undefined
  const actors = []
  for (const party of Array.isArray(claim) ? claim : [claim]) {
    // Any further member would narrow it down to something that is not looked at here.
    if (!isObject(party) || Object.keys(party).some((name) => name !== 'sub' && name !== 'iss')) {
      return 'malformed'
    }
    const { sub, iss } = party
    if (!isPlainText(sub) || (iss !== undefined && !isPlainText(iss))) return 'malformed'
    actors.push({ issuer: iss, subject: sub })
  }
  return actors
}

/**
 * What the provider has settled already. An ID-JAG that limits what it is good for by `scope` or `resource`
 * alone is refused: neither says what a lease has to be held against.
 */
function readSettledDetails(claims: Claims, use: SubjectUse): readonly unknown[] | undefined | Refusal {
  const details = own(claims, 'authorization_details')
  if (details !== undefined) return Array.isArray(details) ? details : jwtFault('claim_malformed')
  const limited = use === 'id_jag' && ['scope', 'resource'].some((name) => Object.hasOwn(claims, name))
  return limited ? jwtFault('limits_not_understood') : undefined
}
