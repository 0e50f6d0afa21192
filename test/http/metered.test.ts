// Byte budgets over real sockets and a real SQLite store: what passes both ways never exceeds what is granted,
// whatever is left goes back, and what does not fit is refused or cut with its reason.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import WebSocket from 'ws'
import { openMeter } from '../../src/enforce/meter.ts'
import type { Backend } from '../../src/enforce/operation.ts'
import type { OutboundRequest } from '../../src/enforce/outbound.ts'
import { endAnswer } from '../../src/http/ending.ts'
import type { ForwardResult } from '../../src/http/exchange.ts'
import { createForwarder } from '../../src/http/forward.ts'
import { createUpgrader } from '../../src/http/upgrade.ts'
import type { Total } from '../../src/ports/budgets.ts'
import { type Store, Unavailable } from '../../src/ports.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import {
  listening,
  startEchoBackend,
  startHttp,
  startRecordingBackend,
  startScriptedBackend,
  startSseBackend,
  startWebSocketBackend,
  type TestServer,
} from '../support/backends.ts'
import { eventually } from '../support/gate.ts'
import { RawConnection } from '../support/raw.ts'

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

let dir: string
let store: Store
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-metered-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
})
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function kept<T extends TestServer>(starting: Promise<T>): Promise<T> {
  const server = await starting
  cleanups.push(() => server.close())
  return server
}

let budgets = 0

/** A budget of its own. */
function totalOf(max: number): Omit<Total, 'take'> {
  return { kind: 'total', key: `bytes ${budgets++}`, max: BigInt(max), expiresAt: Date.now() / 1000 + 3_600 }
}

async function spentOf(total: Omit<Total, 'take'>): Promise<number> {
  const [remaining] = await store.budgets.look([{ ...total, take: 0n }])
  return Number(total.max - remaining!.left)
}

interface Gate extends TestServer {
  readonly results: ForwardResult[]
}

/** A proxy that enforces a byte budget and nothing else, each exchange with a meter of its own. */
async function startGate(
  origin: string,
  total: Omit<Total, 'take'>,
  spend = store.budgets.spend,
): Promise<Gate> {
  const backend = {
    name: 'crm',
    origin,
    connectTimeoutMs: 2_000,
    headersTimeoutMs: 20_000,
    idleTimeoutMs: 20_000,
    connections: 8,
    maxInFlight: 100,
  } as Backend
  const forwarder = createForwarder([backend])
  const upgrader = createUpgrader()
  const results: ForwardResult[] = []
  const meter = () => {
    const onError = (error: Error) => {
      throw error
    }
    const short = { detail: 'too few bytes' }
    return openMeter({ budgets: { ...store.budgets, spend }, total, reserved: 0n, short, onError })
  }
  const server = await kept(
    startHttp((req, res) => {
      const body = {
        kind: Number(req.headers['content-length'] ?? 1) > 0 && req.method === 'POST' ? 'stream' : 'none',
      }
      const { 'content-length': length, 'content-type': type } = req.headers
      const headers = [
        'host',
        'backend',
        ...(type === undefined ? [] : ['content-type', type]),
        ...(length === undefined ? [] : ['content-length', length]),
      ]
      const metered = meter()
      forwarder.forward(
        new StandIn({ backend, method: req.method, path: req.url, headers, body }) as OutboundRequest,
        {
          req,
          res,
          bodyLimit: 1e9,
          bodyIdleMs: 20_000,
          meter: metered,
          replyHead: (status, raw) => ({ status, headers: passing(raw) }),
          fail: (refusal) => say(refusal, req, res),
          problem: (refusal) => JSON.stringify({ code: refusal.code }),
          done(result) {
            metered.end()
            if (isRefusal(result.refusal) && !res.headersSent) say(result.refusal, req, res)
            results.push(result)
          },
        },
      )
    }),
  )
  const sockets = http.createServer().on('upgrade', (req, socket, head) => {
    socket.on('error', () => {})
    const headers = ['host', 'backend', 'connection', 'Upgrade', 'upgrade', 'websocket']
    for (const [name, value] of Object.entries(req.headers)) {
      if (name.startsWith('sec-websocket-')) headers.push(name, String(value))
    }
    const parts = { backend, method: 'GET', path: req.url, headers, body: { kind: 'none' } }
    const metered = meter()
    upgrader.forwardUpgrade(new StandIn(parts) as OutboundRequest, socket as Socket, head, {
      handshakeMs: 20_000,
      meter: metered,
      fail: () => socket.destroy(),
      onEnd(result) {
        metered.end()
        results.push(result)
      },
    })
  })
  const upgrades = await kept(listening(sockets))
  cleanups.push(async () => {
    upgrader.close()
    await forwarder.close(0)
  })
  return { ...server, port: upgrades.port, results }
}

function passing(raw: readonly (Buffer | string)[]): string[] {
  const flat = raw.map(String).map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text))
  const stopped = new Set(['connection', 'keep-alive', 'transfer-encoding'])
  return flat.filter((_, at) => !stopped.has(flat[at - (at % 2)]!))
}

function say(refusal: Refusal, req: http.IncomingMessage, res: http.ServerResponse): void {
  res.writeHead(refusal.row.status, { connection: 'close', 'content-length': refusal.code.length })
  res.write(refusal.code)
  endAnswer(req, res)
}

interface Told {
  readonly status: number
  readonly body: Buffer
  /** The answer ended as it should. */
  readonly whole: boolean
}

async function call(
  gate: Gate,
  path: string,
  upload?: { method?: string; body?: Buffer; chunked?: true },
): Promise<Told> {
  const { method = upload?.body === undefined ? 'GET' : 'POST', body, chunked } = upload ?? {}
  const headers = body === undefined || chunked ? {} : { 'content-length': body.length }
  const req = http.request(`${gate.url}${path}`, { method, headers, agent: false })
  req.on('error', () => {})
  if (chunked && body !== undefined) {
    req.write(body.subarray(0, body.length / 2))
    req.end(body.subarray(body.length / 2))
  } else req.end(body)
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  const chunks: Buffer[] = []
  res.on('data', (chunk: Buffer) => chunks.push(chunk))
  res.on('error', () => {})
  await new Promise((resolve) => res.once('close', resolve))
  return { status: res.statusCode!, body: Buffer.concat(chunks), whole: res.complete }
}

/** Answers below `/length/N` and `/chunks/N` with so many bytes. */
function startBytes(): Promise<TestServer> {
  return kept(
    startHttp((req, res) => {
      const [, kind, count] = req.url!.split('/')
      const bytes = Buffer.alloc(Number(count), 'x')
      if (kind === 'length') res.setHeader('content-length', bytes.length)
      for (let at = 0; at < bytes.length; at += 10_000) res.write(bytes.subarray(at, at + 10_000))
      res.end()
    }),
  )
}

const big = 3_000_000

describe('an answer', () => {
  const rows: readonly (readonly [string, string, number, number])[] = [
    ['with a length that fits', 'length', big, big],
    ['with a length that fits to the last byte', 'length', 500_000, 500_000],
    ['in chunks that fit', 'chunks', big, big + 1],
    ['in chunks that fit to the last byte', 'chunks', 500_000, 500_000],
    ['of one byte', 'chunks', 1, 1],
    ['without a byte', 'length', 0, 0],
    ['in chunks without a byte', 'chunks', 0, 0],
  ]
  test.each(rows)('%s passes whole, and the rest of the budget comes back', async (_, kind, bytes, max) => {
    const backend = await startBytes()
    const total = totalOf(max)
    const gate = await startGate(backend.url, total)
    const { status, body, whole } = await call(gate, `/${kind}/${bytes}`)
    expect([status, body.length, whole]).toEqual([200, bytes, true])
    await eventually(async () => (await spentOf(total)) === bytes, 'the rest of the budget')
    expect(gate.results).toMatchObject([{ bytesOut: bytes, ended: 'completed' }])
  })

  test.each([
    ['of one byte too many', 500_001],
    ['of far too many', big],
  ])('with a length %s is refused before its head', async (_, bytes) => {
    const backend = await startBytes()
    const total = totalOf(500_000)
    const gate = await startGate(backend.url, total)
    const { status, body } = await call(gate, `/length/${bytes}`)
    expect([status, String(body)]).toEqual([429, 'budget_exhausted'])
    expect(gate.results).toMatchObject([{ status: 429, bytesOut: 0, ended: 'budget_midway' }])
    await eventually(async () => (await spentOf(total)) === 0, 'the whole budget')
  })

  test('in more chunks than fit is cut, and never looks whole', async () => {
    const backend = await startBytes()
    const total = totalOf(500_000)
    const gate = await startGate(backend.url, total)
    const { status, body, whole } = await call(gate, `/chunks/${big}`)
    expect([status, whole]).toEqual([200, false])
    expect(body.length).toBeLessThanOrEqual(500_000)
    const [result] = gate.results
    expect(result).toMatchObject({ ended: 'budget_midway', refusal: { code: 'budget_exhausted' } })
    expect(result!.bytesOut).toBeLessThanOrEqual(500_000)
    await eventually(async () => (await spentOf(total)) === result!.bytesOut, 'the rest of the budget')
  })

  test('in chunks of which none fits is refused before its head', async () => {
    const backend = await startBytes()
    const gate = await startGate(backend.url, totalOf(0))
    const { status, body } = await call(gate, `/chunks/${big}`)
    expect([status, String(body)]).toEqual([429, 'budget_exhausted'])
  })

  test('to a HEAD has a length and costs nothing', async () => {
    const backend = await startBytes()
    const total = totalOf(10)
    const gate = await startGate(backend.url, total)
    const { status, whole } = await call(gate, '/length/1000', { method: 'HEAD' })
    expect([status, whole, await spentOf(total)]).toEqual([200, true, 0])
  })

  test('of events is told why it ends', async () => {
    const backend = await kept(startSseBackend())
    const total = totalOf(3 * 'data: 1\n\n'.length + 5)
    const gate = await startGate(backend.url, total)
    using client = await RawConnection.open(Number(new URL(gate.url).port))
    client.write('GET / HTTP/1.1\r\nhost: gate\r\n\r\n')
    await client.received('\r\n\r\n')
    for (const nth of ['1', '2', '3']) {
      backend.send(nth)
      await client.received(`data: ${nth}\n\n`)
    }
    backend.send('4')
    const text = await client.closed()
    expect(text).toMatch(/\r\nevent: lease-refusal\ndata: \{"code":"budget_exhausted"\}\n\n\r\n$/)
    expect(text).not.toContain('data: 4')
    expect(gate.results).toMatchObject([{ status: 200, ended: 'budget_midway' }])
  })

  test('passes byte for byte to a client that reads slowly', async () => {
    const bytes = randomBytes(big)
    const backend = await kept(startHttp((_req, res) => res.end(bytes)))
    const gate = await startGate(backend.url, totalOf(big))
    const req = http.get(gate.url)
    const [res] = (await once(req, 'response')) as [http.IncomingMessage]
    const hash = createHash('sha256')
    for await (const chunk of res) {
      hash.update(chunk as Buffer)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
  })

  test('whose backend closes behind it waits for the store, and is whole', async () => {
    const backend = await kept(
      startScriptedBackend((_nth, socket) => {
        socket.end('HTTP/1.1 200 OK\r\n\r\nall of it')
        return undefined
      }),
    )
    const gate = await startGate(backend.url, totalOf(100))
    const { body, whole } = await call(gate, '/')
    expect([String(body), whole]).toEqual(['all of it', true])
  })

  test('of a store that is away is refused', async () => {
    const backend = await startBytes()
    const away = () => Promise.reject(new Unavailable('the store is away'))
    const gate = await startGate(backend.url, totalOf(100), away)
    const { status, body } = await call(gate, '/length/10')
    expect([status, String(body)]).toEqual([503, 'evidence_unavailable'])
    expect(gate.results).toMatchObject([
      { ended: 'budget_midway', refusal: { code: 'evidence_unavailable' } },
    ])
  })
})

describe('an upload', () => {
  const body = Buffer.alloc(300_000, 'u')

  test.each([
    ['with its length', {}],
    ['in chunks', { chunked: true as const }],
  ])('%s passes with its echo, and both are counted', async (_, how) => {
    const backend = await kept(startEchoBackend())
    const total = totalOf(600_000)
    const gate = await startGate(backend.url, total)
    const told = await call(gate, '/', { body, ...how })
    expect([told.status, told.body.length, told.whole]).toEqual([200, 300_000, true])
    expect(gate.results).toMatchObject([{ bytesIn: 300_000, bytesOut: 300_000 }])
    await eventually(async () => (await spentOf(total)) === 600_000, 'both directions')
  })

  test('with a length that does not fit is refused, and the backend sees nothing of it', async () => {
    const backend = await kept(startRecordingBackend())
    const gate = await startGate(backend.url, totalOf(299_999))
    const told = await call(gate, '/', { body })
    expect([told.status, String(told.body)]).toEqual([429, 'budget_exhausted'])
    expect([backend.bytesSeen().length, gate.results[0]?.bytesIn]).toEqual([0, 0])
  })

  test('in chunks that do not fit is refused, and its end never reaches the backend', async () => {
    const backend = await kept(startRecordingBackend())
    const total = totalOf(299_999)
    const gate = await startGate(backend.url, total)
    const told = await call(gate, '/', { body, chunked: true })
    expect([told.status, String(told.body)]).toEqual([429, 'budget_exhausted'])
    expect(backend.requests).toHaveLength(0)
    expect(await spentOf(total)).toBeLessThanOrEqual(299_999)
  })
})

test('many exchanges at once share one budget, and no more passes than it holds', async () => {
  const backend = await startBytes()
  const total = totalOf(1_000_000)
  const gate = await startGate(backend.url, total)
  const all = await Promise.all(Array.from({ length: 8 }, () => call(gate, '/chunks/300000')))
  const passed = all.reduce((sum, { status, body }) => sum + (status === 200 ? body.length : 0), 0)
  expect(passed).toBeLessThanOrEqual(1_000_000)
  expect(all.filter(({ whole, status }) => whole && status === 200).length).toBeLessThanOrEqual(3)
  const out = () => gate.results.reduce((sum, { bytesOut }) => sum + bytesOut, 0)
  await eventually(async () => gate.results.length === 8 && (await spentOf(total)) === out(), 'the rest')
})

describe('a WebSocket', () => {
  async function open(gate: Gate): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${gate.port}/`)
    socket.on('error', () => {})
    await once(socket, 'open')
    return socket
  }

  test('pays for both directions and is told why it ends', async () => {
    const backend = await kept(startWebSocketBackend())
    // Masked 2 + 4 + 100 in, 2 + 100 out: twice, and one more on its way in.
    const total = totalOf(2 * 208 + 106)
    const gate = await startGate(backend.url, total)
    const socket = await open(gate)
    const message = 'm'.repeat(100)
    for (let nth = 0; nth < 2; nth++) {
      socket.send(message)
      expect(String((await once(socket, 'message'))[0])).toBe(message)
    }
    socket.send(message)
    expect((await once(socket, 'close')).map(String)).toEqual(['1008', 'budget_exhausted'])
    expect(gate.results).toMatchObject([{ bytesIn: 318, bytesOut: 204, ended: 'budget_midway' }])
    await eventually(() => backend.connections() === 0, 'the end at the backend')
    expect(await spentOf(total)).toBe(2 * 208 + 106)
  })

  test('carries messages larger than a stretch, byte for byte', async () => {
    const backend = await kept(startWebSocketBackend())
    const gate = await startGate(backend.url, totalOf(1e9))
    const socket = await open(gate)
    const bytes = randomBytes(1_000_000)
    socket.send(bytes)
    const [echo] = (await once(socket, 'message')) as [Buffer]
    expect(echo.equals(bytes)).toBe(true)
    socket.close()
    await eventually(() => gate.results.length === 1, 'the result')
    expect(gate.results).toMatchObject([{ status: 101, ended: 'completed' }])
  })
})
