// In: a port and the bytes of one request. Out: how many answers came per second, or how long each took at a
// fixed rate. Raw sockets, because an HTTP client would cost more than what it measures. Every answer is read
// to its end and has to be a 200; anything else ends the benchmark.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** What to send, where to, and how much of it. */
export interface Load {
  readonly port: number
  /** One whole request, or what makes the next one. */
  readonly request: Buffer | (() => Buffer)
  readonly connections: number
  readonly seconds: number
}

/** Sends the next request as soon as an answer is in, on every connection. Returns answers per second. */
export async function closedLoop(load: Load): Promise<number> {
  let answers = 0
  const next = requestsOf(load)
  const clients = await open(load, (client) => {
    answers++
    client.send(next())
  })
  const began = performance.now()
  for (const client of clients) client.send(next())
  await failure(clients, load.seconds)
  const rps = answers / ((performance.now() - began) / 1000)
  for (const client of clients) client.close()
  return rps
}

/**
 * Sends `perSecond` requests a second, whatever the answers do. Returns the milliseconds each took, ascending.
 * They count from the tick (1 ms) that made the request due: waiting for a free connection is part of it.
 */
export async function fixedRate(load: Load, perSecond: number): Promise<Float64Array> {
  const took: number[] = []
  const due: number[] = []
  const idle: Client[] = []
  let taken = 0
  const next = requestsOf(load)
  const send = (client: Client) => {
    if (taken === due.length) idle.push(client)
    else client.send(next(), due[taken++])
  }
  const clients = await open(load, (client, since) => {
    took.push(performance.now() - since)
    send(client)
  })
  idle.push(...clients)
  const began = performance.now()
  const ticks = setInterval(() => {
    const now = performance.now()
    const count = Math.floor(((now - began) / 1000) * perSecond)
    while (due.length < count) due.push(now)
    // In turns: a connection that never sends is one that the server closes.
    while (taken < due.length && idle.length > 0) send(idle.shift()!)
  }, 1)
  await failure(clients, load.seconds)
  clearInterval(ticks)
  // What was due and has no answer yet took at least this long.
  const ended = performance.now()
  for (const client of clients) if (client.busy) took.push(ended - client.since)
  for (const since of due.slice(taken)) took.push(ended - since)
  for (const client of clients) client.close()
  return Float64Array.from(took).sort()
}

/** What became of requests that were each sent once. */
export interface Sent {
  readonly seconds: number
  /** Of each request, milliseconds. */
  readonly took: Float64Array
  /** Of the answers, in the order of the requests. */
  readonly bodies: readonly string[]
}

/** Sends each request once, as fast as answers come in. */
export async function sendAll(
  load: Pick<Load, 'port' | 'connections'>,
  requests: readonly Buffer[],
): Promise<Sent> {
  const took = new Float64Array(requests.length)
  const bodies: string[] = []
  const under = new Map<Client, number>()
  const { promise: over, resolve } = Promise.withResolvers<void>()
  let [sent, answers] = [0, 0]
  const send = (client: Client) => {
    if (sent === requests.length) return
    under.set(client, sent)
    client.send(requests[sent++]!, performance.now())
  }
  const clients = await open(load, (client, since) => {
    const at = under.get(client)!
    took[at] = performance.now() - since
    bodies[at] = client.body
    if (++answers === requests.length) resolve()
    send(client)
  })
  const began = performance.now()
  for (const client of clients) send(client)
  await Promise.race([over, ...clients.map((client) => client.failed)])
  const seconds = (performance.now() - began) / 1000
  for (const client of clients) client.close()
  return { seconds, took, bodies }
}

function requestsOf({ request }: Load): () => Buffer {
  return typeof request === 'function' ? request : () => request
}

/** Resolves after `seconds`; rejects as soon as a connection fails. */
async function failure(clients: readonly Client[], seconds: number): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, seconds * 1000)
  try {
    await Promise.race([over, ...clients.map((client) => client.failed)])
  } finally {
    clearTimeout(timer)
  }
}

async function open(
  load: Pick<Load, 'port' | 'connections'>,
  answered: (client: Client, since: number) => void,
): Promise<Client[]> {
  return Promise.all(
    Array.from({ length: load.connections }, async () => {
      const socket = connect({ port: load.port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      return new Client(socket, answered)
    }),
  )
}

/** One connection with at most one request under way. */
class Client {
  /** Rejects when the connection breaks or an answer is not the one expected. */
  readonly failed: Promise<never>
  busy = false
  since = 0
  /** Of the latest answer. */
  body = ''
  readonly #socket: Socket
  /** Of the answer under way: the head so far, then the bytes of the body that are still to come. */
  #head = ''
  #missing = 0

  constructor(socket: Socket, answered: (client: Client, since: number) => void) {
    this.#socket = socket
    const { promise, reject } = Promise.withResolvers<never>()
    this.failed = promise
    this.failed.catch(() => undefined)
    socket.on('data', (chunk) => {
      try {
        if (!this.#read(chunk)) return
      } catch (error) {
        reject(error)
        return
      }
      this.busy = false
      answered(this, this.since)
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the server closed a connection')))
  }

  send(request: Buffer, since = 0): void {
    this.busy = true
    this.since = since
    this.#socket.write(request)
  }

  close(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  /** Whether `chunk` completes the answer. */
  #read(chunk: Buffer): boolean {
    const text = chunk.toString('latin1')
    if (this.#missing > 0) {
      this.#missing -= chunk.length
      this.body += text
    } else {
      const before = this.#head.length
      this.#head += text
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return false
      this.body = this.#head.slice(end + 4)
      this.#missing = end + 4 + bodyLength(this.#head.slice(0, end)) - before - chunk.length
      this.#head = ''
    }
    if (this.#missing < 0) throw new Error('more bytes than one answer')
    return this.#missing === 0
  }
}

function bodyLength(head: string): number {
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
    throw new Error(`not the expected answer: ${head.split('\r\n', 1)[0]}`)
  }
  return Number(length)
}
