// Actions that wait, and people who decide on them, for tests: over a real store, with a real sealer. What it makes
// is what a gate would have made, but for what a test wants different.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Action, Person } from '../../src/approval/action.ts'
import { Actions, type HeldCall } from '../../src/approval/actions.ts'
import type { DecisionSources } from '../../src/approval/decide.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Terms } from '../../src/approval/terms.ts'
import { type Lease, revocationKeys } from '../../src/lease/lease.ts'
import type { Records, Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { leaseRecord } from './leases.ts'
import { sharedRedis } from './redis.ts'

export const now = () => Date.now() / 1000

/** A person of the identity provider of these tests, in the group of approvers unless told otherwise. */
export function person(user: string, over: Partial<Person> = {}): Person {
  return { user, issuer: 'https://login.example', subject: `sub-of-${user}`, groups: ['crm-owners'], ...over }
}

export const carol = person('carol@example.com')
export const dave = person('dave@example.com')
/** Whose lease it is. */
export const alice = person('alice@example.com')

/** What is asked for can be granted by anybody in `crm-owners`. */
export const terms: Terms = {
  approvers: ['group:crm-owners', 'erin@example.com'],
  expiresIn: 600,
  quorum: 1,
  reasonRequired: false,
  afterLease: 0,
  repeat: undefined,
}

/** A held delete of Alice's agent. */
export function action(over: Partial<Action> = {}): Action {
  const createdAt = over.createdAt ?? now()
  const unique = randomUUID().replaceAll('-', '')
  return {
    id: `act_${unique}`,
    kind: 'hold',
    state: 'pending',
    fingerprint: `sha-256:${unique}`,
    createdAt,
    expiresAt: createdAt + 600,
    decisionId: 'dec_1',
    what: {
      backend: 'crm',
      operation: 'DELETE /customers/{id}',
      verb: 'delete',
      resource: 'crm:customer/9821',
      sensitivity: 'restricted',
      risk: 'medium',
      method: 'DELETE',
      path: '/crm/customers/9821',
      contentType: undefined,
      bodyBytes: 5,
      bodyDigest: 'sha-256:x',
    },
    lease: {
      id: 'lse_1',
      issuer: 'https://broker.example',
      user: 'alice@example.com',
      agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
      task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
      session: 'ses_1',
      stage: 'execute',
    },
    said: { effect: 'hold', reasons: ['high_risk'], policyDigest: 'sha256:1' },
    terms,
    yes: [],
    ...over,
  }
}

/** The call that `held` was made of. */
export function callOf(held: Action, over: Partial<Lease> = {}): HeldCall {
  const at = Math.floor(now())
  const plain = {
    ...held.lease,
    agent: { ...held.lease.agent, instance: 'i-1', profileVersion: '9' },
    tokenId: 'ltk_1',
    clientId: 'support-triage',
    audience: 'https://gate.example',
    grants: [],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: at - 60,
    notBefore: at - 60,
    expiresAt: at + 240,
    maxExpiresAt: at + 3540,
    clockTolerance: 0,
    ...over,
  }
  return {
    method: held.what.method,
    target: `${held.what.path}?dry=no`,
    authority: 'gate.example',
    headers: ['content-type', 'text/plain'],
    body: Buffer.from('bytes'),
    peer: '10.1.2.3',
    provenance: 'untrusted',
    lease: { ...plain, revocationKeys: revocationKeys(plain) },
  }
}

/** A store with Alice's lease in it, and actions. */
export interface ApprovalWorld {
  readonly store: Store
  readonly sources: DecisionSources
  /** Stores an action and its call, and answers with it. */
  open(over?: Partial<Action>, lease?: Partial<Lease>): Promise<Action>
  /** The action as it is stored. */
  get(id: string): Promise<Action>
  close(): Promise<void>
}

export type StoreKind = 'embedded' | 'redis'

/** Opens a world on one of the adapters. */
export async function openWorld(kind: StoreKind, over: { records?: (real: Records) => Records } = {}) {
  const { store, close } = await openTestStore(kind)
  const issuedAt = Math.floor(now()) - 60
  await store.leases.put(leaseRecord({ issuedAt }))
  const records = over.records === undefined ? store.records : over.records(store.records)
  const actions = new Actions(records, createSealer('secret of these tests'))
  const world: ApprovalWorld = {
    store,
    sources: {
      ...{ actions, records, leases: store.leases, revocations: store.revocations, maxStalenessMs: 5_000 },
      noticesOf: ({ id, state, createdAt: at }) => [
        { kind: 'notice', id: randomUUID(), expect: 0, text: state, expiresAt: now() + 60, at, lists: [id] },
      ],
    },
    async open(with_ = {}, lease = {}) {
      const made = action(with_)
      return (await actions.open(made, callOf(made, lease))).action
    },
    async get(id) {
      const kept = await actions.get(id)
      if (kept === undefined) throw new Error('there is no such action')
      return kept.action
    },
    close,
  }
  return world
}

async function openTestStore(kind: StoreKind): Promise<{ store: Store; close: () => Promise<void> }> {
  if (kind === 'redis') {
    const server = await sharedRedis()
    const store = await openRedis({ url: server.url, prefix: server.prefix(), maxStalenessMs: 5_000 })
    const close = async () => {
      await store.close()
      await server.stop()
    }
    return { store, close }
  }
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-approvals-'))
  const store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 5_000 })
  const close = async () => {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return { store, close }
}
