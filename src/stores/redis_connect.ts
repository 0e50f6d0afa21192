// In: where Redis is and who asks. Out: connections to the primary that never keep or repeat a command, wherever
// the primary moves to. The only importer of ioredis. All keys share one Cluster slot, so a connection to its
// owner is all that a Cluster needs, as one to the primary is with Sentinel.
import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'
import { Unavailable } from '../ports.ts'
import { type Address, type Primary, PrimaryFinder } from './redis_primary.ts'
import type { Access, Place, RedisTls } from './redis_servers.ts'
import { type Scripts, scripts } from './scripts.ts'

/** A connection, with the scripts as its methods. */
export type Connection = Redis & Scripts

/** The bounds of one connection, milliseconds. */
export type Timeouts = Pick<
  RedisOptions,
  'commandTimeout' | 'blockingTimeout' | 'blockingTimeoutGrace' | 'socketTimeout'
>

/** Replies come as RESP2 has them. */
type Options = Omit<RedisOptions, 'replyMapping'>

/** Makes connections to one primary. */
export interface Dialler {
  /** Not yet connected: `connect()` it. It finds its way back by itself until it is disconnected. */
  dial(timeouts: Timeouts): Connection
  /**
   * Cuts each connection that was made before the last fail-over that sentinels tell of, so that it finds the
   * primary of now; whether there was one. Nothing elsewhere. Rejects when nobody can tell.
   */
  followFailover(): Promise<boolean>
}

/** Slot of every key with the hash tag `{leasegate}`: CRC16 of it, modulo 16384. */
export const slot = 11_909
const connectMs = 1000
const longestPauseMs = 500

/** How to dial the primary of `place`. */
export function diallerOf({ access, at }: Place): Dialler {
  const finder = finderOf(at, access)
  const db = 'single' in at ? at.db : 0
  /** Where each socket leads: connections find the primary one by one, so some can be behind others. */
  const open = new Map<Socket, Primary>()
  const Connector = connectorTo(async () => {
    const primary = await finder.find()
    const socket = socketTo(primary, access.tls)
    open.set(socket, primary)
    socket.once('close', () => open.delete(socket))
    return socket
  })
  return {
    dial: (timeouts) => redis({ ...accessOptions(access), ...timeouts, Connector, db }),
    async followFailover() {
      // A primary that the sentinels have given up may answer us for as long as it is cut off from them.
      if (!('sentinel' in at)) return false
      const latest = await finder.latest()
      const behind = [...open].filter(([, { epoch }]) => epoch < latest.epoch)
      for (const [socket] of behind) socket.destroy()
      return behind.length > 0
    },
  }
}

function finderOf(at: Place['at'], access: Access): PrimaryFinder {
  if ('single' in at) return new PrimaryFinder([at.single], async (node) => ({ ...node, epoch: 0 }))
  if ('cluster' in at) return new PrimaryFinder(at.cluster.nodes, (node) => askClusterNode(node, access))
  return new PrimaryFinder(at.sentinel.nodes, (node) => askSentinel(node, at.sentinel))
}

/**
 * ioredis keeps and repeats commands by default and then waits without end (a frozen server held a call
 * for more than three seconds). Here a command that cannot be sent or answered now fails now.
 */
function redis(options: Options): Connection {
  return new Redis({
    protocol: 2,
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: connectMs,
    // It would need one more right, and tells the server nothing that is of use.
    disableClientInfo: true,
    retryStrategy: pauseMs,
    // The primary is elsewhere by now: look it up again. The command itself has failed.
    reconnectOnError: (error) => /^(?:READONLY|MOVED|CLUSTERDOWN) /.test(error.message),
    scripts,
    ...options,
  }) as Connection
}

function pauseMs(attempt: number): number {
  return Math.min(attempt * 20, longestPauseMs)
}

function accessOptions({ username, password, tls }: Access): Options {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    // The connector sees to it; here it only says which event a connection is ready with.
    ...(tls === undefined ? {} : { tls: {} }),
  }
}

function tlsOptions({ serverName, ...pem }: RedisTls) {
  return serverName === undefined ? pem : { ...pem, servername: serverName }
}

/** Opens a socket for each connection, for as long as it takes or until it is disconnected. */
function connectorTo(open: () => Promise<Socket>) {
  return class extends AbstractConnector {
    constructor() {
      super(connectMs)
    }

    override async connect(emit: (type: string, error: Error) => void): Promise<Socket> {
      this.connecting = true
      for (let attempt = 1; this.connecting; attempt++) {
        try {
          const socket = await open()
          // For good: TLS can report a second error, and one that nobody hears ends the process.
          socket.on('error', (error) => {
            this.firstError ??= error
          })
          if (this.connecting) {
            this.stream = socket
            return socket
          }
          socket.destroy()
        } catch (error) {
          emit('error', error instanceof Error ? error : new Error('failed'))
          await sleep(pauseMs(attempt))
        }
      }
      throw new Error('Connection is closed.')
    }
  }
}

function socketTo({ host, port }: Address, tls: RedisTls | undefined): Socket {
  return tls === undefined ? connectTcp({ host, port }) : connectTls({ host, port, ...tlsOptions(tls) })
}

/** One question on a connection of its own, within a bound. */
async function ask<T>(node: Address, access: Access, question: (redis: Redis) => Promise<T>): Promise<T> {
  const bounds = { commandTimeout: connectMs, socketTimeout: connectMs }
  const Connector = connectorTo(async () => socketTo(node, access.tls))
  const asked = redis({
    ...accessOptions(access),
    ...bounds,
    Connector,
    enableReadyCheck: false,
    retryStrategy: null,
  })
  let failure: unknown
  asked.on('error', (error: unknown) => {
    failure = error
  })
  try {
    await asked.connect()
    return await question(asked)
  } catch (error) {
    throw failure ?? error
  } finally {
    asked.disconnect()
  }
}

/**
 * In the midst of a fail-over the address is that of the new primary already; only `MASTER` tells the epoch. That
 * is asked first: an old epoch with a new address is looked up once too often, the reverse would never be left.
 */
function askSentinel(node: Address, { name, access }: { name: string; access: Access }) {
  return ask(node, access, async (sentinel): Promise<Primary | undefined> => {
    const asked = [
      sentinel.call('SENTINEL', 'MASTER', name),
      sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name),
    ]
    const [state, address] = (await Promise.all(asked).catch(unknownName)) as [string[], string[] | null]
    const [host, port] = address ?? []
    const epoch = Number(state[state.indexOf('config-epoch') + 1])
    return host === undefined || Number.isNaN(epoch) ? undefined : { host, port: Number(port), epoch }
  })
}

function unknownName(error: unknown): never {
  if (!(error instanceof Error && error.message.startsWith('ERR No such master'))) throw error
  throw new Unavailable('the sentinels know no primary of that name')
}

/** `CLUSTER SLOTS`: ranges of slots, each with its primary first. An empty host is the one that was asked. */
function askClusterNode(node: Address, access: Access) {
  return ask(node, access, async (asked): Promise<Primary | undefined> => {
    const ranges = (await asked.call('CLUSTER', 'SLOTS')) as [number, number, ...[string | null, number][]][]
    const address = ([host, port]: [string | null, number]) => ({ host: host || node.host, port })
    const range = ranges.find(([first, last]) => first <= slot && slot <= last)
    const owner = range?.[2]
    if (owner === undefined) throw new Unavailable('no node of the Cluster has the slot of {leasegate}')
    const others = ranges.flatMap(([, , ...nodes]) => nodes.map(address)).filter(({ host }) => host !== '?')
    return { ...address(owner), epoch: 0, others }
  })
}
