// Agents that prove themselves by what their platform gave them, end to end over TLS: a Kubernetes service account, a
// SPIFFE JWT-SVID, a client certificate. Their leases are bound, listed in the status list, and taken by the gate.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { inflateSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestBroker, type TestBroker } from '../support/broker.ts'
import { type Pair, pairOf, writePair } from '../support/certificates.ts'
import { authority } from '../support/gate.ts'
import { headerOf, type Json, testIssuer } from '../support/tokens.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-workloads-'))
const cluster = testIssuer({ issuer: 'https://kubernetes.default.svc', audience: 'leasegate', kid: 'k8s-1' })
const trustDomain = testIssuer({ issuer: 'https://spire.example', audience: 'leasegate', kid: 'svid-1' })
const serviceAccount = 'system:serviceaccount:agents:triage'
const spiffeId = 'spiffe://example.org/agents/triage'
let ca: Pair
let named: Pair
let selfSigned: Pair
let broker: TestBroker

beforeAll(async () => {
  ca = await pairOf({ name: 'authority.example', authority: true })
  named = await pairOf({ name: 'triage.agents.example', by: ca })
  selfSigned = await pairOf({ name: 'triage.agents.example' })
  const client_ca = join(dir, 'authority.crt')
  writeFileSync(client_ca, ca.cert)
  const providers = [cluster, trustDomain].map(({ issuer, audience, jwks, key }) => {
    const file = join(dir, `${key.kid}.json`)
    writeFileSync(file, JSON.stringify(jwks))
    return { issuer, audience, jwks: { file }, subjects: 'agents' }
  })
  const agent = (clientId: string, ...credentials: Json[]) => ({ clientId, file: { credentials } })
  const workload = (issuer: string, subject: string) => ({ method: 'workload_jwt', issuer, subject })
  broker = await startTestBroker({
    tls: { ...writePair(dir, 'server', await pairOf({ name: authority, by: ca })), client_ca },
    broker: { status_lists: true },
    providers,
    agents: [
      agent('pod', workload(cluster.issuer, serviceAccount)),
      agent('svid', workload(trustDomain.issuer, spiffeId)),
      agent('named', { method: 'tls_client_auth', san: 'DNS:triage.agents.example' }),
      agent('self', { method: 'self_signed_tls_client_auth', thumbprint: selfSigned.thumbprint }),
    ],
    crm: { require_binding: 'never' },
  })
})
afterAll(async () => {
  await broker.close()
  rmSync(dir, { recursive: true })
})

interface Sent {
  readonly as?: Pair | undefined
  /** Sent as a form unless `headers` say otherwise. */
  readonly body?: URLSearchParams | string
  readonly headers?: Readonly<Record<string, string>>
}

/** One request over a connection of its own, with the certificate `as`. */
async function send(url: string, { as, body, headers = {} }: Sent = {}) {
  const own = as === undefined ? {} : { cert: as.cert, key: as.key }
  const type = body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; body: string }>()
  const sent = request(url, {
    ...{ ca: ca.cert, servername: authority, agent: false, method: body === undefined ? 'GET' : 'POST' },
    headers: { ...type, ...headers },
    ...own,
  })
  sent.on('response', async (res) => resolve({ status: res.statusCode, body: await text(res) }))
  sent.on('error', reject).end(body?.toString())
  return promise
}

type Changes = Readonly<Record<string, string | undefined>>

async function exchange(changes: Changes, as?: Pair) {
  const nobody = { client_assertion: undefined, client_assertion_type: undefined }
  const form = broker.exchangeForm({ ...nobody, ...changes })
  const answer = await send(`${broker.brokerUrl}/token`, { as, body: form })
  return { status: answer.status, body: JSON.parse(answer.body) as Json }
}

async function call(token: unknown, as?: Pair): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${token}` }
  return (await send(`${broker.gateUrl}/crm/customers/9821`, { as, headers })).status
}

function workloadToken(by: typeof cluster, sub: string, over: Json = {}): string {
  const now = Math.floor(Date.now() / 1000)
  const pod = { 'kubernetes.io': { pod: { name: 'triage-7c' } } }
  const claims = { iss: by.issuer, aud: [by.audience], sub, iat: now, exp: now + 600, ...pod, ...over }
  return by.raw({ alg: by.key.alg, kid: by.key.kid }, claims)
}

const asActor = (actor_token: string): Changes => ({
  actor_token,
  actor_token_type: 'urn:ietf:params:oauth:token-type:jwt',
})
const asSvid = (client_assertion: string): Changes => ({
  client_assertion,
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe',
})
const claimsOf = (token: unknown) =>
  JSON.parse(Buffer.from(String(token).split('.')[1]!, 'base64url').toString()) as {
    act: Json
    cnf?: Json
    lease: { agent: Json }
    status: { status_list: { idx: number; uri: string } }
  }

test.each<[string, () => Changes, string]>([
  ['the token of its service account', () => asActor(workloadToken(cluster, serviceAccount)), 'agent:pod'],
  ['its JWT-SVID', () => asSvid(workloadToken(trustDomain, spiffeId)), 'agent:svid'],
])('an agent with %s gets a lease that the gate takes', async (_, changes, agent) => {
  const { status, body } = await exchange(changes())
  expect([status, body.token_type]).toEqual([200, 'Bearer'])
  const { act, lease } = claimsOf(body.access_token)
  expect(act.sub).toBe(agent)
  expect(lease.agent.instance).toBe('triage-7c')
  expect(await call(body.access_token)).toBe(200)
})

test.each<[string, () => Changes, string]>([
  [
    'of another service account',
    () => asActor(workloadToken(cluster, `${serviceAccount}-2`)),
    'invalid_request',
  ],
  [
    'for another audience',
    () => asActor(workloadToken(cluster, serviceAccount, { aud: 'api' })),
    'invalid_request',
  ],
  ['that has expired', () => asActor(workloadToken(cluster, serviceAccount, { exp: 1 })), 'invalid_request'],
  [
    'of a cluster, as that of a trust domain',
    () => asSvid(workloadToken(cluster, serviceAccount)),
    'invalid_client',
  ],
  ['of another trust domain', () => asSvid(workloadToken(cluster, spiffeId)), 'invalid_client'],
  [
    'that somebody else signed',
    () => asActor(testIssuer({ kid: 'k8s-1' }).raw(headerOf(cluster.key), { iss: cluster.issuer })),
    'invalid_request',
  ],
])('a workload token %s proves nothing', async (_, changes, error) => {
  const { status, body } = await exchange(changes())
  expect([status, body.error]).toEqual([error === 'invalid_client' ? 401 : 400, error])
})

test.each<[string, () => Pair]>([
  ['named', () => named],
  ['self', () => selfSigned],
])('a client certificate (%s) is who asks, and what the lease is bound to', async (client_id, pair) => {
  const { status, body } = await exchange({ client_id }, pair())
  expect([status, body.token_type]).toEqual([200, 'Bearer'])
  expect(claimsOf(body.access_token).cnf).toEqual({ 'x5t#S256': pair().thumbprint })
  expect(await call(body.access_token, pair())).toBe(200)
  expect(await call(body.access_token)).toBe(401)
  const other = client_id === 'self' ? named : selfSigned
  expect(await call(body.access_token, other)).toBe(401)
  // Whoever has only the token cannot renew it either.
  const renewal = {
    ...{ client_id, task: undefined, purpose: undefined, subject_token: String(body.access_token) },
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  }
  expect((await exchange(renewal, other)).body.error).toBe('invalid_client')
  expect((await exchange(renewal, pair())).status).toBe(200)
})

test.each<[string, string, () => Pair | undefined]>([
  ['none at all', 'named', () => undefined],
  ['one that nobody vouches for', 'named', () => selfSigned],
  ['one of an authority, where one certificate is meant', 'self', () => named],
])('a client certificate is not proven by %s', async (_, client_id, pair) => {
  const { status, body } = await exchange({ client_id }, pair())
  expect([status, body.error]).toEqual([401, 'invalid_client'])
})

test('what was revoked is in the status list, and what was not is not', async () => {
  const tokens = []
  for (let nth = 0; nth < 2; nth++) tokens.push((await exchange({ client_id: 'named' }, named)).body)
  const [one, other] = tokens
  const headers = { authorization: `Bearer ${broker.operatorToken()}` }
  const form = new URLSearchParams({ token: String(other?.access_token) })
  expect((await send(`${broker.brokerUrl}/introspect`, { body: form, headers })).body).toContain(
    '"active":true',
  )
  await revoke(String(one?.lease_id))
  const places = tokens.map(({ access_token }) => claimsOf(access_token).status.status_list)
  const { status, body } = await send(places[0]!.uri)
  expect(status).toBe(200)
  const list = JSON.parse(Buffer.from(body.split('.')[1]!, 'base64url').toString()) as {
    sub: string
    status_list: { bits: number; lst: string }
  }
  expect(list.sub).toBe(places[0]?.uri)
  const { bits, lst } = list.status_list
  const bytes = inflateSync(Buffer.from(lst, 'base64url'))
  const statusAt = (idx: number) =>
    (bytes[Math.floor((idx * bits) / 8)]! >> ((idx * bits) % 8)) & (2 ** bits - 1)
  expect(places.map(({ idx }) => statusAt(idx))).toEqual([1, 0])
  expect(await call(one?.access_token, named)).toBe(401)
  expect(await call(other?.access_token, named)).toBe(200)
})

async function revoke(lease: string): Promise<void> {
  const headers = {
    authorization: `Bearer ${broker.operatorToken()}`,
    'content-type': 'application/json',
  }
  const { status } = await send(`${broker.brokerUrl}/revocations`, {
    headers,
    body: JSON.stringify({ lease, reason: 'leaked' }),
  })
  expect(status).toBe(201)
}
