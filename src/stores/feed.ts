// In: what Redis can be asked about revocations and suspensions. Out: a view of them all and its age. One loop
// asks, reads and repairs; each stream entry names the one before it, so whatever was missed shows as a broken
// link. It never forgets an entry because Redis has lost it: it writes it back.
import { setTimeout as sleep } from 'node:timers/promises'
import { covers, type Entry, keyOf } from './entry.ts'
import { keepSeconds } from './lifetimes.ts'
import { decodeValue } from './scripts.ts'
import { compareIds } from './stream_ids.ts'
import { Freshness, moment, RevocationView } from './view.ts'

/** One stream entry: `previous` is the id of the entry that stood before it when it was written. */
export interface FeedEntry {
  readonly id: string
  readonly previous: string
  readonly entry: string
}

/** What the feed asks of Redis. Every call settles within its timeout; a rejection means no answer. */
export interface FeedSource {
  /** Proves that Redis takes writes; the newest stream id (`0-0`: none) and the entries in the hash. */
  probe(nowMs: number): Promise<{ last: string; entries: number }>
  /** One page of the hash, from cursor `0` to cursor `0`. */
  scan(cursor: string): Promise<{ cursor: string; entries: string[] }>
  /** Stream entries after `id`, waiting at most `waitMs` for the first. */
  read(id: string, waitMs: number): Promise<FeedEntry[]>
  /** Writes one entry to hash and stream, unless a stronger one stands there. */
  write(entry: Entry): Promise<void>
  /** Deletes those of `keys` whose entry has expired before `before` (seconds). */
  purge(keys: readonly string[], before: number): Promise<void>
}

/** Times are milliseconds. */
export interface FeedOptions {
  /** How often completeness is proven. */
  readonly heartbeatMs: number
  readonly now: () => number
  /** Told once when the feed stops working, and again when the reason changes. */
  readonly onError: (error: Error) => void
}

/** Wait after a failed round; doubles up to the heartbeat. */
const firstRetryMs = 20
const purgeEveryMs = 60_000
/** Writes under way at once while lost entries are given back. */
const batch = 100

/** Follows the stream into a `RevocationView`. */
export class RevocationFeed {
  readonly view = new RevocationView()
  readonly #source: FeedSource
  readonly #options: FeedOptions
  readonly #freshness = new Freshness()
  #cursor = '0-0'
  #purgedMs = Number.NEGATIVE_INFINITY
  #trouble: string | undefined
  #stopped = false
  #loop: Promise<void> = Promise.resolve()

  constructor(source: FeedSource, options: FeedOptions) {
    this.#source = source
    this.#options = options
  }

  /** Loads every entry, then keeps following. Rejects when the load fails. */
  async start(): Promise<void> {
    await this.#reload()
    this.#loop = this.#follow()
  }

  /** Resolves once the loop has ended; the caller has cut its connections, so that is at once. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loop
  }

  ageMs(nowMs: number): number {
    return this.#freshness.ageMs(nowMs)
  }

  async #follow(): Promise<void> {
    let retryMs = firstRetryMs
    while (!this.#stopped) {
      try {
        await this.#round()
        this.#trouble = undefined
        retryMs = firstRetryMs
      } catch (error) {
        if (this.#stopped) return
        this.#report(error)
        await sleep(retryMs)
        retryMs = Math.min(retryMs * 2, this.#options.heartbeatMs)
      }
    }
  }

  /** Asks how far the stream is, proves or repairs the view, and waits for what comes next. */
  async #round(): Promise<void> {
    const asked = moment(this.#options.now)
    const { last, entries } = await this.#source.probe(asked.wallMs)
    const hashLost = entries === 0 && this.view.size > 0
    if (hashLost || compareIds(last, this.#cursor) < 0) await this.#reload()
    else if (last === this.#cursor) this.#freshness.prove(asked)
    await this.#purge()
    for (const { id, previous, entry } of await this.#source.read(this.#cursor, this.#options.heartbeatMs)) {
      if (previous !== this.#cursor) return this.#reload()
      this.view.put(decodeValue(entry))
      this.#cursor = id
      if (id === last) this.#freshness.prove(asked)
    }
  }

  /**
   * Takes in the whole hash. The stream's end is read first: what is written meanwhile comes again with
   * the stream. Entries that this process has and Redis has lost or weakened are written back.
   */
  async #reload(): Promise<void> {
    const asked = moment(this.#options.now)
    const { last } = await this.#source.probe(asked.wallMs)
    const stored = new Map<string, Entry>()
    let cursor = '0'
    do {
      const page = await this.#source.scan(cursor)
      for (const entry of page.entries.map(decodeValue)) {
        stored.set(keyOf(entry), entry)
        this.view.put(entry)
      }
      cursor = page.cursor
    } while (cursor !== '0')
    this.#freshness.prove(asked)
    await this.#giveBack(stored)
    this.#cursor = last
  }

  async #giveBack(stored: ReadonlyMap<string, Entry>): Promise<void> {
    const nowSeconds = this.#options.now() / 1000
    const lost: Entry[] = []
    for (const entry of this.view.entries()) {
      const known = stored.get(keyOf(entry))
      if (entry.expiresAt > nowSeconds && (known === undefined || !covers(known, entry))) lost.push(entry)
    }
    for (let i = 0; i < lost.length; i += batch) {
      await Promise.all(lost.slice(i, i + batch).map((entry) => this.#source.write(entry)))
    }
  }

  async #purge(): Promise<void> {
    if (performance.now() - this.#purgedMs < purgeEveryMs) return
    this.#purgedMs = Number.NEGATIVE_INFINITY
    const before = this.#options.now() / 1000 - keepSeconds
    const keys = this.view.purge(before)
    for (let i = 0; i < keys.length; i += batch) await this.#source.purge(keys.slice(i, i + batch), before)
  }

  #report(error: unknown): void {
    const cause = error instanceof Error ? error : new Error('unknown failure')
    if (cause.message === this.#trouble) return
    this.#trouble = cause.message
    this.#options.onError(cause)
  }
}
