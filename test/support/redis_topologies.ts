// In: nothing. Out: real Redis set-ups for a test, on loopback ports: a primary with replicas and sentinels, a
// Cluster of three primaries, a server that speaks TLS only. They never outlive the test process.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { slot } from '../../src/stores/redis_connect.ts'
import { type Pair, pairOf, writePair } from './certificates.ts'
import { freePort } from './ports.ts'
import { plainArguments, startRedis, startServer, type TestRedis } from './redis.ts'

/** A server's address, as options name it. */
export function addressOf({ port }: TestRedis): { host: string; port: number } {
  return { host: '127.0.0.1', port }
}

/** A plain client for the test itself. `disconnect` it. */
export function adminOf(server: TestRedis, password?: string): Redis {
  const client = new Redis(server.url, { protocol: 2, ...(password === undefined ? {} : { password }) })
  client.on('error', () => {})
  return client
}

/** Waits for what other processes bring about. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await holds().catch(() => false)) return
    await sleep(50)
  }
  throw new Error(`${what} did not come about`)
}

/** A primary with two replicas, watched by three sentinels. */
export interface SentinelSet {
  readonly name: string
  /** Of all servers. */
  readonly password: string
  readonly sentinels: readonly TestRedis[]
  readonly servers: readonly TestRedis[]
  /** The server that the sentinels agree on. */
  primary(): Promise<TestRedis>
  /** Waits until they agree on another one than `old`. */
  promotedAfter(old: TestRedis): Promise<TestRedis>
  /** Replicas get nothing more, but may be promoted. */
  cutReplicas(): Promise<void>
  stop(): Promise<void>
}

/** Starts one; a primary that is killed is replaced after two seconds or so. */
export async function startSentinel(): Promise<SentinelSet> {
  const [name, password] = ['leasegate', 'right-horse']
  const auth = ['--requirepass', password, '--masterauth', password]
  const first = await startRedis(auth)
  const follow = ['--replicaof', '127.0.0.1', String(first.port), '--repl-diskless-sync-delay', '0']
  const replicas = await Promise.all([startRedis([...auth, ...follow]), startRedis([...auth, ...follow])])
  const servers = [first, ...replicas]
  const sentinels = await Promise.all(
    [1, 2, 3].map(() => startServer(sentinelForm(first.port, name, password))),
  )
  const asked = sentinels.map((sentinel) => adminOf(sentinel))
  const primaryPort = async () => {
    const named = await Promise.all(
      asked.map((each) => each.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name) as Promise<string[]>),
    )
    const ports = new Set(named.map((address) => Number(address[1])))
    if (ports.size !== 1) throw new Error('the sentinels do not agree')
    return [...ports][0]
  }
  const primary = async () => {
    const port = await primaryPort()
    return servers.find((server) => server.port === port)!
  }
  await until('three sentinels that know each other and both replicas', async () => {
    const states = await Promise.all(
      asked.map((each) => each.call('SENTINEL', 'MASTER', name) as Promise<string[]>),
    )
    const count = (state: string[], field: string) => Number(state[state.indexOf(field) + 1])
    return states.every((each) => count(each, 'num-other-sentinels') === 2 && count(each, 'num-slaves') === 2)
  })
  return {
    name,
    password,
    sentinels,
    servers,
    primary,
    async promotedAfter(old) {
      let found: TestRedis | undefined
      await until('a new primary', async () => {
        found = await primary()
        if (found === old) return false
        const admin = adminOf(found, password)
        const role = (await admin.call('ROLE').finally(() => admin.disconnect())) as unknown[]
        return role[0] === 'master'
      })
      return found!
    },
    async cutReplicas() {
      const now = await primary()
      for (const server of servers) {
        if (server === now) continue
        const admin = adminOf(server, password)
        await admin.config('SET', 'masterauth', 'no-longer-right')
        admin.disconnect()
      }
      const admin = adminOf(now, password)
      await admin.call('CLIENT', 'KILL', 'TYPE', 'replica')
      await until('a primary alone', async () => /connected_slaves:0/.test(await admin.info('replication')))
      admin.disconnect()
    },
    async stop() {
      for (const client of asked) client.disconnect()
      for (const server of [...sentinels, ...servers]) server.thaw()
      await Promise.all([...sentinels, ...servers].map((server) => server.stop()))
    },
  }
}

function sentinelForm(primaryPort: number, name: string, password: string) {
  return {
    args(port: number, dir: string) {
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${dir}`,
        `sentinel monitor ${name} 127.0.0.1 ${primaryPort} 2`,
        `sentinel auth-pass ${name} ${password}`,
        `sentinel down-after-milliseconds ${name} 500`,
        `sentinel failover-timeout ${name} 3000`,
      ]
      const file = join(dir, 'sentinel.conf')
      writeFileSync(file, `${lines.join('\n')}\n`)
      return [file, '--sentinel']
    },
  }
}

/** Three primaries that share the slots. */
export interface RedisCluster {
  readonly servers: readonly TestRedis[]
  /** The one that has the slot of `{leasegate}`. */
  owner(): Promise<TestRedis>
  /** Moves that slot to another server, key by key; `halfway` runs when one key has gone and others have not. */
  migrate(halfway?: () => Promise<void>): Promise<void>
  stop(): Promise<void>
}

/** Starts one. */
export async function startCluster(): Promise<RedisCluster> {
  const buses = await Promise.all([freePort(), freePort(), freePort()])
  const clustered = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000']
  const servers = await Promise.all(
    buses.map((bus) => startRedis([...clustered, '--cluster-port', String(bus)])),
  )
  const admins = servers.map((server) => adminOf(server))
  const ranges = ['0 5460', '5461 10922', '10923 16383'].map((range) => range.split(' '))
  for (const [index, admin] of admins.entries()) {
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', ...ranges[index]!)
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
  }
  for (const [index, { port }] of servers.entries()) {
    if (index > 0) await admins[0]!.call('CLUSTER', 'MEET', '127.0.0.1', port, buses[index]!)
  }
  await until('a whole Cluster', async () => {
    const states = await Promise.all(admins.map((admin) => admin.call('CLUSTER', 'INFO') as Promise<string>))
    return states.every((state) => /cluster_state:ok/.test(state) && /cluster_known_nodes:3/.test(state))
  })
  const owner = async () => {
    const owns = await Promise.all(admins.map(hasSlot))
    return servers[owns.indexOf(true)]!
  }
  return {
    servers,
    owner,
    async migrate(halfway) {
      const from = servers.indexOf(await owner())
      const to = (from + 1) % servers.length
      await moveSlot(admins, { from, to, port: servers[to]!.port }, halfway)
    },
    async stop() {
      for (const admin of admins) admin.disconnect()
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

/** Whether a server takes the slot for its own: the ranges at the end of its line say so. */
async function hasSlot(admin: Redis): Promise<boolean> {
  const nodes = (await admin.call('CLUSTER', 'NODES')) as string
  const [own = ''] = nodes.split('\n').filter((line) => line.includes('myself'))
  return own
    .split(' ')
    .slice(8)
    .map((range) => range.split('-').map(Number))
    .some(([first = -1, last = first]) => first <= slot && slot <= last)
}

/** As `redis-cli --cluster reshard` does it. */
async function moveSlot(
  admins: readonly Redis[],
  { from, to, port }: { from: number; to: number; port: number },
  halfway: (() => Promise<void>) | undefined,
): Promise<void> {
  const [source, target] = [admins[from]!, admins[to]!]
  const ids = await Promise.all(admins.map((admin) => admin.call('CLUSTER', 'MYID') as Promise<string>))
  await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from]!)
  await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to]!)
  const nextKeys = (count: number) =>
    source.call('CLUSTER', 'GETKEYSINSLOT', slot, count) as Promise<string[]>
  let moved = 0
  for (let keys = await nextKeys(1); keys.length > 0; keys = await nextKeys(100)) {
    await source.call('MIGRATE', '127.0.0.1', port, '', 0, 5000, 'KEYS', ...keys)
    if (moved === 0) await halfway?.()
    moved += keys.length
  }
  for (const admin of [target, source, ...admins])
    await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to]!)
}

/** A server that speaks TLS only, and asks for a client certificate. */
export interface TlsRedis extends Pick<TestRedis, 'port' | 'freeze' | 'thaw'> {
  /** Directory of `ca`, `client` and `stranger`, each `.crt` and `.key`. */
  readonly dir: string
  readonly ca: Pair
  /** Vouched for by `ca`. */
  readonly client: Pair
  /** Vouched for by itself. */
  readonly stranger: Pair
  stop(): Promise<void>
}

/** Starts one; its certificate says `redis.example`. */
export async function startTlsRedis(): Promise<TlsRedis> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-redis-tls-'))
  const ca = await pairOf({ name: 'authority', authority: true })
  const client = await pairOf({ name: 'gate', by: ca })
  const stranger = await pairOf({ name: 'stranger' })
  const own = writePair(dir, 'redis', await pairOf({ name: 'redis.example', by: ca }))
  const authority = writePair(dir, 'ca', ca)
  writePair(dir, 'client', client)
  writePair(dir, 'stranger', stranger)
  const files = ['--tls-cert-file', own.cert, '--tls-key-file', own.key, '--tls-ca-cert-file', authority.cert]
  const server = await startServer({
    args: (port, place) => [...plainArguments([])(0, place), '--tls-port', String(port), ...files],
    answers: accepts,
  })
  const { port, freeze, thaw } = server
  const stop = async () => {
    await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  return { dir, port, ca, client, stranger, freeze, thaw, stop }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
