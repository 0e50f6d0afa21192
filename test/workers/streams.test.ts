// Streams that are open at both of two gates under one lease, when the lease is revoked at one of them.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AuditEntry } from '../../src/telemetry/audit.ts'
import { startHttp, type TestServer } from '../support/backends.ts'
import { eventually } from '../support/gate.ts'
import { openMachines, openWorkers, type Pair } from '../support/pairs.ts'

const operations = [
  {
    match: 'GET /customers/{id}',
    verb: 'read',
    resource: 'customer/{id}',
    sensitivity: 'confidential',
    risk: 'low',
  },
]

describe.each([
  ['two workers on SQLite', openWorkers],
  ['two machines on Redis', openMachines],
])('%s', (_, open) => {
  /** Sends one event and then nothing. */
  let backend: TestServer
  let streams = 0
  let pair: Pair
  beforeAll(async () => {
    backend = await startHttp((_req, res) => {
      streams++
      res.once('close', () => streams--)
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: one\n\n')
    })
    pair = await open({ backend, operations })
  }, 120_000)
  afterAll(async () => {
    await pair?.close()
    await backend?.close()
  })

  /** Three streams at each gate. */
  async function openStreams(token: string) {
    const connections = await pair.connections(3)
    const lines = [`Host: ${pair.authority}`, `Authorization: Bearer ${token}`]
    for (const connection of connections) {
      connection.write(`GET /crm/customers/9821 HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    }
    await Promise.all(connections.map((connection) => connection.received('data: one\n\n')))
    return connections
  }

  const ended = (lease: string) =>
    (pair.audit() as Partial<AuditEntry>[]).filter(
      ({ lease_id, outcome }) => lease_id === lease && outcome !== undefined && outcome.ended !== 'intent',
    )

  test('one revocation ends all streams of its lease, at both, with one record each, and no other', async () => {
    const doomed = await openStreams(pair.token({}, 'lse_doomed'))
    const others = await openStreams(pair.token({}, 'lse_other'))
    expect(streams).toBe(12)
    expect(await pair.revoke({ lease: 'lse_doomed' })).toBe(201)
    for (const connection of doomed) {
      const text = await connection.closed()
      const [, problem] = /event: lease-refusal\ndata: (.*)\n\n/.exec(text)!
      expect(JSON.parse(problem!)).toMatchObject({
        status: 401,
        code: 'lease_revoked',
        lease_id: 'lse_doomed',
      })
      expect(text).not.toContain('\r\n0\r\n\r\n')
    }
    await eventually(() => streams === 6, 'the end of six streams at the backend')
    await eventually(() => ended('lse_doomed').length === 6, 'a record of each')
    for (const { outcome, decision } of ended('lse_doomed')) {
      expect(outcome).toMatchObject({ status: 200, ended: 'revoked_midway' })
      expect(decision).toMatchObject({ effect: 'allow', code: 'lease_revoked' })
    }
    expect(others.map(({ over }) => over)).toEqual(Array(6).fill(false))
    for (const connection of others) connection[Symbol.dispose]()
    await eventually(() => ended('lse_other').length === 6, 'a record of each of the others')
    expect(ended('lse_doomed')).toHaveLength(6)
    const ways = ended('lse_other').map(({ outcome }) => outcome?.ended)
    expect(ways).toEqual(Array(6).fill('aborted_by_client'))
    await eventually(() => streams === 0, 'the end of all streams at the backend')
  })
})
