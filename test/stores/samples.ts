// One of each thing a store keeps, for tests that change what matters to them.
import type {
  Deferral,
  LeaseRecord,
  LeaseUse,
  Rate,
  RecordWrite,
  Revocation,
  Suspension,
  Total,
} from '../../src/ports.ts'

export const nowSeconds = () => Math.floor(Date.now() / 1000)

/** A revocation of lease `value` that holds for an hour, except where `over` says otherwise. */
export function revocation(value: string, over: Partial<Revocation> = {}): Revocation {
  const at = nowSeconds()
  const rest = { cutoff: at, expiresAt: at + 3600, reason: 'laptop stolen', by: 'test', at }
  return { scope: 'lease', value, ...rest, ...over }
}

/** Version 1 of `lease`: suspended, for an hour. */
export function suspension(id: string, over: Partial<Suspension> = {}): Suspension {
  const at = nowSeconds()
  const rest = { version: 1, expiresAt: at + 3600, reason: 'looks odd', by: 'test', at }
  return { lease: id, suspended: true, ...rest, ...over }
}

/** One of twenty, within the hour. */
export function total(key: string, over: Partial<Total> = {}): Total {
  return { kind: 'total', key, max: 20n, take: 1n, expiresAt: nowSeconds() + 3600, ...over }
}

/** One a minute, ten at once. */
export function rate(key: string, over: Partial<Rate> = {}): Rate {
  return { kind: 'rate', key, count: 1, periodMs: 60_000, burst: 10, ...over }
}

/** An active lease of an hour, five minutes of which its first token covers. */
export function lease(id: string, over: Partial<LeaseRecord> = {}): LeaseRecord {
  const issuedAt = nowSeconds()
  return {
    id,
    issuer: 'https://broker.example',
    tenant: '',
    user: 'alice@example.com',
    agent: 'agent:support',
    agentVersion: '1.0.0',
    agentEnv: 'prod',
    clientId: 'support',
    profile: 'support',
    profileVersion: '9',
    task: { system: 'jira', id: 'SUP-1', purpose: 'answer a question' },
    session: 'ses_1',
    stage: 'observe',
    audience: 'https://gate.example',
    ancestors: [],
    delegatedBy: [],
    details: [{ type: 'lease', actions: ['read'], identifier: 'crm:customer/9821' }],
    issuedAt,
    expiresAt: issuedAt + 300,
    maxExpiresAt: issuedAt + 3600,
    renewals: 0,
    state: 'active',
    version: 0,
    ...over,
  }
}

/** What the first version wrote for a lease: without the members that came with the broker. */
export function oldLease(id: string, over: Partial<LeaseRecord> = {}): object {
  const { issuer, user, agent, agentVersion, task, session, stage, details, ...rest } = lease(id, over)
  const { issuedAt, expiresAt, maxExpiresAt, state } = rest
  const times = { issuedAt, expiresAt, maxExpiresAt }
  return { id, issuer, user, agent, agentVersion, task, session, stage, details, ...times, state }
}

/** One read. */
export function use(id: string, over: Partial<LeaseUse> = {}): LeaseUse {
  const counts = { calls: 1, verbs: { read: 1 }, refusals: 0, bytesIn: 0, bytesOut: 700 }
  return { id, issuer: lease(id).issuer, ...counts, lastUsedAt: nowSeconds(), ...over }
}

/** A pending one, asked for now, that waits ten minutes. */
export function deferral(id: string, over: Partial<Deferral> = {}): Deferral {
  const createdAt = nowSeconds()
  return {
    id,
    clientId: 'support',
    key: 'thumbprint',
    approvers: ['group:crm-owners'],
    request: '{"task":"jira:SUP-1"}',
    createdAt,
    expiresAt: createdAt + 600,
    interval: 5,
    state: 'pending',
    ...over,
  }
}

/** A new record of kind `action`, of now, that stands for an hour. */
export function recordWrite(id: string, over: Partial<RecordWrite> = {}): RecordWrite {
  const at = nowSeconds()
  return { kind: 'action', id, expect: 0, text: '{}', expiresAt: at + 3600, at, ...over }
}
