// Who is believed about where the primary is, and that each connection follows it, whatever the others have found.
import { createServer, type Socket } from 'node:net'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { type Connection, diallerOf } from '../../src/stores/redis_connect.ts'
import { type Address, type Primary, PrimaryFinder } from '../../src/stores/redis_primary.ts'
import { placeOf } from '../../src/stores/redis_servers.ts'
import { startRedis } from '../support/redis.ts'
import { addressOf } from '../support/redis_topologies.ts'
import { eventually } from './contract.ts'

describe('who is asked where the primary is', () => {
  const nodes = [1, 2, 3].map((port) => ({ host: 'sentinel', port }))
  const old = { host: 'old', port: 6379, epoch: 1 }
  const present = { host: 'present', port: 6379, epoch: 2 }

  /** Answers by port of the node; absent: it does not answer. */
  const finderOf = (says: Record<number, Primary>) =>
    new PrimaryFinder(nodes, async ({ port }) => {
      const primary = says[port]
      if (primary === undefined) throw new Error(`node ${port} does not answer`)
      return primary
    })

  it('believes nobody who is behind what another has told', async () => {
    const says: Record<number, Primary> = { 1: present, 2: old, 3: old }
    const finder = finderOf(says)
    for (let turn = 0; turn < 6; turn++) expect(await finder.find()).toEqual(present)
  })

  it('does not go back to an earlier primary because those who know better are away', async () => {
    const says: Record<number, Primary> = { 1: present, 2: old }
    const finder = finderOf(says)
    expect(await finder.find()).toEqual(present)
    delete says[1]
    for (let turn = 0; turn < 3; turn++) await expect(finder.find()).rejects.toThrow('does not answer')
  })

  it('begins anew with nodes that have all been set up anew', async () => {
    const says: Record<number, Primary> = { 1: present, 2: present, 3: present }
    const finder = finderOf(says)
    await finder.find()
    const anew = { host: 'anew', port: 6379, epoch: 0 }
    Object.assign(says, { 1: anew, 2: anew, 3: anew })
    expect(await finder.find()).toEqual(anew)
  })

  it('tells nothing by a node that is behind', async () => {
    const finder = finderOf({ 1: present, 2: old, 3: present })
    expect(await finder.latest()).toEqual(present)
    await expect(finder.latest()).rejects.toMatchObject({ name: 'Unavailable' })
    expect(await finder.latest()).toEqual(present)
  })
})

/** A sentinel that says what it is told to; `hold` lets whoever asks wait until it is let go. */
async function startSentinelOf(first: Address) {
  let said: Primary = { ...first, epoch: 1 }
  let held: Promise<void> = Promise.resolve()
  const sockets = new Set<Socket>()
  const bulk = (...texts: string[]) =>
    `*${texts.length}\r\n${texts.map((text) => `$${text.length}\r\n${text}\r\n`).join('')}`
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.setEncoding('utf8').on('data', async (text: string) => {
      await held
      for (const [, question] of text.matchAll(/\r\n(MASTER|GET-MASTER-ADDR-BY-NAME)\r\n/g)) {
        const { host, port, epoch } = said
        const isState = question === 'MASTER'
        socket.write(isState ? bulk('config-epoch', String(epoch)) : bulk(host, String(port)))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    say(primary: Primary) {
      said = primary
    },
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>()
      held = promise
      return resolve
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe('connections behind sentinels', async () => {
  const [one, two] = await Promise.all([startRedis(), startRedis()])
  afterAll(() => Promise.all([one.stop(), two.stop()]))
  const cleanUp: (() => unknown)[] = []
  afterEach(async () => {
    for (const clean of cleanUp.splice(0)) await clean()
  })

  const start = async () => {
    const sentinel = await startSentinelOf(addressOf(one))
    cleanUp.push(() => sentinel.stop())
    const nodes = [{ host: '127.0.0.1', port: sentinel.port }]
    const dialler = diallerOf(placeOf({ sentinel: { name: 'leasegate', nodes } }))
    const dial = () => {
      const connection = dialler.dial({ commandTimeout: 1000 })
      connection.on('error', () => {})
      cleanUp.unshift(() => connection.disconnect())
      return connection
    }
    const failOver = () => sentinel.say({ ...addressOf(two), epoch: 2 })
    return { sentinel, dialler, dial, failOver }
  }
  const portOf = async (connection: Connection) => {
    const [, port] = (await connection.config('GET', 'port').catch(() => [])) as string[]
    return Number(port)
  }

  it('leave the old primary one by one, also when another has found the new one before', async () => {
    const { dialler, dial, failOver } = await start()
    const [first, second] = [dial(), dial()]
    await first.connect()
    failOver()
    await second.connect()
    expect([await portOf(first), await portOf(second)]).toEqual([one.port, two.port])
    const id = await second.client('ID')
    expect(await dialler.followFailover()).toBe(true)
    await eventually(() => portOf(first)).toBe(two.port)
    expect(await second.client('ID')).toBe(id)
    expect(await dialler.followFailover()).toBe(false)
  })

  it('are not ended by a fail-over that comes while they look the primary up', async () => {
    const { sentinel, dialler, dial, failOver } = await start()
    const [first, second] = [dial(), dial()]
    await first.connect()
    const letGo = sentinel.hold()
    const connected = second.connect()
    const followed = dialler.followFailover()
    failOver()
    letGo()
    expect(await followed).toBe(true)
    await connected
    for (const each of [first, second]) await eventually(() => portOf(each)).toBe(two.port)
  })

  it('stay where they are while the sentinel says so', async () => {
    const { dialler, dial } = await start()
    const connection = dial()
    await connection.connect()
    const id = await connection.client('ID')
    expect(await dialler.followFailover()).toBe(false)
    expect(await connection.client('ID')).toBe(id)
  })
})
