// What a call had spent of its lease's totals: it comes back when no backend has seen the call, and never otherwise.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type SilentBackend, startSilentBackend } from '../support/backends.ts'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import { freePort } from '../support/ports.ts'
import type { Json } from '../support/tokens.ts'

let gate: TestGate
/** Backends that take requests and never answer. */
const silent: SilentBackend[] = []

beforeAll(async () => {
  const item = { resource: 'customer/{id}', sensitivity: 'internal', risk: 'low' }
  const operations = [
    { match: 'GET /customers/{id}', verb: 'read', ...item },
    { match: 'POST /customers/{id}', verb: 'update', body: 'opaque', body_limit: '1KiB', ...item },
  ]
  const at = (url: string, name: string, rest: Json = {}) => ({
    url,
    path_prefix: `/${name}`,
    require_binding: 'never',
    upgrade: true,
    operations,
    ...rest,
  })
  for (let at = 0; at < 3; at++) silent.push(await startSilentBackend())
  const [slow, full, busy] = silent.map(({ url }) => url)
  gate = await startTestGate({
    crm: { upgrade: true, operations },
    backends: {
      down: at(`http://127.0.0.1:${await freePort()}`, 'down'),
      slow: at(slow!, 'slow', { timeouts: { headers: '200ms' } }),
      full: at(full!, 'full', { max_in_flight: 1 }),
      busy: at(busy!, 'busy', { connections: 1, max_in_flight: 2 }),
    },
    answer: ({ url }, res) => {
      if (url.endsWith('reset')) res.destroy()
      else res.writeHead(url.endsWith('500') ? 500 : 200).end('{}')
    },
  })
})
afterAll(async () => {
  await gate?.close()
  for (const backend of silent) await backend.close()
})

interface OneCall {
  readonly id: string
  readonly token: string
}

let leases = 0

/** A lease that is good for one call, of any backend. */
function once(): OneCall {
  const id = `lse_once_${leases++}`
  const grants = ['crm', 'down', 'slow', 'full', 'busy'].flatMap((name) => grantsFor(name, ['customer/*']))
  const constraints = { max_calls: 1, max_bytes: 9_000 }
  const details = grants.map((grant) => ({ ...grant, constraints }))
  return { id, token: gate.token({ authorization_details: details }, { id }) }
}

/** Whether the call of a lease is spent. */
async function isSpent(id: string): Promise<boolean> {
  const { budgets } = await gate.store()
  const expiresAt = Math.floor(Date.now() / 1000) + 3600
  const key = `calls\nhttps://broker.example\n${id}`
  const [remaining] = await budgets.look([{ kind: 'total', key, max: 1n, take: 0n, expiresAt }])
  return remaining!.left === 0n
}

const calls = async ({ token }: OneCall) => (await gate.ask(message({ token }))).status === 200

const offer = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
const chunked = ['Content-Type: text/plain', 'Transfer-Encoding: chunked']

interface Row {
  readonly target: string
  readonly fields?: readonly string[]
  /** Behind the head. */
  readonly body?: string
  /** Once this holds the client hangs up. */
  readonly leaves?: (id: string) => boolean | Promise<boolean>
  /** How the record says that it ended, and with which code. */
  readonly ends: readonly [ended: string, code: string | null]
}

/** One call, to its record: how it ended, and with which code. */
async function call({ id, token }: OneCall, { target, fields = [], body = '', leaves }: Row) {
  using connection = await gate.connect()
  const method = fields === chunked ? 'POST' : 'GET'
  connection.write(message({ method, target, token, fields }) + body)
  if (leaves !== undefined) {
    await eventually(() => leaves(id), 'the call')
    connection.socket.resetAndDestroy()
  }
  const record = () => gate.records().find(({ lease_id }) => lease_id === id)
  await eventually(() => record() !== undefined, 'its record')
  return [record()!.outcome.ended, record()!.decision.code]
}

/** Takes the one place, or connection, of a backend for as long as `work` takes. */
async function occupied(name: 'full' | 'busy', fields: readonly string[], work: () => Promise<void>) {
  const backend = silent[name === 'full' ? 1 : 2]!
  const seen = backend.received()
  const token = gate.token({ authorization_details: grantsFor(name, ['customer/*']) })
  using connection = await gate.connect()
  connection.write(message({ target: `/${name}/customers/1`, token, fields }))
  await eventually(() => backend.received() > seen, 'what occupies the backend')
  await work()
}

describe('what a call had spent comes back when', () => {
  const comesBack = async (row: Row) => {
    const lease = once()
    expect(await call(lease, row)).toEqual(row.ends)
    await eventually(() => calls(lease), 'the one call of the lease')
    expect(await calls(lease)).toBe(false)
  }

  test.each<[string, Row]>([
    [
      'the backend cannot be reached',
      { target: '/down/customers/1', ends: ['backend_failed', 'backend_unreachable'] },
    ],
    [
      'the backend of a WebSocket cannot be reached',
      { target: '/down/customers/1', fields: offer, ends: ['backend_failed', 'backend_unreachable'] },
    ],
    [
      'a body in chunks is too large before any of it was sent',
      {
        target: '/crm/customers/1',
        fields: chunked,
        body: `800\r\n${'x'.repeat(2048)}\r\n0\r\n\r\n`,
        ends: ['refused', 'body_too_large'],
      },
    ],
    [
      'a body in chunks is framed wrongly before any of it was sent',
      {
        target: '/crm/customers/1',
        fields: chunked,
        body: '2\r\nxx\r\nnot hexadecimal\r\n',
        ends: ['refused', 'malformed_framing'],
      },
    ],
    [
      'the client leaves in the middle of a body of which nothing was sent',
      {
        target: '/crm/customers/1',
        fields: chunked,
        body: '2\r\nxx\r\n',
        leaves: isSpent,
        ends: ['aborted_by_client', null],
      },
    ],
  ])('%s', (_, row) => comesBack(row))

  test.each<[string, Row]>([
    ['the backend has no room', { target: '/full/customers/1', ends: ['refused', 'overloaded'] }],
    [
      'the backend has no room for a WebSocket',
      { target: '/full/customers/1', fields: offer, ends: ['refused', 'overloaded'] },
    ],
  ])('%s', async (_, row) => {
    await occupied('full', row.fields ?? [], () => comesBack(row))
  })

  test('the client leaves while its call waits for a connection', async () => {
    const row: Row = { target: '/busy/customers/1', leaves: isSpent, ends: ['aborted_by_client', null] }
    await occupied('busy', [], () => comesBack(row))
  })
})

describe('what a call had spent stays spent when', () => {
  test.each<[string, Row]>([
    ['the backend answers 500', { target: '/crm/customers/500', ends: ['completed', null] }],
    [
      'the backend resets the connection',
      { target: '/crm/customers/reset', ends: ['backend_failed', 'backend_unreachable'] },
    ],
    [
      'the backend does not answer in time',
      { target: '/slow/customers/1', ends: ['backend_failed', 'backend_timeout'] },
    ],
    [
      'the backend wants no WebSocket',
      { target: '/crm/customers/1', fields: offer, ends: ['backend_failed', 'backend_malformed'] },
    ],
  ])('%s', async (_, row) => {
    const lease = once()
    expect(await call(lease, row)).toEqual(row.ends)
    expect(await calls(lease)).toBe(false)
  })
  test('the client leaves while the backend is at work', async () => {
    const lease = once()
    const seen = silent[2]!.received()
    const leaves = () => silent[2]!.received() > seen
    const row: Row = { target: '/busy/customers/1', leaves, ends: ['aborted_by_client', null] }
    expect(await call(lease, row)).toEqual(row.ends)
    expect(await calls(lease)).toBe(false)
  })
})
