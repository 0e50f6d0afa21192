// In: the form of a token request. Out: what is asked for, each value with one reading, or the refusal. Decides
// nothing about who may have it. Never repairs, never passes on a parameter it does not know.
import type { LeaseDetail } from '../lease/allow.ts'
import { maxTokenLength } from '../lease/compact.ts'
import { areIssuable, constraintSyntax } from '../lease/constraints.ts'
import { readDetails } from '../lease/details.ts'
import { type Stage, stages, type Task } from '../lease/lease.ts'
import type { IssuerProfile } from '../lease/profile.ts'
import { withRiskCeiling } from '../lease/subset.ts'
import { isPlainText } from '../lease/text.ts'
import { isRefusal, type Refusal, type RefusalCode, refuse } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'
import { parseTask } from './names.ts'
import type { Form } from './parties.ts'

/** What a client asks for beside who it is and for whom. Undefined: it leaves that to the broker. Seconds. */
export interface Ask {
  /** `aud` of the token: the gate's origin or one backend's identifier (RFC 8707, RFC 8693 §2.1). */
  readonly audience: string
  /** Exactly these; each has a ceiling on risk. */
  readonly details: readonly LeaseDetail[] | undefined
  /** `backend:action` of the `scope` parameter: nothing else is granted. */
  readonly scopes: readonly Scope[] | undefined
  /** Backends that the lease is asked for. */
  readonly backends: readonly string[]
  readonly stage: Stage | undefined
  readonly ttlSeconds: number | undefined
  readonly leaseSeconds: number | undefined
  readonly task: Task | undefined
  readonly session: string | undefined
  readonly instance: string | undefined
  /** Whether the client can wait for a human (draft-ietf-oauth-deferred-token-response). */
  readonly deferrable: boolean
}

export interface Scope {
  readonly backend: string
  readonly action: string
}

/** What an ask is read against. */
export interface AskContext {
  /** Resource identifiers that leases are issued for, and the backends that each stands for. */
  readonly audiences: ReadonlyMap<string, readonly string[]>
  /** Where the client names none. */
  readonly audience: string
  readonly profile: IssuerProfile
}

const maxDetailBytes = 16_384
/** A token, which is base64url, holds no more: policy is not asked about what could not be granted. */
const maxGrantedBytes = (maxTokenLength * 3) / 4
const noPurpose = 'not stated'
/** The task of a lease that is asked for without one: where policy allows that, all of them have the same. */
export const noTask: Task = { system: 'none', id: 'none', purpose: noPurpose }

/**
 * Reads, in this order: `resource` and `audience`, `authorization_details`, `scope`, `stage`, lifetimes, `task`
 * and `purpose`, `session`, `instance`, `completion_mode`. Refuses with `invalid_target`,
 * `invalid_authorization_details`, `invalid_scope` or `invalid_request`.
 */
export function readAsk(form: Form, context: AskContext): Ask | Refusal {
  const audience = readAudience(form, context)
  if (isRefusal(audience)) return audience
  const known = context.audiences.get(audience) ?? []
  const text = form.get('authorization_details')
  const details = text === undefined ? undefined : readDetailsText(text, audience, context.profile)
  if (isRefusal(details)) return details
  const scopes = readScopes(form.get('scope'), known)
  if (isRefusal(scopes)) return scopes
  const outside = details === undefined ? undefined : beyondTarget(details, known, scopes)
  if (outside !== undefined) return outside
  const terms = readTerms(form)
  if (isRefusal(terms)) return terms
  const named =
    details?.map(({ identifier }) => backendOf(identifier)) ?? scopes?.map(({ backend }) => backend)
  return { audience, details, scopes, backends: [...new Set(named ?? known)], ...terms }
}

/**
 * `authorization_details` as JSON text: entries of type `lease` with known members only, actions named one by
 * one, constraints that the gate enforces (RFC 9396 §5). Refuses with `invalid_authorization_details`.
 */
function readDetailsText(text: string, audience: string, profile: IssuerProfile): LeaseDetail[] | Refusal {
  const json = parseStrictJson(text, { maxBytes: maxDetailBytes })
  if (!json.ok)
    return refuse('invalid_authorization_details', { detail: `not acceptable JSON: ${json.problem}` })
  const details = parseDetails(json.value, audience, profile)
  if (isRefusal(details)) return details
  const limited = withRiskCeiling(details)
  return Buffer.byteLength(JSON.stringify(limited)) > maxGrantedBytes
    ? noDetails('these details do not fit into one token')
    : limited
}

/** The entries of `authorization_details`, whoever states them. Refuses with `invalid_authorization_details`. */
export function parseDetails(
  value: unknown,
  audience: string,
  profile: IssuerProfile,
): LeaseDetail[] | Refusal {
  if (Array.isArray(value) && value.length === 0) return noDetails('name what the lease is for: it is empty')
  const grants = readDetails(value, audience, { ...profile, allowAnyAction: false })
  if (isRefusal(grants)) return noDetails(grants.facts.detail ?? grants.row.title, grants.facts.cause)
  const details: LeaseDetail[] = []
  for (const { actions, identifier, sensitivity, constraints } of grants) {
    if (!areIssuable(constraints)) {
      return noDetails(`constraints are ${constraintSyntax.join('; ')}, each above nothing`)
    }
    const limited = Object.keys(constraints).length > 0
    details.push({ type: 'lease', actions, identifier, sensitivity, ...(limited && { constraints }) })
  }
  return details
}

function noDetails(detail: string, cause?: string): Refusal {
  return refuse('invalid_authorization_details', { detail, ...(cause !== undefined && { cause }) })
}

/** The backend that begins an identifier. */
export function backendOf(identifier: string): string {
  return identifier.slice(0, identifier.indexOf(':'))
}

function readAudience(form: Form, { audiences, audience }: AskContext): string | Refusal {
  const named = ['resource', 'audience'].flatMap((name) => form.get(name) ?? [])
  const [target = audience, ...more] = new Set(named)
  if (more.length > 0) return refuse('invalid_target', { detail: 'name one resource: a token is for one' })
  return audiences.has(target)
    ? target
    : refuse('invalid_target', { detail: 'name the origin of the gate or the identifier of one backend' })
}

function readScopes(text: string | undefined, backends: readonly string[]): Scope[] | undefined | Refusal {
  if (text === undefined) return undefined
  const scopes: Scope[] = []
  for (const word of text.split(' ')) {
    const [, backend, action] =
      /^([A-Za-z0-9][A-Za-z0-9_.-]{0,63}):([\x21-\x29\x2b\x2d-\x7e]{1,64})$/.exec(word) ?? []
    if (backend === undefined || action === undefined || !backends.includes(backend)) {
      return refuse('invalid_scope', {
        detail: 'write scopes as backend:verb, e.g. crm:read, of this resource',
      })
    }
    scopes.push({ backend, action })
  }
  return scopes
}

/** Details that the resource or the scope of the same request leaves no room for. */
function beyondTarget(
  details: readonly LeaseDetail[],
  backends: readonly string[],
  scopes: readonly Scope[] | undefined,
): Refusal | undefined {
  for (const { identifier, actions } of details) {
    const backend = backendOf(identifier)
    if (!backends.includes(backend)) {
      return noDetails(`${identifier} is of no backend that this resource stands for`)
    }
    const scoped = (action: string) =>
      scopes === undefined || scopes.some((scope) => scope.backend === backend && scope.action === action)
    if (!actions.every(scoped))
      return refuse('invalid_scope', { detail: `scope leaves no room for ${identifier}` })
  }
  return undefined
}

type Terms = Omit<Ask, 'audience' | 'details' | 'scopes' | 'backends'>

function readTerms(form: Form): Terms | Refusal {
  const stage = oneOf(form, 'stage', stages)
  if (isRefusal(stage)) return stage
  const ttlSeconds = readSeconds(form, 'requested_expires_in')
  if (isRefusal(ttlSeconds)) return ttlSeconds
  const leaseSeconds = readSeconds(form, 'lease_expires_in')
  if (isRefusal(leaseSeconds)) return leaseSeconds
  const task = readTask(form)
  if (isRefusal(task)) return task
  const session = readName(form, 'session')
  if (isRefusal(session)) return session
  const instance = readName(form, 'instance')
  if (isRefusal(instance)) return instance
  const mode = oneOf(form, 'completion_mode', ['deferred'])
  if (isRefusal(mode)) return mode
  return { stage, ttlSeconds, leaseSeconds, task, session, instance, deferrable: mode !== undefined }
}

/** `task` is `system:id`; `purpose` says what for, and is nothing by itself. */
function readTask(form: Form): Task | undefined | Refusal {
  const text = readName(form, 'task')
  if (isRefusal(text)) return text
  const purpose = readName(form, 'purpose', 1024)
  if (isRefusal(purpose)) return purpose
  if (text === undefined) {
    return purpose === undefined ? undefined : malformed('purpose says what a task is for: name the task')
  }
  const { system, id } = parseTask(text)
  if (!isPlainText(system) || !isPlainText(id))
    return malformed('write the task as system:id, e.g. jira:SUP-4711')
  return { system, id, purpose: purpose ?? noPurpose }
}

function readSeconds(form: Form, name: string): number | undefined | Refusal {
  const text = form.get(name)
  if (text === undefined) return undefined
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : malformed(`${name} is a number of seconds`)
}

function readName(form: Form, name: string, limit?: number): string | undefined | Refusal {
  const text = form.get(name)
  if (text === undefined || isPlainText(text, limit)) return text
  return malformed(`${name} has to be plain text: NFC, no control characters, no spaces around it`)
}

function oneOf<T extends string>(form: Form, name: string, values: readonly T[]): T | undefined | Refusal {
  const text = form.get(name)
  if (text === undefined) return undefined
  const value = values.find((known) => known === text)
  return value ?? malformed(`${name} is one of: ${values.join(', ')}`)
}

function malformed(detail: string, code: RefusalCode = 'invalid_request'): Refusal {
  return refuse(code, { detail })
}
