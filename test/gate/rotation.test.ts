// Keys change while agents work: every request of a steady load is answered, whoever signs and whoever checks,
// in one process and in several. Real processes, real sockets, real key files.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { issueLease } from '../../src/lease/issue.ts'
import { noticeSeconds, openSigningKeys, rotateKeys, type SigningKeys } from '../../src/lease/signing_keys.ts'
import { isRefusal } from '../../src/refusals.ts'
import { Workplace } from '../cli/process.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { eventually, message, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'
import { type Json, testIssuer, testKey } from '../support/tokens.ts'

const issuer = 'http://broker.example'
const rotations = 3

let nth = 0

/** A token under a lease and an agent of its own, so that no limit of policy is met, signed with the key that signs now. */
async function issued(keys: SigningKeys, audience: string, by = issuer): Promise<string> {
  const lease = await issueLease(
    {
      user: 'alice@example.com',
      agent: { id: `agent:load-${nth++}`, version: '3.2.1', env: 'prod', profile: 'support' },
      task: { system: 'jira', id: 'SUP-4711', purpose: 'billing question' },
      details: [
        { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
      ],
      stage: 'execute',
    },
    { key: keys.signer(), issuer: by, audience, now: Math.floor(Date.now() / 1000) },
  )
  if (isRefusal(lease)) throw new Error(lease.facts.cause)
  return lease.token
}

interface Load {
  /** Answers by status. */
  readonly statuses: Record<number, number>
  /** Keys that signed a token which was accepted. */
  readonly kids: Set<string>
}

interface LoadParts {
  readonly keys: SigningKeys
  readonly issue: () => Promise<string>
  /** The status of the answer to a request with this token. */
  readonly call: (token: string) => Promise<number>
}

/** New and old tokens, again and again, until told to end. */
function startLoad(parts: LoadParts): Load & { end(): Promise<void> } {
  const seen: Load = { statuses: {}, kids: new Set() }
  let done = false
  const running = load(parts, seen, () => done)
  const end = () => {
    done = true
    return running
  }
  return { ...seen, end }
}

async function load({ keys, issue, call }: LoadParts, seen: Load, until: () => boolean): Promise<void> {
  const tokens: string[] = []
  const count = async (token: string) => {
    const status = await call(token)
    seen.statuses[status] = (seen.statuses[status] ?? 0) + 1
  }
  while (!until()) {
    const { kid } = keys.signer()
    tokens.push(await issue())
    // The first tokens again and again, each less often than policy would stop.
    const old = tokens[tokens.length % 100] ?? tokens[0]!
    await Promise.all([count(tokens.at(-1)!), count(tokens[tokens.length >> 1]!), count(old)])
    seen.kids.add(kid)
    await sleep(5)
  }
}

describe('gate and broker in one process', () => {
  let gate: TestGate
  beforeAll(async () => {
    gate = await startTestGate({
      config: { issuers: [{ issuer, jwks: { local: true } }], broker: { issuer } },
    })
  })
  afterAll(() => gate.close())

  test('no request fails while keys change under load', async () => {
    const keys = await openSigningKeys(gate.config.broker.keyFile)
    const call = async (token: string) => (await gate.ask(message({ token }))).status
    const running = startLoad({ keys, issue: () => issued(keys, publicOrigin), call })
    for (let nth = 0; nth < rotations; nth++) {
      const { keyFile } = gate.config.broker
      const set = await rotateKeys(keyFile, { aheadSeconds: noticeSeconds }, Date.now() / 1000)
      await eventually(() => running.kids.has(set?.at(-1)?.kid ?? ''), 'a token of the new key')
    }
    await running.end()
    const { statuses, kids } = running
    keys.close()
    expect(Object.keys(statuses)).toEqual(['200'])
    expect(kids.size).toBe(1 + rotations)
    const jwks = await fetch(`http://127.0.0.1:${gate.running.control.port}/jwks`)
    const { keys: published } = (await jwks.json()) as { keys: Json[] }
    expect(published).toHaveLength(1 + rotations)
    expect(JSON.stringify(published)).not.toContain('"d"')
  })

  test('after a compromise what the old key signed is refused within a second or so', async () => {
    const keys = await openSigningKeys(gate.config.broker.keyFile)
    const token = await issued(keys, publicOrigin)
    const status = async (token: string) => (await gate.ask(message({ token }))).status
    expect(await status(token)).toBe(200)
    await rotateKeys(gate.config.broker.keyFile, { aheadSeconds: 0, withdraw: true }, Date.now() / 1000)
    await eventually(async () => (await status(token)) === 401, 'the end of the old key')
    await eventually(async () => (await status(await issued(keys, publicOrigin))) === 200, 'the new key')
    keys.close()
  })
})

describe('gate and broker in processes of their own', () => {
  let backend: RecordingBackend
  let gate: Workplace
  let broker: Workplace
  beforeAll(async () => {
    backend = await startRecordingBackend()
  })
  afterAll(() => backend.close())
  beforeEach(async () => {
    gate = await Workplace.open()
    broker = await Workplace.open()
    await Promise.all([gate.compilePolicy(), broker.compilePolicy()])
    broker.configure(backend.url, {
      public_origin: gate.origin,
      state: { path: gate.path('data/leasegate.db') },
      broker: { key_file: gate.path('data/broker.key') },
    })
  })
  afterEach(() => Promise.all([gate[Symbol.asyncDispose](), broker[Symbol.asyncDispose]()]))

  const brokerUrl = () => `http://127.0.0.1:${broker.ports.control}`

  /** Starts both; the broker without the credentials of backends. */
  async function serve(jwks: Json): Promise<SigningKeys> {
    gate.configure(backend.url, {
      issuers: [{ issuer: brokerUrl(), jwks }],
      broker: { issuer: brokerUrl() },
    })
    await broker.serve({ only: 'broker', env: { CRM_TOKEN: undefined } })
    await gate.serve({ only: 'gate' })
    return openSigningKeys(gate.path('data/broker.key'))
  }

  const call = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` }
    return (await fetch(`${gate.origin}/crm/customers/9821`, { headers })).status
  }

  async function rotate(keys: SigningKeys): Promise<void> {
    const { code, stdout } = await broker.run(['keys', 'rotate', '--now', '--json', '-c', broker.config])
    expect(code).toBe(0)
    const next = (JSON.parse(stdout) as { kid: string; state: string }[]).find(
      ({ state }) => state === 'next',
    )
    await eventually(() => keys.signer().kid === next?.kid, 'the new key signs')
  }

  test('no request fails while keys change under load, where both read the file', async () => {
    const keys = await serve({ local: true })
    const issue = () => issued(keys, gate.origin, brokerUrl())
    const running = startLoad({ keys, issue, call })
    for (let nth = 0; nth < rotations; nth++) {
      await rotate(keys)
      await eventually(() => running.kids.has(keys.signer().kid), 'a token of the new key')
    }
    await running.end()
    const { statuses, kids } = running
    keys.close()
    expect(Object.keys(statuses)).toEqual(['200'])
    expect(kids.size).toBe(1 + rotations)
  })

  test('a gate that asks the broker for its keys takes a token of one it has never heard of', async () => {
    const keys = await serve({ url: `${brokerUrl()}/jwks` })
    const before = await issued(keys, gate.origin, brokerUrl())
    expect(await call(before)).toBe(200)
    await rotate(keys)
    expect(await call(await issued(keys, gate.origin, brokerUrl()))).toBe(200)
    expect(await call(before)).toBe(200)
    keys.close()
  })

  test('what the broker gives in exchange for a login, the gate takes, until it is revoked there', async () => {
    const [idp, agent] = [testIssuer({ issuer: 'https://login.example', kid: 'idp-1' }), testKey('triage-1')]
    broker.write('idp.json', JSON.stringify(idp.jwks))
    const credentials = [{ method: 'private_key_jwt', jwks: { keys: [agent.jwk] } }]
    const file = { client_id: 'triage', version: '3.2.1', env: 'prod', profile: 'support', credentials }
    broker.write('agents/triage.yaml', JSON.stringify(file))
    broker.configure(backend.url, {
      public_origin: gate.origin,
      state: { path: gate.path('data/leasegate.db') },
      broker: {
        key_file: gate.path('data/broker.key'),
        agents: './agents',
        identity_providers: [{ issuer: idp.issuer, audience: 'leasegate', jwks: { file: './idp.json' } }],
      },
    })
    const keys = await serve({ url: `${brokerUrl()}/jwks` })
    keys.close()
    const iat = Math.floor(Date.now() / 1000)
    const login = { iss: idp.issuer, aud: 'leasegate', sub: 'alice@example.com', iat, exp: iat + 60 }
    const proof = { iss: 'triage', sub: 'triage', aud: brokerUrl(), jti: 'once', iat, exp: iat + 60 }
    const response = await fetch(`${brokerUrl()}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: idp.raw({ alg: 'ES256', kid: 'idp-1', typ: 'JWT' }, login),
        subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: idp.raw(
          { alg: 'ES256', kid: 'triage-1', typ: 'client-authentication+jwt' },
          proof,
          agent,
        ),
        scope: 'crm:read',
        task: 'jira:SUP-4711',
      }),
    })
    const { access_token: token = '', lease_id: lease = '' } = (await response.json()) as Record<
      string,
      string
    >
    expect(response.status).toBe(200)
    expect(await call(token)).toBe(200)
    // Sent to the gate: the state is one.
    const operator = readFileSync(gate.path('data/control.token'), 'utf8').trim()
    const revoked = await fetch(`http://127.0.0.1:${gate.ports.control}/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' },
      body: JSON.stringify({ lease, reason: 'leaked' }),
    })
    expect(revoked.status).toBe(201)
    await eventually(async () => (await call(token)) === 401, 'the revocation')
  })

  test('each does its own part and no more', async () => {
    const keys = await serve({ url: `${brokerUrl()}/jwks` })
    keys.close()
    const { token, lease } = await broker.issue()
    expect(await call(token)).toBe(200)
    // Nobody listens for agents at the broker, and nobody publishes keys at the gate.
    await expect(fetch(`${broker.origin}/crm/customers/9821`)).rejects.toThrow()
    expect((await fetch(`http://127.0.0.1:${gate.ports.control}/jwks`)).status).toBe(401)
    expect((await fetch(`${brokerUrl()}/.well-known/oauth-authorization-server`)).status).toBe(200)
    const checks = async (place: Workplace) => {
      const response = await place.get('/readyz')
      expect(response.status).toBe(200)
      const { checks } = (await response.json()) as { checks: { name: string }[] }
      return checks.map(({ name }) => name)
    }
    expect(await checks(broker)).toContain('signing keys')
    expect(await checks(gate)).not.toContain('signing keys')

    const operator = readFileSync(broker.path('data/control.token'), 'utf8').trim()
    const revoked = await fetch(`${brokerUrl()}/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' },
      body: JSON.stringify({ lease: lease.id, reason: 'leaked' }),
    })
    expect(revoked.status).toBe(201)
    await eventually(async () => (await call(token)) === 401, 'the revocation at the gate')
    expect(readFileSync(broker.path('data/audit.jsonl'), 'utf8')).not.toContain('customers')
    expect(readFileSync(gate.path('data/audit.jsonl'), 'utf8')).toContain(lease.id)
  })

  test.each([
    ['neither gate nor broker', ['--only', 'both'], /--only is gate or broker/],
    ['a broker that issues for nobody', ['--only', 'broker'], /jwks: \{ local: true \}/],
  ])('is refused: %s', async (_, args, told) => {
    gate.configure(backend.url, {
      issuers: [{ issuer: 'https://b.example', jwks: { url: 'https://b.example/jwks' } }],
    })
    const { code, stderr } = await gate.run(['serve', ...args, '-c', gate.config])
    expect([code, stderr]).toEqual([2, expect.stringMatching(told)])
  })
})
