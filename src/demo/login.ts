// The demo's login service, its agent and who approves: with keys made at the start. In: where to put the files that the
// broker reads. Out: what the broker is to be told about them, alice's ID tokens, the agent's assertions.
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { IdentityProvider } from '../broker/parties.ts'
import type { PrivateKey } from '../client/index.ts'
import type { Config } from '../config.ts'
import { generatePrivateJwk, importPrivateKey, type PrivateJwk, signCompact } from '../lease/jose.ts'

/** Everybody around the broker. */
export interface DemoParties {
  /** Directory of the agent's file. */
  readonly agents: string
  readonly provider: IdentityProvider
  readonly agentKey: PrivateKey
  /** The file that has it, readable by nobody else. */
  readonly agentKeyFile: string
  /** Who decides: in the group that the policy that ships names for the CRM. */
  readonly approver: Config['control']['operators'][number]
  /** What a login gave alice's session: an ID token, good for an hour. */
  idToken(): Promise<string>
  /** The agent's word on who it is: good once, for five minutes, the longest that the broker takes. */
  assertion(broker: string): Promise<string>
  /** Deletes the files. */
  close(): void
}

/** `client_id` of the agent. */
export const demoAgent = 'support-triage'
const issuer = 'https://login.demo'
const audience = 'leasegate'

/** Makes the keys and writes the files. */
export async function createDemoParties(): Promise<DemoParties> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-demo-'))
  const loginKey = await generatePrivateJwk()
  const agentKey = { ...(await generatePrivateJwk()), kid: 'triage-1' }
  const agents = join(dir, 'agents')
  mkdirSync(agents)
  const jwks = join(dir, 'login.json')
  const agentKeyFile = join(dir, 'agent.key.json')
  writeFileSync(agentKeyFile, JSON.stringify(agentKey), { mode: 0o600 })
  writeFileSync(jwks, JSON.stringify({ keys: [publicJwk(loginKey, 'login-1')] }))
  const credential = { method: 'private_key_jwt', jwks: { keys: [publicJwk(agentKey, agentKey.kid)] } }
  const file = { client_id: demoAgent, version: '3.2.1', env: 'prod', profile: 'support' }
  writeFileSync(join(agents, `${demoAgent}.yaml`), stringify({ ...file, credentials: [credential] }))
  const signingKey = await importPrivateKey(loginKey)
  const assertionKey = await importPrivateKey(agentKey)
  return {
    agents,
    provider: {
      issuer,
      audience,
      keys: { file: jwks },
      algorithms: ['ES256'],
      accept: ['id_token'],
      subjects: 'users',
      userClaim: 'sub',
      maxAgeSeconds: 3600,
      clockTolerance: 5,
    },
    agentKey,
    agentKeyFile,
    approver: {
      name: 'carol@example.com',
      tokenFile: join(dir, 'carol.token'),
      tenant: undefined,
      roles: ['approver', 'auditor'],
      groups: ['crm-owners'],
    },
    idToken: () => {
      const iat = Math.floor(Date.now() / 1000)
      const claims = {
        iss: issuer,
        aud: audience,
        sub: 'alice@example.com',
        sid: 'demo',
        iat,
        exp: iat + 3600,
      }
      return signCompact({ typ: 'JWT', kid: 'login-1' }, claims, signingKey)
    },
    assertion: (broker) => {
      const iat = Math.floor(Date.now() / 1000)
      const names = { iss: demoAgent, sub: demoAgent, aud: broker, jti: randomUUID() }
      const header = { typ: 'client-authentication+jwt', kid: agentKey.kid }
      // Not the client's, which live for a minute: a person has to read and paste first.
      return signCompact(header, { ...names, iat, exp: iat + 300 }, assertionKey)
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  }
}

function publicJwk({ kty, crv, x, y }: PrivateJwk, kid: string): object {
  return { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' }
}
