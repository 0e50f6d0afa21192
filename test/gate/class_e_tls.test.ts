// Bad-input class E11, and the whole gate over TLS: a token that is bound to a certificate is good on a
// connection that proves to hold it. What a client writes in header fields about certificates is nothing.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type RequestOptions, request } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { cliPath } from '../cli/process.ts'
import {
  type SseBackend,
  startSseBackend,
  startWebSocketBackend,
  type WebSocketBackend,
} from '../support/backends.ts'
import { type Pair, pairOf, writePair } from '../support/certificates.ts'
import { authority, grantsFor, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'
import { prover } from '../support/proofs.ts'
import type { Json } from '../support/tokens.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-mtls-'))
let ca: Pair
let agent: Pair
let selfSigned: Pair
let gate: TestGate
let sockets: WebSocketBackend
let events: SseBackend

beforeAll(async () => {
  ca = await pairOf({ name: 'authority.example', authority: true })
  agent = await pairOf({ name: 'triage.agents.example', by: ca })
  selfSigned = await pairOf({ name: 'triage.agents.example' })
  ;[sockets, events] = await Promise.all([startWebSocketBackend(), startSseBackend()])
  const client_ca = join(dir, 'authority.crt')
  writeFileSync(client_ca, ca.cert)
  const tls = { ...writePair(dir, 'gate', await pairOf({ name: authority, by: ca })), client_ca }
  const operations = [
    { match: 'GET /things/{id}', verb: 'read', resource: 'thing/{id}', sensitivity: 'internal' },
  ]
  gate = await startTestGate({
    config: {
      tls: { proxy: tls, control: tls },
      public_origin: `https://${authority}`,
      issuers: [{ issuer: 'https://broker.example', jwks: { file: './jwks.json' }, audience: publicOrigin }],
    },
    backends: {
      sockets: { url: sockets.url, path_prefix: '/sockets', upgrade: true, operations },
      events: { url: events.url, path_prefix: '/events', operations },
    },
  })
})
afterAll(async () => {
  await gate.close()
  await Promise.all([sockets.close(), events.close()])
  rmSync(dir, { recursive: true })
})

interface Call {
  /** Shown in the handshake; absent: none. */
  readonly as?: Pair
  readonly token: string
  readonly fields?: Readonly<Record<string, string>>
}

/** One GET over a connection of its own. */
async function call({ as, token, fields }: Call) {
  const options: RequestOptions = {
    ...connection(as),
    path: '/crm/customers/9821',
    headers: { host: authority, authorization: `Bearer ${token}`, ...fields },
  }
  const { promise, resolve, reject } = Promise.withResolvers<Answered>()
  const sent = request(options, async (res) => {
    const body = JSON.parse(await text(res)) as Json
    resolve({ status: res.statusCode, body, headers: res.headers })
  })
  sent.on('error', reject).end()
  return promise
}

interface Answered {
  readonly status: number | undefined
  readonly body: Json
  readonly headers: Readonly<Record<string, unknown>>
}

function connection(as: Pair | undefined) {
  const own = as && { cert: as.cert, key: as.key }
  return {
    host: '127.0.0.1',
    port: gate.port,
    servername: authority,
    ca: ca.cert,
    agent: false,
    ...own,
  } as const
}

const boundTo = ({ thumbprint }: Pair, claims: Json = {}) =>
  gate.token({ cnf: { 'x5t#S256': thumbprint }, ...claims })

describe('a token that is bound to a certificate', () => {
  test.each<[string, () => Pair]>([
    ['of the authority', () => agent],
    ['that signs itself', () => selfSigned],
  ])('passes over a connection that shows it, %s', async (_, pair) => {
    expect(await call({ as: pair(), token: boundTo(pair()) })).toMatchObject({ status: 200 })
  })

  test.each<[string, () => Call]>([
    ['none', () => ({ token: boundTo(agent) })],
    ['another one', () => ({ as: selfSigned, token: boundTo(agent) })],
    ['another one of the same authority and name', () => ({ as: agent, token: boundTo(selfSigned) })],
    ['none, in header fields all the more', () => ({ token: boundTo(agent), fields: certificateFields() })],
    [
      'another one, in header fields',
      () => ({ as: selfSigned, token: boundTo(agent), fields: certificateFields() }),
    ],
  ])('E11a is refused over a connection that shows %s', async (_, ask) => {
    const before = gate.records().length
    const seen = gate.backend.requests.length
    const answer = await call(ask())
    expect(answer).toMatchObject({ status: 401, body: { code: 'lease_invalid', error: 'invalid_token' } })
    expect(answer.headers['www-authenticate']).toContain('error="invalid_token"')
    expect((await gate.recordsAfter(before)).map(({ decision }) => decision.code)).toEqual(['lease_invalid'])
    expect(gate.backend.requests).toHaveLength(seen)
  })

  test('E11a is refused under the scheme DPoP, with the certificate and a proof of another key', async () => {
    const token = boundTo(agent)
    const proof = prover().proof({ url: `https://${authority}/crm/customers/9821`, token })
    const fields = { authorization: `DPoP ${token}`, dpop: proof }
    expect(await call({ as: agent, token, fields })).toMatchObject({
      status: 401,
      body: { code: 'lease_invalid' },
    })
  })
})

/** The fields in which servers pass certificates on, RFC 9440 among them. */
function certificateFields(): Record<string, string> {
  const oneLine = agent.cert.replaceAll('\n', ' ').trim()
  return {
    'client-cert': `:${Buffer.from(agent.cert).toString('base64')}:`,
    'client-cert-chain': oneLine,
    'x-client-cert': oneLine,
    'x-forwarded-client-cert': `Hash=${agent.thumbprint}`,
    'x-forwarded-tls-client-cert': oneLine,
    'x-ssl-client-cert': oneLine,
    'x-ssl-client-verify': 'SUCCESS',
    'x-ssl-cert': oneLine,
    'ssl-client-cert': oneLine,
    'x-arr-clientcert': oneLine,
  }
}

test('E11b certificate fields of a client are ignored, and dropped', async () => {
  const fields = certificateFields()
  expect(await call({ token: gate.token(), fields })).toMatchObject({ status: 200 })
  const passed = Object.keys(gate.backend.requests.at(-1)!.headers)
  expect(passed.filter((name) => /cert|ssl/.test(name))).toEqual([])
})

test('a DPoP proof names the https URL, the default port written or not', async () => {
  const agentKey = prover()
  const token = gate.token({ cnf: { jkt: agentKey.thumbprint } })
  const url = `https://${authority}:443/crm/customers/9821`
  const send = async (nonce?: string, at = url) => {
    const proof = agentKey.proof({ url: at, token, claims: { nonce } })
    return call({ token, fields: { authorization: `DPoP ${token}`, dpop: proof } })
  }
  const { headers } = await send()
  const nonce = String(headers['dpop-nonce'])
  expect(await send(nonce)).toMatchObject({ status: 200 })
  expect(await send(nonce, url.replace('https', 'http'))).toMatchObject({ body: { code: 'proof_invalid' } })
})

test('a bearer token passes without any certificate', async () => {
  expect(await call({ token: gate.token() })).toMatchObject({ status: 200 })
})

test('the backend is told that it was https', async () => {
  await call({ token: gate.token() })
  expect(gate.backend.requests.at(-1)!.headers.forwarded).toContain('proto=https')
})

test('a WebSocket opens over TLS with the certificate that its token is bound to', async () => {
  const token = boundTo(agent, { authorization_details: grantsFor('sockets', ['thing/*']) })
  const offer = (as: Pair | undefined) => {
    const { agent: _, ...tls } = connection(as)
    return new WebSocket(`wss://127.0.0.1:${gate.port}/sockets/things/1`, {
      ...tls,
      headers: { host: authority, authorization: `Bearer ${token}` },
    })
  }
  const socket = offer(agent)
  const echoed = new Promise((resolve) => socket.once('message', (data) => resolve(String(data))))
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  socket.send('hello')
  expect(await echoed).toBe('hello')
  socket.terminate()
  const refused = await new Promise((resolve) =>
    offer(undefined).once('error', ({ message }) => resolve(message)),
  )
  expect(refused).toBe('Unexpected server response: 401')
})

test('a stream goes on over TLS', async () => {
  const token = gate.token({ authorization_details: grantsFor('events', ['thing/*']) })
  const headers = { host: authority, authorization: `Bearer ${token}` }
  const received = new Promise<string>((resolve, reject) => {
    const sent = request({ ...connection(agent), path: '/events/things/1', headers }, (res) => {
      events.send('one')
      res.once('data', (chunk) => {
        resolve(String(chunk))
        sent.destroy()
      })
    })
    sent.on('error', reject).end()
  })
  expect(await received).toContain('data: one')
})

test('the control listener speaks TLS too', async () => {
  const options = { ...connection(agent), port: gate.running.control.port, path: '/jwks' }
  const keys = await new Promise<string>((resolve, reject) => {
    request(options, async (res) => resolve(await text(res)))
      .on('error', reject)
      .end()
  })
  expect(JSON.parse(keys)).toMatchObject({ keys: [{ kty: 'EC' }] })
})

test('plain HTTP to the TLS port is hung up on, without a record', async () => {
  const before = gate.records().length
  const socket = connectTcp(gate.port, '127.0.0.1')
  socket.on('error', () => {})
  const answer = text(socket).catch(() => '')
  socket.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  expect(await answer).toBe('')
  expect(await call({ token: gate.token() })).toMatchObject({ status: 200 })
  expect(await gate.recordsAfter(before)).toHaveLength(1)
})

test('SIGHUP takes a new certificate, and keeps the old one when the new one is broken', async () => {
  const renewed = await pairOf({ name: authority, by: ca })
  writePair(dir, 'gate', renewed)
  await gate.running.reload()
  expect(await call({ as: agent, token: boundTo(agent) })).toMatchObject({ status: 200 })
  writeFileSync(join(dir, 'gate.key'), 'broken')
  await gate.running.reload()
  expect(await call({ as: agent, token: boundTo(agent) })).toMatchObject({ status: 200 })
  expect(gate.logText()).toContain('the certificate of tls.proxy stays the old one')
  expect(gate.logText()).not.toContain('PRIVATE KEY')
})

test('all that is wrong with the files is said at once, and nothing is started', async () => {
  const run = promisify(execFile)(process.execPath, [cliPath, 'config', 'check', gate.configFile], {
    env: { CRM_TOKEN: 'x' },
  })
  const failed = await run.then(
    () => undefined,
    (error: { code: number; stderr: string; stdout: string }) => error,
  )
  expect(failed?.code).toBe(2)
  const said = `${failed?.stdout}${failed?.stderr}`
  expect(said).toMatch(/tls\.proxy\.key: name a private key in PEM form/)
  expect(said).toMatch(/tls\.control\.key: name a private key in PEM form/)
})
