// In: entries that have been written, and a connection that waits. Out: the certainty that enough replicas and
// disks have them, or `Unavailable`. WAIT blocks its connection, so nothing else goes over it; entries that come
// while it waits share the next one. It never takes anything back: what is written stays.
import { Unavailable } from '../ports.ts'
import type { Entry } from './entry.ts'
import { answer } from './redis_answer.ts'
import type { Connection } from './redis_connect.ts'

/** What has to have a revocation before it is acknowledged. */
export interface Acknowledge {
  /** How many replicas, at least. */
  readonly replicas: number
  /** Whether on disk (fsync of the append-only file): the primary's, and those replicas'. */
  readonly disk: boolean
  readonly timeoutMs: number
}

/** Waits for replicas and disks. */
export class Acknowledgement {
  readonly #connection: Connection
  readonly #needs: Acknowledge
  readonly #write: (entry: Entry) => Promise<unknown>
  #next: { readonly entries: Entry[]; readonly done: Promise<void> } | undefined
  #last: Promise<unknown> = Promise.resolve()

  /**
   * `write` writes an entry over `connection`, also one that is there: WAIT covers what its own connection has
   * written, and a fail-over may have come since the first time.
   */
  constructor(connection: Connection, needs: Acknowledge, write: (entry: Entry) => Promise<unknown>) {
    this.#connection = connection
    this.#needs = needs
    this.#write = write
  }

  /** Resolves once enough have `entry`. Within twice the timeout, with those that wait already. */
  of(entry: Entry): Promise<void> {
    this.#next ??= this.#after(this.#last)
    this.#next.entries.push(entry)
    return this.#next.done
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

  #after(last: Promise<unknown>) {
    const entries: Entry[] = []
    const done = last.then(() => {
      this.#next = undefined
      return this.#acknowledge(entries)
    })
    this.#last = done.catch(() => {})
    return { entries, done }
  }

  async #acknowledge(entries: readonly Entry[]): Promise<void> {
    const { replicas, disk, timeoutMs } = this.#needs
    const writes = entries.map((entry) => this.#write(entry))
    const waits = disk
      ? this.#connection.call('WAITAOF', 1, replicas, timeoutMs)
      : this.#connection.wait(replicas, timeoutMs)
    const [reply] = await Promise.all([answer<unknown>(waits), ...writes])
    const [local, remote] = disk ? (reply as [number, number]) : [1, Number(reply)]
    if (local < 1) throw short('the disk of the primary does not have it')
    if (remote < replicas) throw short(`${remote} of ${replicas} replicas have it${disk ? ' on disk' : ''}`)
  }
}

function short(what: string): Unavailable {
  const message = `written, but ${what}: send it again`
  return new Unavailable(message, { told: message })
}
