// Providers with real keys, agents in real files, a real store, and valid tokens with one thing changed: what
// the tables of subject.test.ts and client.test.ts are written in.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { createClientAuthenticator } from '../../../src/broker/identity/client.ts'
import { openProviders } from '../../../src/broker/identity/providers.ts'
import { createSubjectVerifier } from '../../../src/broker/identity/subject.ts'
import type { AgentClient, IdentityProvider, SenderFacts } from '../../../src/broker/parties.ts'
import { openAgents } from '../../../src/config/agents.ts'
import { isRefusal, type Refusal } from '../../../src/refusals.ts'
import { openEmbedded } from '../../../src/stores/embedded.ts'
import { type Json, type TestKey, testIssuer, testKey } from '../../support/tokens.ts'

export const now = 1_795_300_000
export const brokerIssuer = 'https://broker.example'
export const login = 'https://login.example'
export const ci = 'https://ci.example'
export const cluster = 'https://cluster.example'
export const audience = 'leasegate'

/** Every party signs with a key of its own. */
export const keysOf = {
  [login]: testKey('login-1', 'RS256'),
  [ci]: testKey('ci-1'),
  [cluster]: testKey('cluster-1'),
  agent: testKey('agent-1'),
  other: testKey('other-1'),
}

/** Signs any header and claims, objects or text. */
export const sign = testIssuer().raw

function provider(issuer: string, more: Partial<IdentityProvider>): Omit<IdentityProvider, 'keys'> {
  return {
    issuer,
    audience,
    algorithms: ['ES256', 'RS256'],
    accept: ['id_token', 'access_token', 'id_jag'],
    subjects: 'users',
    userClaim: 'sub',
    maxAgeSeconds: 3600,
    clockTolerance: 5,
    ...more,
  }
}

/** Agents `support-triage` and `billing-lookup` as their files describe them. */
const agentFiles: Readonly<Record<string, Json>> = {
  'support-triage.yaml': {
    client_id: 'support-triage',
    version: '3.2.1',
    env: 'prod',
    profile: 'support',
    credentials: [
      { method: 'private_key_jwt', jwks: { keys: [keysOf.agent.jwk] } },
      { method: 'tls_client_auth', san: 'DNS:triage.agents.example' },
      { method: 'workload_jwt', issuer: cluster, subject: 'system:serviceaccount:agents:triage' },
    ],
  },
  'billing-lookup.yaml': {
    client_id: 'billing-lookup',
    version: '1.0.0',
    env: 'prod',
    profile: 'billing',
    credentials: [
      { method: 'private_key_jwt', jwks: { keys: [keysOf.other.jwk] } },
      { method: 'self_signed_tls_client_auth', thumbprint: 'A'.repeat(43) },
      { method: 'workload_jwt', issuer: cluster, subject: 'spiffe://corp.example/billing' },
    ],
  },
}

/** Everything that proves identities, on files in a directory of its own. */
export async function openWorld(changes: { readonly login?: Partial<IdentityProvider> } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-identity-'))
  const agentsDir = join(dir, 'agents')
  mkdirSync(agentsDir)
  for (const [name, file] of Object.entries(agentFiles)) {
    writeFileSync(join(agentsDir, name), stringify(file))
  }
  const keyFile = (issuer: keyof typeof keysOf) => {
    const file = join(dir, `${keysOf[issuer].kid}.json`)
    writeFileSync(file, JSON.stringify({ keys: [keysOf[issuer].jwk] }))
    return { keys: { file } }
  }
  const agents = await openAgents(agentsDir, { workloadIssuers: [cluster], onEvent: () => undefined })
  const providers = await openProviders([
    { ...provider(login, changes.login ?? {}), ...keyFile(login) },
    { ...provider(ci, { subjects: 'workflows', accept: ['jwt'] }), ...keyFile(ci) },
    { ...provider(cluster, { subjects: 'agents' }), ...keyFile(cluster) },
  ])
  const store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2000 })
  const parts = { agents, providers, issuer: brokerIssuer, replay: store.replay }
  return {
    agents,
    clients: createClientAuthenticator(parts),
    subjects: createSubjectVerifier(parts),
    async close() {
      agents.close()
      providers.close()
      await store.close()
      rmSync(dir, { recursive: true })
    },
  }
}

export type World = Awaited<ReturnType<typeof openWorld>>

/** An agent that has proven who it is. */
export function triage(world: World): AgentClient {
  const entry = world.agents.byClientId('support-triage')!
  return { entry, method: 'private_key_jwt', instance: '', key: undefined }
}

/** A request over a connection without a client certificate. */
export const sender: SenderFacts = {
  proofs: [],
  certificate: undefined,
  method: 'POST',
  url: `${brokerIssuer}/token`,
}

/** What a refusal says, for `toEqual`. */
export function no(answer: unknown): { code: string; cause: string | undefined } | 'accepted' {
  return isRefusal(answer) ? { code: answer.code, cause: answer.facts.cause } : 'accepted'
}

/** The answer, which has to be a yes. */
export function yes<T>(answer: T | Refusal): T {
  if (isRefusal(answer)) throw new Error(`refused: ${answer.code} ${answer.facts.cause}`)
  return answer
}

let tokens = 0
const fresh = () => `jti-${++tokens}`

/** Claims of valid tokens, one function for each kind; `undefined` in an override removes the claim. */
export const claimsOf = {
  idToken: (over: Json = {}): Json => ({
    ...{ iss: login, aud: audience, sub: 'usr_alice', iat: now, exp: now + 600 },
    ...over,
  }),
  accessToken: (over: Json = {}): Json => ({
    ...{ iss: login, aud: audience, sub: 'usr_alice', client_id: 'portal', scope: 'lease' },
    ...{ jti: fresh(), iat: now, exp: now + 600 },
    ...over,
  }),
  workflow: (over: Json = {}): Json => ({
    ...{ iss: ci, aud: audience, sub: 'repo:acme/app:ref:refs/heads/main', iat: now, exp: now + 600 },
    ...over,
  }),
  idJag: (over: Json = {}): Json => ({
    ...{ iss: login, aud: brokerIssuer, sub: 'usr_alice', client_id: 'support-triage' },
    ...{ jti: fresh(), iat: now, exp: now + 300 },
    ...over,
  }),
  assertion: (over: Json = {}): Json => ({
    ...{ iss: 'support-triage', sub: 'support-triage', aud: brokerIssuer },
    ...{ jti: fresh(), iat: now, exp: now + 60 },
    ...over,
  }),
  workload: (over: Json = {}): Json => ({
    ...{
      iss: cluster,
      sub: 'system:serviceaccount:agents:triage',
      aud: [audience],
      iat: now,
      exp: now + 600,
    },
    ...over,
  }),
}

/** A token of the claims, signed by `key`; `header` changes or adds members. */
export function token(claims: Json, key: TestKey, header: Json = {}): string {
  return sign({ alg: key.alg, kid: key.kid, ...header }, claims, key)
}

/** Tokens of every other kind there is: none is ever taken for the one that is asked for. */
export function strangers(claims: Json, key: TestKey): [name: string, token: string][] {
  const of = (typ: string, more: Json = {}): string => token({ ...claims, ...more }, key, { typ })
  const logout = { 'http://schemas.openid.net/event/backchannel-logout': {} }
  return [
    ['a lease token', of('at+jwt', { lease: { id: 'lse_1' } })],
    ['a lease token that is called JWT', of('JWT', { lease: { id: 'lse_1' } })],
    ['a DPoP proof', of('dpop+jwt', { htm: 'POST', htu: `${brokerIssuer}/token` })],
    ['a DPoP proof that is called JWT', of('JWT', { htm: 'POST', htu: `${brokerIssuer}/token` })],
    ['a logout token', of('logout+jwt', { events: logout })],
    ['a logout token that is called JWT', of('JWT', { events: logout })],
    ['a SET', of('secevent+jwt', { events: {} })],
    ['a status list', of('statuslist+jwt', { status_list: { bits: 1, lst: '' } })],
    ['an introspection answer', of('token-introspection+jwt')],
    ['a transaction token', of('txntoken+jwt')],
    ['a typ in other letters', of('jwt')],
    ['a typ that is no text', token(claims, key, { typ: 7 })],
    ['an empty typ', of('')],
  ]
}

/** Ways to break a token that hold for every kind (classes D2 to D5, D13, D14); `good` is its valid form. */
export function broken(header: Json, claims: Json, key: TestKey): [name: string, token: string][] {
  const good = sign(header, claims, key)
  const [head = '', body = '', signature = ''] = good.split('.')
  const jwk = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }
  const twice = JSON.stringify(claims).replace('{', '{"sub":"usr_mallory",')
  return [
    ['alg none', sign({ ...header, alg: 'none' }, claims, key)],
    [
      'alg None without a signature',
      `${sign({ ...header, alg: 'None' }, claims, key)
        .split('.', 2)
        .join('.')}.`,
    ],
    ['no signature', `${head}.${body}.`],
    ['a signature over something else', `${head}.${body}.${signature.slice(0, -8)}AAAAAAAA`],
    ['claims changed after signing', `${head}.${body.slice(0, -4)}AAAA.${signature}`],
    ['the public key as a MAC secret', sign({ ...header, alg: 'HS256' }, claims, { ...key, alg: 'HS256' })],
    ['an unknown kid', sign({ ...header, kid: 'nobody' }, claims, key)],
    ['a kid that is a path', sign({ ...header, kid: '../../x' }, claims, key)],
    ['no kid', sign({ ...header, kid: undefined }, claims, key)],
    ['a key in the header', sign({ ...header, jwk }, claims, key)],
    ['a key address in the header', sign({ ...header, jku: 'https://evil.example/jwks' }, claims, key)],
    ['a certificate in the header', sign({ ...header, x5c: ['MIIB'] }, claims, key)],
    ['a critical extension', sign({ ...header, crit: ['b64'], b64: false }, claims, key)],
    ['a key of somebody else', sign(header, claims, testKey(key.kid, key.alg))],
    ['a claim twice', sign(header, twice, key)],
    ['padding', `${good}=`],
    ['a space before it', ` ${good}`],
    ['four parts', `${good}.AAAA`],
    ['five parts', `${good}.AAAA.AAAA`],
    ['more than 8 KiB', sign(header, { ...claims, pad: 'x'.repeat(8192) }, key)],
    ['claims that are a list', sign(header, '[]', key)],
    ['no text at all', ''],
  ]
}
