// Bytes of a lease through a whole gate, in every way that they can travel. What is counted in the end is what the
// backend got and the agent saw, to the byte; together that is never more than the lease had.
import { createHash } from 'node:crypto'
import http, { type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listening, type TestServer } from '../support/backends.ts'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'

/** Body bytes of exchanges: to the backend, and to the agent. */
interface Flow {
  readonly up: number
  readonly down: number
}

let backend: TestServer
/** What the backend has got, by lease. */
const got = new Map<string, number>()
let gate: TestGate

beforeAll(async () => {
  backend = await startSizedBackend()
  const open = { resource: 'thing/{id}', sensitivity: 'internal', risk: 'low' }
  gate = await startTestGate({
    backends: {
      open: {
        url: backend.url,
        path_prefix: '/open',
        upgrade: true,
        operations: [
          { match: 'GET /things/{id}', verb: 'read', ...open },
          { match: 'PUT /things/{id}', verb: 'update', ...open, body: 'json' },
          { match: 'PATCH /things/{id}', verb: 'update', ...open, body: 'opaque', body_limit: '100KiB' },
          { match: 'POST /things/{id}', verb: 'update', ...open, body: 'opaque', body_limit: '5MiB' },
        ],
      },
    },
  })
})
afterAll(async () => {
  await gate?.close()
  await backend?.close()
})

let leases = 0

/** A lease of its own that has `max` bytes. */
function leaseOf(max: number): { id: string; token: string; used(): Promise<number> } {
  const id = `lse_bytes_${leases++}`
  const [grant] = grantsFor('open', ['thing/*'])
  const constraints = { max_bytes: max }
  const token = gate.token({ authorization_details: [{ ...grant, constraints }] }, { id })
  const total = { kind: 'total', key: `bytes\nhttps://broker.example\n${id}`, max: BigInt(max) } as const
  const used = async () => {
    const { budgets } = await gate.store()
    const expiresAt = Math.floor(Date.now() / 1000) + 3600
    const [remaining] = await budgets.look([{ ...total, take: 0n, expiresAt }])
    return max - Number(remaining!.left)
  }
  return { id, token, used }
}

interface Ask {
  readonly method: string
  readonly path: string
  readonly fields?: readonly string[]
  /** Behind the head, framed as `fields` say. */
  readonly body?: string
}

const get = (path: string): Ask => ({ method: 'GET', path })
const json = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2))
const withLength = (method: string, bytes: number, path = 'nothing-0'): Ask => ({
  method,
  path,
  fields: ['Content-Type: application/json', `Content-Length: ${bytes}`],
  body: json(bytes),
})
const inChunks = (method: string, bytes: number, path = 'nothing-0'): Ask => ({
  method,
  path,
  fields: ['Content-Type: application/json', 'Transfer-Encoding: chunked'],
  body: `${chunksOf(json(bytes))}0\r\n\r\n`,
})
const offer = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
/** The backend sends `down` bytes in frames and hangs up once it has `up` bytes. */
const tunnel = (down: number, up: number): Ask => ({
  method: 'GET',
  path: `frames-${down}-${up}`,
  fields: offer,
  body: 'u'.repeat(up),
})

/** What an agent has of one exchange. */
interface Seen {
  readonly status: number
  readonly down: number
  /** The gate's own last words. */
  readonly code: string | undefined
}

/** One exchange on a connection of its own, to its end. */
async function ask(token: string, { method, path, fields = [], body = '' }: Ask): Promise<Seen> {
  using connection = await gate.connect()
  const closing = fields === offer ? fields : ['Connection: close', ...fields]
  connection.write(message({ method, target: `/open/things/${path}`, token, fields: closing }) + body)
  return seenIn(await connection.closed())
}

function seenIn(text: string): Seen {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const payload = rest.join('\r\n\r\n')
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1])
  if (/^lease-refusal:/im.test(head)) {
    return { status, down: 0, code: (JSON.parse(payload) as { code: string }).code }
  }
  if (status === 101) {
    const close = /\x88[\x02-\x7d]\x03\xf0(\w+)$/.exec(payload)
    return { status, down: payload.length - (close?.[0].length ?? 0), code: close?.[1] }
  }
  const plain = /^transfer-encoding: chunked$/im.test(head) ? withoutChunks(payload) : payload
  const event = /event: lease-refusal\ndata: (.*)\n\n$/.exec(plain)
  const code = event === null ? undefined : (JSON.parse(event[1]!) as { code: string }).code
  return { status, down: plain.length - (event?.[0].length ?? 0), code }
}

/** As much of the body as has come. */
function withoutChunks(text: string): string {
  let plain = ''
  for (let at = 0; at < text.length; ) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd < 0) break
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    plain += text.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
  return plain
}

const whole = (status = 200) => ({ status, ended: 'completed', code: undefined })
const refused = { status: 429, ended: 'refused', code: 'budget_exhausted' }
/** Ended midway, before and behind the head of its answer. */
const early = { status: 429, ended: 'budget_midway', code: 'budget_exhausted' }
const midway = (status: number, told?: string) => ({ status, ended: 'budget_midway', code: told })

interface Row extends Flow {
  readonly what: string
  readonly ask: Ask
  readonly ends: { readonly status: number; readonly ended: string; readonly code: string | undefined }
}

describe('a lease of 50,000 bytes and', () => {
  test.each<Row>([
    { what: 'a body with a length', ask: withLength('POST', 50_000), ends: whole(), up: 50_000, down: 0 },
    { what: 'one byte more', ask: withLength('POST', 50_001), ends: refused, up: 0, down: 0 },
    { what: 'a body in chunks', ask: inChunks('POST', 50_000), ends: whole(), up: 50_000, down: 0 },
    {
      what: 'a body in chunks that is read whole and one byte too long',
      ask: inChunks('PATCH', 50_001),
      ends: early,
      up: 0,
      down: 0,
    },
    {
      what: 'a body in chunks that policy reads and is one byte too long',
      ask: inChunks('PUT', 50_001),
      ends: refused,
      up: 0,
      down: 0,
    },
    { what: 'an answer with a length', ask: get('length-50000'), ends: whole(), up: 0, down: 50_000 },
    { what: 'one of one byte more', ask: get('length-50001'), ends: early, up: 0, down: 0 },
    { what: 'an answer in chunks', ask: get('chunks-50000'), ends: whole(), up: 0, down: 50_000 },
    { what: 'events', ask: get('events-50000'), ends: whole(), up: 0, down: 50_000 },
    {
      what: 'a body and an answer that share them',
      ask: withLength('POST', 20_000, 'length-30000'),
      ends: whole(),
      up: 20_000,
      down: 30_000,
    },
    {
      what: 'an answer to a write that the body has left too few for',
      ask: withLength('POST', 20_000, 'length-30001'),
      ends: midway(200),
      up: 20_000,
      down: 0,
    },
    {
      what: 'a WebSocket that uses all of them',
      ask: tunnel(20_000, 30_000),
      ends: whole(101),
      up: 30_000,
      down: 20_000,
    },
    { what: 'nothing that has a body', ask: get('nothing-0'), ends: whole(), up: 0, down: 0 },
    { what: 'a head alone', ask: { method: 'GET', path: 'unchanged-0' }, ends: whole(304), up: 0, down: 0 },
  ])('$what', async ({ ask: what, ends, up, down }) => {
    const { seen, outcome, flow, used } = await exchange(50_000, what)
    expect({ status: seen.status, ended: outcome.ended, code: seen.code }).toEqual(ends)
    expect(flow).toEqual({ up, down })
    expect(used).toBe(up + down)
  })

  const more: readonly (readonly [string, Ask, ReturnType<typeof midway>])[] = [
    ['a body in chunks', inChunks('POST', 400_000), midway(429, 'budget_exhausted')],
    ['an answer in chunks', get('chunks-400000'), midway(200)],
    ['events', get('events-400000'), midway(200, 'budget_exhausted')],
    ['frames from the backend', tunnel(400_000, 0), midway(101, 'budget_exhausted')],
    ['bytes to the backend of a WebSocket', tunnel(0, 400_000), midway(101, 'budget_exhausted')],
    ['a WebSocket both ways', tunnel(300_000, 300_000), midway(101, 'budget_exhausted')],
  ]
  test.each(more)('too many of them: %s', async (_, what, ends) => {
    const { seen, outcome, flow, used, reasons } = await exchange(50_000, what)
    expect({ status: seen.status, ended: outcome.ended }).toEqual({ status: ends.status, ended: ends.ended })
    // In the middle of an event or a frame there is no room for words.
    expect([ends.code, undefined]).toContain(seen.code)
    expect(reasons).toEqual(['bytes_exhausted'])
    expect(flow.up + flow.down).toBe(used)
    expect(used).toBeLessThanOrEqual(50_000)
  })
})

test('whatever is sent and fetched under one lease, in whatever order and at once: no byte too many, none lost', async () => {
  const bytes = fc.nat({ max: 60_000 })
  const asks = fc.oneof(
    bytes.map((size) => get(`length-${size}`)),
    bytes.map((size) => get(`chunks-${size}`)),
    bytes.map((size) => get(`events-${size - (size % 100)}`)),
    fc.tuple(bytes, bytes).map(([up, down]) => withLength('POST', up + 2, `length-${down}`)),
    fc.tuple(bytes, bytes).map(([up, down]) => inChunks('POST', up + 2, `chunks-${down}`)),
    fc.tuple(bytes, bytes).map(([down, up]) => tunnel(down, up)),
  )
  const waves = fc.array(fc.array(asks, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 500_000 }), waves, async (max, all) => {
      const { id, token, used } = leaseOf(max)
      let down = 0
      for (const wave of all) {
        const seen = await Promise.all(wave.map((each) => ask(token, each)))
        for (const each of seen) down += each.down
      }
      const passed = () => (got.get(id) ?? 0) + down
      await eventually(async () => (await used()) === passed(), 'a count of what has passed')
      expect(passed()).toBeLessThanOrEqual(max)
    }),
    { numRuns: 15 },
  )
})

/** One exchange under a lease of its own that has `max` bytes; resolves once nothing is under way any more. */
async function exchange(max: number, what: Ask) {
  const before = gate.records().length
  const { id, token, used } = leaseOf(max)
  const seen = await ask(token, what)
  const [record] = await gate.recordsAfter(before)
  const flow = () => ({ up: got.get(id) ?? 0, down: seen.down })
  await eventually(async () => (await used()) === flow().up + flow().down, 'a count of what has passed')
  const { outcome, decision } = record!
  return { seen, outcome, flow: flow(), used: await used(), reasons: decision.reasons }
}

/** Counts what it gets by lease; the path says what it answers: a form and a size. */
function startSizedBackend(): Promise<TestServer> {
  const count = (lease: unknown, chunk: Buffer) => {
    got.set(String(lease), (got.get(String(lease)) ?? 0) + chunk.length)
  }
  const server = http.createServer((req, res) => {
    req.on('data', (chunk: Buffer) => count(req.headers['lease-id'], chunk))
    req.on('end', () => reply(req.url!, res))
  })
  server.on('upgrade', (req, stream, early: Buffer) => {
    const socket = stream as Socket
    const [, down = 0, up = 0] = /frames-(\d+)-(\d+)$/.exec(req.url!)?.map(Number) ?? []
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}${guid}`).digest('base64')
    socket.write(`${switching}sec-websocket-accept: ${accept}\r\n\r\n`)
    let left = up
    const take = (chunk: Buffer) => {
      count(req.headers['lease-id'], chunk)
      left -= chunk.length
      if (left <= 0) socket.end()
    }
    socket.on('data', take).on('end', () => socket.end())
    socket.write(framesOf(down))
    take(early)
  })
  return listening(server)
}

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const switching = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n'

function reply(url: string, res: ServerResponse): void {
  const [, form, size = '0'] = /(\w+)-(\d+)$/.exec(url) ?? []
  const bytes = Number(size)
  const binary = { 'content-type': 'application/octet-stream' }
  if (form === 'nothing') res.writeHead(200, { 'content-length': 0 }).end()
  else if (form === 'unchanged') res.writeHead(304, { etag: '"1"' }).end()
  else if (form === 'length')
    res.writeHead(200, { ...binary, 'content-length': bytes }).end(Buffer.alloc(bytes, 'd'))
  else if (form === 'events') {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let at = 0; at < bytes; at += 100) res.write(`data: ${'e'.repeat(92)}\n\n`)
    res.end()
  } else {
    res.writeHead(200, binary)
    for (let at = 0; at < bytes; at += 1000) res.write(Buffer.alloc(Math.min(1000, bytes - at), 'd'))
    res.end()
  }
}

/** Binary frames that are `bytes` long in all; two bytes are the shortest. */
function framesOf(bytes: number): Buffer {
  const frames: Buffer[] = []
  for (let left = bytes; left >= 2; ) {
    const payload = Math.min(125, left - 2)
    frames.push(Buffer.from([0x82, payload]), Buffer.alloc(payload, 'd'))
    left -= payload + 2
  }
  return Buffer.concat(frames)
}

function chunksOf(text: string): string {
  let framed = ''
  for (let at = 0; at < text.length; at += 1000) {
    const chunk = text.slice(at, at + 1000)
    framed += `${chunk.length.toString(16)}\r\n${chunk}\r\n`
  }
  return framed
}
