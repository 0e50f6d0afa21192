// In: a few Redis commands. Out: the deferral and secret ports on them; redis.ts lists the keys. A change is made
// from what was read, and only if that still stands. It never sees a connection: redis.ts does.
import { randomBytes } from 'node:crypto'
import type { Deferral, Deferrals, Secrets } from '../ports.ts'
import { decodeDeferral, type KeptDeferral, polled, shown } from './kept_deferrals.ts'
import { type Commands, changed, type KeyName, lifetimeMs } from './keyed.ts'
import { keepSeconds } from './lifetimes.ts'

const page = 200

/** Deferrals. One that has expired is kept for a while, so that its poll can be told so. */
export function keyedDeferrals(redis: Commands, key: KeyName, now: () => number): Deferrals {
  const waiting = key('deferrals')
  const deferralKey = (id: string) => key('deferral', id)
  const change = (id: string, from: Deferral['state'], to: Partial<Deferral>): Promise<boolean> =>
    changed(redis, deferralKey(id), (text) => {
      const kept = text === null ? undefined : decodeDeferral(text)
      if (kept?.state !== from) return { result: false }
      return {
        result: true,
        write: { text: JSON.stringify({ ...kept, ...to }), indexes: [waiting], member: id },
      }
    })
  return {
    async put(deferral) {
      const { id, createdAt, expiresAt } = deferral
      const nowSeconds = now() / 1000
      const ttlMs = lifetimeMs(expiresAt + keepSeconds, nowSeconds)
      if (!(ttlMs > 0)) return
      const text = JSON.stringify({ ...deferral, polledAt: createdAt } satisfies KeptDeferral)
      const keys = [deferralKey(id), waiting]
      await redis.run('leasegateDefer', ...keys, text, id, expiresAt, ttlMs, nowSeconds - keepSeconds)
    },
    async get(id) {
      const text = await redis.get(deferralKey(id))
      return text === null ? undefined : shown(decodeDeferral(text))
    },
    poll: (id, at) =>
      changed(redis, deferralKey(id), (text) => {
        if (text === null) return { result: undefined }
        const { kept, tooFast } = polled(decodeDeferral(text), at)
        return { result: { deferral: shown(kept), tooFast }, write: { text: JSON.stringify(kept) } }
      }),
    settle: (id, to, settled) => change(id, 'pending', { state: to, settled }),
    expire: (id) => change(id, 'pending', { state: 'expired' }),
    redeem: (id) => change(id, 'approved', { state: 'redeemed' }),
    async pending(at, limit) {
      const ids = await redis.above(waiting, at)
      const found: Deferral[] = []
      for (let start = 0; start < ids.length; start += page) {
        for (const text of await redis.mget(ids.slice(start, start + page).map(deferralKey))) {
          const kept = text === null ? undefined : decodeDeferral(text)
          if (kept?.state === 'pending') found.push(shown(kept))
        }
      }
      const oldestFirst = found.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
      return oldestFirst.slice(0, Math.max(0, Math.floor(limit)))
    },
  }
}

/** Secrets, made once. */
export function keyedSecrets(redis: Commands, key: KeyName): Secrets {
  return {
    async shared(name) {
      const fresh = randomBytes(32).toString('base64url')
      const secret = await redis.run('leasegateSecret', key('secret', name), fresh)
      return Buffer.from(String(secret), 'base64url')
    },
  }
}
