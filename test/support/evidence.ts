// One request and everything that stands behind it, for the tests of the core: a backend, a lease, and the
// value of each step, made by the steps themselves. `now` is fixed. Never a stand-in for a step.
import type { Terms } from '../../src/approval/terms.ts'
import { parseMatch } from '../../src/config/operations.ts'
import { admit } from '../../src/enforce/authenticate.ts'
import { type CommitSources, type Committed, commit } from '../../src/enforce/commit.ts'
import { decide, type Permit } from '../../src/enforce/decide.ts'
import { LeftMemory } from '../../src/enforce/left.ts'
import type { Backend, Operation } from '../../src/enforce/operation.ts'
import { type OutboundFacts, type OutboundRequest, outbound } from '../../src/enforce/outbound.ts'
import { type ReceiveRules, receive } from '../../src/enforce/receive.ts'
import { RecentCallCounter } from '../../src/enforce/recent.ts'
import { createRouter, route } from '../../src/enforce/route.ts'
import type { Authenticated, CleanRequest, Evidence, RawHead } from '../../src/enforce/stages.ts'
import { type Lease, revocationKeys } from '../../src/lease/lease.ts'
import type { Policy, PolicyAnswer } from '../../src/ports.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'

/** The moment of every request, seconds since 1970. */
export const now = 1_795_300_012

export const rules: ReceiveRules = {
  authorities: new Set(['gate.example', 'crm.gate.example']),
  headerBytes: 16_384,
  headerFields: 100,
  targetBytes: 8_192,
  encodedSlash: true,
  via: 'leasegate',
}

/** The result of a step, or a failure of the test that says which refusal came instead. */
export function accepted<T>(result: T | Refusal): T {
  if (isRefusal(result)) throw new Error(`refused with ${result.code}: ${result.facts.detail}`)
  return result
}

/** The code of a refusal; `accepted` when there is none. */
export function codeOf(result: unknown): string {
  return isRefusal(result) ? result.code : 'accepted'
}

export interface Ask {
  readonly method?: string
  readonly target?: string
  readonly httpVersion?: string
  /** Flat name, value list, beside Host. */
  readonly headers?: readonly string[]
  /** `null`: no Host field at all. */
  readonly host?: string | null
  readonly peer?: string
}

/** `GET /crm/customers/9821` as Node's parser hands it over. */
export function headOf(ask: Ask = {}): RawHead {
  const host = ask.host === undefined ? 'gate.example' : ask.host
  return {
    method: ask.method ?? 'GET',
    target: ask.target ?? '/crm/customers/9821',
    httpVersion: ask.httpVersion ?? '1.1',
    rawHeaders: [...(host === null ? [] : ['Host', host]), ...(ask.headers ?? [])],
    peer: ask.peer ?? '10.1.2.3',
  }
}

export function requestOf(ask: Ask = {}): CleanRequest {
  return accepted(receive(headOf(ask), rules))
}

/** An operation as the configuration would make it from `match`. */
export function operationOf(match: string, changes: Partial<Operation> = {}): Operation {
  const parsed = parseMatch(match)
  if ('fault' in parsed) throw new Error(parsed.fault)
  return {
    match,
    ...parsed.value,
    verb: 'read',
    resource: 'customer/{id}',
    sensitivity: 'confidential',
    risk: 'low',
    body: 'stream',
    bodyLimit: 1_048_576,
    allowEncodedSlash: false,
    opaqueQuery: [],
    ...changes,
  }
}

/** Backend `crm` below `/crm`. */
export function backendOf(changes: Partial<Backend> = {}): Backend {
  return {
    name: 'crm',
    origin: 'http://127.0.0.1:3000',
    basePath: '',
    pathPrefix: '/crm',
    hosts: [],
    credential: { header: 'authorization', value: 'Bearer backend-key' },
    connectTimeoutMs: 2_000,
    headersTimeoutMs: 30_000,
    idleTimeoutMs: 60_000,
    connections: 8,
    maxInFlight: 64,
    upgrade: false,
    env: undefined,
    requireBinding: 'never',
    forwardHeaders: [],
    operations: [
      operationOf('GET /customers/{id}'),
      operationOf('PATCH /customers/{id}', { verb: 'update', risk: 'medium' }),
      operationOf('PUT /customers/{id}', { verb: 'update', risk: 'low', body: 'json' }),
      operationOf('DELETE /customers/{id}', { verb: 'delete', sensitivity: 'restricted', risk: 'high' }),
    ],
    ...changes,
  }
}

/** Alice's support agent may do everything to customer 9821. */
export function leaseOf(changes: Partial<Lease> = {}): Lease {
  const lease = {
    id: 'lse_1',
    issuer: 'https://broker.example',
    tokenId: 'ltk_1',
    user: 'alice@example.com',
    agent: {
      id: 'agent:support-triage',
      version: '3.2.1',
      env: 'prod',
      instance: 'i-7c',
      profile: 'support',
      profileVersion: '9',
    },
    clientId: 'support-triage',
    audience: 'https://gate.example',
    task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
    stage: 'execute' as const,
    session: 'ses_1',
    grants: [
      {
        actions: ['read', 'update', 'delete'],
        identifier: 'crm:customer/9821',
        sensitivity: 'restricted' as const,
        constraints: {},
      },
    ],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: now - 12,
    notBefore: now - 12,
    expiresAt: now + 288,
    maxExpiresAt: now + 3_588,
    clockTolerance: 5,
    ...changes,
  }
  return { ...lease, revocationKeys: revocationKeys(lease) }
}

/** What a request is made from; everything else follows. */
export interface Scene {
  readonly ask?: Ask
  readonly backend?: Backend
  readonly lease?: Lease
}

/** Receives, routes and admits. */
export function authenticatedOf({
  ask,
  backend = backendOf(),
  lease = leaseOf(),
}: Scene = {}): Authenticated {
  return accepted(admit(route(requestOf(ask), createRouter([backend])), lease))
}

/** The evidence of a request nothing stands against. */
export function evidenceOf(scene: Scene = {}, changes: Partial<Evidence> = {}): Evidence {
  return {
    ...authenticatedOf(scene),
    now,
    revocation: undefined,
    suspension: undefined,
    viewAgeMs: 3,
    maxStalenessMs: 2_000,
    clockOffset: 0,
    recentCalls: { lease: 4, agent: 40 },
    approval: undefined,
    bodyBytes: undefined,
    body: null,
    ...changes,
  }
}

/** A policy that always answers the same. */
export function policyOf(answer: PolicyAnswer): Policy {
  return { digest: 'sha256:00', evaluate: () => answer }
}

export const allowing = policyOf({ effect: 'allow', reasons: ['profile_allows'] })

export function permitOf(scene: Scene = {}, changes: Partial<Evidence> = {}): Permit {
  return accepted(decide(evidenceOf(scene, changes), allowing))
}

/** Sources for calls that neither wait nor spend: touching one of them fails the test. */
const untouched: CommitSources = {
  budgets: {
    spend: () => Promise.reject(new Error('no budget stands behind this call')),
    giveBack: () => Promise.reject(new Error('nothing was spent')),
  },
  rates: {},
  left: new LeftMemory(() => now * 1_000),
  notGivenBack: () => {},
  approvals: { use: () => Promise.reject(new Error('nothing is approved here')) },
  revocations: {
    revoke: () => Promise.reject(new Error('nothing is revoked here')),
    suspend: () => Promise.reject(new Error('nothing is suspended here')),
    find: () => undefined,
    suspension: () => undefined,
    confirm: () => undefined,
    ageMs: () => 0,
    size: () => 0,
    malformed: () => ({ takenAsRevoked: 0, unreadable: 0 }),
    faults: () => [],
    watch: () => () => {},
  },
  intents: { fault: () => undefined, intend: () => Promise.resolve() },
  recent: new RecentCallCounter(),
  readsOnFault: 'refuse',
  deadlineMs: 500,
}

export async function committedOf(permit: Permit): Promise<Committed> {
  return accepted(await commit(permit, 'dec_1', untouched))
}

export const outboundFacts: OutboundFacts = {
  decisionId: 'dec_1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  via: 'leasegate',
  publicScheme: 'https',
  upgrade: false,
}

/** The whole walk, up to what would be forwarded. */
export async function outboundOf(
  scene: Scene = {},
  changes: Partial<Evidence> = {},
  facts: OutboundFacts = outboundFacts,
): Promise<OutboundRequest> {
  return outbound(await committedOf(permitOf(scene, changes)), facts)
}

/** Values of one header in a flat name, value list. */
export function valuesOf(headers: readonly string[], name: string): string[] {
  return headers.filter((_, at) => at % 2 === 1 && headers[at - 1] === name)
}

/** The terms that the policy which ships states for `crm`. */
export function termsOf(changes: Partial<Terms> = {}): Terms {
  return {
    approvers: ['group:crm-owners'],
    expiresIn: 600,
    quorum: 1,
    reasonRequired: false,
    afterLease: 0,
    repeat: undefined,
    ...changes,
  }
}
