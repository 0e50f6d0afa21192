// In: an OutboundRequest that asks for a WebSocket, and the client's socket. Out: two sockets tied to each
// other, one result. Only importer of http-proxy, and of its `ws` alone: `web` lets requests be smuggled.
// Never hands the client's own request on, never passes an answer other than a clean 101.
import { type ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import util from 'node:util'
import httpProxy from 'http-proxy'
import type { ByteMeter } from '../enforce/meter.ts'
import type { Backend } from '../enforce/operation.ts'
import { isOutboundRequest, type OutboundRequest } from '../enforce/outbound.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Ended, ForwardHandle, ForwardResult, MidwayEnd } from './exchange.ts'
import { closeFrame, Frames } from './frames.ts'
import { Metered } from './metered.ts'

export interface UpgradeOptions {
  /** Milliseconds for the backend to connect and answer with 101. */
  readonly handshakeMs: number
  /** Nothing has been written: the caller answers, and closes the socket. `cause` holds error codes. */
  fail(refusal: Refusal, cause: string): void
  /** Called exactly once, after `fail` if that is. Bytes are those after the handshake; `status` 0: the client left before one. */
  onEnd(result: ForwardResult): void
  /** What passes both ways after the handshake passes through it; undefined: no byte budget. The caller ends it. */
  readonly meter?: ByteMeter | undefined
}

export interface Upgrader {
  /**
   * Opens one tunnel. The caller has set an `error` listener on `socket` before its first await. Throws, as
   * a bug, when `outbound` was not made by the pipeline.
   */
  forwardUpgrade(
    outbound: OutboundRequest,
    socket: Socket,
    head: Buffer,
    options: UpgradeOptions,
  ): ForwardHandle
  /** Cuts every open tunnel. */
  close(): void
}

type ProxyServer = ReturnType<typeof httpProxy.createProxyServer>

const lingerMs = 1_000
/** All that a client needs of a 101 (RFC 6455 §4.2.2). */
const passing101 = new Set([
  'connection',
  'upgrade',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
])

/** A backend's open tunnels count against its `maxInFlight`, apart from its plain requests. */
export function createUpgrader(): Upgrader {
  silenceExtend()
  const proxy = httpProxy.createProxyServer({})
  // Without a listener its 'error' event would end the process; the tunnel hears of every error itself.
  proxy.on('error', () => {})
  const open = new Map<Backend, Set<Tunnel>>()
  return {
    forwardUpgrade(outbound, socket, head, options) {
      if (!isOutboundRequest(outbound)) throw new Error('only an OutboundRequest can be forwarded')
      const { backend } = outbound
      const tunnels = open.get(backend) ?? new Set()
      open.set(backend, tunnels)
      const full = tunnels.size >= backend.maxInFlight
      const tunnel: Tunnel = new Tunnel(outbound, socket, head, {
        ...options,
        onEnd(result) {
          tunnels.delete(tunnel)
          options.onEnd(result)
        },
      })
      tunnels.add(tunnel)
      if (full) tunnel.refuse(refuse('overloaded'), 'max_in_flight')
      else tunnel.open(proxy)
      return tunnel
    },
    close() {
      for (const tunnels of open.values()) for (const tunnel of tunnels) tunnel.cut('completed')
    },
  }
}

/** One client socket and, once there is a 101, the backend's. */
class Tunnel implements ForwardHandle {
  readonly #outbound: OutboundRequest
  readonly #socket: Socket
  readonly #head: Buffer
  readonly #options: UpgradeOptions
  #request: ClientRequest | undefined = undefined
  #upstream: Socket | undefined = undefined
  /** What has passed from backend to client. */
  readonly #frames = new Frames()
  /** The ways to client and backend under a byte budget. */
  #down: Metered | undefined = undefined
  #up: Metered | undefined = undefined
  /** Bytes of the handshake on either socket, and those that came along with it. */
  #before = { client: 0, backend: 0 }
  #status = 0
  #over = false
  /** The handshake has, or may have, left for the backend. */
  #sent = false

  constructor(outbound: OutboundRequest, socket: Socket, head: Buffer, options: UpgradeOptions) {
    this.#outbound = outbound
    this.#socket = socket
    this.#head = head
    this.#options = options
    this.#before.client = socket.bytesRead - head.length
  }

  open(proxy: ProxyServer): void {
    const socket = this.#socket
    if (socket.destroyed) {
      this.cut('aborted_by_client')
      return
    }
    socket.on('error', () => this.cut('aborted_by_client'))
    socket.once('close', () => this.cut(this.#upstream === undefined ? 'aborted_by_client' : 'completed'))
    const plain = this.#plainRequest()
    // http-proxy would destroy the socket without a word.
    if (plain.method !== 'GET' || plain.headers.upgrade?.toLowerCase() !== 'websocket') {
      this.refuse(refuse('internal_error'), 'no_websocket_offer')
      return
    }
    try {
      this.#ask(proxy, plain)
    } catch (error) {
      this.refuse(refuse('internal_error'), codeOf(error))
    }
  }

  end(ended: MidwayEnd, refusal: Refusal): void {
    if (this.#over) return
    if (this.#upstream === undefined) this.#status = refusal.row.status
    else if (!this.#sayLast(closeFrame(refusal))) this.#socket.destroy()
    this.#leave(ended, refusal)
  }

  /** Destroys both ends; neither would notice the other's on its own. */
  cut(ended: Ended): void {
    if (this.#over) return
    this.#socket.destroy()
    this.#leave(ended)
  }

  #leave(ended: Ended, refusal?: Refusal): void {
    this.#over = true
    this.#request?.destroy()
    this.#upstream?.destroy()
    this.#report(ended, refusal)
  }

  /**
   * Between two frames a Close frame may say why the tunnel ends. Not to a client that is behind: it would get
   * what is buffered for it as well. What the client still sends goes nowhere; it has a moment to hang up.
   */
  #sayLast(frame: Buffer): boolean {
    const socket = this.#socket
    const behind = socket.writableLength + (this.#down?.readableLength ?? 0)
    if (!this.#frames.betweenFrames || behind > 0 || !socket.writable) return false
    const from = this.#down ?? this.#upstream
    from?.unpipe(socket)
    socket.unpipe()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    socket.once('close', () => clearTimeout(timer))
    socket.once('end', () => socket.destroySoon())
    socket.end(frame)
    socket.resume()
    return true
  }

  refuse(refusal: Refusal, cause: string = refusal.code): void {
    if (this.#over) return
    if (this.#upstream !== undefined) {
      this.cut('backend_failed')
      return
    }
    this.#over = true
    this.#request?.destroy()
    this.#status = refusal.row.status
    this.#options.fail(refusal, cause)
    this.#report(refusal.code.startsWith('backend_') ? 'backend_failed' : 'completed')
  }

  /** A request of our own making: http-proxy copies every header of what it is given. */
  #plainRequest(): IncomingMessage {
    const plain = new IncomingMessage(this.#socket)
    plain.method = this.#outbound.method
    plain.url = this.#outbound.path
    const { headers } = this.#outbound
    for (let i = 0; i < headers.length; i += 2) plain.headers[headers[i]!.toLowerCase()] = headers[i + 1]!
    return plain
  }

  /**
   * Sends the handshake. http-proxy's own listeners relay any answer as it is, any 101, and hang up on the
   * client at an error; they are taken off before the first event, and one is called when all is well.
   */
  #ask(proxy: ProxyServer, plain: IncomingMessage): void {
    // `ws` emits this before it returns, so the listener can only ever meet its own request.
    const meet = (request: ClientRequest) => {
      this.#request = request
    }
    proxy.once('proxyReqWs', meet)
    try {
      // `toProxy` keeps the path from `url.parse`; what is rewritten even so is found below.
      proxy.ws(plain, this.#socket, this.#head, { target: this.#outbound.backend.origin, toProxy: true })
    } finally {
      proxy.off('proxyReqWs', meet)
    }
    const request = this.#request
    if (request === undefined) throw new Error('http-proxy made no request')
    const relays = request.listeners('upgrade')
    for (const event of ['error', 'response', 'upgrade']) request.removeAllListeners(event)
    request.on('error', (error) => this.#failed(error))
    if (request.path !== this.#outbound.path) {
      this.refuse(refuse('internal_error'), 'path_rewritten')
      return
    }
    request.once('socket', (upstream) => {
      if (upstream.connecting) upstream.once('connect', () => this.#handshakeLeaves())
      else this.#handshakeLeaves()
    })
    const { handshakeMs } = this.#options
    const timer = setTimeout(() => this.refuse(refuse('backend_timeout'), 'handshake_timeout'), handshakeMs)
    request.once('close', () => clearTimeout(timer))
    request.once('response', (response) => this.#notSwitched(response))
    request.once('upgrade', (response, upstream: Socket, head) => {
      clearTimeout(timer)
      if (!this.#join(response, upstream, head.length)) return
      for (const relay of relays) relay.call(request, response, upstream, head)
      this.#follow(upstream)
    })
  }

  #handshakeLeaves(): void {
    this.#sent = true
  }

  #notSwitched({ statusCode }: IncomingMessage): void {
    const code = statusCode === 401 || statusCode === 407 ? 'backend_unauthorized' : 'backend_malformed'
    this.refuse(refuse(code), `backend_status_${statusCode}`)
  }

  /** Whether the 101 may be passed on; http-proxy then writes it from `response.headers` and pipes. */
  #join(response: IncomingMessage, upstream: Socket, headLength: number): boolean {
    upstream.on('error', () => this.cut('backend_failed'))
    const { headers, httpVersion } = response
    // RFC 9110 §7.8: no other version can switch, and http-proxy would write 1.1 in its place.
    if (this.#over || httpVersion !== '1.1' || headers.upgrade?.toLowerCase() !== 'websocket') {
      this.refuse(refuse('backend_malformed'), 'not_websocket')
      upstream.destroy()
      return false
    }
    this.#upstream = upstream
    this.#status = 101
    this.#before.backend = upstream.bytesRead - headLength
    upstream.once('close', () => this.cut('completed'))
    // WebSocket has no half-close (RFC 6455 §7.1.1): one side's end is soon the other's.
    const linger = () => setTimeout(() => this.cut('completed'), lingerMs).unref()
    this.#socket.once('end', linger)
    upstream.once('end', linger)
    const kept = Object.entries(headers).filter(([name]) => passing101.has(name))
    Object.defineProperty(response, 'headers', { value: Object.fromEntries(kept) })
    return true
  }

  /** Has an eye on the frames for the client and, under a byte budget, lets through what is paid for. */
  #follow(upstream: Socket): void {
    const { meter } = this.#options
    if (meter === undefined) {
      upstream.on('data', (chunk: Buffer) => this.#frames.push(chunk))
      return
    }
    const unpaid = (refusal: Refusal) => this.end('budget_midway', refusal)
    const down = new Metered(meter, unpaid, (chunk) => this.#frames.push(chunk))
    const up = new Metered(meter, unpaid)
    this.#down = down
    this.#up = up
    upstream.unpipe(this.#socket)
    this.#socket.unpipe(upstream)
    upstream.pipe(down).pipe(this.#socket)
    this.#socket.pipe(up).pipe(upstream)
  }

  #failed(error: Error): void {
    const code = codeOf(error)
    // Node's parser found the answer to be no HTTP.
    const malformed = code.startsWith('HPE_')
    this.refuse(refuse(malformed ? 'backend_malformed' : 'backend_unreachable'), code)
  }

  #report(ended: Ended, refusal?: Refusal): void {
    const upstream = this.#upstream
    const read = upstream === undefined ? 0 : this.#socket.bytesRead - this.#before.client
    const answered = upstream === undefined ? 0 : upstream.bytesRead - this.#before.backend
    this.#options.onEnd({
      status: this.#status,
      bytesIn: this.#up?.bytes ?? read,
      bytesOut: this.#down?.bytes ?? answered,
      ended,
      refusal,
      ...(!this.#sent && ({ unseen: true } as const)),
    })
  }
}

/** An error's code, or else its name: never its text, which may quote what was sent. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

/** Uses up the one warning of `util._extend` (DEP0060), which http-proxy calls; no other is touched. */
function silenceExtend(): void {
  const { emitWarning } = process
  process.emitWarning = () => {}
  Reflect.get(util, '_extend')?.({}, {})
  process.emitWarning = emitWarning
}
