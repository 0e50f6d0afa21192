// In: what Redis can be asked about revocations and suspensions. Out: a view of them all and its age. One loop
// asks, reads and repairs; each stream entry names the one before it, so whatever was missed shows as a broken
// link. It never forgets an entry because Redis has lost it: it writes it back.
import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../ports.ts'
import type { Entry } from './entry.ts'
import { InBatches } from './in_batches.ts'
import { Intake, standsUnder } from './intake.ts'
import { keepSeconds } from './lifetimes.ts'
import { type PageSource, pagesOf } from './pages.ts'
import { decodeValue } from './revocation_scripts.ts'
import { compareIds } from './stream_ids.ts'
import { Freshness, type Moment, moment } from './view.ts'

/** One stream entry: `previous` is the id of the entry that stood before it when it was written. */
export interface FeedEntry {
  readonly id: string
  readonly previous: string
  /** The field of the hash that it changed; empty in what the first version wrote. */
  readonly key: string
  readonly entry: string
}

/** How far Redis is. */
export interface Probe {
  /** The newest stream id; `0-0`: none. */
  readonly last: string
  /** How many the hash holds. */
  readonly entries: number
  /** The clock of the server, seconds. */
  readonly now: number
}

/** What the feed asks of Redis. Every call settles within its timeout; a rejection means no answer. */
export interface FeedSource extends PageSource {
  /** Proves that Redis takes writes. */
  probe(nowMs: number): Promise<Probe>
  /** What stands under some keys of the hash now. */
  look(keys: readonly string[]): Promise<(string | null)[]>
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
/** Entries given back at once, and keys that one call deletes. */
const batchSize = 100
/** Steps of a purge at once: each goes over some thousandth of the view. */
const purgeSteps = 16

/** Follows the stream into a `RevocationView`. */
export class RevocationFeed {
  readonly intake: Intake
  readonly #source: FeedSource
  readonly #options: FeedOptions
  readonly #freshness = new Freshness()
  #cursor = '0-0'
  /** Whether the last look at the whole hash came to its end, and which one it was. */
  #loaded = false
  #generation = 0
  readonly #giveBack: InBatches<Entry>
  readonly #expired: InBatches<string[]>
  /** What expired before this is being forgotten, seconds. */
  #purgeBefore = 0
  #purgedMs = Number.NEGATIVE_INFINITY
  #trouble: string | undefined
  #stopped = false
  #loop: Promise<void> = Promise.resolve()

  constructor(source: FeedSource, options: FeedOptions) {
    this.#source = source
    this.#options = options
    this.#giveBack = new InBatches({
      size: batchSize,
      work: (lost) => Promise.all(lost.map((entry) => source.write(entry))),
    })
    this.#expired = new InBatches({ size: purgeSteps, work: (keys) => this.#forget(keys.flat()) })
    this.intake = new Intake({ decode: decodeValue, onFault: options.onError })
  }

  /** Loads every entry, then keeps following. Rejects when the load fails. */
  async start(): Promise<void> {
    await this.#load()
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

  /** Another server may have had revocations from `steadyMs` on: what this one has proven since is void. */
  distrust(steadyMs: number): void {
    this.#freshness.distrust(steadyMs)
  }

  /** Throws `Unavailable` when what stands under `key` cannot be read: it looked stronger than what was written. */
  async requireReadable(key: string): Promise<void> {
    await this.#lookAgain([key])
    if (!this.intake.view.isDoubtful(key)) return
    throw new Unavailable('an entry that cannot be read stands in the way; delete it from the store')
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
    const { last, entries, now } = await this.#source.probe(asked.wallMs)
    await this.#lookAgain(this.intake.unreadable)
    const isBehind = !this.#loaded || this.intake.needsLook || compareIds(last, this.#cursor) < 0
    if (isBehind) await this.#load()
    else if (last === this.#cursor) this.#prove(asked)
    // The stream tells that nothing was missed, so the view is as good as before while the hash is mended.
    if (entries === 0 && this.intake.view.size > 0 && this.#giveBack.isDone)
      this.#lost(++this.#generation, now)
    await this.#purge(now)
    // Only who keeps up with the stream adds to it: it is short, and what is trimmed unread costs a load.
    if (last === this.#cursor) await this.#giveBack.some(this.#options.heartbeatMs / 4)
    this.intake.report()
    const waitMs = this.#giveBack.isDone && this.#expired.isDone ? this.#options.heartbeatMs : 1
    for (const { id, previous, key, entry } of await this.#source.read(this.#cursor, waitMs)) {
      if (previous !== this.#cursor) return this.#load()
      const known = this.intake.read(entry)
      const isWhole = known !== undefined && (key === '' || standsUnder(key, known))
      if (isWhole) this.intake.view.put(known, this.#generation)
      else if (key === '') return this.#load()
      else await this.#lookAgain([key])
      this.#cursor = id
      if (id === last) this.#prove(asked)
    }
  }

  #prove(at: Moment): void {
    if (this.intake.isComplete) this.#freshness.prove(at)
  }

  /**
   * Takes in the whole hash. The stream's end is read first: what is written meanwhile comes again with
   * the stream. Until the end of it nothing is proven and the age goes on: entries may be there that this
   * process has not come upon yet. What it knows holds throughout, and what Redis has lost or weakened of
   * that is written back afterwards.
   */
  async #load(): Promise<void> {
    this.#loaded = false
    const asked = moment(this.#options.now)
    const { last, now } = await this.#source.probe(asked.wallMs)
    const generation = ++this.#generation
    this.intake.begin()
    for await (const entries of pagesOf(this.#source)) {
      for (let i = 0; i + 1 < entries.length; i += 2) {
        this.intake.take(entries[i]!, entries[i + 1]!, generation)
      }
    }
    this.#cursor = last
    this.#loaded = true
    this.#prove(asked)
    this.#lost(generation, now)
  }

  async #lookAgain(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    const texts = await this.#source.look(keys)
    for (const [i, key] of keys.entries()) {
      const text = texts[i] ?? null
      if (text === null) this.intake.gone(key)
      else this.intake.take(key, text, this.#generation)
    }
  }

  /** What look `generation` did not come upon is to be written back. */
  #lost(generation: number, storeNow: number): void {
    this.#giveBack.begin(this.intake.view.unseen(generation, this.#earlier(storeNow)))
  }

  /** By the clock of the server or by the own one, whichever is behind: nothing has expired by one of them alone. */
  #earlier(storeNow: number): number {
    return Math.min(storeNow, this.#options.now() / 1000)
  }

  /** Goes on forgetting what has expired, and begins anew now and then. */
  async #purge(storeNow: number): Promise<void> {
    if (this.#expired.isDone && performance.now() - this.#purgedMs >= purgeEveryMs) {
      this.#purgedMs = performance.now()
      this.#purgeBefore = this.#earlier(storeNow) - keepSeconds
      this.#expired.begin(this.intake.view.purge(this.#purgeBefore))
    }
    await this.#expired.some(this.#options.heartbeatMs / 4)
  }

  async #forget(keys: readonly string[]): Promise<void> {
    const calls: Promise<void>[] = []
    for (let i = 0; i < keys.length; i += batchSize) {
      calls.push(this.#source.purge(keys.slice(i, i + batchSize), this.#purgeBefore))
    }
    await Promise.all(calls)
  }

  #report(error: unknown): void {
    const cause = error instanceof Error ? error : new Error('unknown failure')
    if (cause.message === this.#trouble) return
    this.#trouble = cause.message
    this.#options.onError(cause)
  }
}
