// Faults of Redis as several servers: a fail-over by sentinels, also to a replica that has lost acknowledged
// revocations, and a Cluster that moves the slot of all keys while gates use it.
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestRedis } from '../../support/redis.ts'
import {
  addressOf,
  type RedisCluster,
  type SentinelSet,
  startCluster,
  startSentinel,
} from '../../support/redis_topologies.ts'
import type { Json } from '../../support/tokens.ts'
import { type GatePlace, maxStaleness, maxStalenessMs } from '../deployment.ts'
import type { Fault, Site } from '../fault.ts'
import { redisCommand } from '../redis_command.ts'

interface SentinelSite extends Site {
  readonly redis: SentinelSet
}

interface ClusterSite extends Site {
  readonly redis: RedisCluster
}

async function sentinelSite({ acknowledged = false } = {}): Promise<SentinelSite> {
  const redis = await startSentinel()
  const { name, password, sentinels } = redis
  // A replica that has heard nothing for ten times as long is not promoted, and our machine may be busy.
  await Promise.all(
    sentinels.map(({ url }) => redisCommand(url, `SENTINEL SET ${name} down-after-milliseconds 2000`)),
  )
  const acknowledge = { replicas: 1, timeout: '1s' }
  return siteOf(redis, {
    password,
    sentinel: { name, nodes: nodesOf(sentinels) },
    ...(acknowledged && { acknowledge }),
  })
}

async function clusterSite(): Promise<ClusterSite> {
  const redis = await startCluster()
  return siteOf(redis, { cluster: { nodes: nodesOf(redis.servers) } })
}

function siteOf<R extends { stop(): Promise<void> }>(redis: R, at: Json): Site & { readonly redis: R } {
  const place: GatePlace = { state: { store: 'redis', redis: { ...at, max_staleness: maxStaleness } } }
  return { redis, places: [place, place], anew: place, close: () => redis.stop() }
}

function nodesOf(servers: readonly TestRedis[]): string[] {
  return servers.map(addressOf).map(({ host, port }) => `${host}:${port}`)
}

export const sentinelFaults: readonly Fault<SentinelSite>[] = [
  {
    name: 'sentinel-failover',
    what: 'kill -9 of the primary: the sentinels promote a replica',
    open: () => sentinelSite(),
    async inflict(_, { redis }) {
      const old = await redis.primary()
      await old.kill()
      await redis.promotedAfter(old)
    },
  },
  {
    name: 'sentinel-failover-behind',
    what: 'the same, to a replica that has missed acknowledged revocations: the gates give them back',
    open: () => sentinelSite(),
    async inflict(deployment, { redis }) {
      await redis.cutReplicas()
      await deployment.moreRevocations(15)
      const old = await redis.primary()
      await old.kill()
      await redis.promotedAfter(old)
    },
  },
  {
    name: 'sentinel-primary-frozen',
    what: 'SIGSTOP of the primary, a replica takes over; the old one wakes up and still thinks that it is the primary',
    open: () => sentinelSite(),
    async inflict(_, { redis }) {
      const old = await redis.primary()
      old.freeze()
      await redis.promotedAfter(old)
      old.thaw()
      await sleep(maxStalenessMs + 500)
    },
  },
  {
    name: 'sentinel-two-primaries',
    what: 'a fail-over by hand: the old primary goes on for seconds, but no replica acknowledges what it takes',
    open: () => sentinelSite({ acknowledged: true }),
    async inflict(deployment, { redis }) {
      const old = await redis.primary()
      await redisCommand(redis.sentinels[0]!.url, `SENTINEL FAILOVER ${redis.name}`)
      await redis.promotedAfter(old)
      await deployment.moreRevocations(15)
      await sleep(maxStalenessMs + 500)
    },
  },
]

export const clusterFaults: readonly Fault<ClusterSite>[] = [
  {
    name: 'cluster-migration',
    what: 'the slot of all keys moves to another server of the Cluster, halfway for longer than the bound',
    open: clusterSite,
    async inflict(deployment, { redis }) {
      await redis.migrate(() => sleep(maxStalenessMs + 1000))
      await deployment.healed()
      await redis.migrate()
    },
  },
]
