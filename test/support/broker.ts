// A whole broker with its gate in this process, for tests: agents with keys of their own, an identity provider
// that signs for users, real sockets under real URLs. Never a stand-in for a part.
import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { startTestGate, type TestGate, type TestGateOptions } from './gate.ts'
import { freePort } from './ports.ts'
import { headerOf, type Json, type TestKey, testIssuer, testKey } from './tokens.ts'

/** What the broker has in its agents' directory besides `support-triage`. */
export interface TestAgent {
  readonly clientId: string
  readonly file?: Json
}

export interface TestBrokerOptions extends TestGateOptions {
  readonly agents?: readonly TestAgent[]
  /** Members of the `broker` section beside the usual ones. */
  readonly broker?: Json
  /** Further identity providers. */
  readonly providers?: readonly Json[]
  /** A `tls` listener; both listeners are on it then. */
  readonly tls?: Json
  /** Port of the control listener, where others have to know it before; default: a free one. */
  readonly controlPort?: number
}

/** One answer of an endpoint of the broker. */
export interface BrokerAnswer {
  readonly status: number
  readonly body: Json
  readonly headers: Headers
}

export interface TestBroker extends TestGate {
  /** The issuer, and where the control listener is. */
  readonly brokerUrl: string
  /** `public_origin`, and where the proxy listener is. */
  readonly gateUrl: string
  /** Key of an agent, by client id. */
  readonly keys: ReadonlyMap<string, TestKey>
  /** What the identity provider signs for a user; `undefined` in an override removes the claim. */
  idToken(claims?: Json, header?: Json): string
  /** A client assertion of an agent, good once. */
  assertion(clientId?: string, claims?: Json, header?: Json): string
  /** Form parameters of a token exchange for alice by `support-triage`, one customer to read. */
  exchangeForm(changes?: Readonly<Record<string, string | undefined>>, clientId?: string): URLSearchParams
  /** Sends a form. */
  post(
    path: string,
    form: URLSearchParams | string,
    headers?: Readonly<Record<string, string>>,
  ): Promise<BrokerAnswer>
  /** `post('/token', exchangeForm(changes))`. */
  exchange(
    changes?: Readonly<Record<string, string | undefined>>,
    headers?: Readonly<Record<string, string>>,
  ): Promise<BrokerAnswer>
}

export const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const idTokenType = 'urn:ietf:params:oauth:token-type:id_token'
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** One customer to read, as RFC 9396 writes it. */
export const readCustomer: Json = {
  type: 'lease',
  actions: ['read'],
  identifier: 'crm:customer/9821',
  sensitivity: 'confidential',
}

/** Starts both in one process. */
export async function startTestBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const [proxy, control] = [await freePort(), options.controlPort ?? (await freePort())]
  const scheme = options.tls === undefined ? 'http' : 'https'
  const brokerUrl = `${scheme}://127.0.0.1:${control}`
  const gateUrl = `${scheme}://127.0.0.1:${proxy}`
  const idp = testIssuer({ issuer: 'https://login.example', audience: 'leasegate', kid: 'idp-1' })
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-agents-'))
  const jwks = join(dir, 'idp.json')
  writeFileSync(jwks, JSON.stringify(idp.jwks))
  const keys = new Map<string, TestKey>()
  for (const { clientId, file } of [
    { clientId: 'support-triage' },
    ...(options.agents ?? []),
  ] as TestAgent[]) {
    const key = testKey(`${clientId}-1`)
    keys.set(clientId, key)
    writeFileSync(join(dir, `${clientId}.yaml`), stringify({ ...agentFile(clientId, key), ...file }))
  }
  const provider = { issuer: idp.issuer, audience: idp.audience, jwks: { file: jwks } }
  const gate = await startTestGate({
    ...options,
    config: {
      listen: { proxy: `127.0.0.1:${proxy}`, control: `127.0.0.1:${control}`, metrics: '127.0.0.1:0' },
      ...(options.tls !== undefined && { tls: { proxy: options.tls, control: options.tls } }),
      public_origin: gateUrl,
      issuers: [{ issuer: brokerUrl, jwks: { local: true }, workflows: ['workflow:'] }],
      broker: {
        agents: dir,
        identity_providers: [provider, ...(options.providers ?? [])],
        ...options.broker,
      },
      ...options.config,
    },
  })
  const assertion = (clientId = 'support-triage', claims: Json = {}, header: Json = {}) => {
    const now = Math.floor(Date.now() / 1000)
    const key = keys.get(clientId)!
    const names = { iss: clientId, sub: clientId, aud: brokerUrl }
    const typ = 'client-authentication+jwt'
    const all = { ...names, jti: randomUUID(), iat: now, exp: now + 60, ...claims }
    return idp.raw({ ...headerOf(key), typ, ...header }, all, key)
  }
  const idToken = (claims: Json = {}, header: Json = {}) => {
    const now = Math.floor(Date.now() / 1000)
    const names = { iss: idp.issuer, aud: idp.audience, sub: 'alice@example.com', sid: 'login-1' }
    return idp.raw(
      { ...headerOf(idp.key), typ: 'JWT', ...header },
      { ...names, iat: now, exp: now + 600, ...claims },
    )
  }
  const exchangeForm: TestBroker['exchangeForm'] = (changes = {}, clientId = 'support-triage') =>
    formOf({
      grant_type: exchangeGrant,
      subject_token: idToken(),
      subject_token_type: idTokenType,
      client_assertion_type: assertionType,
      client_assertion: assertion(clientId),
      authorization_details: JSON.stringify([readCustomer]),
      resource: gateUrl,
      task: 'jira:SUP-4711',
      purpose: "answer the customer's billing question",
      ...changes,
    })
  const post: TestBroker['post'] = async (path, form, headers = {}) => {
    const type = { 'content-type': 'application/x-www-form-urlencoded' }
    const body = String(form)
    const response = await fetch(`${brokerUrl}${path}`, {
      method: 'POST',
      headers: { ...type, ...headers },
      body,
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
  }
  const close = async () => {
    await gate.close()
    rmSync(dir, { recursive: true, force: true })
  }
  const exchange: TestBroker['exchange'] = (changes, headers) =>
    post('/token', exchangeForm(changes), headers)
  return { ...gate, brokerUrl, gateUrl, keys, idToken, assertion, exchangeForm, post, exchange, close }
}

/** The file of an agent that proves itself with `key`. */
function agentFile(clientId: string, key: TestKey): Json {
  return {
    client_id: clientId,
    version: '3.2.1',
    env: 'prod',
    profile: 'support',
    credentials: [{ method: 'private_key_jwt', jwks: { keys: [key.jwk] } }],
  }
}

function formOf(fields: Readonly<Record<string, string | undefined>>): URLSearchParams {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.append(name, value)
  return form
}

/** A DPoP proof by a test key (RFC 9449 §4.2), signed with node:crypto. */
export function dpopProof(
  key: TestKey,
  {
    method,
    url,
    token,
    nonce,
    ...claims
  }: { method: string; url: string; token?: string; nonce?: string } & Json,
): string {
  const { kty, crv, x, y } = key.jwk
  const ath = token === undefined ? undefined : createHash('sha256').update(token).digest('base64url')
  const all = {
    jti: randomUUID(),
    htm: method,
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ath,
    nonce,
    ...claims,
  }
  return testIssuer().raw({ typ: 'dpop+jwt', alg: key.alg, jwk: { kty, crv, x, y } }, all, key)
}
