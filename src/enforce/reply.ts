// What goes back to the agent: a backend's answer with filtered headers, or a refusal as problem+json.
// ADD A RESPONSE HEADER HERE. Pure; never tells one caller about another.
import { proofAlgorithms } from '../lease/proof_text.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { OutboundRequest } from './outbound.ts'
import type { Quota } from './quota.ts'

/** Ids that every answer carries, as far as they are known. */
export interface ReplyFacts {
  readonly decisionId: string
  readonly leaseId: string | undefined
  /** How the caller sent its credential, if it did. */
  readonly scheme: 'Bearer' | 'DPoP'
  /** For the caller's next proof (RFC 9449 §8.2); undefined: it has the newest, or uses none. */
  readonly nonce: string | undefined
  /** RFC 9728 metadata URL for the challenge. */
  readonly metadataUrl: string
  readonly publicOrigin: string
  readonly via: string
  /** What the caller is told of its limits; then a backend's own fields of these names do not pass. */
  readonly quota?: Quota | undefined
  /** The call stayed open as it preferred (RFC 7240 §3). */
  readonly waited?: boolean
}

/** A whole answer that the gate gives itself. */
export interface OwnAnswer {
  readonly status: number
  /** Flat name, value list. */
  readonly headers: string[]
  readonly body: string
}

/** The same, or an answer of a backend that the gate has kept. */
export interface LocalAnswer extends Omit<OwnAnswer, 'body'> {
  readonly body: string | Uint8Array
}

/** An answer that is no refusal with the fields that every answer carries; those that it has already stay. */
export function ownAnswer(answer: LocalAnswer, reply: ReplyFacts): LocalAnswer {
  const { decisionId, leaseId, nonce, waited } = reply
  const headers = [...answer.headers]
  const add = (name: string, value: string | undefined) => {
    if (value !== undefined && !headers.includes(name)) headers.push(name, value)
  }
  add('decision-id', decisionId)
  add('lease-id', leaseId)
  add('dpop-nonce', nonce)
  add('preference-applied', waited === true ? 'wait' : undefined)
  return { ...answer, headers }
}

/** Prefix of a problem's `type`; docs/refusals.md documents the codes. */
const problemTypes = 'urn:leasegate:problem:'

/** The refusal as RFC 9457 problem+json with its challenge (RFC 6750 §3, RFC 9449 §7.1). */
export function refusalAnswer({ code, row, facts }: Refusal, reply: ReplyFacts): OwnAnswer {
  const body = JSON.stringify({
    type: `${problemTypes}${code}`,
    title: row.title,
    status: row.status,
    detail: facts.detail,
    code,
    error: row.error,
    decision_id: reply.decisionId,
    lease_id: reply.leaseId,
    reasons: facts.reasons ?? [],
    next_action: row.nextAction,
    authorization_details: facts.missing,
    ...facts.answer,
  })
  const headers = [
    'content-type',
    'application/problem+json',
    'content-length',
    String(Buffer.byteLength(body)),
    'cache-control',
    'no-store',
    'decision-id',
    reply.decisionId,
    // Only on the gate's own word: a backend's answer never carries it (test/enforce/reply.test.ts).
    'lease-refusal',
    code,
  ]
  if (reply.leaseId !== undefined) headers.push('lease-id', reply.leaseId)
  for (const challenge of challengesOf({ row, facts }, reply)) headers.push('www-authenticate', challenge)
  if (reply.nonce !== undefined) headers.push('dpop-nonce', reply.nonce)
  if (facts.allow !== undefined) headers.push('allow', facts.allow.join(', '))
  const retryAfter = facts.retryAfter ?? row.retryAfter
  if (retryAfter !== undefined) headers.push('retry-after', String(retryAfter))
  pushQuota(facts.quota, headers)
  if (row.close === true || facts.close === true) headers.push('connection', 'close')
  return { status: row.status, headers, body }
}

/**
 * The challenge in the scheme that was used, with what was wrong. Who used no proof learns beside it that one is
 * understood; who used one is not led back to a bearer token.
 */
function challengesOf({ row, facts }: Pick<Refusal, 'row' | 'facts'>, reply: ReplyFacts): string[] {
  if (row.status !== 401 && row.error === undefined) return []
  const parts: string[] = []
  if (row.error !== undefined) parts.push(`error="${row.error}"`)
  if (row.error !== undefined) parts.push(`error_description="${quotable(facts.detail ?? row.title)}"`)
  const scopes = facts.missing?.flatMap(({ actions, identifier }) =>
    actions.map((action) => `${identifier.split(':')[0]}:${action}`),
  )
  if (scopes !== undefined) parts.push(`scope="${quotable(scopes.join(' '))}"`)
  parts.push(`resource_metadata="${reply.metadataUrl}"`)
  if (reply.scheme === 'DPoP') return [`DPoP ${[algs, ...parts].join(', ')}`]
  return [`Bearer ${parts.join(', ')}`, ...(row.status === 401 ? [`DPoP ${algs}`] : [])]
}

const algs = `algs="${proofAlgorithms.join(' ')}"`

/** RFC 6750 §3: visible ASCII without quote and backslash. */
function quotable(text: string): string {
  return text.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '?')
}

/**
 * Response fields that never pass: hop-by-hop, credentials of the backend, names that are ours, and
 * Content-Location, which names a place on the backend.
 */
const stopped = new Set([
  'alt-svc',
  'authentication-info',
  'connection',
  'content-location',
  'decision-id',
  'dpop-nonce',
  'keep-alive',
  'lease-id',
  'lease-refusal',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-connection',
  'refresh',
  'set-cookie',
  'set-cookie2',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
  'www-authenticate',
])

/** Orders to a server on the way: nginx, Apache, lighttpd or Perlbal before the gate would follow them. */
const ordersToProxies = /^x-(?:accel-(?!buffering$)|sendfile|lighttpd-send-|reproxy-)/

/** Status and headers that pass on from the backend. */
export interface PassedHead {
  readonly status: number
  readonly headers: string[]
}

/** The request that an answer is to. */
type Asked = Pick<OutboundRequest, 'backend' | 'path'>

type RawFields = readonly (Buffer | string)[]

/**
 * Filters a backend's head. Refuses `backend_unauthorized` (our own credential was refused: 401, 407) and
 * `backend_malformed` (framing that two parsers could read differently, a redirect that leaves the backend).
 * `raw` is a flat name, value list.
 */
export function backendHead(
  status: number,
  raw: RawFields,
  asked: Asked,
  reply: ReplyFacts,
): PassedHead | Refusal {
  const names: string[] = []
  for (let at = 0; at < raw.length; at += 2) names.push(text(raw[at]!).toLowerCase())
  const refusal = refusedHead(status, names, raw)
  if (refusal !== undefined) return refusal
  const nominated = nominatedIn(names, raw)
  const headers: string[] = []
  let via = `1.1 ${reply.via}`
  for (let at = 0; at < names.length; at++) {
    const name = names[at]!
    const value = text(raw[at * 2 + 1]!)
    if (name === 'via') via = `${value}, ${via}`
    if (reply.quota !== undefined && (name === 'ratelimit' || name === 'ratelimit-policy')) continue
    if (stopped.has(name) || ordersToProxies.test(name) || nominated?.has(name) === true) continue
    // RFC 9110 §8.6: a 204 has no Content-Length, and Node would send it on.
    if (status === 204 && name === 'content-length') continue
    if (name === 'location') {
      const location = publicLocation(value, asked, reply.publicOrigin)
      if (location !== undefined) headers.push(name, location)
      else if (status >= 300 && status < 400) {
        return refuse('backend_malformed', {
          detail: 'the backend redirects to a place that is not its own',
          cause: 'off-origin redirect',
        })
      }
      continue
    }
    headers.push(name, value)
  }
  headers.push('via', via, 'decision-id', reply.decisionId)
  if (reply.leaseId !== undefined) headers.push('lease-id', reply.leaseId)
  if (reply.nonce !== undefined) headers.push('dpop-nonce', reply.nonce)
  if (reply.waited === true) headers.push('preference-applied', 'wait')
  pushQuota(reply.quota, headers)
  return { status, headers }
}

function pushQuota(quota: Quota | undefined, headers: string[]): void {
  if (quota !== undefined) headers.push('ratelimit-policy', quota.policy, 'ratelimit', quota.state)
}

/** Why none of the answer may pass. */
function refusedHead(status: number, names: readonly string[], raw: RawFields): Refusal | undefined {
  if (status === 401 || status === 407) {
    return refuse('backend_unauthorized', {
      detail: 'the agent can do nothing about this',
      cause: `backend said ${status}`,
    })
  }
  return hasAmbiguousFraming(names, raw)
    ? refuse('backend_malformed', {
        detail: 'two parsers could disagree where the answer of the backend ends',
        cause: 'ambiguous framing',
      })
    : undefined
}

/** RFC 9112 §6.3: unless the one coding is `chunked` and no length stands beside it, readers differ. */
function hasAmbiguousFraming(names: readonly string[], raw: RawFields): boolean {
  const coding = names.indexOf('transfer-encoding')
  if (coding < 0) return false
  return (
    names.includes('content-length') ||
    names.includes('transfer-encoding', coding + 1) ||
    text(raw[coding * 2 + 1]!).toLowerCase() !== 'chunked'
  )
}

function nominatedIn(names: readonly string[], raw: RawFields): Set<string> | undefined {
  let nominated: Set<string> | undefined
  for (let at = 0; at < names.length; at++) {
    if (names[at] !== 'connection') continue
    const value = text(raw[at * 2 + 1]!).toLowerCase()
    if (value === 'keep-alive' || value === 'close') continue
    nominated ??= new Set()
    for (const token of value.split(',')) nominated.add(token.trim())
  }
  return nominated
}

/**
 * A Location of the backend as the agent has to write it: on the gate's origin, below the backend's prefix.
 * Resolved here, against the path that the backend was asked for: at the agent, dots could climb into
 * another backend of the gate. Undefined: it points to another origin, or outside what the gate serves.
 */
function publicLocation(
  value: string,
  { backend, path: askedPath }: Asked,
  publicOrigin: string,
): string | undefined {
  const base = `${backend.origin}${askedPath}`
  if (!URL.canParse(value, base)) return undefined
  const url = new URL(value, base)
  if (url.origin !== new URL(backend.origin).origin || url.username !== '') return undefined
  const path = url.pathname
  if (path !== backend.basePath && !path.startsWith(`${backend.basePath}/`)) return undefined
  const below = `${path === backend.basePath ? '/' : path.slice(backend.basePath.length)}${url.search}${url.hash}`
  if (backend.pathPrefix !== undefined) return `${publicOrigin}${backend.pathPrefix}${below}`
  // `//host/…` alone in a Location is another origin.
  return below.startsWith('//') ? undefined : below
}

function text(value: Buffer | string): string {
  return typeof value === 'string' ? value : value.toString('latin1')
}
