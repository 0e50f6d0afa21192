// In: where the Redis or Valkey is that all gates share. Out: a `Store`. Every command settles within its
// timeout; a failure is `Unavailable` and carries neither the password nor what was sent. It never answers
// "not revoked" from Redis: `find` reads the local view.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Revocations, type Store, Unavailable } from '../ports.ts'
import { type Entry, keyOf } from './entry.ts'
import { RevocationFeed } from './feed.ts'
import { type Commands, type KeyName, keyedReplay } from './keyed.ts'
import { keyedBudgets } from './keyed_budgets.ts'
import { keyedDeferrals, keyedSecrets } from './keyed_deferrals.ts'
import { keyedLeases } from './keyed_leases.ts'
import { keyedRecords } from './keyed_records.ts'
import { keyedPolicySets, type SetCommands } from './keyed_sets.ts'
import { maxReplayIds } from './lifetimes.ts'
import { type Acknowledge, Acknowledgement } from './redis_acknowledge.ts'
import { answer, reason } from './redis_answer.ts'
import { type Connection, type Dialler, diallerOf, type Timeouts } from './redis_connect.ts'
import { type Connections, RedisEntries } from './redis_entries.ts'
import { checkRights } from './redis_fitness.ts'
import { type Place, placeOf, type RedisServers } from './redis_servers.ts'
import { transfers } from './redis_transfers.ts'
import { StoreClock } from './store_clock.ts'

/*
 * What Redis holds, each key beginning with `<prefix>{leasegate}:`
 *   revocations      hash: revocation key or suspension -> "rank expires json"; the truth a gate loads at start
 *   feed             stream: every change of that hash, each entry with the id of the one before it
 *   born             since when, by its own clock, gates have started on this server as it is: "ids of the server
 *                    milliseconds"; younger: others may be giving back what it has lost
 *   beat             when a gate last proved that this server takes writes
 *   issued           when the newest token was issued, milliseconds since 1970
 *   lease:ID         JSON of the record; leases, leases:agent:A, and so for user, task, session, tenant and
 *                    state: ids by time of issue
 *   usage:[ISS,ID]   hash: calls, refusals, bytesIn, bytesOut, lastUsedAt, verb:V of a lease
 *   login:[ISS,SUB]  users that leases were issued to, by how long the longest is kept
 *   deferral:ID      JSON of a token request that waits; deferrals: ids of those that nobody settled, by expiry
 *   secret:NAME      32 random bytes, base64url       replay       used single-use ids, by expiry
 *   budget:KEY       used of a total      rate:KEY    when a rate is whole again, microseconds since 1970
 *   record:KIND:ID   hash: version, text, lists; records:KIND:LIST ids by place, until:KIND:LIST by expiry
 *   policy:set:DIGEST  a published policy, packed     policy:sets    hash: digest -> json of who and when
 *   policy:history   list of activations, newest first: "number digest json"
 */

/** How to reach Redis, and what it has to do. Times are milliseconds. */
export interface RedisStoreOptions extends RedisServers {
  /** Put before every key; without braces, which are the Cluster hash tag. */
  readonly prefix: string
  /** `ping` rejects when the view is older. */
  readonly maxStalenessMs: number
  /** What has to have a revocation, or a record, before it is acknowledged; default: the primary. */
  readonly acknowledge?: Acknowledge
  /** Whether `confirm` reads from Redis; default: no, the view is enough. */
  readonly strict?: boolean
  /** How often completeness is proven; default a quarter of `maxStalenessMs`, at most 1000. */
  readonly heartbeatMs?: number
  /** Default a quarter of `maxStalenessMs`, at least 100 and at most 1000. */
  readonly commandTimeoutMs?: number
  /** How long a server that has come up or taken over is followed before it is believed; default `maxStalenessMs`. */
  readonly settleMs?: number
  /** Single-use ids remembered at once; beyond that their use is `Unavailable`. Default 1,000,000. */
  readonly maxReplayIds?: number
  /** Told when the server cannot be used, once per reason. Never carries a secret. */
  readonly onError?: (error: Error) => void
  /** The wall clock. */
  readonly now?: () => number
}

const openMs = 3000

/** Connects, loads every revocation, starts to follow. Throws `Unavailable` within about three seconds. */
export async function openRedis(options: RedisStoreOptions): Promise<Store> {
  const place = placeOf(options)
  if (/[{}]/.test(options.prefix)) throw new Unavailable('the Redis key prefix must not contain braces')
  const { maxStalenessMs, now = Date.now, onError = () => {} } = options
  const times = timesOf(options)
  const dialler = diallerOf(place)
  const connections = connect(dialler, times, options.acknowledge)
  const key: KeyName = (...parts) => `${options.prefix}{leasegate}:${parts.join(':')}`
  const clock = new StoreClock()
  const storeNow = () => clock.nowMs()
  const acknowledgement = acknowledgementOf(connections, options.acknowledge)
  const entries = new RedisEntries(connections, key, { acknowledgement, clock })
  const feed = new RevocationFeed(entries, { heartbeatMs: times.heartbeatMs, now, onError })
  try {
    await within(openMs, connected(connections, place.at), connections.lastError)
    await checkRights(connections.commands, key('check'))
    await entries.check()
    await feed.start()
    await settled(connections.commands, key('born'), options.settleMs ?? maxStalenessMs)
  } catch (error) {
    await close(connections, feed)
    throw new Unavailable(`Redis at ${place.where} cannot be used: ${reason(error)}`)
  }
  const following = setInterval(follower(dialler, feed), times.followMs).unref()
  const asked = answering(connections.commands)
  return {
    kind: 'redis',
    revocations: revocationsOf(feed, entries, options.strict === true),
    leases: keyedLeases(asked, key, storeNow),
    budgets: keyedBudgets(asked, key, storeNow),
    replay: keyedReplay(asked, key, options.maxReplayIds ?? maxReplayIds),
    deferrals: keyedDeferrals(asked, key, storeNow),
    secrets: keyedSecrets(asked, key),
    records: keyedRecords(asked, key, storeNow, acknowledgedRecords(acknowledgement)),
    policySets: keyedPolicySets(asked, transfers(dialler, connections.commands), key),
    fault: () => entries.fault(),
    now: async () => Number(await answer(connections.commands.leasegateNow(key('issued')))) / 1000,
    clockOffset: () => (now() - storeNow()) / 1000,
    async ping() {
      await answer(connections.commands.ping())
      if (feed.ageMs(now()) > maxStalenessMs) throw new Unavailable('the revocation view is stale')
    },
    close() {
      clearInterval(following)
      return close(connections, feed)
    },
  }
}

/** A gate that starts while others give back what the server has lost would take the rest for never revoked. */
async function settled(commands: Connection, born: string, settleMs: number): Promise<void> {
  const ageMs = Number(await answer(commands.leasegateBorn(born)))
  await sleep(Math.min(settleMs, Math.max(0, settleMs - ageMs)))
}

interface Times {
  readonly commandTimeoutMs: number
  readonly heartbeatMs: number
  readonly followMs: number
}

/**
 * From one proof of the view to the next pass a heartbeat and three round trips: to ask, to wait for what comes, to
 * ask again. With a quarter for each, a network that is slow but within the bound is slow and no more.
 */
function timesOf({ commandTimeoutMs, heartbeatMs, maxStalenessMs }: RedisStoreOptions): Times {
  const quarterMs = Math.min(1000, maxStalenessMs / 4)
  const beat = heartbeatMs ?? quarterMs
  return {
    commandTimeoutMs: commandTimeoutMs ?? Math.max(100, quarterMs),
    // Whole and above zero: `BLOCK 0` would wait for ever.
    heartbeatMs: Math.max(1, Math.floor(beat)),
    followMs: Math.max(250, beat),
  }
}

function connect(dialler: Dialler, times: Times, acknowledge: Acknowledge | undefined): Connections {
  const { commandTimeoutMs, heartbeatMs } = times
  let lastError: unknown
  const open = (timeouts: Timeouts): Connection => {
    const redis = dialler.dial(timeouts)
    redis.on('error', (error: unknown) => {
      lastError = error
    })
    return redis
  }
  // These hear something in that time; one that does not is cut and made anew.
  const socketTimeout = Math.max(1000, heartbeatMs + 2 * commandTimeoutMs)
  const waitMs = acknowledge === undefined ? undefined : acknowledge.timeoutMs + commandTimeoutMs
  return {
    commands: open({ commandTimeout: commandTimeoutMs, socketTimeout }),
    // A blocking read may take its block; a grace after that it comes back empty, which proves nothing.
    reader: open({ blockingTimeout: heartbeatMs, blockingTimeoutGrace: commandTimeoutMs, socketTimeout }),
    ...(waitMs === undefined
      ? {}
      : { waiter: open({ commandTimeout: waitMs, socketTimeout: waitMs + 1000 }) }),
    lastError: () => lastError,
  }
}

function acknowledgementOf(
  { waiter }: Connections,
  needs: Acknowledge | undefined,
): Acknowledgement | undefined {
  return waiter === undefined || needs === undefined ? undefined : new Acknowledgement(waiter, needs)
}

function acknowledgedRecords(acknowledgement: Acknowledgement | undefined) {
  if (acknowledgement === undefined) return undefined
  return (...args: (string | number)[]) =>
    acknowledgement.of((waiter) => answer(waiter.leasegateRecords(...args)))
}

function everyOne({ commands, reader, waiter }: Connections): Connection[] {
  return waiter === undefined ? [commands, reader] : [commands, reader, waiter]
}

/**
 * Asks once whether the primary is still the same. It was until the last time that the answer was yes; what it has
 * proven since, it may have proven beside its successor.
 */
function follower(dialler: Dialler, feed: RevocationFeed): () => Promise<void> {
  let sameMs = performance.now()
  return async () => {
    const askedMs = performance.now()
    try {
      if (await dialler.followFailover()) feed.distrust(sameMs)
      sameMs = askedMs
    } catch {
      // Sentinels that do not answer change nothing: the next one is asked in a moment.
    }
  }
}

/** A single server is there or is not; behind Sentinel or in a Cluster a fail-over may be under way. */
async function connected(connections: Connections, at: Place['at']): Promise<void> {
  const ready = async (each: Connection) => {
    try {
      await each.connect()
    } catch (error) {
      if ('single' in at) throw connections.lastError() ?? error
      await new Promise<void>((resolve) => each.once('ready', () => resolve()))
    }
  }
  await Promise.all(everyOne(connections).map(ready))
}

/** Cuts the connections, which ends every wait of the feed. */
async function close(connections: Connections, feed: RevocationFeed): Promise<void> {
  const stopped = feed.stop()
  for (const each of everyOne(connections)) each.disconnect()
  await stopped
}

/** Rejects after `ms` even when `work` never settles, with what went wrong until then. */
async function within(ms: number, work: Promise<void>, lastError: () => unknown): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(() => {
    late.reject(lastError() ?? new Unavailable(`no answer within ${ms} ms`))
  }, ms)
  try {
    await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function revocationsOf(feed: RevocationFeed, entries: RedisEntries, strict: boolean): Revocations {
  const { intake } = feed
  const { view } = intake
  const write = async (entry: Entry) => {
    const inDoubt = view.isDoubtful(keyOf(entry))
    await entries.acknowledge(entry, () => view.put(entry))
    if (inDoubt) await feed.requireReadable(keyOf(entry))
  }
  const confirm = async (lease: Parameters<Revocations['confirm']>[0]) => {
    for (const [key, text] of await entries.about(lease)) intake.take(key, text)
  }
  return {
    revoke: write,
    suspend: write,
    suspension: (lease) => view.suspension(lease),
    find: (keys, issuedAt) => view.find(keys, issuedAt),
    confirm: strict ? confirm : () => undefined,
    ageMs: (nowMs) => feed.ageMs(nowMs),
    size: () => view.size,
    watch: (listener) => view.watch(listener),
    malformed: () => intake.malformed(),
    faults: () => intake.faults(),
  }
}

/** What the ports need of the connection, each failure turned into `Unavailable`. */
function answering(redis: Connection): Commands & SetCommands {
  return {
    get: (key) => answer(redis.get(key)),
    mget: (keys) => answer(redis.mget(keys)),
    hash: (key) => answer(redis.hgetall(key)),
    fields: (key, ...names) => answer(redis.hmget(key, ...names)),
    range: (key, start, stop) => answer(redis.lrange(key, start, stop)),
    newest: (key, until, start, count) =>
      answer(redis.zrange(key, until ?? '+inf', '-inf', 'BYSCORE', 'REV', 'LIMIT', start, count)),
    newestBefore: (key, before, start, count) => {
      const max = before === undefined ? '+inf' : `(${before}`
      return answer(redis.zrange(key, max, '-inf', 'BYSCORE', 'REV', 'LIMIT', start, count))
    },
    tied: (key, score) => answer(redis.zrange(key, `${score}`, `${score}`, 'BYSCORE', 'REV')),
    above: (key, score) => answer(redis.zrangebyscore(key, `(${score}`, '+inf')),
    run: (script, ...args) => answer(redis[script](...args)),
  }
}
