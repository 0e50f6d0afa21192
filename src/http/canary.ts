// The canary: a backend `leasegate` that every gate has by itself, so that a drill can call through the whole
// pipeline without touching anything real. In: which worker this is. Out: the backend and its way out. Answers
// only the gate's own forwarder, and tells nothing but which process answered.
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Backend, Operation } from '../enforce/operation.ts'
import { newId } from '../lease/ids.ts'

/** The canary's backend name; no configured backend may have it. */
export const canaryName = 'leasegate'
/** Where agents call it: below `public_origin`. */
export const canaryPrefix = '/.well-known/leasegate'

/** What `GET /canary` answers, and each event of `GET /canary/stream` says. */
export interface CanaryAnswer {
  /** Of this process, new at each start. */
  readonly gate: string
  /** 1, 2, … of `workers`. */
  readonly worker: number
  readonly workers: number
}

export interface Canary {
  readonly backend: Backend
  close(): Promise<void>
}

const eventEveryMs = 1_000

/** Starts it on a loopback port of its own. */
export async function openCanary(place: Pick<CanaryAnswer, 'worker' | 'workers'>): Promise<Canary> {
  const facts: CanaryAnswer = { gate: newId('gte_', Date.now()), ...place }
  const text = `${JSON.stringify(facts)}\n`
  // Whoever else is on this machine gets nothing: each stream holds a connection.
  const credential = { header: 'authorization', value: `Bearer ${randomBytes(32).toString('base64url')}` }
  const server = createServer((req, res) => {
    if (req.headers.authorization !== credential.value) res.writeHead(401, { connection: 'close' }).end()
    else if (req.url?.startsWith(streamPath)) stream(req, res, text)
    else res.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(text)
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve, reject) => {
    // Workers of a cluster share what they listen on, unless told not to.
    server.once('error', reject).listen({ host: '127.0.0.1', port: 0, exclusive: true }, resolve)
  })
  server.unref()
  return {
    backend: canaryBackend(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, credential),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const streamPath = '/canary/stream'

/** One event at once and one a second, until somebody hangs up. */
function stream(req: IncomingMessage, res: ServerResponse, text: string): void {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const event = `event: canary\ndata: ${text}\n`
  if (req.method === 'HEAD') {
    res.end()
    return
  }
  res.write(event)
  const beat = setInterval(() => res.write(event), eventEveryMs)
  res.once('close', () => clearInterval(beat))
}

/** As if it stood in the configuration; its policy is in `policies/data/profiles.json`, `leasegate-drill`. */
function canaryBackend(origin: string, credential: Backend['credential']): Backend {
  return {
    name: canaryName,
    origin,
    basePath: '',
    pathPrefix: canaryPrefix,
    hosts: [],
    credential,
    connectTimeoutMs: 2_000,
    headersTimeoutMs: 5_000,
    idleTimeoutMs: 60_000,
    connections: 256,
    maxInFlight: 1_024,
    upgrade: false,
    env: undefined,
    requireBinding: 'never',
    forwardHeaders: [],
    operations: [operation('/canary'), operation(streamPath)],
  }
}

function operation(path: string): Operation {
  return {
    match: `GET ${path}`,
    method: 'GET',
    segments: path
      .slice(1)
      .split('/')
      .map((literal) => ({ literal })),
    verb: 'read',
    resource: 'canary',
    sensitivity: 'public',
    risk: 'low',
    body: 'stream',
    bodyLimit: 0,
    allowEncodedSlash: false,
    opaqueQuery: [],
  }
}
