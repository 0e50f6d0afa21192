// A client without manners: exact bytes out, exact bytes in, over one TCP connection. Reads answers only as
// far as RFC 9112 frames them. Never repairs what is sent, never waits without a bound.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** One final answer. Names are lower case; a repeated field is joined with a comma. */
export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Statuses of the 1xx answers that came before it. */
  readonly interim: readonly number[]
}

const patienceMs = 10_000

/** One connection. */
export class RawConnection implements Disposable {
  readonly socket: Socket
  #bytes: Buffer = Buffer.alloc(0)
  #over = false
  #wake = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
    const over = () => {
      this.#over = true
      this.#wake()
    }
    socket.on('error', over).on('end', over).on('close', over)
  }

  /** Connects; to this machine unless told otherwise. */
  static async open(port: number, host = '127.0.0.1'): Promise<RawConnection> {
    const socket = connect({ port, host, noDelay: true })
    await once(socket, 'connect')
    return new RawConnection(socket)
  }

  /** Sends bytes as they are; text is one octet per character. */
  write(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** The next final answer; `toHead`: it answers a HEAD and has no body. */
  async answer({ toHead = false } = {}): Promise<RawAnswer> {
    const { answer, length } = await this.#until(
      () => readAnswer(this.#bytes, { over: this.#over, toHead }),
      'answer',
    )
    this.#bytes = this.#bytes.subarray(length)
    return answer
  }

  /** Resolves with what has come since the last answer, once `found` finds it there. */
  async received(found: string): Promise<string> {
    return this.#until(() => {
      const text = this.#bytes.toString('latin1')
      return text.includes(found) ? text : undefined
    }, JSON.stringify(found))
  }

  /** Resolves once the other side has ended the connection, with what it sent since the last answer. */
  async closed(): Promise<string> {
    return this.#until(() => (this.#over ? this.#bytes.toString('latin1') : undefined), 'end of connection')
  }

  /** Whether the other side has ended the connection. */
  get over(): boolean {
    return this.#over
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  async #until<T>(read: () => T | undefined, what: string): Promise<T> {
    const deadline = Date.now() + patienceMs
    for (;;) {
      const value = read()
      if (value !== undefined) return value
      const left = deadline - Date.now()
      const got = this.#bytes.toString('latin1').slice(0, 300)
      if (left <= 0 || this.#over) {
        throw new Error(`no ${what}${this.#over ? ' before the connection ended' : ''}; got ${got}`)
      }
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      const timer = setTimeout(resolve, left)
      await promise
      clearTimeout(timer)
    }
  }
}

/** Sends one message on a connection of its own and returns its answer. */
export async function ask(port: number, bytes: string | Uint8Array): Promise<RawAnswer> {
  using connection = await RawConnection.open(port)
  connection.write(bytes)
  return await connection.answer({ toHead: bytes.toString().startsWith('HEAD ') })
}

function readAnswer(
  bytes: Buffer,
  { over, toHead }: { over: boolean; toHead: boolean },
): { answer: RawAnswer; length: number } | undefined {
  const interim: number[] = []
  let start = 0
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n', start)
    if (end < 0) return undefined
    const { status, headers } = readHead(bytes.toString('latin1', start, end))
    start = end + 4
    if (status >= 100 && status < 200 && status !== 101) {
      interim.push(status)
      continue
    }
    const bodiless = toHead || status === 101 || status === 204 || status === 304
    const read = bodiless
      ? { body: Buffer.alloc(0), length: 0 }
      : readBody(bytes.subarray(start), headers, over)
    return read && { answer: { status, headers, body: read.body, interim }, length: start + read.length }
  }
}

function readHead(text: string): { status: number; headers: Record<string, string> } {
  const [first = '', ...lines] = text.split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
  if (Number.isNaN(status)) throw new Error(`not an answer: ${first}`)
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return { status, headers }
}

function readBody(
  bytes: Buffer,
  headers: Record<string, string>,
  over: boolean,
): { body: Buffer; length: number } | undefined {
  if (headers['transfer-encoding'] === 'chunked') return readChunks(bytes)
  const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
  if (length === undefined) return over ? { body: bytes, length: bytes.length } : undefined
  return bytes.length >= length ? { body: bytes.subarray(0, length), length } : undefined
}

function readChunks(bytes: Buffer): { body: Buffer; length: number } | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) return { body: Buffer.concat(chunks), length: next }
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = next
  }
}
