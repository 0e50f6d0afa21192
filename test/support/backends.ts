// Backends for tests: real servers on loopback sockets, one per way a backend can behave. Each listens on
// a free port and records what reached it. They never share state.
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { WebSocketServer } from 'ws'

/** A listening server; `close` also cuts its open connections. */
export interface TestServer {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

/** Listens with `server` on a free loopback port. */
export async function listening(server: Server): Promise<TestServer> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}

/** An HTTP server with one request listener. */
export function startHttp(listener: RequestListener): Promise<TestServer> {
  return listening(http.createServer({ keepAliveTimeout: 60_000 }, listener))
}

/** A request as a recording backend parsed it. */
export interface RecordedRequest {
  readonly method: string
  readonly url: string
  /** Flat name, value list as received. */
  readonly rawHeaders: readonly string[]
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface RecordingBackend extends TestServer {
  /** Whole requests, in order of completion. */
  readonly requests: readonly RecordedRequest[]
  /** Every byte received, on whatever connection. */
  bytesSeen(): Buffer
}

/** Reads every request whole, records it and its raw bytes, then answers. Default: 200 with JSON. */
export async function startRecordingBackend(
  answer: (request: RecordedRequest, res: ServerResponse) => void = answerOk,
): Promise<RecordingBackend> {
  const requests: RecordedRequest[] = []
  const bytes: Buffer[] = []
  const server = http.createServer({ keepAliveTimeout: 60_000 }, async (req, res) => {
    const body = await readBody(req)
    if (body === undefined) return
    const request = {
      method: req.method ?? '',
      url: req.url ?? '',
      rawHeaders: req.rawHeaders,
      headers: req.headers,
      body,
    }
    requests.push(request)
    answer(request, res)
  })
  server.on('connection', (socket) => socket.on('data', (chunk: Buffer) => bytes.push(chunk)))
  return { ...(await listening(server)), requests, bytesSeen: () => Buffer.concat(bytes) }
}

/** The whole body, or undefined when the sender broke off. */
export async function readBody(req: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of req) chunks.push(chunk as Buffer)
  } catch {
    return undefined
  }
  return Buffer.concat(chunks)
}

function answerOk(_request: RecordedRequest, res: ServerResponse): void {
  const body = '{"ok":true}'
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
}

/** Streams every request body back as it comes. */
export function startEchoBackend(): Promise<TestServer> {
  return startHttp((req, res) => {
    res.writeHead(200, { 'content-type': req.headers['content-type'] ?? 'application/octet-stream' })
    req.pipe(res)
    req.on('error', () => res.destroy())
  })
}

export interface LenientBackend extends TestServer {
  /** First lines of everything it took for a request, over all connections. */
  readonly requestLines: readonly string[]
}

/**
 * A careless reader behind a proxy: lines may end in a bare LF, Content-Length beats Transfer-Encoding, any
 * coding that contains `chunked` is chunked. What follows a message that it takes for whole is the next
 * request, so anything smuggled shows up as a request line of its own.
 */
export async function startLenientBackend(): Promise<LenientBackend> {
  const requestLines: string[] = []
  const server = net.createServer((socket) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (let message = takeMessage(text); message !== undefined; message = takeMessage(text)) {
        requestLines.push(message.line)
        text = text.slice(message.length)
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      }
    })
  })
  return { ...(await listening(server)), requestLines }
}

function takeMessage(text: string): { line: string; length: number } | undefined {
  const head = /^[\s\S]*?\r?\n\r?\n/.exec(text)?.[0]
  if (head === undefined) return undefined
  const line = head.trimStart().split(/\r?\n/, 1)[0] ?? ''
  const announced = /^content-length:\s*(\d+)/im.exec(head)?.[1]
  const chunked = announced === undefined && /^transfer-encoding:.*chunked/im.test(head)
  const body = chunked
    ? /^[\s\S]*?\r?\n?0\r?\n\r?\n/.exec(text.slice(head.length))?.[0].length
    : Number(announced ?? 0)
  if (body === undefined || head.length + body > text.length) return undefined
  return { line, length: head.length + body }
}

export interface ScriptedBackend extends TestServer {
  /** Connections accepted so far. */
  connections(): number
}

/**
 * Sends exact bytes: after the n-th request head (counted over all connections, from 0) whatever
 * `script(n, socket)` returns; undefined sends nothing. The socket is there for closing or resetting it.
 */
export async function startScriptedBackend(
  script: (nth: number, socket: Socket) => string | Buffer | undefined,
): Promise<ScriptedBackend> {
  let connections = 0
  let heads = 0
  const server = net.createServer((socket) => {
    connections += 1
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        text = text.slice(end + 4)
        const bytes = script(heads++, socket)
        if (bytes !== undefined && socket.writable) socket.write(bytes)
      }
    })
  })
  return { ...(await listening(server)), connections: () => connections }
}

export interface SseBackend extends TestServer {
  /** Sends one event to every open stream. */
  send(data: string): void
  /** Ends every open stream cleanly. */
  end(): void
  /** Open streams. */
  readonly streams: ReadonlySet<ServerResponse>
  /** Resolves when a stream opens, and when the next one is closed by the other side or by `end`. */
  readonly opened: Promise<void>
  readonly closed: Promise<void>
}

/** Answers every request with a head at once, and events when told. */
export async function startSseBackend(): Promise<SseBackend> {
  const streams = new Set<ServerResponse>()
  const opened = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  const server = await startHttp((_req, res) => {
    streams.add(res)
    res.once('close', () => {
      streams.delete(res)
      closed.resolve()
    })
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    res.flushHeaders()
    opened.resolve()
  })
  return {
    ...server,
    streams,
    opened: opened.promise,
    closed: closed.promise,
    send(data) {
      for (const res of streams) res.write(`data: ${data}\n\n`)
    },
    end() {
      for (const res of streams) res.end()
    },
  }
}

export interface SilentBackend extends TestServer {
  /** Requests whose head has arrived. */
  received(): number
  /** Resolves when a request's head has arrived, and when the first connection has been closed. */
  readonly asked: Promise<void>
  readonly hungUp: Promise<void>
}

/** Takes requests and never answers. */
export async function startSilentBackend(): Promise<SilentBackend> {
  let received = 0
  const asked = Promise.withResolvers<void>()
  const hungUp = Promise.withResolvers<void>()
  const server = await startHttp((req) => {
    received += 1
    req.resume()
    req.socket.once('close', () => hungUp.resolve())
    asked.resolve()
  })
  return { ...server, received: () => received, asked: asked.promise, hungUp: hungUp.promise }
}

export interface WebSocketBackend extends TestServer {
  /** Handshake requests as they arrived. */
  readonly handshakes: readonly IncomingMessage[]
  /** Open connections. */
  connections(): number
}

/** Echoes every WebSocket message; offers the subprotocol `echo`. */
export async function startWebSocketBackend(): Promise<WebSocketBackend> {
  const handshakes: IncomingMessage[] = []
  const server = http.createServer()
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'echo' })
  sockets.on('headers', (headers) => headers.push('Set-Cookie: session=backend', 'X-Internal: yes'))
  sockets.on('connection', (socket, req) => {
    handshakes.push(req)
    socket.on('error', () => {})
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  })
  return { ...(await listening(server)), handshakes, connections: () => sockets.clients.size }
}
