// In: the address of one Redis or Valkey that all gates share. Out: a `Store`. The only importer of
// ioredis. Every command settles within its timeout; a failure is `Unavailable` and carries neither the
// password nor what was sent. It never answers "not revoked" from Redis: `find` reads the local view.
import { Redis, type RedisOptions } from 'ioredis'
import { type Revocations, type Store, Unavailable } from '../ports.ts'
import { type Entry, keyOf } from './entry.ts'
import { type FeedEntry, type FeedSource, RevocationFeed } from './feed.ts'
import { type Commands, type KeyName, keyedApprovals, keyedReplay } from './keyed.ts'
import { keyedBudgets } from './keyed_budgets.ts'
import { keyedDeferrals, keyedSecrets } from './keyed_deferrals.ts'
import { keyedLeases } from './keyed_leases.ts'
import { keyedPolicySets, type SetCommands, type SetTransfers } from './keyed_sets.ts'
import { maxReplayIds } from './lifetimes.ts'
import { revokeArguments, type Scripts, scripts } from './scripts.ts'

/*
 * What Redis holds, each key beginning with `<prefix>{leasegate}:`
 *   revocations      hash: revocation key or suspension -> "rank expires json"; the truth a gate loads at start
 *   feed             stream: every change of that hash, each entry with the id of the one before it
 *   beat             when a gate last proved that this server takes writes
 *   lease:ID         JSON of the record; leases, leases:agent:A, and so for user, task, session, tenant and
 *                    state: ids by time of issue
 *   usage:[ISS,ID]   hash: calls, refusals, bytesIn, bytesOut, lastUsedAt, verb:V of a lease
 *   login:[ISS,SUB]  users that leases were issued to, by how long the longest is kept
 *   deferral:ID      JSON of a token request that waits; deferrals: ids of those that nobody settled, by expiry
 *   secret:NAME      32 random bytes, base64url       replay       used single-use ids, by expiry
 *   budget:KEY       used of a total      rate:KEY    when a rate is whole again, microseconds since 1970
 *   approval:PRINT   hash: id:ID -> "expires json", open -> the ID that is neither used nor replaced
 *   policy:set:DIGEST  a published policy, packed     policy:sets    hash: digest -> json of who and when
 *   policy:history   list of activations, newest first: "number digest json"
 */

/** How to reach Redis. Times are milliseconds. */
export interface RedisStoreOptions {
  /** `redis:` or `rediss:`, with user and password where needed. */
  readonly url: string
  /** Put before every key; without braces, which are the Cluster hash tag. */
  readonly prefix: string
  /** `ping` rejects when the view is older. */
  readonly maxStalenessMs: number
  /** How often completeness is proven; default a quarter of `maxStalenessMs`, at most 1000. */
  readonly heartbeatMs?: number
  /** Default a quarter of `maxStalenessMs`, at least 100 and at most 1000. */
  readonly commandTimeoutMs?: number
  /** Single-use ids remembered at once; beyond that their use is `Unavailable`. Default 1,000,000. */
  readonly maxReplayIds?: number
  /** Told when the server cannot be used, once per reason. Never carries a secret. */
  readonly onError?: (error: Error) => void
  /** The wall clock. */
  readonly now?: () => number
}

const openMs = 3000
/** Most that reading or writing one policy set takes. */
const transferMs = 5000
/** Above what a set may have, even one that does not compress. What is longer is cut, so it will not verify. */
const maxTransferBytes = 33 * 1024 * 1024
/** Stream entries kept; a gate that falls further behind loads the hash instead. */
const feedLength = 10_000

type Connection = Redis & Scripts
type Timeouts = Pick<
  RedisOptions,
  'commandTimeout' | 'blockingTimeout' | 'blockingTimeoutGrace' | 'socketTimeout'
>

/** Connects, loads every revocation, starts to follow. Throws `Unavailable` within about three seconds. */
export async function openRedis(options: RedisStoreOptions): Promise<Store> {
  const where = checkedAddress(options)
  const { maxStalenessMs, now = Date.now, onError = () => {} } = options
  // From one proof of the view to the next pass a heartbeat and three round trips: to ask, to wait for what comes,
  // to ask again. With a quarter for each, a network that is slow but within the bound is slow and no more.
  const quarterMs = Math.min(1000, maxStalenessMs / 4)
  const commandTimeoutMs = options.commandTimeoutMs ?? Math.max(100, quarterMs)
  // Whole and above zero: `BLOCK 0` would wait for ever.
  const heartbeatMs = Math.max(1, Math.floor(options.heartbeatMs ?? quarterMs))
  const connections = connect(options.url, { commandTimeoutMs, heartbeatMs })
  const key: KeyName = (...parts) => `${options.prefix}{leasegate}:${parts.join(':')}`
  const source = feedSource(connections, key)
  const feed = new RevocationFeed(source, { heartbeatMs, now, onError })
  try {
    await within(openMs, connected(connections))
    await feed.start()
  } catch (error) {
    await close(connections, feed)
    throw new Unavailable(`Redis at ${where} cannot be used: ${reason(error)}`)
  }
  const asked = answering(connections.commands)
  return {
    kind: 'redis',
    revocations: revocationsOf(feed, source),
    leases: keyedLeases(asked, key, now),
    budgets: keyedBudgets(asked, key, now),
    approvals: keyedApprovals(asked, key, now),
    replay: keyedReplay(asked, key, options.maxReplayIds ?? maxReplayIds),
    deferrals: keyedDeferrals(asked, key, now),
    secrets: keyedSecrets(asked, key),
    policySets: keyedPolicySets(asked, transfers(options.url, connections.commands), key),
    async ping() {
      await answer(connections.commands.ping())
      if (feed.ageMs(now()) > maxStalenessMs) throw new Unavailable('the revocation view is stale')
    },
    close: () => close(connections, feed),
  }
}

interface Connections {
  readonly commands: Connection
  readonly reader: Connection
  /** The newest connection error; `connect()` itself only says that it failed. */
  lastError(): unknown
}

/**
 * ioredis keeps and repeats commands by default and then waits without end (a frozen server held a call
 * for more than three seconds). Here a command that cannot be sent or answered now fails now.
 */
function dial(url: string, options: Timeouts): Connection {
  return new Redis(url, {
    ...options,
    protocol: 2,
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 1000,
    retryStrategy: (attempt) => Math.min(attempt * 20, 500),
    // A primary that has become a replica: look up the address again.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    scripts,
  }) as Connection
}

function connect(url: string, times: { commandTimeoutMs: number; heartbeatMs: number }): Connections {
  let lastError: unknown
  // Both connections hear something in that time; one that does not is cut and made anew.
  const socketTimeout = Math.max(1000, times.heartbeatMs + 2 * times.commandTimeoutMs)
  const open = (options: Timeouts): Connection => {
    const redis = dial(url, { ...options, socketTimeout })
    redis.on('error', (error: unknown) => {
      lastError = error
    })
    return redis
  }
  return {
    commands: open({ commandTimeout: times.commandTimeoutMs }),
    // A blocking read may take its block; a grace after that it comes back empty, which proves nothing.
    reader: open({ blockingTimeout: times.heartbeatMs, blockingTimeoutGrace: times.commandTimeoutMs }),
    lastError: () => lastError,
  }
}

/**
 * Policy sets travel on a connection of their own, made for the one transfer: megabytes take longer than a
 * command may, and what waits behind them on a shared connection would time out.
 */
function transfers(url: string, commands: Connection): SetTransfers {
  const over = async <T>(work: (redis: Connection) => Promise<T>): Promise<T> => {
    // A store that is closed or out of reach fails here, within the time of a command.
    await answer(commands.ping())
    const redis = dial(url, { commandTimeout: transferMs, socketTimeout: transferMs })
    redis.on('error', () => {})
    try {
      await answer(redis.connect())
      return await answer(work(redis))
    } finally {
      redis.disconnect()
    }
  }
  return {
    async read(key) {
      const found = await over((redis) => redis.getrangeBuffer(key, 0, maxTransferBytes - 1))
      return found.byteLength === 0 ? undefined : found
    },
    publish: (...args) => over((redis) => redis.leasegatePublish(...args)),
  }
}

async function connected({ commands, reader, lastError }: Connections): Promise<void> {
  try {
    await Promise.all([commands.connect(), reader.connect()])
  } catch (error) {
    throw lastError() ?? error
  }
}

/** Cuts the connections, which ends every wait of the feed. */
async function close({ commands, reader }: Connections, feed: RevocationFeed): Promise<void> {
  const stopped = feed.stop()
  reader.disconnect()
  commands.disconnect()
  await stopped
}

/** Rejects after `ms` even when `work` never settles. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(() => late.reject(new Unavailable(`no answer within ${ms} ms`)), ms)
  try {
    await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function feedSource({ commands, reader }: Connections, key: KeyName): FeedSource {
  const [hash, stream, beat] = [key('revocations'), key('feed'), key('beat')]
  return {
    async probe(nowMs) {
      const reply = await answer(commands.leasegateProbe(beat, stream, hash, nowMs))
      const [last, entries] = reply as [string, number]
      return { last, entries }
    },
    async scan(cursor) {
      const [next, pairs] = await answer(commands.hscan(hash, cursor, 'COUNT', 1000))
      return { cursor: next, entries: pairs.filter((_, index) => index % 2 === 1) }
    },
    async read(id, waitMs) {
      const reply = await answer(reader.xread('COUNT', 1000, 'BLOCK', waitMs, 'STREAMS', stream, id))
      return (reply?.[0]?.[1] ?? []).map(feedEntry)
    },
    write: (entry) => writeEntry(commands, key, entry),
    async purge(keys, before) {
      await answer(commands.leasegatePurge(hash, before, ...keys))
    },
  }
}

/** An entry that is not ours has no `previous`, which is a broken link. */
function feedEntry([id, fields]: [id: string, fields: string[]]): FeedEntry {
  const field = (name: string) => fields[fields.indexOf(name) + 1] ?? ''
  return { id, previous: field('previous'), entry: field('entry') }
}

async function writeEntry(commands: Connection, key: KeyName, entry: Entry): Promise<void> {
  const [hash, stream] = [key('revocations'), key('feed')]
  await answer(commands.leasegateRevoke(hash, stream, keyOf(entry), ...revokeArguments(entry), feedLength))
}

function revocationsOf(feed: RevocationFeed, source: FeedSource): Revocations {
  const write = async (entry: Entry) => {
    await source.write(entry)
    feed.view.put(entry)
  }
  return {
    revoke: write,
    suspend: write,
    suspension: (lease) => feed.view.suspension(lease),
    find: (keys, issuedAt) => feed.view.find(keys, issuedAt),
    ageMs: (nowMs) => feed.ageMs(nowMs),
    size: () => feed.view.size,
    watch: (listener) => feed.view.watch(listener),
  }
}

/** What the ports need of the connection, each failure turned into `Unavailable`. */
function answering(redis: Connection): Commands & SetCommands {
  return {
    get: (key) => answer(redis.get(key)),
    mget: (keys) => answer(redis.mget(keys)),
    hash: (key) => answer(redis.hgetall(key)),
    range: (key, start, stop) => answer(redis.lrange(key, start, stop)),
    newest: (key, start, stop) => answer(redis.zrevrange(key, start, stop)),
    above: (key, score) => answer(redis.zrangebyscore(key, `(${score}`, '+inf')),
    run: (script, ...args) => answer(redis[script](...args)),
  }
}

async function answer<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply
  } catch (error) {
    throw new Unavailable(`Redis: ${reason(error)}`)
  }
}

/**
 * One word or two for what went wrong. Never the message itself, and never the error as `cause`: ioredis
 * attaches the command with its arguments, and those of AUTH are the password.
 */
function reason(error: unknown): string {
  if (error instanceof Unavailable) return error.message
  if (!(error instanceof Error)) return 'failed'
  if ('code' in error && typeof error.code === 'string') return error.code
  if (error.message.endsWith('timed out')) return 'timed out'
  return /^[A-Z]{3,}(?= )/.exec(error.message)?.[0] ?? 'connection lost'
}

/** Host and port for messages. Throws `Unavailable`, without the text, for options that cannot be used. */
function checkedAddress({ url, prefix }: RedisStoreOptions): string {
  const parsed = URL.parse(url)
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new Unavailable('the Redis url must look like redis://host:port or rediss://host:port')
  }
  // ioredis would take them as options and could be talked out of the safe ones.
  if (parsed.search !== '') throw new Unavailable('the Redis url must not have a query')
  if (/[{}]/.test(prefix)) throw new Unavailable('the Redis key prefix must not contain braces')
  return parsed.host
}
