// In: nothing. Out: a broker's configuration with one agent and one identity provider, and requests for its token
// endpoint, each signed and good once: what an agent's client library sends, on the wire. The broker's process
// makes none of them.
import { createNonces, type Nonces } from '../src/lease/nonces.ts'
import { openEmbedded } from '../src/stores/embedded.ts'
import {
  accessTokenType,
  assertionType,
  dpopProof,
  exchangeGrant,
  idTokenType,
} from '../test/support/broker.ts'
import { headerOf, type TestKey, testIssuer, testKey } from '../test/support/tokens.ts'
import { authority, brokerIssuer, Fixture } from './fixture.ts'

const clientId = 'support-triage'
/** Instances of the agent, each with a key that leases are bound to, and each for another login of the user. */
const instances = 100
const details = [
  { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
]

/** How a request proves more than its client assertion. */
export type Binding = 'bearer' | 'dpop'

/** The agent, which signs requests of `POST /token`. */
export interface BenchAgent {
  /** Asks for a new lease; `n` names the instance. */
  exchange(n: number, binding: Binding): Buffer
  /** Asks for a further token of the lease that the same `n` has `token` of. */
  renewal(n: number, token: string): Buffer
}

/** A configuration that a gate and a broker can share, and the agent that it knows. */
export async function exchangeFixture(
  backendPort: number,
): Promise<{ readonly fixture: Fixture; readonly agent: BenchAgent }> {
  const idp = testIssuer({ issuer: 'https://login.bench', audience: 'leasegate', kid: 'idp-1' })
  const key = testKey('agent-1')
  const agent = { client_id: clientId, version: '3.2.1', env: 'prod', profile: 'support' }
  const credentials = [{ method: 'private_key_jwt', jwks: { keys: [key.jwk] } }]
  const provider = `{ issuer: ${idp.issuer}, audience: ${idp.audience}, jwks: { file: ./idp.json } }`
  const fixture = new Fixture(backendPort, {
    broker: `agents: ./agents, identity_providers: [${provider}]`,
    files: { 'idp.json': idp.jwks, [`agents/${clientId}.yaml`]: { ...agent, credentials } },
  })
  const { state } = fixture.config
  if (state.store !== 'embedded') throw new Error('the benchmark is about the embedded store')
  const store = await openEmbedded(state)
  const nonces = createNonces(await store.secrets.shared('dpop-nonce'))
  await store.close()
  return { fixture, agent: new Agent(key, idp, nonces) }
}

class Agent implements BenchAgent {
  readonly #key: TestKey
  readonly #idp: ReturnType<typeof testIssuer>
  readonly #nonces: Nonces
  readonly #keys = Array.from({ length: instances }, (_, n) => testKey(`instance-${n}`))
  readonly #logins: readonly string[]
  #used = 0

  constructor(key: TestKey, idp: ReturnType<typeof testIssuer>, nonces: Nonces) {
    this.#key = key
    this.#idp = idp
    this.#nonces = nonces
    this.#logins = this.#keys.map((_, n) => this.#idToken(n))
  }

  exchange(n: number, binding: Binding): Buffer {
    return this.#request(n, binding, {
      subject_token: this.#logins[n % instances]!,
      subject_token_type: idTokenType,
      authorization_details: JSON.stringify(details),
      resource: `http://${authority}`,
      task: 'jira:SUP-4711',
      purpose: "answer the customer's billing question",
    })
  }

  renewal(n: number, token: string): Buffer {
    return this.#request(n, 'dpop', { subject_token: token, subject_token_type: accessTokenType })
  }

  #request(n: number, binding: Binding, asked: Readonly<Record<string, string>>): Buffer {
    const url = `${brokerIssuer}/token`
    const nonce = this.#nonces.current(Date.now() / 1000)
    const proof = () => dpopProof(this.#keys[n % instances]!, { method: 'POST', url, nonce })
    const body = String(
      new URLSearchParams({
        grant_type: exchangeGrant,
        client_assertion_type: assertionType,
        client_assertion: this.#assertion(),
        ...asked,
      }),
    )
    const lines = [
      'POST /token HTTP/1.1',
      'Host: broker.bench',
      'Accept: application/json',
      'Connection: keep-alive',
      'Content-Type: application/x-www-form-urlencoded',
      `Content-Length: ${body.length}`,
      ...(binding === 'dpop' ? [`DPoP: ${proof()}`] : []),
    ]
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
  }

  #assertion(): string {
    const iat = Math.floor(Date.now() / 1000)
    const claims = {
      iss: clientId,
      sub: clientId,
      aud: brokerIssuer,
      jti: `a${this.#used++}`,
      iat,
      exp: iat + 120,
    }
    return this.#idp.raw({ ...headerOf(this.#key), typ: 'client-authentication+jwt' }, claims, this.#key)
  }

  #idToken(n: number): string {
    const { issuer, audience, key } = this.#idp
    const iat = Math.floor(Date.now() / 1000)
    const claims = {
      iss: issuer,
      aud: audience,
      sub: 'alice@example.com',
      sid: `login-${n}`,
      iat,
      exp: iat + 3600,
    }
    return this.#idp.raw({ ...headerOf(key), typ: 'JWT' }, claims)
  }
}
