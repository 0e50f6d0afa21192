// Nonces of processes that share a Redis which loses what it held: all of them come to agree again, and what was
// handed out before is good nowhere, because nobody remembers any more which proofs were used.
import { afterEach, expect, test } from 'vitest'
import { openNonces, type SharedNonces } from '../../src/lease/shared_nonces.ts'
import type { Store } from '../../src/ports.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { eventually } from '../support/gate.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

const now = 1_795_300_000
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function server(): Promise<TestRedis> {
  const redis = await startRedis()
  closers.push(() => redis.stop())
  return redis
}

async function store({ url }: TestRedis): Promise<Store> {
  const opened = await openRedis({ url, prefix: '', maxStalenessMs: 2000 })
  closers.push(() => opened.close())
  return opened
}

async function nonces({ secrets }: Store): Promise<SharedNonces> {
  const opened = await openNonces(secrets, 20)
  closers.push(() => opened.close())
  return opened
}

test('a secret that was lost is replaced for everybody, also for those who still know it', async () => {
  const redis = await server()
  const before = await nonces(await store(redis))
  const nonce = before.current(now)
  await redis.kill()
  await redis.restart()
  const after = await nonces(await store(redis))
  await eventually(() => before.current(now) === after.current(now), 'one nonce for both')
  expect(before.check(nonce, now)).toBe('unknown')
  expect(after.check(nonce, now)).toBe('unknown')
})

test('while nobody can be asked the nonces stay what they were', async () => {
  const redis = await server()
  const kept = await nonces(await store(redis))
  const nonce = kept.current(now)
  await redis.kill()
  await expect(store(redis)).rejects.toMatchObject({ name: 'Unavailable' })
  expect(kept.current(now)).toBe(nonce)
})

test('one that is closed follows no more', async () => {
  const opened = await store(await server())
  const looking = async () => {
    const looks = { count: 0 }
    const shared = (name: string) => {
      looks.count++
      return opened.secrets.shared(name)
    }
    const followed = await openNonces({ shared }, 5)
    closers.push(() => followed.close())
    return { looks, followed }
  }
  const [closed, other] = [await looking(), await looking()]
  closed.followed.close()
  const { count } = closed.looks
  await eventually(() => other.looks.count > count + 5, 'looks of one that goes on')
  expect(closed.looks.count).toBeLessThanOrEqual(count + 1)
})
