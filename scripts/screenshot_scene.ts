// What the pictures of the console show: a gate that has been in use. In: nothing. Out: a whole gate with agents,
// leases in every state, a delete and a draft and a lease request that wait, people who have decided, traffic. All of
// it comes about as it would in earnest, through the API; only the gates on other machines are records in the store.

import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPresence } from '../src/http/presence.ts'
import { startWorld, trialProfile, type World } from '../test/e2e/world.ts'
import { Browser } from '../test/support/console.ts'
import type { Json } from '../test/support/tokens.ts'

interface Work {
  readonly client?: string
  readonly user: string
  readonly task: string
  readonly purpose: string
  readonly stage?: string
  readonly actions: readonly string[]
  readonly on?: string
}

interface GivenLease {
  readonly id: string
  readonly token: string
  readonly stage: string
}

interface Held {
  readonly access_request?: { readonly task: { readonly id: string } }
}

/** The gate, and what the pictures open. */
export interface Scene {
  readonly world: World
  readonly held: string
  readonly draft: string
  readonly lease: string
  /** Another second of traffic. */
  traffic(): Promise<void>
  close(): Promise<void>
}

/** Whoever looks at the pages. */
export const viewer = { user: 'kim@example.com', groups: ['crm-owners'], roles: ['operator', 'auditor'] }

const users = ['alice', 'ben', 'priya', 'tomas'].map((name) => `${name}@example.com`)
const agents = [
  { clientId: 'billing-sync', file: { version: '1.9.0' } },
  { clientId: 'churn-analyst', file: { version: '0.4.2', env: 'staging' } },
  { clientId: 'refund-assistant', file: { version: '2.0.0', profile: 'trial' } },
]

const invoices = 'send reminders for invoices that are overdue'
const works: readonly Work[] = [
  {
    client: 'billing-sync',
    user: 'ben@example.com',
    task: 'jira:FIN-208',
    purpose: invoices,
    actions: ['read', 'list'],
  },
  {
    client: 'churn-analyst',
    user: 'priya@example.com',
    task: 'jira:DATA-91',
    purpose: 'which plans are cancelled most',
    actions: ['list', 'read'],
  },
  {
    user: 'tomas@example.com',
    task: 'jira:SUP-4698',
    purpose: 'correct the address after a move',
    stage: 'execute',
    actions: ['read', 'update'],
  },
  {
    user: 'alice@example.com',
    task: 'jira:SUP-4720',
    purpose: 'find the invoice that the customer asks about',
    actions: ['read'],
  },
  {
    client: 'billing-sync',
    user: 'priya@example.com',
    task: 'jira:FIN-211',
    purpose: 'compare plans with what was invoiced',
    actions: ['read', 'list'],
  },
]
const deleting: Work = {
  user: 'alice@example.com',
  task: 'jira:SUP-4711',
  purpose: 'the customer asked us to delete their account (GDPR, art. 17)',
  stage: 'execute',
  actions: ['read', 'delete'],
}
const drafting: Work = {
  user: 'ben@example.com',
  task: 'jira:SUP-4716',
  purpose: 'the customer has a new e-mail address and moves to the smaller plan',
  stage: 'draft',
  actions: ['read', 'update'],
}
const asking: Work = {
  client: 'refund-assistant',
  user: 'priya@example.com',
  task: 'jira:SUP-4719',
  purpose: 'prepare a goodwill credit for an outage',
  stage: 'draft',
  actions: ['read', 'update'],
  on: 'crm:customer/9812',
}

/** Starts all of it; takes some seconds. */
export async function startScene(): Promise<Scene> {
  // The name of the machine that draws the pictures is nobody's business.
  os.hostname = () => 'gate-1.example'
  syncBuiltinESMExports()
  const world = await startWorld({
    agents,
    policyData: {
      'approvers.json': {
        crm: {
          approvers: ['group:crm-owners'],
          expires_in: 600,
          quorum: 1,
          repeat: { calls: 5, seconds: 600 },
        },
      },
      'profiles.json': { trial: trialProfile },
      'users.json': Object.fromEntries([
        ...users.map((user) => [user, { groups: ['support'] }]),
        [viewer.user, { groups: [], backends: { crm: { verbs: ['read', 'list'], ceiling: 'restricted' } } }],
      ]),
    },
  })
  const others = [await otherGate(world, 'gate-2.example'), await otherGate(world, 'gate-3.example')]
  const leases: GivenLease[] = []
  for (const work of works) leases.push(await give(world, work))
  await endSome(world)
  await pastDecisions(world)
  const deletes = await give(world, deleting)
  const held = (await (await call(world, deletes, 'DELETE', 9811)).json()) as Held
  const drafts = await give(world, drafting)
  const body = '{"email":"m.lindqvist@example.org","plan":"starter","seats":3}'
  const drafted = await call(world, drafts, 'PATCH', 9804, body)
  await world.post('/token', formOf(world, asking, { completion_mode: 'deferred' }))
  const busy = [...leases, deletes]
  return {
    world,
    held: held.access_request?.task.id ?? '',
    draft: String(((await drafted.json()) as Json).id),
    lease: deletes.id,
    traffic: () => traffic(world, busy, deletes),
    async close() {
      for (const other of others) await other.close()
      await world.close()
    },
  }
}

function formOf(world: World, work: Work, more: Record<string, string> = {}): URLSearchParams {
  const {
    client = 'support-triage',
    user,
    task,
    purpose,
    stage = 'observe',
    actions,
    on = 'crm:customer/*',
  } = work
  const constraints = actions.includes('delete') ? { constraints: { max_risk: 'high' } } : {}
  const sensitivity = actions.includes('delete') ? 'restricted' : 'confidential'
  const detail = { type: 'lease', actions, identifier: on, sensitivity, ...constraints }
  const all = actions.includes('list') ? [detail, { ...detail, identifier: 'crm:customer' }] : [detail]
  const subject = world.idToken({ sub: user, sid: `login of ${user}` })
  const changes = { subject_token: subject, task, purpose, stage, authorization_details: JSON.stringify(all) }
  return world.exchangeForm({ ...changes, ...more }, client)
}

async function give(world: World, work: Work): Promise<GivenLease> {
  const { body } = await world.post('/token', formOf(world, work))
  if (typeof body.lease_id !== 'string') throw new Error(`no lease for ${work.task}: ${JSON.stringify(body)}`)
  return { id: body.lease_id, token: String(body.access_token), stage: work.stage ?? 'observe' }
}

function call(
  world: World,
  { token }: GivenLease,
  method: string,
  id: number | '',
  body?: string,
): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const url = `${world.gateUrl}/crm/customers${id === '' ? '' : `/${id}`}`
  return fetch(url, { method, headers, ...(body !== undefined && { body }) })
}

/** One of each other state. */
async function endSome(world: World): Promise<void> {
  const ends = [
    ['suspend', 'a look at the rate of its calls', works[1]!],
    ['revoke', 'a laptop was lost', works[3]!],
    ['complete', 'the task is done', works[0]!],
  ] as const
  for (const [verb, reason, work] of ends) {
    const { id } = await give(world, work)
    await fetch(`${world.brokerUrl}/leases/${id}/${verb}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.operatorToken()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ reason }),
    })
  }
}

/** People who have said yes and no: one of them faster than anybody reads. */
async function pastDecisions(world: World): Promise<void> {
  const people = ['kim@example.com', 'dave@example.com', 'carol@example.com']
  const browsers = await Promise.all(people.map((user) => signedIn(world, user)))
  const lease = await give(world, { ...deleting, task: 'jira:SUP-4688' })
  for (let at = 0; at < 9; at++) {
    const held = (await (await call(world, lease, 'DELETE', 9801 + (at % 3))).json()) as Held
    const id = held.access_request?.task.id
    if (id === undefined) continue
    const browser = browsers[at % 3]!
    const { fingerprint } = (await (await browser.fetch(`/actions/${id}`)).json()) as Json
    if (at % 3 !== 1) await sleep(2_100)
    const verb = at % 4 === 3 ? 'refuse' : 'approve'
    await browser.order(`/actions/${id}/${verb}`, { fingerprint, reason: 'as agreed in the ticket' })
    if (verb === 'approve') await call(world, lease, 'DELETE', 9801 + (at % 3))
  }
}

async function signedIn(world: World, user: string): Promise<Browser> {
  const browser = new Browser(world.brokerUrl)
  const token = new URL(await world.link({ user, groups: ['crm-owners'] })).searchParams.get('token')!
  await browser.post('/console/link', { token })
  await browser.learn()
  return browser
}

async function otherGate(world: World, host: string) {
  const store = await world.store()
  const names = { id: `gate_${host}`, host, pid: 7, role: 'gate', workers: 4, version: '0.1.0' } as const
  const now = async () => {
    const revocation_age_ms = Math.round(40 + 120 * Math.random())
    const seen = { revocation_age_ms, revocation_entries: store.revocations.size() }
    return { policy_digest: world.running.policyDigest(), ...seen, ready: true, faults: [] }
  }
  const self = { ...names, store: store.kind }
  return startPresence({ store, self, now, clock: Date.now, onError: () => {}, everyMs: 1_000 })
}

/** Reads, lists, now and then a write that no lease covers, and the delete that waits, asked for again. */
async function traffic(world: World, leases: readonly GivenLease[], waiting: GivenLease): Promise<void> {
  const calls = 4 + Math.floor(6 * Math.random())
  const one = async (at: number) => {
    await sleep(900 * Math.random())
    const lease = leases[at % leases.length]!
    const id = 9805 + Math.floor(15 * Math.random())
    const dice = Math.random()
    // The one that may update would have it held: nothing more is to wait.
    if (dice > 0.8 && lease.token === waiting.token) return call(world, lease, 'DELETE', 9811)
    if (dice > 0.75 && lease.stage === 'observe') return call(world, lease, 'PATCH', id, '{"seats":4}')
    return call(world, lease, 'GET', dice < 0.1 ? '' : id)
  }
  const answers = await Promise.all(Array.from({ length: calls }, (_, at) => one(at)))
  await Promise.all(answers.map((answer) => answer.arrayBuffer()))
}
