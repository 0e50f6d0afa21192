// The forwarder over real sockets: clients, a bare gate around it, and backends of every temper.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import net from 'node:net'
import type { Writable } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Backend } from '../../src/enforce/operation.ts'
import type { OutboundRequest } from '../../src/enforce/outbound.ts'
import { endAnswer } from '../../src/http/ending.ts'
import type { ForwardExchange, ForwardHandle, ForwardResult } from '../../src/http/exchange.ts'
import { createForwarder, type Forwarder } from '../../src/http/forward.ts'
import type { UpstreamEvent } from '../../src/http/upstream.ts'
import { type Refusal, refuse } from '../../src/refusals.ts'
import {
  listening,
  readBody,
  startEchoBackend,
  startHttp,
  startLenientBackend,
  startRecordingBackend,
  startScriptedBackend,
  startSilentBackend,
  startSseBackend,
  type TestServer,
} from '../support/backends.ts'

// The real class can only be made by a decision; here its place is taken by one that tests can make.
const { StandIn } = vi.hoisted(() => ({
  StandIn: class {
    constructor(parts: object) {
      Object.assign(this, parts)
    }
  },
}))
vi.mock('../../src/enforce/outbound.ts', () => ({
  isOutboundRequest: (value: unknown) => value instanceof StandIn,
}))

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function kept<T extends TestServer>(starting: Promise<T>): Promise<T> {
  const server = await starting
  cleanups.push(() => server.close())
  return server
}

function backendAt(origin: string, overrides: Partial<Backend> = {}): Backend {
  return {
    name: 'crm',
    origin,
    basePath: '',
    pathPrefix: '/crm',
    hosts: [],
    credential: undefined,
    connectTimeoutMs: 2_000,
    headersTimeoutMs: 20_000,
    idleTimeoutMs: 20_000,
    connections: 8,
    maxInFlight: 1_000,
    upgrade: false,
    env: undefined,
    requireBinding: 'never',
    forwardHeaders: [],
    operations: [],
    ...overrides,
  }
}

interface Gate extends TestServer {
  readonly results: ForwardResult[]
  readonly refusals: { code: string; cause: string }[]
  readonly handles: ForwardHandle[]
  readonly forwarder: Forwarder
  readonly events: UpstreamEvent[]
}

interface GateOptions {
  backend?: Partial<Backend>
  exchange?: Partial<Pick<ForwardExchange, 'bodyLimit' | 'bodyIdleMs' | 'replyHead'>>
  /** Changes what goes out for a request. */
  outbound?: (req: IncomingMessage) => Partial<OutboundRequest>
  before?: (req: IncomingMessage, res: ServerResponse) => Promise<void>
}

const hopByHop = new Set(['host', 'connection', 'keep-alive', 'transfer-encoding', 'expect', 'trailer'])

function endToEnd(raw: readonly (Buffer | string)[]): string[] {
  const headers: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = String(raw[i]).toLowerCase()
    if (!hopByHop.has(name)) headers.push(name, raw[i + 1]!.toString('latin1'))
  }
  return headers
}

function outboundOf(req: IncomingMessage, backend: Backend): object {
  const length = req.headers['content-length']
  const stream = Number(length) > 0 || req.headers['transfer-encoding'] !== undefined
  const headers = ['host', backend.origin.slice('http://'.length), ...endToEnd(req.rawHeaders)]
  const body = { kind: stream ? 'stream' : 'none' }
  return { backend, method: req.method, path: req.url, headers, body }
}

/** A proxy that enforces nothing, around the forwarder under test. */
async function startGate(origin: string, options: GateOptions = {}): Promise<Gate> {
  const backend = backendAt(origin, options.backend)
  const events: UpstreamEvent[] = []
  const forwarder = createForwarder([backend], { onUpstream: (_backend, event) => events.push(event) })
  cleanups.push(() => forwarder.close(0))
  const results: ForwardResult[] = []
  const refusals: Gate['refusals'] = []
  const handles: ForwardHandle[] = []
  const server = await kept(
    startHttp(async (req, res) => {
      await options.before?.(req, res)
      const outbound = new StandIn({ ...outboundOf(req, backend), ...options.outbound?.(req) })
      const handle = forwarder.forward(outbound as OutboundRequest, {
        req,
        res,
        bodyLimit: 1e9,
        bodyIdleMs: 20_000,
        replyHead: (status, raw) => ({ status, headers: endToEnd(raw) }),
        fail(refusal, cause) {
          refusals.push({ code: refusal.code, cause })
          answer(refusal, req, res)
        },
        problem: (refusal) => JSON.stringify({ code: refusal.code }),
        done: (result) => results.push(result),
        ...options.exchange,
      })
      handles.push(handle)
    }),
  )
  return { ...server, results, refusals, handles, forwarder, events }
}

function answer(refusal: Refusal, req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(refusal.row.status, { connection: 'close', 'content-length': refusal.code.length })
  res.write(refusal.code)
  endAnswer(req, res)
}

interface Call {
  readonly method?: string
  readonly path?: string
  readonly headers?: http.OutgoingHttpHeaders
  readonly body?: Buffer | string
}

/** One request on a connection of its own, answered with its head. */
function ask(server: TestServer, call: Call = {}): Promise<IncomingMessage> {
  const { method = 'GET', path = '/', headers = {}, body } = call
  const request = http.request(`${server.url}${path}`, { method, headers, agent: false })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  request.end(body)
  return answered.then(([res]) => res)
}

async function call(server: TestServer, wanted?: Call): Promise<{ status: number; body: string }> {
  const res = await ask(server, wanted)
  const body = await readBody(res)
  return { status: res.statusCode ?? 0, body: body?.toString('latin1') ?? 'broken off' }
}

/** Bytes out, and all that comes back until the other side closes. */
async function exchangeRaw(server: TestServer, bytes: string): Promise<string> {
  const socket = net.connect(server.port, '127.0.0.1')
  socket.write(bytes)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('latin1')
}

/** Resolves once `read` gives the same number over several turns: nothing moves any more. */
async function settled(read: () => number): Promise<number> {
  for (let last = -1, same = 0; ; ) {
    const now = read()
    same = now === last && now > 0 ? same + 1 : 0
    if (same === 10) return now
    last = now
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const mebibyte = 1_048_576

/** Writes `total` bytes as fast as they are taken; returns how many have been handed over. */
function pump(stream: Writable, total: number): () => number {
  const block = Buffer.alloc(mebibyte)
  let sent = 0
  const more = () => {
    while (sent < total) {
      sent += block.length
      if (!stream.write(block)) return
    }
    stream.end()
  }
  stream.on('drain', more)
  more()
  return () => sent
}

describe('what is forwarded', () => {
  test('path, header order and body are the bytes that were decided on', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url)
    const path = "/a%2Fb/it's/x;y?q=%E2%82%AC&q=1&&z"
    await call(gate, { method: 'POST', path, headers: { 'x-b': '1', 'x-a': ['2', '3'] }, body: '{"a": 1}' })
    const [request] = backend.requests
    expect(request?.url).toBe(path)
    expect(request?.body.toString()).toBe('{"a": 1}')
    const ours = request?.rawHeaders.filter((_, at, all) => /^x-/.test(all[at - (at % 2)] ?? ''))
    expect(ours).toEqual(['x-b', '1', 'x-a', '2', 'x-a', '3'])
    expect(gate.results).toEqual([{ status: 200, bytesIn: 8, bytesOut: 11, ended: 'completed' }])
  })

  test('bytes that were inspected go out instead of the stream', async () => {
    const backend = await kept(startRecordingBackend())
    const bytes = new TextEncoder().encode('[inspected]').subarray(1, -1)
    const gate = await startGate(backend.url, { outbound: () => ({ body: { kind: 'bytes', bytes } }) })
    await call(gate, { method: 'POST', body: 'as agreed' })
    expect(backend.requests[0]?.body.toString()).toBe('inspected')
    expect(backend.requests[0]?.headers['content-length']).toBe('9')
  })

  test('a chunked DELETE is one request to a careless backend, whatever its body holds', async () => {
    const backend = await kept(startLenientBackend())
    const inner = 'GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n'
    for (const bodyLimit of [1e6, 1e9]) {
      const gate = await startGate(backend.url, { exchange: { bodyLimit } })
      const headers = { 'transfer-encoding': 'chunked' }
      expect(await call(gate, { method: 'DELETE', path: '/one', headers, body: inner })).toEqual({
        status: 200,
        body: 'ok',
      })
      await call(gate, { path: '/two' })
    }
    const lines = ['DELETE /one HTTP/1.1', 'GET /two HTTP/1.1']
    expect(backend.requestLines).toEqual([...lines, ...lines])
  })

  test('trailers of the request stay here', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url)
    const head = 'POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n'
    await exchangeRaw(gate, `${head}trailer: x-late\r\n\r\n2\r\nhi\r\n0\r\nx-late: secret\r\n\r\n`)
    expect(backend.requests[0]?.body.toString()).toBe('hi')
    expect(backend.bytesSeen().toString()).not.toContain('secret')
  })

  test.each([
    ['a plain object in the shape of one', { backend: {}, method: 'GET', path: '/', headers: [], body: {} }],
    ['nothing', undefined],
  ])('%s is not forwarded: it throws', (_name, forged) => {
    const forwarder = createForwarder([backendAt('http://127.0.0.1:1')])
    cleanups.push(() => forwarder.close(0))
    const { forward } = forwarder as { forward(outbound: unknown, exchange: object): unknown }
    expect(() => forward(forged, {})).toThrow('only an OutboundRequest')
  })

  test('the real check knows a request that no decision made', async () => {
    const real = await vi.importActual<typeof import('../../src/enforce/outbound.ts')>(
      '../../src/enforce/outbound.ts',
    )
    expect(real.isOutboundRequest({ method: 'GET', path: '/', headers: [], body: { kind: 'none' } })).toBe(
      false,
    )
  })

  test.each<[string, Partial<OutboundRequest>]>([
    ['a path that names another host', { path: 'http://127.0.0.1:1/x' }],
    ['a path without a slash', { path: 'x' }],
    ['a space in the path', { path: '/a b' }],
    ['a line break in a value', { headers: ['x-a', 'b\r\nx-c: d'] }],
    ['a transfer coding of its own', { headers: ['transfer-encoding', 'chunked'] }],
    ['two hosts', { headers: ['host', 'a', 'host', 'b'] }],
    ['a length without a body', { headers: ['content-length', '3'] }],
    [
      'a length that is not the body’s',
      {
        method: 'POST',
        headers: ['content-length', '3'],
        body: { kind: 'bytes', bytes: Buffer.from('longer') },
      },
    ],
  ])('%s is a bug: 500, and no byte of it reaches the backend', async (_name, parts) => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, { outbound: () => parts })
    expect(await call(gate)).toEqual({ status: 500, body: 'internal_error' })
    expect(backend.bytesSeen()).toHaveLength(0)
    expect(gate.results).toEqual([
      { status: 500, bytesIn: expect.any(Number), bytesOut: 0, ended: 'completed', unseen: true },
    ])
  })

  test('a third of the requests invalid: none stuck, all others answered', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, {
      backend: { connections: 4 },
      outbound: (req) => (req.url === '/bad' ? { headers: ['expect', 'x'] } : {}),
    })
    const paths = Array.from({ length: 400 }, (_, i) => (i % 3 === 0 ? '/bad' : '/good'))
    const answers = await Promise.all(paths.map((path) => call(gate, { path })))
    expect(answers.map(({ status }) => status)).toEqual(paths.map((path) => (path === '/bad' ? 500 : 200)))
  })
})

describe('what comes back', () => {
  test('24 MiB pass both ways unchanged', async () => {
    const backend = await kept(startEchoBackend())
    const gate = await startGate(backend.url)
    const sent = randomBytes(24 * mebibyte)
    const res = await ask(gate, { method: 'POST', body: sent })
    const hash = createHash('sha256')
    for await (const chunk of res) hash.update(chunk as Buffer)
    expect(hash.digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'))
    await vi.waitFor(() =>
      expect(gate.results).toEqual([
        { status: 200, bytesIn: sent.length, bytesOut: sent.length, ended: 'completed' },
      ]),
    )
  })

  test.each([1, 700, 16_384, 16_385, 200_000])('an answer of %i bytes, all byte values', async (size) => {
    const body = Buffer.from(Array.from({ length: size }, (_, i) => i % 256))
    const backend = await kept(startRecordingBackend((_request, res) => res.end(body)))
    const gate = await startGate(backend.url)
    expect((await call(gate)).body).toBe(body.toString('latin1'))
  })

  test('a reader that pauses holds the backend back, then gets everything', async () => {
    const total = 128 * mebibyte
    let sent: () => number = () => 0
    const backend = await kept(
      startHttp((_req, res) => {
        sent = pump(res, total)
      }),
    )
    const gate = await startGate(backend.url)
    const res = await ask(gate)
    const heldAt = await settled(() => sent())
    expect(heldAt).toBeLessThan(total / 2)
    let read = 0
    for await (const chunk of res) read += (chunk as Buffer).length
    expect(read).toBe(total)
  })

  test('the first event arrives while the stream is open, the head before it', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url)
    const res = await ask(gate)
    expect(res.headers['content-type']).toBe('text/event-stream')
    for (const event of ['one', 'two']) {
      backend.send(event)
      expect(String(await once(res, 'data'))).toBe(`data: ${event}\n\n`)
    }
    expect(gate.results).toEqual([])
    backend.end()
    await once(res, 'end')
    await vi.waitFor(() => expect(gate.results[0]?.ended).toBe('completed'))
  })

  test('a redirect is an answer, not an instruction', async () => {
    const elsewhere = await kept(startRecordingBackend())
    const location = `${elsewhere.url}/stolen`
    const backend = await kept(
      startRecordingBackend((_request, res) => res.writeHead(302, { location }).end()),
    )
    const seen: number[] = []
    const gate = await startGate(backend.url, {
      exchange: {
        replyHead(status, raw) {
          seen.push(status)
          return { status, headers: endToEnd(raw) }
        },
      },
    })
    expect((await ask(gate)).headers.location).toBe(location)
    expect(seen).toEqual([302])
    expect(elsewhere.bytesSeen()).toHaveLength(0)
  })

  test('an answer that the filter refuses goes no further, and its connection is given up', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url, {
      exchange: { replyHead: () => refuse('backend_unauthorized') },
    })
    expect(await call(gate)).toEqual({ status: 502, body: 'backend_unauthorized' })
    await backend.closed
    expect(gate.results).toEqual([{ status: 502, bytesIn: 0, bytesOut: 0, ended: 'backend_failed' }])
  })

  test('a filter that throws is a bug, and the connection is given up', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url, {
      exchange: {
        replyHead() {
          throw new Error('broken filter')
        },
      },
    })
    expect(await call(gate)).toEqual({ status: 500, body: 'internal_error' })
    await backend.closed
  })

  test.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n', 'content-length: 5'],
    ['GET', 'HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n', 'x-a: b'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n', 'etag: "1"'],
  ])('%s answered %j has a head and no body', async (method, bytes, field) => {
    const backend = await kept(startScriptedBackend(() => bytes))
    const gate = await startGate(backend.url)
    const text = await exchangeRaw(gate, `${method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
    expect(text).toContain(field)
    expect(text.endsWith('\r\n\r\n')).toBe(true)
  })

  test('interim answers and trailers stay here', async () => {
    const backend = await kept(
      startScriptedBackend(
        () =>
          'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n' +
          'trailer: x-late\r\n\r\n2\r\nhi\r\n0\r\nx-late: secret\r\n\r\n',
      ),
    )
    const gate = await startGate(backend.url)
    const text = await exchangeRaw(gate, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(text).toContain('\r\n\r\n2\r\nhi\r\n0\r\n\r\n')
    expect(text).not.toMatch(/103|late|secret/)
  })

  test('a reason phrase that no header may hold is replaced, not relayed', async () => {
    const backend = await kept(
      startScriptedBackend(() => 'HTTP/1.1 200 \xe9\xff\r\ncontent-length: 2\r\n\r\nok'),
    )
    const gate = await startGate(backend.url)
    const res = await ask(gate)
    expect([res.statusCode, res.statusMessage, String(await readBody(res))]).toEqual([200, 'OK', 'ok'])
  })
})

describe('a backend that fails', () => {
  const chunked = 'transfer-encoding: chunked'
  test.each([
    [
      'Content-Length and Transfer-Encoding',
      `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n${chunked}\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    ],
    [
      'Transfer-Encoding and Content-Length',
      `HTTP/1.1 200 OK\r\n${chunked}\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    ],
    ['two different lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk'],
    ['two equal lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok'],
    ['a signed length', 'HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok'],
    [
      'a head beyond 16 KiB',
      `HTTP/1.1 200 OK\r\nx-big: ${'x'.repeat(17_000)}\r\ncontent-length: 2\r\n\r\nok`,
    ],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    [
      'a protocol switch nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
    ],
    ['a switch without an offer', 'HTTP/1.1 101 X\r\n\r\n'],
    ['a status of 000', 'HTTP/1.1 000 X\r\ncontent-length: 2\r\n\r\nok'],
    ['a status below 100', 'HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\nok'],
    ['a status above 599', 'HTTP/1.1 600 X\r\ncontent-length: 2\r\n\r\nok'],
    ['a status of four digits', 'HTTP/1.1 1000 X\r\ncontent-length: 2\r\n\r\nok'],
    ['a version that is not spoken', 'HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok'],
    ['a field name with a space', 'HTTP/1.1 200 OK\r\nx a: b\r\ncontent-length: 2\r\n\r\nok'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\nok'],
  ])('%s is no answer: 502', async (_name, bytes) => {
    const backend = await kept(startScriptedBackend(() => bytes))
    const gate = await startGate(backend.url)
    expect(await call(gate)).toEqual({ status: 502, body: 'backend_malformed' })
    expect(gate.results[0]?.ended).toBe('backend_failed')
  })

  test.each([
    ['a whole answer more', 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil'],
    ['part of one', 'HTTP/1.1 200 OK\r\n'],
    ['bytes that are no HTTP', 'evil'],
  ])('%s after an answer: the connection is discarded, the next caller unaffected', async (_name, extra) => {
    const backend = await kept(
      startScriptedBackend((nth) => {
        const body = `own-${nth}`
        const whole = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`
        return nth === 0 ? whole + extra : whole
      }),
    )
    const gate = await startGate(backend.url, { backend: { connections: 1 } })
    expect(await Promise.all([call(gate), call(gate), call(gate)])).toEqual(
      ['own-0', 'own-1', 'own-2'].map((body) => ({ status: 200, body })),
    )
    expect(backend.connections()).toBe(2)
  })

  test('nobody listens: 502, and the metrics hear of it', async () => {
    const gone = await startSilentBackend()
    await gone.close()
    const gate = await startGate(gone.url)
    expect(await call(gate)).toEqual({ status: 502, body: 'backend_unreachable' })
    expect(gate.refusals).toEqual([{ code: 'backend_unreachable', cause: 'ECONNREFUSED' }])
    expect(gate.events).toEqual(['connectionError'])
  })

  test('a connection dropped before the answer is 502, and the request is not tried again', async () => {
    let heads = 0
    const backend = await kept(
      startScriptedBackend((_nth, socket) => {
        heads += 1
        socket.resetAndDestroy()
        return undefined
      }),
    )
    const gate = await startGate(backend.url)
    expect(await call(gate)).toEqual({ status: 502, body: 'backend_unreachable' })
    expect(heads).toBe(1)
  })

  test('a handshake that never ends is a timeout: 504', async () => {
    const mute = await kept(listening(net.createServer()))
    const gate = await startGate(mute.url.replace('http:', 'https:'), { backend: { connectTimeoutMs: 100 } })
    expect(await call(gate)).toEqual({ status: 504, body: 'backend_timeout' })
  })

  test('no answer in time: 504, and the request is aborted', async () => {
    const backend = await kept(startSilentBackend())
    const gate = await startGate(backend.url, { backend: { headersTimeoutMs: 100 } })
    expect(await call(gate)).toEqual({ status: 504, body: 'backend_timeout' })
    await backend.hungUp
    expect(backend.received()).toBe(1)
  })

  test.each([
    ['closes inside a body of known length', 'content-length: 10\r\n\r\nhalf'],
    ['closes inside a chunked body', 'transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    ['sends a chunk that is none', 'transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nZZ\r\n'],
  ])('one that %s leaves the client a broken answer, not a short one', async (_name, rest) => {
    const backend = await kept(
      startScriptedBackend((_nth, socket) => {
        setImmediate(() => socket.end())
        return `HTTP/1.1 200 OK\r\n${rest}`
      }),
    )
    const gate = await startGate(backend.url)
    expect((await call(gate)).body).toBe('broken off')
    expect(gate.results).toEqual([{ status: 200, bytesIn: 0, bytesOut: 4, ended: 'backend_failed' }])
  })

  test.each([
    ['of known length', 'content-length: 10\r\n\r\nhalf'],
    ['in chunks, which HTTP/1.0 does not have', 'transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
  ])(
    'one that dies inside a body %s resets an HTTP/1.0 client: an end would be the end of the answer',
    async (_name, rest) => {
      let die = () => {}
      const backend = await kept(
        startScriptedBackend((_nth, socket) => {
          die = () => socket.end()
          return `HTTP/1.1 200 OK\r\n${rest}`
        }),
      )
      const gate = await startGate(backend.url)
      const client = net.connect(gate.port, '127.0.0.1')
      client.write('GET / HTTP/1.0\r\nhost: x\r\n\r\n')
      let seen = ''
      const end = new Promise<string>((resolve) => {
        client.on('end', () => resolve('whole'))
        client.on('error', ({ message }) => resolve(message))
      })
      client.on('data', (chunk) => {
        seen += chunk
        if (seen.endsWith('half')) die()
      })
      expect(await end).toContain('ECONNRESET')
      expect(seen).toContain('\r\n\r\nhalf')
      expect(gate.results).toEqual([{ status: 200, bytesIn: 0, bytesOut: 4, ended: 'backend_failed' }])
    },
  )

  test('silence inside an answer ends it after the idle timeout', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url, { backend: { idleTimeoutMs: 100 } })
    expect(await call(gate)).toEqual({ status: 200, body: 'broken off' })
    expect(gate.results[0]?.ended).toBe('backend_failed')
  })
})

describe('a client that leaves', () => {
  test('while it waits: the backend sees its request aborted', async () => {
    const backend = await kept(startSilentBackend())
    const gate = await startGate(backend.url)
    const client = net.connect(gate.port, '127.0.0.1')
    client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    await backend.asked
    client.destroy()
    await backend.hungUp
    expect(gate.results).toEqual([{ status: 0, bytesIn: 0, bytesOut: 0, ended: 'aborted_by_client' }])
    expect(gate.refusals).toEqual([])
  })

  test('inside a stream: the backend’s stream is closed', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url)
    const res = await ask(gate)
    res.destroy()
    await backend.closed
    expect(gate.results).toEqual([{ status: 200, bytesIn: 0, bytesOut: 0, ended: 'aborted_by_client' }])
  })

  test('inside an upload: the backend never takes it for whole', async () => {
    const { promise: received, resolve } = Promise.withResolvers<Buffer | undefined>()
    const backend = await kept(startHttp((req) => void readBody(req).then(resolve)))
    const gate = await startGate(backend.url)
    const client = net.connect(gate.port, '127.0.0.1')
    client.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nsome')
    await settled(() => gate.events.length)
    client.destroy()
    expect(await received).toBeUndefined()
    expect(gate.results).toEqual([{ status: 0, bytesIn: 4, bytesOut: 0, ended: 'aborted_by_client' }])
  })

  test('before it is forwarded: nothing reaches the backend', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, {
      before: async (req, res) => {
        req.socket.destroy()
        await once(res, 'close')
      },
    })
    await expect(ask(gate)).rejects.toThrow('socket hang up')
    await vi.waitFor(() => expect(gate.results[0]?.ended).toBe('aborted_by_client'))
    expect(backend.bytesSeen()).toHaveLength(0)
  })

  test('while it waits for a connection: its request is never sent, the connection lives on', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url, { backend: { connections: 1 } })
    const first = await ask(gate)
    const waiting = net.connect(gate.port, '127.0.0.1')
    waiting.write('GET /waiting HTTP/1.1\r\nhost: x\r\n\r\n')
    await vi.waitFor(() => expect(gate.handles).toHaveLength(2))
    waiting.destroy()
    await vi.waitFor(() => expect(gate.results).toHaveLength(1))
    const third = ask(gate)
    backend.end()
    await readBody(first)
    await third
    expect([...backend.streams].map(({ req }) => req.url)).toEqual(['/'])
    expect(gate.events).toEqual(['connect'])
  })

  test('or that stops reading for longer than it may: it is cut, and so is the backend', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    const backend = await kept(
      startHttp((_req, res) => {
        res.once('close', resolve)
        res.end(Buffer.alloc(64 * mebibyte))
      }),
    )
    const gate = await startGate(backend.url, { exchange: { bodyIdleMs: 200 } })
    await ask(gate)
    await closed
    expect(gate.results[0]?.ended).toBe('aborted_by_client')
  })
})

describe('an upload', () => {
  test('waits for a backend that does not read, longer than a client may stall, and arrives whole', async () => {
    const { promise: reading, resolve: read } = Promise.withResolvers<void>()
    const backend = await kept(
      startHttp(async (req, res) => {
        await reading
        res.end(String((await readBody(req))?.length))
      }),
    )
    const gate = await startGate(backend.url, { exchange: { bodyIdleMs: 500 } })
    const total = 64 * mebibyte
    const request = http.request(gate.url, { method: 'POST', headers: { 'content-length': total } })
    const answered = once(request, 'response') as Promise<[IncomingMessage]>
    expect(await settled(pump(request, total))).toBeLessThan(total / 2)
    await new Promise((resolve) => setTimeout(resolve, 700))
    read()
    const [res] = await answered
    expect(String(await readBody(res))).toBe(String(total))
    expect(gate.refusals).toEqual([])
  })

  test.each([
    ['of announced length', { 'content-length': 101 }],
    ['without a length', { 'transfer-encoding': 'chunked' }],
  ])('%s over the limit: 413, and nothing reaches the backend', async (_name, headers) => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, { exchange: { bodyLimit: 100 } })
    const wanted = { method: 'POST', headers, body: 'x'.repeat(101) }
    expect(await call(gate, wanted)).toEqual({ status: 413, body: 'body_too_large' })
    expect(backend.bytesSeen()).toHaveLength(0)
    expect(gate.results[0]).toMatchObject({ status: 413, ended: 'completed' })
  })

  test.each([
    ['of announced length', { 'content-length': 100 }],
    ['without a length', { 'transfer-encoding': 'chunked' }],
  ])('%s at the limit passes', async (_name, headers) => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, { exchange: { bodyLimit: 100 } })
    await call(gate, { method: 'POST', headers, body: 'x'.repeat(100) })
    expect(backend.requests[0]?.body).toHaveLength(100)
  })

  test('without a length and too large to hold is aborted on the way: the backend never takes it for whole', async () => {
    const { promise: received, resolve } = Promise.withResolvers<Buffer | undefined>()
    const backend = await kept(startHttp((req) => void readBody(req).then(resolve)))
    const gate = await startGate(backend.url, { exchange: { bodyLimit: 2 * mebibyte } })
    const headers = { 'transfer-encoding': 'chunked' }
    const body = Buffer.alloc(2 * mebibyte + 1)
    expect(await call(gate, { method: 'PUT', headers, body })).toEqual({
      status: 413,
      body: 'body_too_large',
    })
    expect(await received).toBeUndefined()
  })

  test.each([
    ['streamed', 'content-length: 9'],
    ['read whole', 'transfer-encoding: chunked'],
  ])('that stalls while %s: 408', async (_name, framing) => {
    const backend = await kept(startSilentBackend())
    const gate = await startGate(backend.url, { exchange: { bodyIdleMs: 100, bodyLimit: 1_000 } })
    const text = await exchangeRaw(gate, `POST / HTTP/1.1\r\nhost: x\r\n${framing}\r\n\r\n1\r\n`)
    expect(text).toMatch(/^HTTP\/1\.1 408 /)
    expect(gate.refusals).toEqual([{ code: 'request_timeout', cause: 'upload' }])
  })

  test('answered before its end: a client that reads late still gets the whole answer, then a close', async () => {
    const body = 'x'.repeat(mebibyte)
    const backend = await kept(
      startScriptedBackend(() => `HTTP/1.1 413 No\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
    )
    const gate = await startGate(backend.url)
    const client = net.connect(gate.port, '127.0.0.1')
    client.on('error', () => {})
    client.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99000000\r\n\r\n')
    // Closing now, with bytes unread, would reset the connection and drop what it has not sent yet.
    const sending = setInterval(() => client.write(Buffer.alloc(65_536)), 5)
    await new Promise((resolve) => setTimeout(resolve, 200))
    const chunks: Buffer[] = []
    client.on('data', (chunk) => chunks.push(chunk))
    await once(client, 'close')
    clearInterval(sending)
    const text = Buffer.concat(chunks).toString()
    expect(text).toMatch(/^HTTP\/1\.1 413 No\r\n/)
    expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n')
    expect(text).toHaveLength(text.indexOf('\r\n\r\n') + 4 + body.length)
    expect(gate.results[0]).toMatchObject({ status: 413, bytesOut: body.length, ended: 'completed' })
  })

  test('that breaks midway can be refused from outside', async () => {
    const backend = await kept(startSilentBackend())
    const gate = await startGate(backend.url)
    const answered = ask(gate, { method: 'POST', headers: { 'content-length': 5 }, body: 'hello' })
    await backend.asked
    gate.handles[0]?.refuse(refuse('malformed_framing'))
    expect((await answered).statusCode).toBe(400)
    await backend.hungUp
    expect(gate.refusals).toEqual([{ code: 'malformed_framing', cause: 'malformed_framing' }])
  })
})

describe('bounds and ends', () => {
  test('more requests under way than allowed: 503 at once; a place that is free again is used', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url, { backend: { maxInFlight: 2 } })
    const open = await Promise.all([ask(gate), ask(gate)])
    expect(await call(gate)).toEqual({ status: 503, body: 'overloaded' })
    open[0]?.destroy()
    await vi.waitFor(() => expect(gate.results).toHaveLength(2))
    expect((await ask(gate)).statusCode).toBe(200)
    backend.end()
  })

  test('refused, failed and aborted requests give their places back', async () => {
    const backend = await kept(startRecordingBackend())
    const outbound = (req: IncomingMessage) => (req.url === '/bad' ? { headers: ['expect', 'x'] } : {})
    const gate = await startGate(backend.url, { backend: { maxInFlight: 1 }, outbound })
    for (const path of ['/bad', '/good', '/bad', '/bad', '/good']) {
      expect((await call(gate, { path })).status).toBe(path === '/bad' ? 500 : 200)
    }
  })

  test('no connection free within the bound: 503', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url, {
      backend: { connections: 1, connectTimeoutMs: 50, headersTimeoutMs: 50 },
    })
    await ask(gate)
    expect(await call(gate)).toEqual({ status: 503, body: 'overloaded' })
    expect(gate.refusals).toEqual([{ code: 'overloaded', cause: 'no_free_connection' }])
  })

  test.each(['revoked_midway', 'expired_midway'] as const)(
    'an open stream is cut when its lease ends: %s, once',
    async (reason) => {
      const backend = await kept(startSseBackend())
      const gate = await startGate(backend.url)
      const res = await ask(gate)
      const broken = readBody(res)
      gate.handles[0]?.end(reason, refuse('lease_revoked'))
      gate.handles[0]?.end('expired_midway', refuse('lease_expired'))
      expect(await broken).toBeUndefined()
      await backend.closed
      expect(gate.results).toMatchObject([{ status: 200, bytesIn: 0, ended: reason }])
    },
  )

  test('an end that comes after the exchange changes nothing', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url)
    await call(gate)
    await vi.waitFor(() => expect(gate.results).toHaveLength(1))
    gate.handles[0]?.end('revoked_midway', refuse('lease_revoked'))
    gate.handles[0]?.refuse(refuse('malformed_framing'))
    expect(gate.results).toEqual([{ status: 200, bytesIn: 0, bytesOut: 11, ended: 'completed' }])
  })

  test('closing lets what is under way finish and refuses what is new', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url)
    const res = await ask(gate)
    const closed = gate.forwarder.close()
    expect(await call(gate)).toEqual({ status: 503, body: 'overloaded' })
    backend.send('last')
    backend.end()
    expect(String(await readBody(res))).toBe('data: last\n\n')
    await closed
  })

  test('closing has a bound: what still runs then is cut', async () => {
    const backend = await kept(startSseBackend())
    const gate = await startGate(backend.url)
    const broken = readBody(await ask(gate))
    await gate.forwarder.close(50)
    expect(await broken).toBeUndefined()
    expect(gate.results[0]?.ended).toBe('backend_failed')
  })
})
