// An agent with `leasegate/client`, and the people who decide on what it waits for, as the store has them. Never a
// stand-in for the gate.
import type { Action } from '../../src/approval/action.ts'
import { Actions } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import {
  type AgentLease,
  createLeaseClient,
  type LeaseClientOptions,
  type LeaseRequest,
  type PrivateKey,
  privateKeyJwt,
} from '../../src/client/index.ts'
import type { TestBroker } from './broker.ts'
import { eventually } from './gate.ts'

/** Every customer to change and to delete. */
export const deleting = {
  type: 'lease',
  actions: ['delete', 'update'],
  identifier: 'crm:customer/*',
  sensitivity: 'restricted',
  constraints: { max_risk: 'high' },
} as const

/** A lease that may change and delete every customer, under the client's own `fetch` or another. */
export async function writingLease(
  broker: TestBroker,
  changes: Partial<LeaseRequest> = {},
  options: Partial<LeaseClientOptions> = {},
): Promise<AgentLease> {
  const key = broker.keys.get('support-triage')!
  const jwk = { ...(key.privateKey.export({ format: 'jwk' }) as unknown as PrivateKey), kid: key.kid }
  const client = await createLeaseClient({
    broker: broker.brokerUrl,
    clientId: 'support-triage',
    authenticate: privateKeyJwt(jwk),
    subjectToken: () => broker.idToken(),
    ...options,
  })
  return client.lease({
    task: 'jira:SUP-4711',
    purpose: 'remove a customer who asked for it',
    resource: broker.gateUrl,
    stage: 'execute',
    allow: [deleting],
    ...changes,
  })
}

/** The actions of the broker's store, as another process has them; it cannot open what is sealed. */
export async function actionsOf(broker: TestBroker): Promise<Actions> {
  return new Actions((await broker.store()).records, createSealer('of somebody else'))
}

/** The newest action of a lease, once there is one. */
export async function waitingAction(broker: TestBroker, lease: AgentLease): Promise<Action> {
  const actions = await actionsOf(broker)
  let found: Action | undefined
  await eventually(async () => {
    const list = lease.id === undefined ? [] : await actions.list({ lease: lease.id }, { limit: 1 })
    found = list[0]?.action
    return found !== undefined
  }, 'an action that waits')
  return found!
}

/** Writes what somebody has decided. */
export async function decide(
  broker: TestBroker,
  id: string,
  step: (action: Action) => Action,
): Promise<void> {
  const actions = await actionsOf(broker)
  await eventually(async () => {
    const kept = await actions.get(id)
    return kept !== undefined && (await actions.change(kept, step(kept.action))) !== undefined
  }, 'a decision')
}

const carol = { user: 'carol@example.com', issuer: 'https://login.example', subject: 'carol' }
const seconds = () => Math.floor(Date.now() / 1000)

/** An owner of the CRM says yes. */
export const approved = (action: Action): Action => ({
  ...action,
  state: 'approved',
  yes: [{ by: carol, as: 'group:crm-owners', at: seconds(), reason: 'they asked', shownBy: 'session' }],
})

/** The same owner says no, and why. */
export const refused = (action: Action): Action => ({
  ...action,
  state: 'refused',
  ended: { by: carol.user, at: seconds(), reason: 'an invoice is open' },
})

/** Nobody has said anything, and the time is over. */
export const expired = (action: Action): Action => ({ ...action, expiresAt: seconds() - 1 })

/** The agent has taken it back. */
export const withdrawn = (action: Action): Action => ({
  ...action,
  state: 'withdrawn',
  ended: { by: action.lease.agent.id, at: seconds(), reason: '' },
})

/** What a promise is rejected with; undefined: it is not. */
export const failure = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => undefined,
    (error: unknown) => error,
  )
