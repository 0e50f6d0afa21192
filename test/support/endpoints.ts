// A broker's control listener in this process with endpoints of the test's choice: real sockets, a real store, a real
// key, leases that are signed and recorded. Agents prove themselves by a secret, which the broker itself never takes:
// how agents do so is tested where it is built.
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrokerTrail } from '../../src/broker/observer.ts'
import type { AgentEntry, ClientAuthenticator, SenderVerifier } from '../../src/broker/parties.ts'
import { createControlListener, type Endpoint } from '../../src/http/control.ts'
import { jwksEndpoint } from '../../src/http/jwks.ts'
import { operator } from '../../src/http/operators.ts'
import { type IssuedLease, issueLease, type LeaseAsk } from '../../src/lease/issue.ts'
import { signCompact } from '../../src/lease/jose.ts'
import { openKeys } from '../../src/lease/keys.ts'
import { type LocalKey, openLocalKey } from '../../src/lease/local_key.ts'
import { createVerifier, type Verifier } from '../../src/lease/verify.ts'
import type { Store } from '../../src/ports.ts'
import { type Refusal, refuse } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { accepted } from './evidence.ts'
import { defaultProfile } from './tokens.ts'

export const audience = 'http://gate.example'
export const operatorToken = 'operator-token-of-the-test'
export const tenantToken = 'operator-token-of-acme'

export interface TestBroker {
  readonly url: string
  readonly issuer: string
  readonly store: Store
  /** The file of the store, for another process. */
  readonly file: string
  readonly key: LocalKey
  readonly verifier: Verifier
  readonly clients: ClientAuthenticator
  readonly senders: SenderVerifier
  /** Every request that was told of, with its refusal. */
  readonly told: { readonly trail: BrokerTrail; readonly refusal: Refusal | undefined }[]
  readonly bugs: unknown[]
  /** Milliseconds that the broker's clock is ahead. */
  ahead: number
  readonly clock: () => number
  readonly sign: (typ: string, claims: object) => Promise<string>
  /** Signs and records a lease of agent `support-triage` for `alice@example.com`. */
  issue(ask?: Partial<LeaseAsk>): Promise<IssuedLease>
  /** POSTs a form. */
  post(
    path: string,
    form: Readonly<Record<string, string>>,
    headers?: Record<string, string>,
  ): Promise<Response>
  close(): Promise<void>
}

/** A `DPoP` header of these tests is the thumbprint of the key that it proves. */
const senders: SenderVerifier = {
  async verify({ proofs: [proof] }) {
    if (proof === 'no-nonce') return refuse('use_dpop_nonce')
    return proof === undefined ? undefined : { method: 'dpop', thumbprint: proof }
  },
  nonce: () => 'a-nonce',
}

/** What endpoints are made of. */
export type BrokerParts = Omit<TestBroker, 'issue' | 'post' | 'close'>

/** An agent that authenticates with `client_id` and its secret, which is `secret-of-` and its id; `key`: its `cnf`. */
export const asAgent = (clientId: string) => ({ client_id: clientId, client_secret: `secret-of-${clientId}` })
export const asOperator = { authorization: `Bearer ${operatorToken}` }

export async function startTestBroker(endpoints: (parts: BrokerParts) => Endpoint[]): Promise<TestBroker> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-broker-'))
  const file = join(dir, 'state.db')
  const store = await openEmbedded({ path: file, maxStalenessMs: 2_000 })
  const key = await openLocalKey(join(dir, 'broker.key'))
  const served: Endpoint[] = []
  const bugs: unknown[] = []
  const server = await listen(served, bugs)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const keys = await openKeys([{ issuer: url, jwks: { local: true } }], { local: () => [key.publicJwk] })
  const profile = { ...defaultProfile(url, audience, 'ES256'), statusFromStore: true }
  const broker: BrokerParts & Pick<TestBroker, 'issue' | 'post' | 'close'> = {
    ...{ url, issuer: url, store, file, key, bugs, told: [], ahead: 0, clients: secretClients(), senders },
    verifier: createVerifier({ issuers: [profile], keys }),
    clock: () => Date.now() + broker.ahead,
    sign: (typ, claims) => signCompact({ typ, kid: key.kid }, claims, key.privateKey),
    async issue(ask = {}) {
      const context = { key, issuer: url, audience, now: broker.clock() / 1000 }
      const issued = accepted(await issueLease({ ...usualAsk, ...ask }, context))
      await store.leases.put(issued.record)
      return issued
    },
    post: (path, form, headers = {}) =>
      fetch(`${url}${path}`, { method: 'POST', headers, body: new URLSearchParams(form) }),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      keys.close()
      await store.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  served.push(
    jwksEndpoint(() => [key.publicJwk]),
    ...endpoints(broker),
  )
  return broker
}

/** The parts that every observed endpoint needs. */
export function observing({ told, clock }: BrokerParts) {
  const finished = (trail: BrokerTrail, refusal: Refusal | undefined) => void told.push({ trail, refusal })
  return { observer: { finished }, clock: () => clock() }
}

const usualAsk: LeaseAsk = {
  user: 'alice@example.com',
  agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
  clientId: 'support-triage',
  task: { system: 'jira', id: 'SUP-4711', purpose: 'answer the billing question' },
  details: [
    { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
  ],
}

async function listen(endpoints: Endpoint[], bugs: unknown[]): Promise<Server> {
  const server = createControlListener({
    endpoints,
    operators: [operator('operator', operatorToken), operator('acme-ops', tenantToken, { tenant: 'acme' })],
    publicUrl: 'http://control.example',
    onBug: (bug) => bugs.push(bug),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

function secretClients(): ClientAuthenticator {
  return {
    async authenticate(form) {
      const clientId = form.get('client_id') ?? ''
      if (form.get('client_secret') !== `secret-of-${clientId}`) return refuse('invalid_client')
      const key = form.has('key') ? ({ method: 'dpop', thumbprint: form.get('key')! } as const) : undefined
      return { entry: entryOf(clientId), method: 'private_key_jwt', instance: '', key }
    },
    actor: async () => refuse('invalid_request'),
  }
}

function entryOf(clientId: string): AgentEntry {
  const tenant = clientId.startsWith('acme-') ? 'acme' : ''
  const names = { clientId, agent: `agent:${clientId}`, version: '3.2.1', env: 'prod', profile: 'support' }
  return { ...names, tenant, credentials: [], delegatesTo: [] }
}

/** The body of an answer, as JSON. */
export async function bodyOf(answer: Response): Promise<Record<string, unknown>> {
  return (await answer.json()) as Record<string, unknown>
}
