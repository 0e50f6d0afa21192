// The agents' listener: node:http with every limit set, each event that can start or break a request led
// into the pipeline, and an end that lets work under way finish. Decides nothing itself.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TlsFiles } from '../config.ts'
import type { Gate } from '../enforce/gate.ts'
import { handle, refuseUnparsed } from '../enforce/pipeline.ts'
import { receive } from '../enforce/receive.ts'
import { route } from '../enforce/route.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { HttpExchange, type ProxyParts, peerOf, rawHead } from './proxy.ts'
import { writeRawAnswer } from './raw_answer.ts'
import { createWebServer } from './tls.ts'
import { Turns } from './turns.ts'
import type { Upgrader } from './upgrade.ts'
import { WebSocketExchange } from './web_socket.ts'

export interface ProxyListener {
  readonly server: Server
  /** Stops accepting, waits for requests under way for at most `graceMs`, then cuts them. */
  close(graceMs: number): Promise<void>
}

export interface ListenerLimits {
  readonly headerBytes: number
  readonly targetBytes: number
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
}

/** Builds the listener, over TLS when there are `tls` files; the caller binds it. */
export function createProxyListener(
  gate: Gate,
  parts: ProxyParts & { readonly upgrader: Upgrader },
  limits: ListenerLimits,
  tls?: TlsFiles,
): ProxyListener {
  const connections = new WeakMap<Duplex, Turns>()
  const turnsOf = (socket: Duplex): Turns => {
    const turns = connections.get(socket) ?? new Turns(socket)
    connections.set(socket, turns)
    return turns
  }
  const begin = (req: IncomingMessage, res: ServerResponse, awaitsContinue = false) => {
    const exchange = new HttpExchange(req, res, parts, awaitsContinue)
    turnsOf(req.socket).take(exchange, () => void handle(exchange, gate))
  }
  const shouldUpgradeCallback = (req: IncomingMessage) =>
    connections.get(req.socket)?.last?.answered !== false && takesUpgrade(req, gate)
  const server = createWebServer({ ...serverOptions(limits), shouldUpgradeCallback }, tls)
  // Node drops fields above this count in silence; receive counts them instead.
  server.maxHeadersCount = 0
  server.on('request', begin)
  server.on('checkContinue', (req, res) => begin(req, res, true))
  server.on('checkExpectation', begin)
  server.on('connect', (_req, socket) => {
    socket.on('error', () => socket.destroy())
    const refusal = refuse('method_not_allowed', { detail: 'CONNECT is not served', allow: ['GET'] })
    turnsOf(socket).after(() => refuseRaw(socket, refusal, gate))
  })
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => socket.destroy())
    void handle(new WebSocketExchange(req, socket, head, parts), gate)
  })
  server.on('clientError', (error: ParserError, socket) => {
    // Nothing has been asked yet, and nothing can be answered in the clear.
    if (isHandshakeFailure(error)) {
      socket.destroy()
      return
    }
    const turns = turnsOf(socket)
    const refusal = refusalOf(error, limits)
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else if (turns.last?.received === false) turns.last.breakOff(refusal)
    else turns.after(() => refuseRaw(socket, refusal, gate))
  })
  return { server, close: (graceMs) => drain(server, graceMs) }
}

function serverOptions(limits: ListenerLimits) {
  return {
    // Room for a whole target beside the header section: each has its own limit and its own code.
    maxHeaderSize: limits.headerBytes + limits.targetBytes + 1_024,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: 500,
    keepAliveTimeout: 65_000,
    // receive answers these itself, with a record.
    requireHostHeader: false,
    insecureHTTPParser: false,
    noDelay: true,
  }
}

/** Whether this is a WebSocket offer to a backend that takes them; any other is served without upgrade. */
function takesUpgrade(req: IncomingMessage, gate: Gate): boolean {
  const request = receive(rawHead(req), gate.rules)
  if (isRefusal(request) || !request.offersWebSocket) return false
  return route(request, gate.router).backend?.upgrade === true
}

interface ParserError extends Error {
  readonly code?: string
  readonly rawPacket?: Buffer
}

/** The TLS handshake failed, so no HTTP message began. */
function isHandshakeFailure({ code }: ParserError): boolean {
  return code !== undefined && /^(?:ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)
}

function refusalOf(error: ParserError, limits: ListenerLimits): Refusal {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return isTargetTooLong(error.rawPacket, limits.targetBytes)
        ? refuse('target_too_long', { detail: `the target is longer than ${limits.targetBytes} bytes` })
        : refuse('headers_too_large', {
            detail: `the header section is larger than ${limits.headerBytes} bytes`,
          })
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return refuse('body_too_large', { detail: 'the chunk extensions are too large' })
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return refuse('request_timeout', { detail: 'the request did not arrive in time' })
    default:
      return refuse('malformed_framing', {
        detail: 'not a valid HTTP/1.1 message',
        cause: error.code ?? 'parser',
      })
  }
}

/** Whether the request line alone overflows, as far as the packet in hand shows. */
function isTargetTooLong(packet: Buffer | undefined, targetBytes: number): boolean {
  if (packet === undefined) return false
  const lineEnd = packet.indexOf(0x0a)
  return (
    (lineEnd < 0 ? packet.length : lineEnd) > targetBytes && /^[A-Z]+ /.test(packet.toString('latin1', 0, 16))
  )
}

/** Answers, with its record, what never became a request. */
function refuseRaw(socket: Duplex, refusal: Refusal, gate: Gate): void {
  writeRawAnswer(socket, refuseUnparsed(peerOf(socket as Socket), refusal, gate))
}

function drain(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}
