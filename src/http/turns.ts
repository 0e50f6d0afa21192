// Pipelined messages of one connection take turns: behind an answer that ends the connection nothing may be
// done any more (RFC 9112 §9.6), and what stands there could be a smuggled body.
import type { Duplex } from 'node:stream'
import type { HttpExchange } from './proxy.ts'

/** A client has no use for more; each costs memory before anybody has authenticated. */
const maxWaiting = 64

/** The order of work on one connection. */
export class Turns {
  readonly #socket: Duplex
  #last: HttpExchange | undefined
  #waiting = 0

  constructor(socket: Duplex) {
    this.#socket = socket
  }

  /** The newest exchange. */
  get last(): HttpExchange | undefined {
    return this.#last
  }

  /** Does `work` for `exchange` when it is its turn; from then on it is the newest. */
  take(exchange: HttpExchange, work: () => void): void {
    this.after(work)
    this.#last = exchange
  }

  /**
   * Does `work` once the newest exchange has been answered; never, if that answer ended the connection. Ends
   * the connection itself when too much waits.
   */
  after(work: () => void): void {
    if (this.#last === undefined) {
      work()
      return
    }
    if (this.#waiting >= maxWaiting) {
      this.#socket.destroy()
      return
    }
    this.#waiting++
    this.#last.afterAnswer(() => {
      this.#waiting--
      work()
    })
  }
}
