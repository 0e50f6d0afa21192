// In: writes, and a connection that waits. Out: what they came to, and whether enough replicas and disks have them.
// WAIT blocks its connection, so nothing else goes over it; writes that come while it waits share the next one. It
// never takes anything back: what is written stays.
import { Unavailable } from '../ports.ts'
import { answer } from './redis_answer.ts'
import type { Connection } from './redis_connect.ts'

/** What has to have a revocation, or a record, before it is acknowledged. */
export interface Acknowledge {
  /** How many replicas, at least. */
  readonly replicas: number
  /** Whether on disk (fsync of the append-only file): the primary's, and those replicas'. */
  readonly disk: boolean
  readonly timeoutMs: number
}

/** A write that went over the waiting connection. */
export interface Acknowledged<T> {
  /** What the write came to. */
  readonly written: T
  /** Who does not have it, though they should; undefined: all have it who have to. */
  readonly missing: string | undefined
}

/** Writes that one WAIT is for. None of them rejects: each tells its own caller. */
interface Batch {
  readonly writes: (() => Promise<void>)[]
  readonly missing: Promise<string | undefined>
}

/** Waits for replicas and disks. */
export class Acknowledgement {
  readonly #connection: Connection
  readonly #needs: Acknowledge
  #next: Batch | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(connection: Connection, needs: Acknowledge) {
    this.#connection = connection
    this.#needs = needs
  }

  /**
   * Has `write` write over the connection that it is given, and resolves once enough have it or the time is over.
   * It has to write even what is there already: WAIT covers what its own connection has written, and a fail-over may
   * have come since the first time. Within twice the timeout, with those that wait already; rejects as `write` does,
   * and with `Unavailable` where nobody can tell.
   */
  async of<T>(write: (connection: Connection) => Promise<T>): Promise<Acknowledged<T>> {
    this.#next ??= this.#after(this.#last)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.#next.writes.push(() => write(this.#connection).then(resolve, reject))
    const [missing, written] = await Promise.all([this.#next.missing, promise])
    return { written, missing }
  }

  /** Rejects, and names the fix, where the server cannot tell what is asked for. */
  async check(): Promise<void> {
    if (!this.#needs.disk) return
    // No replicas: they may be away now, and that is told with each revocation.
    const fault = await this.#connection.call('WAITAOF', 1, 0, this.#needs.timeoutMs).then(
      () => undefined,
      (error: Error) => error,
    )
    if (fault === undefined) return
    if (fault.message.startsWith('ERR unknown command')) {
      throw new Unavailable('acknowledge.disk needs WAITAOF: use Redis 7.2, Valkey, or disk: false')
    }
    if (/appendonly is disabled/.test(fault.message)) {
      throw new Unavailable('acknowledge.disk needs an append-only file: set appendonly yes on the server')
    }
    await answer(Promise.reject(fault))
  }

  #after(last: Promise<unknown>): Batch {
    const writes: Batch['writes'] = []
    const missing = last.then(() => {
      this.#next = undefined
      return this.#missing(writes)
    })
    this.#last = missing.catch(() => {})
    return { writes, missing }
  }

  async #missing(writes: Batch['writes']): Promise<string | undefined> {
    const { replicas, disk, timeoutMs } = this.#needs
    // All in one go: a connection that is made anew in between would wait for nothing.
    const written = writes.map((write) => write())
    const waits = disk
      ? this.#connection.call('WAITAOF', 1, replicas, timeoutMs)
      : this.#connection.wait(replicas, timeoutMs)
    const [reply] = await Promise.all([answer<unknown>(waits), ...written])
    const [local, remote] = disk ? (reply as [number, number]) : [1, Number(reply)]
    if (local < 1) return 'the disk of the primary does not have it'
    if (remote < replicas) return `${remote} of ${replicas} replicas have it${disk ? ' on disk' : ''}`
    return undefined
  }
}

/** Too few have it, but it stands. `advice` says what to do about that. */
export function tooFew(missing: string, advice: string): Unavailable {
  const message = `written, but ${missing}: ${advice}`
  return new Unavailable(message, { told: message })
}
