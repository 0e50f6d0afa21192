// Everything together, for tests in a browser: a gate with broker and console, a CRM behind it, agents with
// `leasegate/client`, people with links that sign in. Never a stand-in for a part.
import type { Page } from 'playwright-core'
import {
  createLeaseClient,
  type LeaseRequest,
  type PrivateKey,
  privateKeyJwt,
} from '../../src/client/index.ts'
import { startRecordingBackend } from '../support/backends.ts'
import { startTestBroker, type TestBroker, type TestBrokerOptions } from '../support/broker.ts'
import type { PageForm, TestBrowser } from '../support/browser.ts'
import { deleting } from '../support/client.ts'
import { createCrm } from '../support/crm.ts'
import { crmOperations } from '../support/gate.ts'
import type { Json } from '../support/tokens.ts'

/** A safety net, never a measurement. */
export const patience = { timeout: 20_000 }

export interface Someone {
  readonly user: string
  readonly groups?: readonly string[]
  readonly roles?: readonly string[]
}

export const carol: Someone = { user: 'carol@example.com', groups: ['crm-owners'] }
export const dave: Someone = { user: 'dave@example.com', groups: ['crm-owners'] }
export const olivia: Someone = { user: 'olivia@example.com', roles: ['operator', 'auditor'] }
/** Whose leases they are. */
export const alice: Someone = { user: 'alice@example.com', groups: ['crm-owners'] }

export type World = Awaited<ReturnType<typeof startWorld>>

/** Starts it. What is done to `ledger` takes two people; agents of `trial` have to ask for leases that write. */
export async function startWorld(options: TestBrokerOptions = {}) {
  const maria = { name: 'Maria Lindqvist', email: 'maria@example.com', plan: 'business', seats: 12 }
  const customer = (id: number): [string, Json] => [String(id), { id, ...maria }]
  const crm = createCrm(Object.fromEntries([...Array(20).keys()].map((at) => customer(9801 + at))))
  const ledger = await startRecordingBackend()
  const broker = await startTestBroker({
    agents: [{ clientId: 'trial', file: { profile: 'trial' } }],
    answer: crm.answer,
    crm: { operations: crmOperations.map(withBefore) },
    backends: {
      ledger: {
        url: ledger.url,
        path_prefix: '/ledger',
        require_binding: 'never',
        operations: [
          {
            match: 'DELETE /entries/{id}',
            verb: 'delete',
            resource: 'entry/{id}',
            sensitivity: 'restricted',
          },
        ].map((operation) => ({ ...operation, risk: 'high' })),
      },
    },
    policyData: {
      'approvers.json': { ledger: { approvers: ['group:crm-owners'], expires_in: 600, quorum: 2 } },
      'profiles.json': { trial: trialProfile },
    },
    ...options,
  })
  return {
    ...broker,
    crm,
    ledger,
    /** A lease of `support-triage` that may do everything to customers and the ledger, in the name of alice. */
    lease: (changes: Partial<LeaseRequest> = {}) => leaseOf(broker, changes),
    link: (who: Someone) => link(broker, who),
    async signIn(browser: Pick<TestBrowser, 'page'>, who: Someone, form?: PageForm): Promise<Page> {
      const page = await browser.page(form)
      await page.goto(await link(broker, who))
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.waitForSelector('main.view', patience)
      return page
    },
    async close() {
      await broker.close()
      await ledger.close()
    },
  }
}

/** On probation: each lease that may draft is granted by a person. */
export const trialProfile: Json = {
  version: '1',
  stages: ['observe', 'draft'],
  backends: { crm: { verbs: ['read', 'list', 'update'], ceiling: 'confidential' } },
  calls_per_minute: { lease: 30, agent: 300 },
  max_ttl_seconds: 120,
  max_lease_seconds: 1800,
  task_required: true,
  needs_binding: false,
  delegates: false,
  approval: { stages: ['draft'], approvers: ['group:crm-owners'], expires_in: 600 },
}

function withBefore(operation: Json): Json {
  return operation.match === 'PATCH /customers/{id}'
    ? { ...operation, before: 'GET /customers/{id}' }
    : operation
}

async function leaseOf(broker: TestBroker, changes: Partial<LeaseRequest>) {
  const key = broker.keys.get('support-triage')!
  const jwk = { ...(key.privateKey.export({ format: 'jwk' }) as unknown as PrivateKey), kid: key.kid }
  const client = await createLeaseClient({
    broker: broker.brokerUrl,
    clientId: 'support-triage',
    authenticate: privateKeyJwt(jwk),
    subjectToken: () => broker.idToken(),
  })
  return client.lease({
    task: 'jira:SUP-4711',
    purpose: 'remove a customer who asked for it',
    resource: broker.gateUrl,
    stage: 'execute',
    allow: [
      deleting,
      'read crm:customer/*',
      { ...deleting, actions: ['delete'], identifier: 'ledger:entry/*' },
    ],
    ...changes,
  })
}

/** As `leasegate console` prints it. */
async function link({ brokerUrl, operatorToken }: TestBroker, who: Someone): Promise<string> {
  const made = await fetch(`${brokerUrl}/console/links`, {
    method: 'POST',
    headers: { authorization: `Bearer ${operatorToken()}`, 'content-type': 'application/json' },
    body: JSON.stringify(who),
  })
  return ((await made.json()) as { url: string }).url
}
