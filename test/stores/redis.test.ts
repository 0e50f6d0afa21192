import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { keyOf } from '../../src/stores/entry.ts'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import { revokeArguments } from '../../src/stores/revocation_scripts.ts'
import { scripts } from '../../src/stores/scripts.ts'
import { startFaultProxy } from '../support/fault_proxy.ts'
import { sharedRedis, startRedis, type TestRedis } from '../support/redis.ts'
import { eventually, found, storeContract } from './contract.ts'
import {
  deferral,
  lease,
  nowSeconds,
  oldLease,
  rate,
  recordWrite,
  revocation,
  suspension,
  total,
  use,
} from './samples.ts'
import { digestOf, policySet } from './sets_contract.ts'
import { suspended } from './suspensions_contract.ts'

const server = await sharedRedis()
afterAll(() => server.stop())

storeContract('redis', async () => {
  const { url } = server
  const prefix = server.prefix()
  // A loaded test machine is no reason to time out; the bounds are tested below.
  const options = { url, prefix, maxStalenessMs: 2000, heartbeatMs: 100, commandTimeoutMs: 5000, settleMs: 0 }
  const end = async () => {
    const client = new Redis(url)
    await client.del('none', ...(await client.keys(`${prefix}*`)))
    client.disconnect()
  }
  return { open: (over) => openRedis({ ...options, ...over }), end }
})

describe('the Redis store', () => {
  const maxStalenessMs = 400
  const prefix = 'gate:'
  const hash = `${prefix}{leasegate}:revocations`
  const stream = `${prefix}{leasegate}:feed`
  const history = `${prefix}{leasegate}:policy:history`
  let redis: TestRedis
  const stores: Store[] = []
  const raw: Redis[] = []

  const open = async (over: Partial<RedisStoreOptions> = {}) => {
    const bounds = { maxStalenessMs, heartbeatMs: 100, commandTimeoutMs: 2000, settleMs: 0 }
    const store = await openRedis({ url: redis.url, prefix, ...bounds, ...over })
    stores.push(store)
    return store
  }
  const admin = () => {
    const client = new Redis(redis.url, { protocol: 2 })
    client.on('error', () => {})
    raw.push(client)
    return client
  }
  const age = (store: Store) => eventually(() => store.revocations.ageMs(Date.now()))
  const stale = (store: Store) => age(store).toBeGreaterThan(maxStalenessMs)
  const fresh = (store: Store) => age(store).toBeLessThan(maxStalenessMs)
  const afterNextProof = async (store: Store) => {
    const since = Date.now()
    await eventually(() => store.revocations.ageMs(Date.now()) < Date.now() - since).toBe(true)
  }
  const answersNothing = async (store: Store) => {
    const at = nowSeconds()
    const asked = [
      store.ping(),
      store.revocations.revoke(revocation('lse_x')),
      store.leases.get('lse_1'),
      store.leases.list({ limit: 1 }),
      store.leases.put(lease('lse_1')),
      store.leases.renew('lse_1', { issuedAt: at - 300, expiresAt: at }),
      store.leases.transition('lse_1', { from: ['active'], to: 'completed', at, by: 'x', reason: '' }),
      store.leases.addUsage([use('lse_1')]),
      store.leases.usage(lease('lse_1')),
      store.leases.usersOf({ issuer: 'i', subject: 's' }),
      store.revocations.suspend(suspension('lse_1')),
      store.deferrals.put(deferral('d')),
      store.deferrals.get('d'),
      store.deferrals.poll('d', at),
      store.deferrals.settle('d', 'approved', { by: 'x', at, reason: '' }),
      store.deferrals.redeem('d'),
      store.deferrals.pending(at, 1),
      store.secrets.shared('nonce'),
      store.budgets.spend([total('k')]),
      store.budgets.look([rate('k')]),
      store.budgets.giveBack([total('k')]),
      store.replay.use('j', at + 60, at),
      store.policySets.active(),
      store.policySets.get('sha256:00'),
      store.policySets.list(),
      store.records.get('action', 'x'),
      store.records.write([recordWrite('x')]),
      store.records.list('action', 'pending', { limit: 1 }),
    ]
    for (const result of await Promise.allSettled(asked)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { name: 'Unavailable' } })
    }
  }

  it('keeps what a gate whose clock is months ahead would take for expired', async () => {
    const [right, ahead] = [await open(), await open({ now: () => Date.now() + 90 * 86_400_000 })]
    expect(ahead.clockOffset()).toBeCloseTo(90 * 86_400, -1)
    expect(right.clockOffset()).toBeCloseTo(0, 0)
    await ahead.revocations.revoke(revocation('lse_1'))
    await ahead.leases.put(lease('lse_1'))
    // Whoever opens looks for what may be forgotten, and has done so once it hears of something new.
    const late = await open({ now: () => Date.now() + 90 * 86_400_000 })
    await right.revocations.revoke(revocation('lse_2'))
    await eventually(() => late.revocations.find(['lease\nlse_2'], 0)).toBeDefined()
    const fresh = await open()
    expect(fresh.revocations.find(['lease\nlse_1'], 0)).toBeDefined()
    expect(await fresh.leases.get('lse_1')).toBeDefined()
  })

  beforeEach(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    redis.thaw()
    for (const client of raw.splice(0)) client.disconnect()
    await Promise.all(stores.splice(0).map((store) => store.close()))
    await redis.stop()
  })

  it('keeps every key under its prefix and in one Cluster slot', async () => {
    const store = await open()
    const at = nowSeconds()
    await store.revocations.revoke(revocation('lse_1'))
    await store.budgets.spend([total('lse_1#0'), rate('lse_1')])
    await store.replay.use('jti', at + 60, at)
    await store.leases.put(lease('lse_1', { login: { issuer: 'https://idp.example', subject: '7' } }))
    await store.leases.addUsage([use('lse_1')])
    await store.deferrals.put(deferral('d'))
    await store.secrets.shared('nonce')
    await store.records.write([recordWrite('x', { lists: ['lease:lse_1'] })])
    const keys = await admin().keys('*')
    expect(keys.length).toBeGreaterThanOrEqual(21)
    for (const key of keys) expect(key).toMatch(/^gate:\{leasegate\}:/)
  })

  it('gives everything a lifetime but what is for ever: revocations and secrets', async () => {
    const store = await open()
    const at = nowSeconds()
    await store.budgets.spend([total('b', { expiresAt: at + 600 }), rate('r', { periodMs: 3_600_000 })])
    await store.budgets.spend([total('b', { expiresAt: at + 60 })])
    await store.replay.use('r', at + 60, at)
    await store.leases.put(lease('lse_1', { login: { issuer: 'https://idp.example', subject: '7' } }))
    await store.leases.addUsage([use('lse_1')])
    await store.leases.transition('lse_1', { from: ['active'], to: 'suspended', at, by: 'x', reason: '' })
    await store.deferrals.put(deferral('d'))
    await store.revocations.suspend(suspension('lse_1'))
    await store.secrets.shared('nonce')
    await store.records.write([recordWrite('x', { lists: ['all'] })])
    const client = admin()
    const endless: string[] = []
    for (const key of await client.keys('*')) {
      const ttlMs = await client.pttl(key)
      if (ttlMs === -1) endless.push(key.slice(`${prefix}{leasegate}:`.length))
      else expect(ttlMs, key).toBeGreaterThan(60_000)
    }
    expect(endless.toSorted()).toEqual(['beat', 'born', 'feed', 'issued', 'revocations', 'secret:nonce'])
    expect(await client.pttl(`${prefix}{leasegate}:budget:b`)).toBeGreaterThan(600_000)
  })

  it('grows stale and refuses everything while the server is frozen, and recovers when it thaws', async () => {
    const errors: string[] = []
    const store = await open({ commandTimeoutMs: 200, onError: (error) => errors.push(error.message) })
    await store.revocations.revoke(revocation('lse_1'))
    redis.freeze()
    await stale(store)
    await answersNothing(store)
    expect(found(store, 'lse_1')).toBeDefined()
    await eventually(() => errors).toContain('Redis: timed out')
    redis.thaw()
    await fresh(store)
    await eventually(() => store.revocations.revoke(revocation('lse_2')).catch(String)).toBeUndefined()
    expect(found(store, 'lse_2')).toBeDefined()
  })

  it('works over a network that adds 200 ms each way, which is well within its bound', async () => {
    const { hostname, port } = new URL(redis.url)
    const way = await startFaultProxy({ host: hostname, port: Number(port) })
    await way.turn(200)
    const store = await openRedis({ url: `redis://${way.host}:${way.port}`, prefix, maxStalenessMs: 4000 })
    stores.push(store)
    await store.revocations.revoke(revocation('lse_far'))
    const near = await open()
    await near.revocations.revoke(revocation('lse_near'))
    await eventually(() => found(store, 'lse_near')).toBeDefined()
    await eventually(() => store.revocations.ageMs(Date.now())).toBeLessThan(4000)
    expect(found(near, 'lse_far')).toBeDefined()
    await way.close()
  })

  it('recovers from a freeze so long that it gave up its connections', async () => {
    const errors: string[] = []
    const store = await open({ commandTimeoutMs: 200, onError: (error) => errors.push(error.message) })
    redis.freeze()
    await eventually(() => errors).toContain('Redis: connection lost')
    redis.thaw()
    await fresh(store)
    await eventually(() => store.ping().catch(String)).toBeUndefined()
  })

  it('does not believe a server that has just come up empty: others may be giving back what it has lost', async () => {
    const running = await open()
    await running.revocations.revoke(revocation('lse_1'))
    await redis.kill()
    await redis.restart()
    const anew = await open({ maxStalenessMs: 3000, settleMs: 3000 })
    expect(found(anew, 'lse_1')).toBeDefined()
  })

  it('never forgets what it has seen: an empty server gets every revocation back', async () => {
    const [a, b] = [await open(), await open()]
    await a.revocations.revoke(revocation('lse_1'))
    await b.revocations.revoke(revocation('agent:x', { scope: 'agent', issuer: 'https://broker.example' }))
    await a.revocations.suspend(suspension('lse_3'))
    await b.revocations.suspend(suspension('lse_4'))
    await a.revocations.suspend(suspension('lse_4', { version: 2, suspended: false }))
    await eventually(() => [a.revocations.size(), b.revocations.size()]).toEqual([4, 4])
    await redis.kill()
    await stale(a)
    await answersNothing(a)
    await redis.restart()
    await fresh(a)
    await fresh(b)
    const c = await open()
    for (const store of [a, b, c]) {
      expect(found(store, 'lse_1')).toBeDefined()
      expect(found(store, 'agent:x', { scope: 'agent' })).toBeDefined()
      expect(suspended(store, 'lse_3')).toBeDefined()
      expect(suspended(store, 'lse_4')).toBeUndefined()
      // What was taken back stays so: the earlier version, arriving late, does not suspend again.
      await store.revocations.suspend(suspension('lse_4'))
      expect(suspended(store, 'lse_4')).toBeUndefined()
    }
    await b.revocations.revoke(revocation('lse_2'))
    await eventually(() => found(a, 'lse_2')).toBeDefined()
    await eventually(() => found(c, 'lse_2')).toBeDefined()
  })

  it('does not give back what has expired', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_over', { expiresAt: nowSeconds() - 1 }))
    await store.revocations.revoke(revocation('lse_live'))
    await admin().flushall()
    await eventually(() => admin().hkeys(hash)).toEqual([keyOf(revocation('lse_live'))])
  })

  it.each([
    ['the whole state', [hash, stream]],
    ['the hash alone', [hash]],
    ['the stream alone', [stream]],
  ])(
    'when the server loses %s, gates that were there and gates that come later know everything',
    async (_, keys) => {
      const store = await open()
      await store.revocations.revoke(revocation('lse_1'))
      const client = admin()
      await client.del(...keys)
      await eventually(() => client.hlen(hash)).toBe(1)
      await store.revocations.revoke(revocation('lse_2'))
      const later = await open()
      for (const each of [store, later]) {
        expect(found(each, 'lse_1')).toBeDefined()
        expect(found(each, 'lse_2')).toBeDefined()
        await fresh(each)
      }
    },
  )

  it('a weaker entry on the server, as after a failover, is made strong again', async () => {
    const store = await open()
    const weak = revocation('lse_1', { cutoff: 10 })
    await store.revocations.revoke(revocation('lse_1', { cutoff: 20 }))
    const client = admin()
    await client.multi().del(stream).hset(hash, keyOf(weak), revokeArguments(weak).join(' ')).exec()
    await eventually(async () => (await client.hget(hash, keyOf(weak)))?.split(' ')[0]).toBe('20')
    expect(found(store, 'lse_1', { issuedAt: 15 })).toBeDefined()
  })

  it.each([
    ['to its last entry', 1],
    ['to nothing', 0],
  ])('misses nothing when the stream is trimmed %s before it has read it', async (_, kept) => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_0'))
    // One transaction: no gate can read between the writes and the trim.
    const transaction = admin().multi()
    for (const value of ['lse_1', 'lse_2', 'lse_3']) {
      const entry = revocation(value)
      const args = [keyOf(entry), ...revokeArguments(entry), 1000, 1]
      transaction.eval(scripts.leasegateRevoke.lua, 2, hash, stream, ...args)
    }
    await transaction.xtrim(stream, 'MAXLEN', kept).exec()
    for (const value of ['lse_0', 'lse_1', 'lse_2', 'lse_3']) {
      await eventually(() => found(store, value)).toBeDefined()
    }
    await afterNextProof(store)
    await store.revocations.revoke(revocation('lse_4'))
    expect(found(await open(), 'lse_4')).toBeDefined()
  })

  it('an earlier version of a suspension on the server, as after a failover, is replaced by the later', async () => {
    const store = await open()
    await store.revocations.suspend(suspension('lse_1'))
    await store.revocations.suspend(suspension('lse_1', { version: 3 }))
    const client = admin()
    const early = suspension('lse_1', { version: 2, suspended: false })
    await client.multi().del(stream).hset(hash, keyOf(early), revokeArguments(early).join(' ')).exec()
    await eventually(async () => (await client.hget(hash, keyOf(early)))?.split(' ')[0]).toBe('7')
    expect(suspended(store, 'lse_1')).toMatchObject({ version: 3 })
    expect(suspended(await open(), 'lse_1')).toMatchObject({ version: 3 })
  })

  it.each([
    ['a version that is not the one it is filed under', ['4 9e9', suspension('lse_1')]],
    ['no version', ['3 9e9', { ...suspension('lse_1'), version: undefined }]],
    ['a lease that is no text', ['3 9e9', { ...suspension('lse_1'), lease: 7 }]],
    ['a state that is no yes or no', ['3 9e9', { ...suspension('lse_1'), suspended: 1 }]],
  ])('takes as suspended what it cannot read: %s', async (_, [front, doc]) => {
    const store = await open()
    const client = admin()
    const value = `${String(front)} ${JSON.stringify(doc)}`
    await client.multi().hset(hash, 'suspension\nlse_1', value).del(stream).xadd(stream, '*', 'a', 'b').exec()
    for (const each of [store, await open()]) {
      await eventually(() => suspended(each, 'lse_1')).toMatchObject({ by: 'leasegate' })
      expect(each.revocations.malformed()).toEqual({ takenAsRevoked: 1, unreadable: 0 })
      await fresh(each)
    }
    expect(await client.hget(hash, 'suspension\nlse_1')).toBe(value)
    await store.revocations.suspend(suspension('lse_1', { version: 3, suspended: false }))
    const later = await open()
    expect([suspended(store, 'lse_1'), suspended(later, 'lse_1')]).toEqual([undefined, undefined])
  })

  it('acknowledges nothing that an entry it cannot read keeps from being stored', async () => {
    const store = await open()
    await admin().hset(hash, 'lease\nlse_1', '9e12 9e12 garbage')
    await admin().del(stream)
    await admin().xadd(stream, '*', 'a', 'b')
    await eventually(() => found(store, 'lse_1')).toBeDefined()
    await expect(store.revocations.revoke(revocation('lse_1'))).rejects.toMatchObject({
      name: 'Unavailable',
      message: 'an entry that cannot be read stands in the way; delete it from the store',
    })
    expect(found(store, 'lse_1')).toMatchObject({ by: 'leasegate' })
  })

  it('reads a lease that the first version wrote, changes it, and guesses nothing about garbage', async () => {
    const { leases } = await open()
    const client = admin()
    await client.set(`${prefix}{leasegate}:lease:lse_1`, JSON.stringify(oldLease('lse_1')), 'EX', 60)
    const unsaid = { tenant: '', clientId: '', ancestors: [], delegatedBy: [], renewals: 0, version: 0 }
    expect(await leases.get('lse_1')).toMatchObject({ id: 'lse_1', ...unsaid })
    const done = { from: ['active'], to: 'completed', at: 1, by: 'x', reason: '' } as const
    expect(await leases.transition('lse_1', done)).toMatchObject({ outcome: 'changed' })
    expect(await leases.list({ state: 'completed', limit: 9 })).toMatchObject([{ id: 'lse_1', version: 1 }])
    await client.set(`${prefix}{leasegate}:lease:lse_1`, '{"id":"lse_1"}', 'EX', 60)
    await expect(leases.get('lse_1')).rejects.toMatchObject({ message: 'a stored lease is malformed' })
    await expect(leases.renew('lse_1', { issuedAt: 0, expiresAt: 1 })).rejects.toMatchObject({
      message: 'a stored lease is malformed',
    })
  })

  it('is not led astray by an entry in the stream that no gate wrote', async () => {
    const store = await open()
    await admin().xadd(stream, '*', 'hello', 'world')
    await (await open()).revocations.revoke(revocation('lse_1'))
    await eventually(() => found(store, 'lse_1')).toBeDefined()
    await afterNextProof(store)
  })

  it('stays stale while the hash holds something it cannot even name, and says so once', async () => {
    const errors: string[] = []
    const store = await open({ onError: (error) => errors.push(error.message) })
    const client = admin()
    await client.multi().hset(hash, 'x', 'garbage').del(stream).xadd(stream, '*', 'a', 'b').exec()
    await stale(store)
    expect(errors).toEqual([expect.stringMatching(/damaged key: 1; update Leasegate, or delete/)])
    const later = await open()
    await stale(later)
    await expect(later.ping()).rejects.toMatchObject({ message: 'the revocation view is stale' })
    expect(later.revocations.malformed()).toEqual({ takenAsRevoked: 0, unreadable: 1 })
    await store.revocations.revoke(revocation('lse_1'))
    await eventually(() => found(later, 'lse_1')).toBeDefined()
    await client.hdel(hash, 'x')
    await fresh(store)
    await fresh(later)
    expect(store.revocations.faults()).toEqual([])
  })

  it('guesses nothing about a policy history it cannot read, and adds nothing to it', async () => {
    const { policySets: sets } = await open()
    const set = policySet('a')
    await sets.put(set)
    const request = { digest: set.digest, kind: 'activate', by: 'test', at: 1, reason: '' } as const
    for (const entry of ['garbage', `1 ${set.digest} {"digest":"x"}`, `1 ${set.digest} {`]) {
      await admin().multi().del(history).lpush(history, entry).exec()
      await expect(sets.active()).rejects.toMatchObject({ name: 'Unavailable', message: /malformed$/ })
    }
    await admin().multi().del(history).lpush(history, 'garbage').exec()
    await expect(sets.activate(request)).rejects.toMatchObject({ message: 'Redis: MALFORMED' })
    expect(await admin().llen(history)).toBe(1)
  })

  it('moves a policy set that takes longer than a command may', async () => {
    const packed = randomBytes(24 * 1024 * 1024)
    const moved = async () => {
      const { policySets: sets } = await open({ commandTimeoutMs: 25 })
      await sets.put(policySet('a', { packed }))
      return Buffer.from((await sets.get(digestOf('a')))!).equals(packed)
    }
    // A loaded test machine may miss the 25 ms of an ordinary command.
    await eventually(() => moved().catch(String)).toBe(true)
  })

  it('grows stale when its server has become a replica, which still answers reads', async () => {
    const store = await open()
    const client = admin()
    await client.replicaof('127.0.0.1', 1)
    await stale(store)
    // Between two attempts the connection is made anew: the address may lead to the new primary.
    await eventually(() => store.revocations.revoke(revocation('lse_1')).catch(String)).toMatch(/READONLY$/)
    await client.replicaof('NO', 'ONE')
    await fresh(store)
  })

  it('follows on after its connections were cut', async () => {
    const [a, b] = [await open(), await open()]
    await admin().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await eventually(() => b.revocations.revoke(revocation('lse_1')).catch(String)).toBeUndefined()
    await eventually(() => found(a, 'lse_1')).toBeDefined()
  })

  it('works on after the script cache was emptied', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_1'))
    await admin().script('FLUSH')
    await expect(store.revocations.revoke(revocation('lse_2'))).resolves.toBeUndefined()
  })

  it('does not open on a server that is frozen', async () => {
    redis.freeze()
    await expect(open()).rejects.toMatchObject({
      name: 'Unavailable',
      message: /^Redis at 127\.0\.0\.1:\d+ /,
    })
  })

  it('does not open where nothing listens', async () => {
    await redis.kill()
    await expect(open()).rejects.toMatchObject({
      name: 'Unavailable',
      message: /cannot be used: ECONNREFUSED$/,
    })
  })

  it.each([
    ['another scheme', { url: 'http://hunter2@127.0.0.1:6379' }],
    ['no host', { url: 'redis:hunter2' }],
    ['no url at all', { url: 'hunter2' }],
    ['a query, which could undo safe settings', { url: 'redis://:hunter2@127.0.0.1:6379?commandTimeout=0' }],
    [
      'a prefix that would change the Cluster slot',
      { url: 'redis://:hunter2@127.0.0.1:6379', prefix: '{a}' },
    ],
  ])('does not open with %s, and does not say the secret in it', async (_, over) => {
    const error = await open(over).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'Unavailable' })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
  })
})

describe('a Redis that asks for a password', () => {
  it('is opened with the right one; the wrong one is refused and shown nowhere', async () => {
    const redis = await startRedis(['--requirepass', 'right-horse'])
    const url = (password: string) => redis.url.replace('//', `//:${password}@`)
    const options = { prefix: '', maxStalenessMs: 2000, commandTimeoutMs: 5000 }
    const store = await openRedis({ ...options, url: url('right-horse') })
    await expect(store.ping()).resolves.toBeUndefined()
    await store.close()
    const error = await openRedis({ ...options, url: url('wrong-battery') }).catch(
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ name: 'Unavailable', message: /cannot be used: WRONGPASS$/ })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/right-horse|wrong-battery/)
    await redis.stop()
  })
})
