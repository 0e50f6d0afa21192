// WebSocket upgrades over real sockets: a bare gate around the upgrader, ws and raw sockets at both ends.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test, vi } from 'vitest'
import WebSocket from 'ws'
import type { Backend } from '../../src/enforce/operation.ts'
import type { OutboundRequest } from '../../src/enforce/outbound.ts'
import type { ForwardHandle, ForwardResult } from '../../src/http/exchange.ts'
import { createUpgrader, type Upgrader } from '../../src/http/upgrade.ts'
import { refuse } from '../../src/refusals.ts'
import {
  listening,
  type ScriptedBackend,
  startRecordingBackend,
  startScriptedBackend,
  startWebSocketBackend,
  type TestServer,
} from '../support/backends.ts'

// As in forward.test.ts: the real class can only be made by a decision.
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

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function kept<T extends TestServer>(starting: Promise<T>): Promise<T> {
  const server = await starting
  cleanups.push(() => server.close())
  return server
}

interface Gate extends TestServer {
  readonly results: ForwardResult[]
  readonly refusals: { code: string; cause: string }[]
  readonly handles: ForwardHandle[]
  readonly upgrader: Upgrader
}

interface GateOptions {
  handshakeMs?: number
  maxInFlight?: number
  outbound?: Partial<OutboundRequest>
}

/** A proxy that enforces nothing, around the upgrader under test. */
async function startGate(origin: string, options: GateOptions = {}): Promise<Gate> {
  const { handshakeMs = 20_000, maxInFlight = 100 } = options
  const backend = { name: 'crm', origin, maxInFlight } as Backend
  const upgrader = createUpgrader()
  const results: ForwardResult[] = []
  const refusals: Gate['refusals'] = []
  const handles: ForwardHandle[] = []
  const server = http.createServer((_req, res) => res.end())
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => {})
    const headers = [
      'host',
      'backend.example',
      'connection',
      'Upgrade',
      'upgrade',
      'websocket',
      'lease-id',
      'lse_1',
    ]
    for (let i = 0; i < req.rawHeaders.length; i += 2) {
      const name = req.rawHeaders[i]!.toLowerCase()
      if (name.startsWith('sec-websocket-')) headers.push(name, req.rawHeaders[i + 1]!)
    }
    const parts = {
      backend,
      method: 'GET',
      path: req.url,
      headers,
      body: { kind: 'none' },
      ...options.outbound,
    }
    const handle = upgrader.forwardUpgrade(new StandIn(parts) as OutboundRequest, socket as Socket, head, {
      handshakeMs,
      fail(refusal, cause) {
        refusals.push({ code: refusal.code, cause })
        const text = `HTTP/1.1 ${refusal.row.status} No\r\nconnection: close\r\n\r\n${refusal.code}`
        setImmediate(() => socket.end(text))
      },
      onEnd: (result) => results.push(result),
    })
    handles.push(handle)
  })
  cleanups.push(() => upgrader.close())
  return { ...(await kept(listening(server))), results, refusals, handles, upgrader }
}

async function open(gate: TestServer, path = '/live'): Promise<WebSocket> {
  const socket = new WebSocket(`${gate.url.replace('http', 'ws')}${path}`, ['echo'], {
    headers: { authorization: 'Bearer lease', cookie: 'a=b' },
  })
  socket.on('error', () => {})
  await once(socket, 'open')
  return socket
}

const offer =
  'GET /live HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n' +
  'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

function connect(gate: TestServer, bytes = offer): Socket {
  const socket = net.connect(gate.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(bytes)
  return socket
}

/** Sends the offer; all that comes back until the other side closes. */
async function answerTo(gate: TestServer, bytes?: string): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of connect(gate, bytes)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('latin1')
}

/** A backend of exact bytes, and the promise that its first connection has been closed. */
async function scripted(script: (socket: Socket) => string | undefined): Promise<{
  backend: ScriptedBackend
  asked: Promise<Socket>
  hungUp: Promise<void>
}> {
  const asked = Promise.withResolvers<Socket>()
  const hungUp = Promise.withResolvers<void>()
  const starting = startScriptedBackend((_nth, socket) => {
    socket.once('close', () => hungUp.resolve())
    asked.resolve(socket)
    return script(socket)
  })
  return { backend: await kept(starting), asked: asked.promise, hungUp: hungUp.promise }
}

const accepted =
  'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n' +
  'sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n'

describe('an open tunnel', () => {
  test('carries messages both ways, of any size, and ends cleanly', async () => {
    const backend = await kept(startWebSocketBackend())
    const gate = await startGate(backend.url)
    const socket = await open(gate)
    for (const message of ['hello', 'x'.repeat(1_000_000)]) {
      socket.send(message)
      expect(String((await once(socket, 'message'))[0])).toBe(message)
    }
    socket.close(4_000, 'done')
    expect((await once(socket, 'close'))[0]).toBe(4_000)
    await vi.waitFor(() => expect(gate.results).toHaveLength(1))
    const [result] = gate.results
    expect(result).toMatchObject({ status: 101, ended: 'completed' })
    expect(result?.bytesIn).toBeGreaterThan(1_000_000)
    expect(result?.bytesOut).toBeGreaterThan(1_000_000)
  })

  test('is asked for with the decided path and headers, and none of the client’s own', async () => {
    const backend = await kept(startWebSocketBackend())
    const gate = await startGate(backend.url)
    const path = "/a%2Fb/it's?q=%E2%82%AC&&z"
    ;(await open(gate, path)).terminate()
    const [request] = backend.handshakes
    expect(request?.url).toBe(path)
    expect(request?.headers).toMatchObject({ host: 'backend.example', 'lease-id': 'lse_1' })
    expect(request?.headers).not.toHaveProperty('authorization')
    expect(request?.headers).not.toHaveProperty('cookie')
  })

  test('is accepted with the five fields of a 101 and no other', async () => {
    const backend = await kept(startWebSocketBackend())
    const gate = await startGate(backend.url)
    const client = connect(gate, offer.replace('\r\n\r\n', '\r\nsec-websocket-protocol: echo\r\n\r\n'))
    const head = String((await once(client, 'data'))[0])
    expect(head.split('\r\n').map((line) => line.split(':')[0]?.toLowerCase())).toEqual([
      'http/1.1 101 switching protocols',
      'upgrade',
      'connection',
      'sec-websocket-accept',
      'sec-websocket-protocol',
      '',
      '',
    ])
    client.destroy()
  })

  test('bytes that arrive together with the handshake are not lost, on either side', async () => {
    const { backend, asked } = await scripted(() => `${accepted}\r\nfirst-from-backend`)
    const gate = await startGate(backend.url)
    const client = connect(gate, `${offer}first-from-client`)
    const got: string[] = []
    client.on('data', (chunk) => got.push(String(chunk)))
    const upstream = await asked
    expect(String((await once(upstream, 'data'))[0])).toBe('first-from-client')
    await vi.waitFor(() => expect(got.join('')).toContain('\r\n\r\nfirst-from-backend'))
    gate.handles[0]?.end('expired_midway', refuse('lease_expired'))
    expect(gate.results).toMatchObject([{ status: 101, bytesIn: 17, bytesOut: 18, ended: 'expired_midway' }])
  })

  test.each(['revoked_midway', 'expired_midway'] as const)(
    '%s: both ends are destroyed, once',
    async (reason) => {
      const backend = await kept(startWebSocketBackend())
      const gate = await startGate(backend.url)
      const socket = await open(gate)
      gate.handles[0]?.end(reason, refuse('lease_revoked'))
      gate.handles[0]?.end('expired_midway', refuse('lease_expired'))
      expect((await once(socket, 'close'))[0]).toBe(1008)
      await vi.waitFor(() => expect(backend.connections()).toBe(0))
      expect(gate.results).toMatchObject([{ status: 101, ended: reason }])
    },
  )

  test.each<[string, (client: Socket) => unknown]>([
    ['closes', (client) => client.end()],
    ['resets', (client) => client.resetAndDestroy()],
  ])('a client that %s takes the backend’s socket with it', async (_name, leave) => {
    const { backend, hungUp } = await scripted(() => `${accepted}\r\n`)
    const gate = await startGate(backend.url)
    const client = connect(gate)
    await once(client, 'data')
    leave(client)
    await hungUp
    await vi.waitFor(() => expect(gate.results).toHaveLength(1))
  })

  test.each<[string, (upstream: Socket) => unknown]>([
    ['closes', (upstream) => upstream.end()],
    ['resets', (upstream) => upstream.resetAndDestroy()],
  ])('a backend that %s takes the client’s socket with it', async (_name, leave) => {
    const { backend, asked } = await scripted(() => `${accepted}\r\n`)
    const gate = await startGate(backend.url)
    const client = connect(gate)
    await once(client, 'data')
    const closed = once(client, 'close')
    leave(await asked)
    await closed
    await vi.waitFor(() => expect(gate.results).toHaveLength(1))
  })

  test('closing the upgrader cuts every tunnel', async () => {
    const backend = await kept(startWebSocketBackend())
    const gate = await startGate(backend.url)
    const closed = [await open(gate), await open(gate)].map((socket) => once(socket, 'close'))
    gate.upgrader.close()
    await Promise.all(closed)
    await vi.waitFor(() => expect(backend.connections()).toBe(0))
    expect(gate.results).toHaveLength(2)
  })
})

describe('a handshake that fails', () => {
  const chunked = 'transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
  test.each([
    ['200', 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret', 'backend_malformed'],
    ['a 101 in HTTP/2.0', `${accepted.replace('1.1', '2.0')}\r\n`, 'backend_malformed'],
    ['a 101 in HTTP/1.0', `${accepted.replace('1.1', '1.0')}\r\n`, 'backend_malformed'],
    [
      'a redirect',
      'HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n',
      'backend_malformed',
    ],
    ['403 with a chunked body', `HTTP/1.1 403 No\r\nset-cookie: a=b\r\n${chunked}`, 'backend_malformed'],
    [
      '401',
      'HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n',
      'backend_unauthorized',
    ],
    [
      'a switch to something else',
      'HTTP/1.1 101 X\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n',
      'backend_malformed',
    ],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'backend_malformed'],
  ])('the backend answers %s: our own 502, nothing of its answer', async (_name, bytes, code) => {
    const { backend, hungUp } = await scripted(() => bytes)
    const gate = await startGate(backend.url)
    expect(await answerTo(gate)).toBe(`HTTP/1.1 502 No\r\nconnection: close\r\n\r\n${code}`)
    await hungUp
    expect(gate.results).toEqual([{ status: 502, bytesIn: 0, bytesOut: 0, ended: 'backend_failed' }])
  })

  test('nobody listens: 502', async () => {
    const gone = await startRecordingBackend()
    await gone.close()
    const gate = await startGate(gone.url)
    expect(await answerTo(gate)).toContain('backend_unreachable')
    expect(gate.refusals).toEqual([{ code: 'backend_unreachable', cause: 'ECONNREFUSED' }])
  })

  test('no answer in time: 504, and the backend’s socket is closed', async () => {
    const { backend, hungUp } = await scripted(() => undefined)
    const gate = await startGate(backend.url, { handshakeMs: 100 })
    expect(await answerTo(gate)).toMatch(/^HTTP\/1\.1 504 .*backend_timeout$/s)
    await hungUp
  })

  test('a client that resets before the answer ends the backend’s request, and the process lives', async () => {
    const { backend, asked, hungUp } = await scripted(() => undefined)
    const gate = await startGate(backend.url)
    const client = connect(gate)
    await asked
    client.resetAndDestroy()
    await hungUp
    expect(gate.results).toEqual([{ status: 0, bytesIn: 0, bytesOut: 0, ended: 'aborted_by_client' }])
  })

  test('a client that is gone already: nothing is asked', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url)
    const results: ForwardResult[] = []
    const socket = new net.Socket().destroy()
    const parts = { backend: { origin: backend.url, maxInFlight: 1 }, method: 'GET', path: '/', headers: [] }
    gate.upgrader.forwardUpgrade(new StandIn(parts) as OutboundRequest, socket, Buffer.alloc(0), {
      handshakeMs: 1_000,
      fail: () => {},
      onEnd: (result) => results.push(result),
    })
    expect(results).toMatchObject([{ status: 0, ended: 'aborted_by_client' }])
    expect(backend.bytesSeen()).toHaveLength(0)
  })

  test.each(['//admin', '/a//b', '/a/http:/b'])(
    'the path %s, which http-proxy would rewrite, is not sent at all',
    async (path) => {
      const backend = await kept(startRecordingBackend())
      const gate = await startGate(backend.url, { outbound: { path } })
      expect(await answerTo(gate)).toContain('internal_error')
      expect(backend.bytesSeen()).toHaveLength(0)
    },
  )

  test.each<[string, Partial<OutboundRequest>]>([
    ['a method other than GET', { method: 'POST' }],
    ['no offer of a WebSocket', { headers: ['host', 'x'] }],
    ['an offer of something else', { headers: ['host', 'x', 'connection', 'Upgrade', 'upgrade', 'h2c'] }],
    [
      'a line break in a value',
      { headers: ['connection', 'Upgrade', 'upgrade', 'websocket', 'x', 'a\r\nb: c'] },
    ],
  ])('%s is a bug: 500, and nothing is sent', async (_name, outbound) => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, { outbound })
    expect(await answerTo(gate)).toContain('internal_error')
    expect(backend.bytesSeen()).toHaveLength(0)
    expect(gate.results).toHaveLength(1)
  })

  test('more tunnels than allowed: 503; a place that is free again is used', async () => {
    const backend = await kept(startWebSocketBackend())
    const gate = await startGate(backend.url, { maxInFlight: 1 })
    const first = await open(gate)
    expect(await answerTo(gate)).toMatch(/^HTTP\/1\.1 503 .*overloaded$/s)
    first.terminate()
    await vi.waitFor(() => expect(gate.results).toHaveLength(2))
    ;(await open(gate)).terminate()
  })

  test('what no decision made is not forwarded: it throws', () => {
    const { forwardUpgrade } = createUpgrader() as { forwardUpgrade(...forged: unknown[]): unknown }
    expect(() => forwardUpgrade({ path: '/' }, new net.Socket(), Buffer.alloc(0), {})).toThrow(
      'OutboundRequest',
    )
  })

  test('the deprecated function that http-proxy calls is not reported, and others still are', async () => {
    // Node warns once per process, so this needs one of its own.
    const script = `
      import util from 'node:util'
      import { createUpgrader } from './src/http/upgrade.ts'
      createUpgrader()
      util._extend({}, {})
      process.emitWarning('still heard', 'DeprecationWarning', 'DEP_TEST')`
    const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
    expect(stderr).toContain('[DEP_TEST] DeprecationWarning: still heard')
    expect(stderr).not.toContain('DEP0060')
  })
})
