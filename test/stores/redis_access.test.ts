// Who may use the server, and over what: an ACL user with the least rights, and TLS with a client certificate.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis, type RedisStoreOptions } from '../../src/stores/redis.ts'
import { harmlessCall, neededCommands } from '../../src/stores/redis_fitness.ts'
import { startRedis } from '../support/redis.ts'
import { adminOf, startTlsRedis } from '../support/redis_topologies.ts'
import { eventually, found, storeContract } from './contract.ts'
import { revocation } from './samples.ts'

const bounds = { maxStalenessMs: 2000, heartbeatMs: 100, commandTimeoutMs: 5000 }

describe('an ACL user', async () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/redis.md'), 'utf8')
  const rule = /^ACL SETUSER leasegate ((?:.*\\\n)*.*)$/m.exec(docs)?.[1]?.replaceAll('\\\n', ' ')
  const rights = rule?.split(/\s+/) ?? []
  const redis = await startRedis()
  const admin = adminOf(redis)
  afterAll(async () => {
    admin.disconnect()
    await redis.stop()
  })

  const setUser = (rules: readonly string[]) => admin.call('ACL', 'SETUSER', 'leasegate', 'reset', ...rules)
  const open = (over: Partial<RedisStoreOptions> = {}) =>
    openRedis({
      url: redis.url,
      username: 'leasegate',
      password: 'PASSWORD',
      prefix: 'leasegate:',
      ...bounds,
      ...over,
    })

  it('is shown in the documents with every right that the store needs, and no other', () => {
    const allowed = rights.filter((right) => right.startsWith('+')).map((right) => right.slice(1))
    expect(allowed.toSorted()).toEqual(neededCommands())
    expect(rights.filter((right) => !right.startsWith('+'))).toEqual([
      'on',
      '>PASSWORD',
      'resetkeys',
      '~leasegate:{leasegate}:*',
    ])
  })

  it('has its rights tried, one by one, with calls that are written down', () => {
    const byThemselves = ['eval', 'evalsha', 'info', 'ping']
    const untried = neededCommands().filter((name) => harmlessCall(name, 'k') === undefined)
    expect(untried).toEqual(byThemselves)
  })

  storeContract('redis', async () => {
    await setUser(rights)
    return { open: (over) => open({ settleMs: 0, ...over }), end: async () => void (await admin.flushall()) }
  })

  it.each(neededCommands())('who may not run %s is told so at the start', async (name) => {
    await setUser([...rights, `-${name}`])
    await expect(open()).rejects.toMatchObject({
      name: 'Unavailable',
      message: expect.stringMatching(new RegExp(`cannot be used: NOPERM: the user may not run ${name}$`)),
    })
  })

  it('who lacks several rights is told of all of them, and nothing is left behind', async () => {
    await setUser([...rights, '-hget', '-zadd'])
    await expect(open()).rejects.toMatchObject({ message: /may not run hget, zadd$/ })
    expect(await admin.keys('*')).toEqual([])
  })

  it('who may not touch the keys is told which', async () => {
    await setUser(rights)
    await expect(open({ prefix: 'other:' })).rejects.toMatchObject({
      message: /cannot be used: NOPERM: the user may not use the keys other:\{leasegate\}:\*$/,
    })
  })
})

describe('a server that speaks TLS', async () => {
  const redis = await startTlsRedis()
  afterAll(() => redis.stop())
  const url = `rediss://127.0.0.1:${redis.port}`
  const tls = {
    ca: redis.ca.cert,
    cert: redis.client.cert,
    key: redis.client.key,
    serverName: 'redis.example',
  }
  const open = (over: Partial<RedisStoreOptions> = {}) =>
    openRedis({ url, tls, prefix: 'gate:', ...bounds, ...over })

  it('is used with a client certificate, by all connections', async () => {
    const [a, b] = [await open(), await open()]
    await a.revocations.revoke(revocation('lse_1'))
    await eventually(() => found(b, 'lse_1')).toBeDefined()
    await Promise.all([a.close(), b.close()])
  })

  it.each([
    ['without a client certificate', { ca: tls.ca, serverName: tls.serverName }],
    [
      'with a client certificate of a stranger',
      { ...tls, cert: redis.stranger.cert, key: redis.stranger.key },
    ],
    ['whose authority is not the one that is trusted', { ...tls, ca: redis.stranger.cert }],
    ['whose certificate has another name', { ...tls, serverName: 'other.example' }],
  ])('is not used %s', async (_, over) => {
    const error = await open({ tls: over }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({
      name: 'Unavailable',
      message: /^Redis at 127\.0\.0\.1:\d+ cannot be used: /,
    })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('PRIVATE KEY')
  })

  it('is not used in plain text', async () => {
    await expect(
      openRedis({ url: url.replace('rediss', 'redis'), prefix: '', ...bounds }),
    ).rejects.toMatchObject({
      name: 'Unavailable',
    })
  })
})
