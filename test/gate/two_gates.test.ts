// Two gates on one store, attacked at the same time, on SQLite and on Redis: what is good for so many calls is good
// for no more, whoever holds which part of it and whichever gate is asked.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { startWebSocketBackend, type WebSocketBackend } from '../support/backends.ts'
import { authority, grantsFor, message, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'
import { prover } from '../support/proofs.ts'
import { sharedRedis } from '../support/redis.ts'
import type { Json } from '../support/tokens.ts'

type State = { readonly state: Json; end(): unknown }

async function embedded(): Promise<State> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-two-'))
  return { state: { path: join(dir, 'state.db') }, end: () => rmSync(dir, { recursive: true }) }
}

async function redis(): Promise<State> {
  const server = await sharedRedis()
  const state = { store: 'redis', redis: { url: server.url, prefix: server.prefix() } }
  return { state, end: () => server.stop() }
}

describe.each([
  ['SQLite', embedded],
  ['Redis', redis],
])('two gates on %s', (_, open) => {
  let store: State
  let sockets: WebSocketBackend
  let gates: readonly [TestGate, TestGate]
  const start = async (config: Json): Promise<TestGate> =>
    startTestGate({
      config: { state: store.state, ...config },
      backends: {
        sockets: {
          url: sockets.url,
          path_prefix: '/sockets',
          upgrade: true,
          operations: [
            { match: 'GET /things/{id}', verb: 'read', resource: 'thing/{id}', sensitivity: 'internal' },
          ],
        },
      },
    })
  beforeAll(async () => {
    store = await open()
    sockets = await startWebSocketBackend()
    const first = await start({})
    const issuers = [{ issuer: first.issuer.issuer, jwks: { file: join(first.dir, 'jwks.json') } }]
    gates = [first, await start({ issuers })]
  })
  afterAll(async () => {
    for (const gate of gates) await gate.close()
    await sockets.close()
    await store.end()
  })

  test('max_calls is for a lease and all that was handed on from it together', async () => {
    const [first, second] = gates
    const limited = (max_calls: number, lease: Json) =>
      first.token(
        {
          authorization_details: grantsFor('crm', ['customer/*']).map((each) => ({
            ...each,
            constraints: { max_calls },
          })),
        },
        lease,
      )
    const ancestors = ['lse_root']
    const tree = [
      limited(20, { id: 'lse_root' }),
      limited(20, { id: 'lse_child', ancestors }),
      limited(20, { id: 'lse_sibling', ancestors }),
      limited(20, { id: 'lse_grandchild', ancestors: ['lse_child', ...ancestors] }),
      // A renewal, and one that is narrower.
      limited(20, { id: 'lse_root' }),
      limited(15, { id: 'lse_narrow', ancestors }),
    ]
    const seen = first.backend.requests.length + second.backend.requests.length
    const calls = Array.from({ length: 72 }, (_, at) => ({
      token: tree[at % tree.length]!,
      gate: at % 4 < 2 ? first : second,
    }))
    const answers = await Promise.all(calls.map(({ gate, token }) => gate.ask(message({ token }))))
    const passed = answers.filter(({ status }) => status === 200)
    const refused = answers.filter(({ status }) => status === 429)
    // A store that is slow for once costs a call and grants none: under load its reply can come too late.
    const lost = answers.filter(({ status }) => status === 503).length
    expect(passed.length).toBeLessThanOrEqual(20)
    expect(passed.length).toBeGreaterThanOrEqual(20 - lost)
    expect(refused.length).toBe(72 - passed.length - lost)
    expect(first.backend.requests.length + second.backend.requests.length).toBe(seen + passed.length)
  })

  test('a proof is good once, as a request or as a WebSocket, at whichever gate', async () => {
    const agent = prover()
    const details = grantsFor('sockets', ['thing/*'])
    const token = gates[0].token({ cnf: { jkt: agent.thumbprint }, authorization_details: details })
    const target = '/sockets/things/1'
    const signed = (nonce?: string) =>
      agent.proof({ url: `${publicOrigin}${target}`, token, claims: { nonce } })
    const fields = (proof: string) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}`]
    const { headers } = await gates[0].ask(message({ target, fields: fields(signed()) }))
    const proof = signed(headers['dpop-nonce'])
    const asRequest = async (gate: TestGate) =>
      (await gate.ask(message({ target, fields: fields(proof) }))).status === 401 ? 'refused' : 'passed'
    const asSocket = ({ port }: TestGate) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}${target}`, {
          headers: { host: authority, authorization: `DPoP ${token}`, dpop: proof },
        })
        socket.once('open', () => {
          resolve('passed')
          socket.terminate()
        })
        socket.once('error', () => resolve('refused'))
      })
    const answers = await Promise.all(
      gates.flatMap((gate) => [asSocket(gate), asRequest(gate), asSocket(gate)]),
    )
    expect(answers.toSorted()).toEqual(['passed', ...Array<string>(5).fill('refused')].toSorted())
  })
})
