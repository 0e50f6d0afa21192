// Writes that a fail-over loses before anybody has read them back.
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { Entry } from '../../src/stores/entry.ts'
import { keyOf } from '../../src/stores/entry.ts'
import { OwnWrites } from '../../src/stores/own_writes.ts'
import { diallerOf } from '../../src/stores/redis_connect.ts'
import { RedisEntries } from '../../src/stores/redis_entries.ts'
import { placeOf } from '../../src/stores/redis_servers.ts'
import { StoreClock } from '../../src/stores/store_clock.ts'
import { compareIds } from '../../src/stores/stream_ids.ts'
import { startRedis } from '../support/redis.ts'
import { adminOf } from '../support/redis_topologies.ts'
import { revocation } from './samples.ts'

const written = (own: OwnWrites, id: string, entry = revocation(id)) => own.write(entry, async () => id)

async function lostOf(own: OwnWrites): Promise<Entry[]> {
  const lost: Entry[] = []
  await own.rewrite(async (entry) => void lost.push(entry))
  return lost
}

describe('own writes', () => {
  it('that come back with the stream are done with', async () => {
    const own = new OwnWrites()
    await written(own, '10-0')
    own.read('10-0')
    own.endsAt('10-0', own.pending())
    expect(await lostOf(own)).toEqual([])
  })

  it('that lie behind the end of the stream are lost', async () => {
    const own = new OwnWrites()
    const entry = revocation('lse_1')
    await written(own, '10-0', entry)
    own.endsAt('9-0', own.pending())
    expect(await lostOf(own)).toEqual([entry])
    expect(await lostOf(own)).toEqual([])
  })

  it('that others have overtaken without coming back are lost', async () => {
    const own = new OwnWrites()
    const entry = revocation('lse_1')
    await written(own, '10-0', entry)
    own.read('11-0')
    expect(await lostOf(own)).toEqual([entry])
  })

  it('that were written after the end was asked for are not judged by it', async () => {
    const own = new OwnWrites()
    const pending = own.pending()
    await written(own, '10-0')
    own.endsAt('9-0', pending)
    expect(await lostOf(own)).toEqual([])
  })

  it('that are read before their reply is here are done with', async () => {
    const own = new OwnWrites()
    await own.write(revocation('lse_1'), async () => {
      own.read('10-0')
      return '10-0'
    })
    own.read('11-0')
    expect(await lostOf(own)).toEqual([])
  })

  it('stay lost until they have been written again', async () => {
    const own = new OwnWrites()
    const entry = revocation('lse_1')
    await written(own, '10-0', entry)
    own.endsAt('9-0', own.pending())
    await expect(own.rewrite(() => Promise.reject(new Error('away')))).rejects.toThrow('away')
    expect(await lostOf(own)).toEqual([entry])
  })

  it('order ids as 64-bit numbers', () => {
    const half = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    fc.assert(
      fc.property(half, half, half, half, (a, b, c, d) => {
        const expected = a === c ? (b === d ? 0 : b < d ? -1 : 1) : a < c ? -1 : 1
        expect(Math.sign(compareIds(`${a}-${b}`, `${c}-${d}`))).toBe(expected)
      }),
    )
  })
})

describe('the entries in Redis', async () => {
  const redis = await startRedis()
  const admin = adminOf(redis)
  const dialler = diallerOf(placeOf({ url: redis.url }))
  const [commands, reader] = [dialler.dial({ commandTimeout: 5000 }), dialler.dial({ blockingTimeout: 1000 })]
  await Promise.all([commands.connect(), reader.connect()])
  afterAll(async () => {
    for (const client of [admin, commands, reader]) client.disconnect()
    await redis.stop()
  })

  it.each([
    ['with nothing new', 0],
    ['with younger entries of others', 1],
  ])('are written again when nobody had read them, on a server %s', async (_, others) => {
    await admin.flushall()
    const key = (...parts: string[]) => `gate:{leasegate}:${parts.join(':')}`
    const entries = new RedisEntries({ commands, reader, lastError: () => undefined }, key, {
      clock: new StoreClock(),
    })
    const entry = revocation('lse_1')
    await entries.acknowledge(entry, () => {})
    // The fail-over: all of it is gone, but for what came after.
    await admin.flushall()
    if (others === 1) {
      await entries.write(revocation('lse_2'))
      await entries.read('0-0', 100)
    }
    await entries.probe(Date.now())
    expect(await admin.hkeys(key('revocations'))).toContain(keyOf(entry))
  })
})
