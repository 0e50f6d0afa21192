// How each kind of exchange ends when its lease does, on two gates that share a Redis: what the agent still gets,
// what the backend notices, what the record says. Nothing that is cut may look whole.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import { type OpenBackend, startOpenBackend } from '../support/open_backend.ts'
import type { RawConnection } from '../support/raw.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

let redis: TestRedis
let backend: OpenBackend
let gate: TestGate
/** Orders go through this one; the exchanges are on the other. */
let other: TestGate

beforeAll(async () => {
  redis = await startRedis()
  backend = await startOpenBackend()
  const open = { resource: 'thing/{id}', sensitivity: 'internal', risk: 'low' }
  const operations = [
    { match: 'GET /things/{id}', verb: 'read', ...open },
    { match: 'POST /things/{id}', verb: 'update', ...open, body: 'opaque' },
  ]
  const options = {
    config: {
      issuers: [{ issuer: 'https://broker.example', jwks: { file: './jwks.json' }, clock_tolerance: '0s' }],
      state: { store: 'redis', redis: { url: redis.url } },
    },
    backends: { open: { url: backend.url, path_prefix: '/open', upgrade: true, operations } },
  }
  gate = await startTestGate(options)
  other = await startTestGate(options)
})
afterAll(async () => {
  redis?.thaw()
  await Promise.all([gate?.close(), other?.close()])
  await backend?.close()
  await redis?.stop()
})

/** What an agent has seen of an exchange that the gate ended. */
interface Seen {
  readonly status: number
  /** Where the reason stood: the answer itself, a last event, a Close frame. */
  readonly told: 'answer' | 'event' | 'close 1008' | 'close 1013' | 'nothing'
  readonly code: string | undefined
}

interface Protocol {
  readonly path: string
  readonly method?: string
  readonly fields?: readonly string[]
  /** Sent behind the head. */
  readonly body?: string
  /** Behind this nothing more comes by itself; none: the answer does not begin. */
  readonly until: string | undefined
  readonly told: 'answer' | 'event' | 'frame' | 'nothing'
}

const offer = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
const upload = { method: 'POST', fields: ['Content-Type: text/plain', 'Content-Length: 1000'] }
const chunked = { method: 'POST', fields: ['Content-Type: text/plain', 'Transfer-Encoding: chunked'] }
const protocols: Readonly<Record<string, Protocol>> = {
  'events, between two': { path: 'events', until: 'data: one\n\n', told: 'event' },
  'events, before the first': { path: 'no-event-yet', until: '\r\n\r\n', told: 'event' },
  'events, in the middle of one': { path: 'half-event', until: 'data: ha', told: 'nothing' },
  'events that are coded': { path: 'coded-events', until: 'data: one\n\n', told: 'nothing' },
  'events with a length': { path: 'counted-events', until: 'data: one\n\n', told: 'nothing' },
  'events in answer to an upload that goes on': {
    path: 'events',
    ...upload,
    body: 'some',
    until: 'data: one\n\n',
    told: 'event',
  },
  'a download in chunks': { path: 'chunks', until: 'some of it', told: 'nothing' },
  'a download with a length': { path: 'length', until: 'some of it', told: 'nothing' },
  'a call that waits': { path: 'silent', until: undefined, told: 'answer' },
  'an upload': { path: 'silent', ...upload, body: 'some', until: undefined, told: 'answer' },
  'an upload in chunks': {
    path: 'silent',
    ...chunked,
    body: '4\r\nsome\r\n',
    until: undefined,
    told: 'answer',
  },
  'a WebSocket that is idle': { path: 'frames', fields: offer, until: 'one', told: 'frame' },
  'a WebSocket between fragments': { path: 'fragment', fields: offer, until: 'one', told: 'frame' },
  'a WebSocket in the middle of a frame': {
    path: 'half-frame',
    fields: offer,
    until: 'one',
    told: 'nothing',
  },
  'a WebSocket that is closing': {
    path: 'closing',
    fields: offer,
    until: 'one\x88\x02\x03\xe8',
    told: 'nothing',
  },
}

let leases = 0

/** Opens one exchange of every kind, each under a lease of its own; resolves once all are under way. */
async function openAll(claims: () => Record<string, unknown> = () => ({})) {
  const busy = backend.open()
  const opened = await Promise.all(
    Object.entries(protocols).map(async ([name, protocol]) => {
      const id = `lse_end_${leases++}`
      const token = gate.token({ authorization_details: grantsFor('open', ['thing/*']), ...claims() }, { id })
      const { method = 'GET', fields = [], path, body = '' } = protocol
      const connection = await gate.connect()
      connection.write(message({ method, target: `/open/things/${path}`, token, fields }) + body)
      if (protocol.until !== undefined) await connection.received(protocol.until)
      return { name, id, protocol, connection }
    }),
  )
  await eventually(() => backend.open() === busy + opened.length, 'all exchanges at the backend')
  return opened
}

/** Reads to the end of the connection. Throws where what was cut looks whole. */
async function seen(connection: RawConnection): Promise<Seen> {
  const text = await connection.closed()
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const body = rest.join('\r\n\r\n')
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1])
  if (/\r\n0\r\n\r\n$/.test(text)) throw new Error(`it looks whole: ${text}`)
  if (/content-type: application\/problem\+json/i.test(head)) {
    expect(head).toMatch(/^connection: close$/im)
    return { status, told: 'answer', code: codeOf(body, head) }
  }
  const event = /event: lease-refusal\ndata: (.*)\n\n\r\n$/.exec(body)
  if (event !== null) return { status, told: 'event', code: codeOf(event[1]!, head) }
  const close = /\x88[\x02-\x7d]\x03([\xf0\xf5])(\w+)$/.exec(body)
  if (close === null) return { status, told: 'nothing', code: undefined }
  return { status, told: close[1] === '\xf0' ? 'close 1008' : 'close 1013', code: close[2] }
}

/** The code of a problem document that says all there is to say. */
function codeOf(json: string, head: string): string {
  const problem = JSON.parse(json) as Record<string, string>
  expect(Object.keys(problem)).toEqual(expect.arrayContaining(['type', 'title', 'status', 'reasons']))
  expect(['request', 'retry']).toContain(problem.next_action)
  expect(problem.lease_id).toMatch(/^lse_end_/)
  expect(head).toMatch(new RegExp(`^decision-id: ${problem.decision_id}$`, 'im'))
  return problem.code!
}

/** What is to be seen of every protocol. */
function expected(status: number, code: string, close: Seen['told']): Record<string, Seen> {
  const rows = Object.entries(protocols).map(([name, { told, fields }]): [string, Seen] => {
    if (told === 'answer') return [name, { status, told, code }]
    const begun = fields === offer ? 101 : 200
    if (told === 'nothing') return [name, { status: begun, told, code: undefined }]
    return [name, { status: begun, told: told === 'frame' ? close : told, code }]
  })
  return Object.fromEntries(rows)
}

type Opened = Awaited<ReturnType<typeof openAll>>

/** Holds what agents, backend and records tell of `opened` against what they should. */
async function verify(
  opened: Opened,
  before: number,
  {
    status,
    code,
    ended,
    close = 'close 1008',
  }: { status: number; code: string; ended: string; close?: Seen['told'] },
): Promise<void> {
  const all = await Promise.all(opened.map(async ({ name, connection }) => [name, await seen(connection)]))
  expect(Object.fromEntries(all)).toEqual(expected(status, code, close))
  await eventually(() => gate.records().length === before + opened.length, 'a record of each')
  const records = gate.records().slice(before)
  const told = opened.map(({ name, id }) => {
    const { outcome, decision } = records.find((record) => record.lease_id === id)!
    return [name, [outcome.status, outcome.ended, decision.effect, decision.code]]
  })
  const rows = Object.entries(expected(status, code, close)).map(([name, row]) => [
    name,
    [row.status, ended, 'allow', code],
  ])
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(rows))
  await eventually(() => backend.open() === 0, 'the end of everything at the backend')
}

async function order(id: string, verb: string): Promise<void> {
  const url = `http://127.0.0.1:${other.running.control.port}/leases/${id}/${verb}`
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${other.operatorToken()}` }
  const response = await fetch(url, { method: 'POST', headers, body: '{"reason":"test"}' })
  expect(response.status).toBe(200)
}

const recorded = async ({ id }: Opened[number]) => (await gate.store()).leases.put(leaseRecord({ id }))

const orders: Readonly<Record<string, (opened: Opened) => Promise<unknown>>> = {
  'revoked at another gate': (opened) =>
    Promise.all(opened.map(({ id }) => other.revoke({ lease: id, reason: 'test' }))),
  'revoked with all of its agent at another gate': () =>
    other.revoke({ agent: 'support-triage', reason: 'test' }),
  'suspended at another gate': async (opened) => {
    await Promise.all(opened.map(recorded))
    await Promise.all(opened.map(({ id }) => order(id, 'suspend')))
  },
  'completed at another gate': async (opened) => {
    await Promise.all(opened.map(recorded))
    await Promise.all(opened.map(({ id }) => order(id, 'complete')))
  },
}

describe('whatever is under way ends when its lease is', () => {
  test.each(Object.keys(orders))('%s', async (name) => {
    const before = gate.records().length
    // Later than any cutoff of the tests before.
    const iat = Math.floor(Date.now() / 1000) + 1
    await eventually(() => Date.now() / 1000 >= iat, 'a new second')
    const opened = await openAll(() => ({ iat, nbf: iat }))
    await orders[name]!(opened)
    await verify(opened, before, { status: 401, code: 'lease_revoked', ended: 'revoked_midway' })
  })

  test('expired', async () => {
    const before = gate.records().length
    const iat = Math.floor(Date.now() / 1000) + 1
    await eventually(() => Date.now() / 1000 >= iat, 'a new second')
    const opened = await openAll(() => ({ iat, nbf: iat, exp: iat + 5 }))
    await verify(opened, before, { status: 401, code: 'lease_expired', ended: 'expired_midway' })
  })
})

test('an event stream of HTTP/1.0, which a clean end would make whole, is reset', async () => {
  const id = 'lse_end_old'
  const token = gate.token({ authorization_details: grantsFor('open', ['thing/*']) }, { id })
  using connection = await gate.connect()
  let reset: string | undefined
  connection.socket.on('error', (error: NodeJS.ErrnoException) => {
    reset = error.code
  })
  connection.write(message({ target: '/open/things/events', token }).replace('HTTP/1.1', 'HTTP/1.0'))
  await connection.received('data: one\n\n')
  await other.revoke({ lease: id, reason: 'test' })
  expect(await connection.closed()).not.toContain('lease-refusal')
  expect(reset).toBe('ECONNRESET')
})

test('a client that has stopped reading is cut, and is not sent a last event behind what waits for it', async () => {
  const before = gate.records().length
  const id = 'lse_end_slow'
  const token = gate.token({ authorization_details: grantsFor('open', ['thing/*']) }, { id })
  using connection = await gate.connect()
  connection.write(message({ target: '/open/things/flood', token }))
  await connection.received('data: x')
  connection.socket.pause()
  let read = -1
  await eventually(() => {
    const now = gate.records().length - before + connection.socket.bytesRead
    const still = now === read
    read = now
    return still
  }, 'a client that takes nothing')
  await other.revoke({ lease: id, reason: 'test' })
  const [record] = await gate.recordsAfter(before)
  expect(record).toMatchObject({ lease_id: id, outcome: { ended: 'revoked_midway' } })
  await eventually(() => backend.open() === 0, 'the end of the stream at the backend')
  connection.socket.resume()
  await eventually(() => connection.over, 'the end of the connection')
  const text = await connection.closed()
  expect(text).not.toContain('lease-refusal')
  expect(text).not.toContain('\r\n0\r\n\r\n')
})

test('what is under way ends when nobody can say any more whether its lease is alive', async () => {
  const before = gate.records().length
  const iat = Math.floor(Date.now() / 1000) + 1
  await eventually(() => Date.now() / 1000 >= iat, 'a new second')
  const opened = await openAll(() => ({ iat, nbf: iat }))
  redis.freeze()
  try {
    const stale = { status: 503, code: 'evidence_unavailable', ended: 'stale_midway' }
    await verify(opened, before, { ...stale, close: 'close 1013' })
  } finally {
    redis.thaw()
  }
})
