// In: who asks for what, in the words of `lease issue`, and the configuration. Out: the policy inputs the gate
// would make of it, one for each operation that means it. Goes through the gate's own receive and route, so an
// answer here is about a request that could be made.
import { parseAgent, parseTask } from '../../../broker/names.ts'
import { readingVerbs } from '../../../config/operations.ts'
import type { Config } from '../../../config.ts'
import type { Backend, Operation } from '../../../enforce/operation.ts'
import { receive } from '../../../enforce/receive.ts'
import { createRouter, route } from '../../../enforce/route.ts'
import type { CleanRequest, Mapped } from '../../../enforce/stages.ts'
import { parseAllow } from '../../../lease/allow.ts'
import { type Grant, type Lease, type Stage, stages } from '../../../lease/lease.ts'
import type { Subject } from '../../../policy/explain_subject.ts'
import { policyInput as inputText } from '../../../policy/input.ts'
import { type PolicyInput, policyInput } from '../../../policy/input_schema.ts'
import { isRefusal, type Refusal } from '../../../refusals.ts'
import { UsageError } from '../../terminal.ts'

/** As typed. */
export interface Question {
  readonly user: string
  readonly agent: string
  readonly profile?: string
  readonly stage?: string
  readonly env?: string
  readonly task?: string
  readonly provenance?: string
  /** `VERB[,VERB] IDENTIFIER [SENSITIVITY]`; without any, exactly what is asked. */
  readonly grants: readonly string[]
  /** Parsed JSON of the request's body. */
  readonly body?: unknown
  readonly now: number
}

const authority = 'gate.invalid'
const standIn = '1'
const ttlSeconds = 300

/** Finds what `text` (`read crm:customer/9821`) means. Throws a `UsageError` when that is nothing. */
export function readQuestion(text: string, question: Question, { backends, limits, via }: Config): Subject {
  const [verb, resource, ...more] = text.trim().split(/\s+/u)
  const [, name, path] = /^([^:/]+):(.+)$/u.exec(resource ?? '') ?? []
  if (verb === undefined || name === undefined || path === undefined || more.length > 0) {
    throw new UsageError(`'${text}': write VERB BACKEND:RESOURCE, e.g. 'read crm:customer/9821'`)
  }
  const backend = backends.find((known) => known.name === name)
  if (backend === undefined) {
    throw new UsageError(`no backend '${name}'; there is ${backends.map((known) => known.name).join(', ')}`)
  }
  const router = createRouter(backends)
  const rules = {
    authorities: new Set([authority, ...backend.hosts.map((host) => host.toLowerCase())]),
    headerBytes: limits.headerBytes,
    headerFields: limits.headerFields,
    targetBytes: limits.targetBytes,
    encodedSlash: true,
    via,
  }
  const refused: Refusal[] = []
  const found = backend.operations.flatMap((operation) => {
    const params = operation.verb === verb ? paramsOf(operation, path) : undefined
    if (params === undefined) return []
    const request = receive(headOf(operation, backend, params, question), rules)
    if (isRefusal(request)) {
      refused.push(request)
      return []
    }
    const { mapped } = route(request, router)
    if (isRefusal(mapped)) {
      refused.push(mapped)
      return []
    }
    // Another operation may stand before this one on the very path.
    return mapped.operation === operation ? [{ request, mapped }] : []
  })
  if (found.length === 0) throw new UsageError(nothingMeans(`${verb} ${resource}`, backend, refused[0]))
  return {
    inputs: found.map((each) => inputOf(question, { ...each, backend })),
    notes: notesOf(
      question,
      found.map(({ mapped }) => mapped),
    ),
  }
}

function nothingMeans(asked: string, { name, operations }: Backend, refused: Refusal | undefined): string {
  if (refused !== undefined) {
    return `the gate refuses any request for '${asked}': ${refused.code}, ${refused.facts.detail ?? refused.row.title}`
  }
  const known = operations.map((operation) => `${operation.verb} ${name}:${operation.resource}`)
  return `no operation means '${asked}'; there is ${[...new Set(known)].slice(0, 12).join(', ')}`
}

/** Values of the parameters in a resource template, decoded as the router encodes them. */
function paramsOf({ resource }: Operation, path: string): ReadonlyMap<string, string> | undefined {
  const template = resource.split('/')
  const segments = path.split('/')
  if (template.length !== segments.length) return undefined
  const params = new Map<string, string>()
  for (const [at, part] of template.entries()) {
    const value = segments[at]!
    const name = /^\{(.+)\}$/.exec(part)?.[1]
    if (name === undefined ? part !== value : value === '') return undefined
    if (name !== undefined) params.set(name, value.replace(/%(2F|2A|25)/g, decodeURIComponent))
  }
  return params
}

function headOf(
  { method, segments }: Operation,
  { hosts, pathPrefix }: Backend,
  params: ReadonlyMap<string, string>,
  { provenance }: Question,
) {
  const path = segments.map((segment) =>
    'literal' in segment ? segment.literal : encodeURIComponent(params.get(segment.param) ?? standIn),
  )
  const host = pathPrefix === undefined ? hosts[0]! : authority
  const trust = provenance === 'trusted' ? ['lease-provenance', 'trusted'] : []
  return {
    method,
    target: `${pathPrefix ?? ''}/${path.join('/')}`,
    httpVersion: '1.1',
    rawHeaders: ['host', host, ...trust],
    peer: '127.0.0.1',
  }
}

interface Routed {
  readonly request: CleanRequest
  readonly mapped: Mapped
  readonly backend: Backend
}

/** The same text that the gate would hand to policy, read back. */
function inputOf(question: Question, { request, mapped, backend }: Routed): PolicyInput {
  const text = inputText({
    request,
    mapped,
    backend,
    lease: leaseOf(question, mapped, backend),
    now: question.now,
    revocation: undefined,
    suspension: undefined,
    viewAgeMs: 0,
    maxStalenessMs: 0,
    clockOffset: 0,
    recentCalls: { lease: 0, agent: 0 },
    approval: undefined,
    bodyBytes: undefined,
    body: mapped.operation.body === 'json' ? (question.body ?? null) : null,
  })
  return policyInput.parse(JSON.parse(text))
}

function leaseOf(question: Question, { operation, resource }: Mapped, backend: Backend): Lease {
  const { id, version } = parseAgent(question.agent)
  const asked: Grant = {
    actions: [operation.verb],
    identifier: resource,
    sensitivity: operation.sensitivity,
    constraints: {},
  }
  return {
    id: 'lse_explained',
    issuer: '',
    tokenId: '',
    user: question.user,
    agent: {
      id,
      version: version ?? '0',
      env: question.env ?? backend.env ?? 'prod',
      instance: '',
      profile: question.profile ?? id.slice(id.indexOf(':') + 1),
      profileVersion: '',
    },
    clientId: '',
    audience: '',
    task: { ...parseTask(question.task ?? 'explain:what-if'), purpose: 'policy explain' },
    stage: stageOf(question, operation),
    session: 'ses_explained',
    grants: question.grants.length === 0 ? [asked] : question.grants.map(grantOf),
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: question.now,
    notBefore: question.now,
    expiresAt: question.now + ttlSeconds,
    maxExpiresAt: question.now + ttlSeconds,
    clockTolerance: 0,
    revocationKeys: [],
  }
}

function stageOf({ stage }: Question, { verb }: Operation): Stage {
  if (stage === undefined) return readingVerbs.includes(verb) ? 'observe' : 'execute'
  const known = stages.find((each) => each === stage)
  if (known === undefined) throw new UsageError(`--stage is one of ${stages.join(', ')}`)
  return known
}

function grantOf(text: string): Grant {
  const allow = parseAllow(text)
  if (!allow.ok) throw new UsageError(`--grant: ${allow.problem}`)
  const { actions, identifier, sensitivity, constraints } = allow.detail
  if (constraints !== undefined)
    throw new UsageError('--grant: leave constraints out: what is left is not known here')
  return { actions, identifier, sensitivity, constraints: {} }
}

function notesOf(question: Question, mapped: readonly Mapped[]): string[] {
  const guessed = mapped.some(({ operation: { segments, resource } }) =>
    segments.some((segment) => 'param' in segment && !resource.includes(`{${segment.param}}`)),
  )
  return [
    ...(question.grants.length === 0 ? ['the lease is taken to grant exactly what is asked'] : []),
    'a new lease, no calls before this one, no approval',
    ...(mapped.length > 1 ? [`${mapped.length} operations mean this; each is explained`] : []),
    ...(guessed ? [`path parameters that the resource does not name are taken to be ${standIn}`] : []),
    ...(question.body !== undefined && mapped.every(({ operation }) => operation.body !== 'json')
      ? ['the body is left out: this operation has no `body: json`']
      : []),
  ]
}
