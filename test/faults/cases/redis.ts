// Faults of one Redis with two gates, each of which reaches it over a proxy of its own.
import { setTimeout as sleep } from 'node:timers/promises'
import { type FaultProxy, startFaultProxy } from '../../support/fault_proxy.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import type { Json } from '../../support/tokens.ts'
import { type GatePlace, maxStaleness, maxStalenessMs } from '../deployment.ts'
import type { Fault, Site } from '../fault.ts'
import { redisCommand } from '../redis_command.ts'

/** Longer than any view may age. */
const longMs = maxStalenessMs + 1500

interface RedisSite extends Site {
  readonly redis: TestRedis
  readonly ways: readonly [FaultProxy, FaultProxy]
}

/** Every write on disk before it is acknowledged. */
const durable = ['--appendonly', 'yes', '--appendfsync', 'always']

function redisSite(args: readonly string[] = durable): () => Promise<RedisSite> {
  return async () => {
    const redis = await startRedis(args)
    const { hostname, port } = new URL(redis.url)
    const target = { host: hostname, port: Number(port) }
    const ways = [await startFaultProxy(target), await startFaultProxy(target)] as const
    return {
      redis,
      ways,
      places: ways.map((way) => through(way)),
      anew: { state: redisState(redis.url) },
      async close() {
        await Promise.all(ways.map((way) => way.close()))
        redis.thaw()
        await redis.stop()
      },
    }
  }
}

function through(way: FaultProxy): GatePlace {
  return { state: redisState(`redis://${way.host}:${way.port}`) }
}

/** The section `state` for a gate. */
export function redisState(url: string): Json {
  return { store: 'redis', redis: { url, max_staleness: maxStaleness } }
}

export const redisFaults: readonly Fault<RedisSite>[] = [
  {
    name: 'redis-killed-durable',
    what: 'kill -9 of Redis and restart, appendfsync always',
    open: redisSite(),
    async inflict(_, { redis }) {
      await redis.kill()
      await sleep(longMs)
      await redis.restart()
    },
  },
  {
    name: 'redis-killed-empty',
    what: 'kill -9 of Redis and restart without persistence: the gates give back what it lost',
    short: true,
    open: redisSite([]),
    async inflict(_, { redis }) {
      await redis.kill()
      await redis.restart()
    },
  },
  {
    name: 'redis-killed-empty-long',
    what: 'the same, gone for longer than the bound',
    open: redisSite([]),
    async inflict(_, { redis }) {
      await redis.kill()
      await sleep(longMs)
      await redis.restart()
    },
  },
  {
    name: 'redis-frozen',
    what: 'SIGSTOP of Redis for longer than the bound, then SIGCONT',
    short: true,
    open: redisSite(),
    async inflict(_, { redis }) {
      redis.freeze()
      await sleep(longMs)
      redis.thaw()
    },
  },
  {
    name: 'redis-frozen-briefly',
    what: 'SIGSTOP of Redis three times for less than the bound',
    open: redisSite(),
    async inflict(_, { redis }) {
      for (let turn = 0; turn < 3; turn++) {
        redis.freeze()
        await sleep(maxStalenessMs / 2)
        redis.thaw()
        await sleep(500)
      }
    },
  },
  {
    name: 'partition-drop',
    what: 'one gate hears nothing from Redis and is not heard, connections stay open; the other revokes on',
    short: true,
    open: redisSite(),
    async inflict(deployment, { ways }) {
      deployment.revokeThrough(deployment.gates[1]!)
      await ways[0].turn('drop')
      await deployment.moreRevocations(20)
      await sleep(longMs)
      await ways[0].turn('open')
      deployment.revokeThrough(...deployment.gates)
    },
  },
  {
    name: 'partition-mute',
    what: 'what one gate sends reaches Redis, the answers do not come back',
    open: redisSite(),
    async inflict(deployment, { ways }) {
      await ways[0].turn('mute')
      await sleep(longMs)
      await ways[0].turn('open')
      await deployment.moreRevocations(5)
    },
  },
  {
    name: 'partition-refuse',
    what: 'connections of one gate are reset and new ones refused',
    open: redisSite(),
    async inflict(deployment, { ways }) {
      deployment.revokeThrough(deployment.gates[1]!)
      await ways[0].turn('refuse')
      await deployment.moreRevocations(20)
      await sleep(longMs)
      await ways[0].turn('open')
      deployment.revokeThrough(...deployment.gates)
    },
  },
  {
    name: 'partition-both',
    what: 'both gates lose Redis, dropped for one and refused for the other',
    open: redisSite(),
    async inflict(_, { ways }) {
      await Promise.all([ways[0].turn('drop'), ways[1].turn('refuse')])
      await sleep(longMs)
      await Promise.all(ways.map((way) => way.turn('open')))
    },
  },
  {
    name: 'connections-cut',
    what: 'every connection to Redis is reset, five times',
    open: redisSite(),
    async inflict(_, { ways }) {
      for (let turn = 0; turn < 5; turn++) {
        for (const way of ways) way.cut()
        await sleep(400)
      }
    },
  },
  {
    name: 'slow-network',
    what: '200 ms more to Redis and 200 ms more back, for both gates',
    open: redisSite(),
    async inflict(deployment, { ways }) {
      await Promise.all(ways.map((way) => way.turn(200)))
      await sleep(longMs)
      // Slow is not gone: the gates have to serve, and revocations be acknowledged, while it lasts.
      await deployment.healed()
      await deployment.moreRevocations(10)
      await Promise.all(ways.map((way) => way.turn('open')))
    },
  },
  {
    name: 'flushall',
    what: 'FLUSHALL: the gates give back what Redis has lost',
    short: true,
    open: redisSite(),
    async inflict(deployment, { redis }) {
      for (let turn = 0; turn < 3; turn++) {
        await redisCommand(redis.url, 'FLUSHALL')
        await deployment.moreRevocations(10)
      }
    },
  },
  {
    name: 'memory-full',
    what: 'Redis has no memory left and refuses writes (noeviction)',
    open: redisSite(),
    async inflict(_, { redis }) {
      await redisCommand(redis.url, 'CONFIG SET maxmemory 1')
      await sleep(longMs)
      await redisCommand(redis.url, 'CONFIG SET maxmemory 0')
    },
  },
  {
    name: 'clock-steps',
    what: 'the wall clock of one gate jumps 90 s ahead, then 90 s behind, then back',
    open: redisSite(),
    async inflict(deployment) {
      const [stepped] = deployment.gates
      for (let step = 0; step < 3; step++) {
        stepped!.signal('SIGUSR2')
        await deployment.moreRevocations(15)
        await sleep(maxStalenessMs + 500)
      }
    },
  },
  {
    name: 'gate-killed',
    what: 'kill -9 of one gate and restart, while the other revokes',
    open: redisSite(),
    async inflict(deployment) {
      const [killed, other] = deployment.gates
      deployment.revokeThrough(other!)
      await killed!.kill()
      await deployment.moreRevocations(15)
      await killed!.start()
      deployment.revokeThrough(...deployment.gates)
    },
  },
  {
    name: 'gate-frozen',
    what: 'SIGSTOP of one gate for longer than the bound: it wakes up with an old view',
    open: redisSite(),
    async inflict(deployment) {
      const [frozen, other] = deployment.gates
      deployment.revokeThrough(other!)
      frozen!.signal('SIGSTOP')
      await deployment.moreRevocations(15)
      await sleep(longMs)
      frozen!.signal('SIGCONT')
      deployment.revokeThrough(...deployment.gates)
    },
  },
]
