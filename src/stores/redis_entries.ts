// In: connections to the primary. Out: revocations and suspensions as the feed reads them and callers write them.
// What is acknowledged is with as many replicas and disks as asked for, and written again when a fail-over has
// lost it before anybody has read it. It never keeps a view: feed.ts does.
import { randomInt } from 'node:crypto'
import type { Revocations } from '../ports.ts'
import { type Entry, keyOf, suspensionKey } from './entry.ts'
import type { FeedEntry, FeedSource, Probe } from './feed.ts'
import type { KeyName } from './keyed.ts'
import { OwnWrites } from './own_writes.ts'
import { type Acknowledgement, tooFew } from './redis_acknowledge.ts'
import { answer, reason } from './redis_answer.ts'
import type { Connection } from './redis_connect.ts'
import { checkEviction } from './redis_fitness.ts'
import { revokeArguments } from './revocation_scripts.ts'
import type { StoreClock } from './store_clock.ts'

/** Connections by what they carry: what waits on one holds up nothing on another. */
export interface Connections {
  readonly commands: Connection
  /** Blocks in XREAD. */
  readonly reader: Connection
  /** Blocks in WAIT; only where more than the primary has to acknowledge. */
  readonly waiter?: Connection
  /** The newest connection error; `connect()` itself only says that it failed. */
  lastError(): unknown
}

/** Stream entries kept; a gate that falls further behind loads the hash instead. */
const feedLength = 10_000
/** Between two ids of one millisecond, at most: two servers hardly ever give the same id to two entries. */
const longestStep = 2 ** 20
const checkEveryMs = 60_000

/** The hash and the stream of revocations and suspensions. */
export class RedisEntries implements FeedSource {
  readonly #connections: Connections
  readonly #hash: string
  readonly #stream: string
  readonly #beat: string
  readonly #own = new OwnWrites()
  readonly #clock: StoreClock
  readonly #acknowledgement: Acknowledgement | undefined
  #fault: string | undefined
  #checkedMs = Number.NEGATIVE_INFINITY

  constructor(
    connections: Connections,
    key: KeyName,
    {
      acknowledgement,
      clock,
    }: { readonly acknowledgement?: Acknowledgement | undefined; readonly clock: StoreClock },
  ) {
    this.#connections = connections
    this.#clock = clock
    this.#hash = key('revocations')
    this.#stream = key('feed')
    this.#beat = key('beat')
    this.#acknowledgement = acknowledgement
  }

  /** Rejects where the server cannot do what is asked of it, and names the fix. */
  async check(): Promise<void> {
    await this.#acknowledgement?.check()
  }

  /** Why the server cannot be used now. */
  fault(): string | undefined {
    return this.#fault
  }

  async probe(nowMs: number): Promise<Probe> {
    try {
      await this.#checkNowAndThen()
      const pending = this.#own.pending()
      const { commands } = this.#connections
      const askedMs = performance.now()
      const reply = await answer(commands.leasegateProbe(this.#beat, this.#stream, this.#hash, nowMs))
      const [last, entries, saidMs] = reply as [string, number, number]
      this.#clock.hear(saidMs, askedMs)
      this.#own.endsAt(last, pending)
      await this.#own.rewrite((entry) => this.#announce(commands, entry))
      this.#fault = undefined
      return { last, entries, now: saidMs / 1000 }
    } catch (error) {
      this.#fault = reason(error)
      // What answers next may be another server.
      this.#checkedMs = Number.NEGATIVE_INFINITY
      throw error
    }
  }

  async server(): Promise<string> {
    return String(await answer(this.#connections.commands.leasegateServer(this.#hash)))
  }

  async scan(cursor: string): Promise<{ cursor: string; entries: string[] }> {
    const { commands } = this.#connections
    // So many hold up the event loop for a millisecond or two.
    const [next, entries] = await answer(commands.hscan(this.#hash, cursor, 'COUNT', 500))
    return { cursor: next, entries }
  }

  look(keys: readonly string[]): Promise<(string | null)[]> {
    return answer(this.#connections.commands.hmget(this.#hash, ...keys))
  }

  async read(id: string, waitMs: number): Promise<FeedEntry[]> {
    const { reader } = this.#connections
    const reply = await answer(reader.xread('COUNT', 1000, 'BLOCK', waitMs, 'STREAMS', this.#stream, id))
    const entries = (reply?.[0]?.[1] ?? []).map(feedEntry)
    for (const entry of entries) this.#own.read(entry.id)
    return entries
  }

  async write(entry: Entry): Promise<void> {
    await answer(this.#connections.commands.leasegateRevoke(...this.#arguments(entry), 0))
  }

  async purge(keys: readonly string[], before: number): Promise<void> {
    await answer(this.#connections.commands.leasegatePurge(this.#hash, before, ...keys))
  }

  /** Writes `entry`, says when the primary has it, and resolves once as many have it as have to. */
  async acknowledge(entry: Entry, written: () => void): Promise<void> {
    await this.#announce(this.#connections.commands, entry)
    written()
    const { missing } = (await this.#acknowledgement?.of((waiter) => this.#announce(waiter, entry))) ?? {}
    if (missing !== undefined) throw tooFew(missing, 'send it again')
  }

  /** What stands about one lease right now, key and text. */
  async about({
    id,
    ancestors,
    revocationKeys,
  }: Parameters<Revocations['confirm']>[0]): Promise<[string, string][]> {
    const keys = [...revocationKeys, ...[id, ...ancestors].map(suspensionKey)]
    const texts = await this.look(keys)
    return keys.flatMap((key, at): [string, string][] => {
      const text = texts[at] ?? null
      return text === null ? [] : [[key, text]]
    })
  }

  async #announce(connection: Connection, entry: Entry): Promise<void> {
    await this.#own.write(entry, async () =>
      String(await answer(connection.leasegateRevoke(...this.#arguments(entry), 1))),
    )
  }

  #arguments(entry: Entry): (string | number)[] {
    return [
      this.#hash,
      this.#stream,
      keyOf(entry),
      ...revokeArguments(entry),
      feedLength,
      randomInt(1, longestStep),
    ]
  }

  /** A server's configuration can change while it runs, and a fail-over leads to another server. */
  async #checkNowAndThen(): Promise<void> {
    if (performance.now() - this.#checkedMs < checkEveryMs) return
    await checkEviction(this.#connections.commands)
    this.#checkedMs = performance.now()
  }
}

/** An entry that is not ours has no `previous`, which is a broken link. */
function feedEntry([id, fields]: [id: string, fields: string[]]): FeedEntry {
  const field = (name: string) =>
    fields[fields.findIndex((each, i) => i % 2 === 0 && each === name) + 1] ?? ''
  return { id, previous: field('previous'), key: field('key'), entry: field('entry') }
}
