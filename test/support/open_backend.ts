// A backend whose answers never end by themselves: one path per state in which an exchange can be found. Knows
// nothing of leases.
import { createHash } from 'node:crypto'
import http, { type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { listening, type TestServer } from './backends.ts'

export interface OpenBackend extends TestServer {
  /** Connections on which something is under way. */
  open(): number
}

/** First bytes of the answer below each path. */
const answers: Readonly<Record<string, (res: ServerResponse) => unknown>> = {
  '/things/events': (res) => startEvents(res).write('data: one\n\n'),
  '/things/no-event-yet': (res) => startEvents(res).flushHeaders(),
  '/things/half-event': (res) => startEvents(res).write('data: one\n\ndata: ha'),
  '/things/coded-events': (res) => startEvents(res, { 'content-encoding': 'gzip' }).write('data: one\n\n'),
  '/things/counted-events': (res) => startEvents(res, { 'content-length': '1000' }).write('data: one\n\n'),
  '/things/chunks': (res) => res.writeHead(200, { 'content-type': 'text/plain' }).write('some of it'),
  '/things/length': (res) =>
    res.writeHead(200, { 'content-type': 'text/plain', 'content-length': '1000' }).write('some of it'),
  '/things/flood': (res) => flood(startEvents(res)),
  '/things/silent': () => undefined,
}

/** Frames below each path, behind the 101. */
const frames: Readonly<Record<string, Buffer>> = {
  '/things/frames': Buffer.from([0x81, 3, ...Buffer.from('one')]),
  '/things/fragment': Buffer.from([0x01, 3, ...Buffer.from('one')]),
  '/things/half-frame': Buffer.from([0x81, 100, ...Buffer.from('one')]),
  '/things/closing': Buffer.from([0x81, 3, ...Buffer.from('one'), 0x88, 2, 0x03, 0xe8]),
}

/** Starts it. */
export async function startOpenBackend(): Promise<OpenBackend> {
  const busy = new Set<Socket>()
  const begin = (socket: Socket) => {
    busy.add(socket)
    socket.once('close', () => busy.delete(socket))
  }
  const server = http.createServer((req, res) => {
    begin(req.socket)
    req.resume()
    answers[req.url!]!(res)
  })
  server.on('upgrade', (req, stream) => {
    const socket = stream as Socket
    begin(socket)
    // A server's sockets may be half open: without this a client that is gone would not show.
    socket.resume().on('end', () => socket.end())
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}${guid}`).digest('base64')
    socket.write(`${switching}sec-websocket-accept: ${accept}\r\n\r\n`)
    socket.write(frames[req.url!]!)
  })
  return { ...(await listening(server)), open: () => busy.size }
}

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const switching = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n'

function startEvents(res: ServerResponse, more: Readonly<Record<string, string>> = {}): ServerResponse {
  return res.writeHead(200, { 'content-type': 'text/event-stream', ...more })
}

/** Whole events, as fast as they are taken. */
function flood(res: ServerResponse): void {
  const event = Buffer.from(`data: ${'x'.repeat(65_000)}\n\n`)
  const go = () => {
    while (!res.destroyed && res.write(event));
  }
  res.on('drain', go)
  go()
}
