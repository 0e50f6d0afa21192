// In: a port and the bytes of a request. Out: the status of its answer, on a connection of its own that stays with
// one process, until that ends it.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** One connection on which requests follow one another. */
export class Probe {
  readonly #socket: Socket
  #text = ''
  #isOpen = true
  #answered: ((status: number | undefined) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').on('data', (chunk: string) => this.#read(chunk))
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#isOpen = false
      this.#answered?.(undefined)
    })
  }

  static async open(port: number): Promise<Probe> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Probe(socket)
  }

  /** False as soon as the server has said that it ends the connection. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Its status; undefined when the connection ended before the answer. */
  ask(request: Buffer): Promise<number | undefined> {
    if (!this.#isOpen) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      this.#answered = resolve
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(chunk: string): void {
    this.#text += chunk
    const end = this.#text.indexOf('\r\n\r\n')
    const head = this.#text.slice(0, end)
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1])
    if (end < 0 || this.#text.length < end + 4 + length) return
    this.#text = ''
    if (/\r\nconnection: *close/i.test(head)) this.#isOpen = false
    this.#answered?.(Number(head.slice(9, 12)))
  }
}
