// A broker with real sockets, a real store and real signatures. Who the parties are is settled in the simplest
// honest way: a table of passwords for agents and users, a header that names a key; policy is two tables.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { IssueAnswer, IssuePolicy, IssueQuestion } from '../../src/broker/issue_decision.ts'
import type { BrokerTrail } from '../../src/broker/observer.ts'
import type { AgentClient, AgentEntry, Subject } from '../../src/broker/parties.ts'
import type { BrokerParts } from '../../src/broker/parts.ts'
import { createControlListener } from '../../src/http/control.ts'
import { tokenEndpoints } from '../../src/http/token.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import { openKeys } from '../../src/lease/keys.ts'
import { type Lease, type Stage, stages } from '../../src/lease/lease.ts'
import { openLocalKey } from '../../src/lease/local_key.ts'
import { inCommon } from '../../src/lease/subset.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { isRefusal, type Refusal, refuse } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { testIssuer } from '../support/tokens.ts'

export const issuer = 'https://broker.example'
export const gate = 'https://gate.example'
export const crm = `${gate}/crm`
export const startOfTime = 1_795_300_000

/** What the policy of the test knows: rights of users and of profiles. */
export interface Rights {
  readonly users: Record<string, readonly LeaseDetail[]>
  readonly profiles: Record<string, readonly LeaseDetail[]>
  stage: Stage
  leaseSeconds: number
  ttlSeconds: number
  taskRequired: boolean
  /** Requests for this stage need a human. */
  approve: Stage | undefined
}

export function detail(text: string, constraints?: LeaseDetail['constraints']): LeaseDetail {
  const [actions = '', identifier = '', sensitivity = 'confidential'] = text.split(' ')
  const known = { type: 'lease', actions: actions.split(','), identifier } as const
  const limited = constraints === undefined ? {} : { constraints }
  return { ...known, sensitivity: sensitivity as LeaseDetail['sensitivity'], ...limited }
}

export function entry(name: string, more: Partial<AgentEntry> = {}): AgentEntry {
  return {
    clientId: name,
    agent: `agent:${name}`,
    version: '1.0.0',
    env: 'prod',
    profile: name,
    tenant: '',
    credentials: [],
    delegatesTo: [],
    ...more,
  }
}

/** Grants the intersection of user, agent and delegating agents with what is asked, as far as that is exact. */
export function tablePolicy(rights: Rights): IssuePolicy {
  return { digest: 'sha256:tables', decide: (question) => decide(question, rights) }
}

function decide(
  { user, agent, delegatedBy, request, approvedBy }: IssueQuestion,
  rights: Rights,
): IssueAnswer {
  if (rights.taskRequired && request.task === undefined) {
    return { effect: 'deny', reasons: ['task_required'], code: 'invalid_request' }
  }
  const tables = [agent.profile, ...delegatedBy.map(({ profile }) => profile)].map(
    (profile) => rights.profiles[profile] ?? [],
  )
  let details: readonly LeaseDetail[] = rights.users[user.id] ?? []
  for (const table of tables) details = inCommon(details, table) ?? []
  if (details.length === 0) return { effect: 'deny', reasons: ['no_rights'], code: 'access_denied' }
  const stage = stages.indexOf(request.stage) <= stages.indexOf(rights.stage) ? request.stage : rights.stage
  const { leaseSeconds, ttlSeconds } = rights
  const grant = { details, stage, ttlSeconds, leaseSeconds, profileVersion: '7' }
  const reasons = ['granted']
  if (request.stage !== rights.approve || approvedBy !== undefined) return { effect: 'grant', reasons, grant }
  const approval = { approvers: ['group:leads'], expiresIn: 600 }
  return { effect: 'approve', reasons: ['needs_a_human'], grant, approval }
}

/** The key that a `DPoP` header of these tests stands for. */
export function keyOf(name: string) {
  const thumbprint = createHash('sha256').update(name).digest('base64url')
  return { method: 'dpop', thumbprint } as const
}

export type World = Awaited<ReturnType<typeof openWorld>>

export interface Sent {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

/** Everything opened; `close` when done. `change` replaces parts of the broker. */
export async function openWorld(change: (parts: BrokerParts) => BrokerParts = (parts) => parts) {
  // Of its own tokens the broker knows the status from the store.
  const statusLists = { check: () => undefined }
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-broker-'))
  // Within a second: a view that is some milliseconds old is still one of this second.
  const clock = { now: startOfTime + 0.5 }
  const nowMs = () => clock.now * 1000
  const store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2000, now: nowMs })
  const key = await openLocalKey(join(dir, 'broker.key'))
  const profile = { ...testIssuer({ issuer, audience: gate }).profile(), maxActDepth: 3 }
  const keys = await openKeys([{ issuer, jwks: { local: true } }], {
    local: () => [key.publicJwk],
    now: nowMs,
  })
  const verifier = createVerifier({ issuers: [profile], keys, statusLists })
  const agents = new Map<string, AgentEntry>()
  const subjects = new Map<string, Subject>()
  const actors = new Map<string, AgentClient>()
  const rights: Rights = {
    users: {},
    profiles: {},
    stage: 'execute',
    leaseSeconds: 3600,
    ttlSeconds: 300,
    taskRequired: false,
    approve: undefined,
  }
  const trails: { trail: BrokerTrail; refusal: Refusal | undefined }[] = []
  const bugs: unknown[] = []
  const policy = { current: tablePolicy(rights) }
  const parts: BrokerParts = change({
    issuer,
    backends: new Map(),
    audiences: new Map([
      [gate, ['crm', 'hr']],
      [crm, ['crm']],
    ]),
    store,
    maxStalenessMs: 2000,
    clients: {
      async authenticate(form) {
        const found = agents.get(form.get('client_assertion')?.replace('password-of-', '') ?? '')
        if (found === undefined) return refuse('invalid_client')
        return { entry: found, method: 'private_key_jwt', instance: '', key: undefined }
      },
      actor: async (token) => actors.get(token) ?? refuse('invalid_client'),
    },
    subjects: { verify: async (token) => subjects.get(token) ?? refuse('invalid_request') },
    senders: {
      async verify({ proofs: [proof, ...more] }) {
        if (proof === 'no-nonce') return refuse('use_dpop_nonce')
        if (proof === 'broken' || more.length > 0) return refuse('invalid_dpop_proof')
        return proof === undefined ? undefined : keyOf(proof)
      },
      nonce: (now) => `nonce-${Math.floor(now)}`,
    },
    agents: () => ({
      byClientId: (clientId) => agents.get(clientId),
      byAgent: (agent) => [...agents.values()].find((each) => each.agent === agent),
      byWorkload: () => undefined,
      all: () => [...agents.values()],
    }),
    policy: () => policy.current,
    signer: () => key,
    leaseTokens: verifier,
    profile,
    ttlSeconds: 300,
    observer: {
      finished: (trail, refusal) => void trails.push({ trail: { ...trail }, refusal }),
      ordered() {},
      changed() {},
      bug: (error) => void bugs.push(error),
    },
    now: () => clock.now,
  })
  const server = createControlListener({
    endpoints: tokenEndpoints(parts),
    operators: [],
    publicUrl: issuer,
    onBug: (bug) => bugs.push(bug),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  return {
    ...{ store, clock, agents, subjects, actors, rights, policy, trails, bugs, url, parts },
    /** Posts a form; `key` is the one that the request proves. */
    async post(form: Readonly<Record<string, string>>, keyName?: string): Promise<Sent> {
      const headers: Record<string, string> = keyName === undefined ? {} : { dpop: keyName }
      const response = await fetch(url, { method: 'POST', body: new URLSearchParams(form), headers })
      const body = (await response.json()) as Sent['body']
      return { status: response.status, headers: response.headers, body }
    },
    /** Lets time pass; the store has looked for news since. */
    async pass(seconds: number): Promise<void> {
      clock.now += seconds
      while (store.revocations.ageMs(nowMs()) > 500) await sleep(2)
    },
    /** The lease in a token, as a gate reads it. */
    async read(token: unknown): Promise<Lease> {
      const lease = await verifier.verify(String(token), clock.now, [gate, crm])
      if (isRefusal(lease)) throw new Error(`the verifier refuses: ${lease.facts.cause}`)
      return lease
    },
    subject(token: string, more: Partial<Subject> = {}): string {
      subjects.set(token, { ...aliceAt(clock.now), ...more })
      return token
    },
    async close() {
      server.closeAllConnections()
      server.close()
      keys.close()
      await store.close()
      rmSync(dir, { recursive: true })
    },
  }
}

function aliceAt(now: number): Subject {
  return {
    kind: 'user',
    id: 'alice@example.com',
    login: { issuer: 'https://login.example', subject: 'u-1' },
    use: 'id_token',
    session: 'ses_of-alice',
    authTime: now - 60,
    acr: 'urn:corp:loa:2',
    groups: ['support'],
    mayAct: undefined,
    clientId: undefined,
    binding: undefined,
    details: undefined,
    issuedAt: now - 10,
    expiresAt: now + 7200,
  }
}

const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** The parameters of an exchange by an agent for a user, with what `more` adds or replaces. */
export function exchangeForm(agent: string, subject: string, more: Readonly<Record<string, string>> = {}) {
  return {
    grant_type: exchange,
    client_assertion: `password-of-${agent}`,
    subject_token: subject,
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    ...more,
  }
}

/** The parameters with which an agent shows a lease token of its own. */
export function leaseForm(agent: string, token: unknown, more: Readonly<Record<string, string>> = {}) {
  return exchangeForm(agent, String(token), {
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    ...more,
  })
}

/** The parameters of a hand-over to `child`, named by an actor token. */
export function handOverForm(
  agent: string,
  token: unknown,
  child: string,
  more: Readonly<Record<string, string>> = {},
) {
  return leaseForm(agent, token, {
    actor_token: child,
    actor_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    ...more,
  })
}

export const asJson = (...details: readonly object[]) => JSON.stringify(details)
