// In: a few Redis commands. Out: the replay port on them; redis.ts lists the keys. What
// must not happen twice is one command or one script. Lifetimes are relative to the caller's clock, with
// `keepSeconds` to spare. It never sees a connection: redis.ts does.
import { type Replay, Unavailable } from '../ports.ts'
import { replayKeepSeconds } from './lifetimes.ts'
import type { Script } from './scripts.ts'

/** What these ports ask of Redis. Every call settles in time or throws `Unavailable`. */
export interface Commands {
  get(key: string): Promise<string | null>
  mget(keys: string[]): Promise<(string | null)[]>
  /** Members of a sorted set from the highest score up to `until`, from the `start`th, at most `count`. */
  newest(key: string, until: number | undefined, start: number, count: number): Promise<string[]>
  /** Members from the highest score below `before`, from the `start`th, at most `count`. */
  newestBefore(key: string, before: number | undefined, start: number, count: number): Promise<string[]>
  /** Members of a sorted set with exactly this score, the greatest first. */
  tied(key: string, score: number): Promise<string[]>
  /** Members of a sorted set with a score above `score`. */
  above(key: string, score: number): Promise<string[]>
  /** All fields of a hash; none: it is not there. */
  hash(key: string): Promise<Record<string, string>>
  /** Those fields of a hash. */
  fields(key: string, ...names: string[]): Promise<(string | null)[]>
  run(script: Script, ...args: (string | number)[]): Promise<unknown>
}

/** Builds a key under the store's prefix. */
export type KeyName = (...parts: string[]) => string

/** What is to stand in place of a text that was read. */
export interface Write {
  readonly text: string
  /** Sorted sets: `member` leaves the first and enters the second with `score`, where there is a second. */
  readonly indexes?: readonly string[]
  readonly member?: string
  readonly score?: number
}

/** Others that change one key between a reading and its writing: nobody is that busy with one lease. */
const attempts = 32

/**
 * Changes the text under `key` in one step over all processes: `step` is asked again until what it was given
 * still stands when its answer is written. Without `write` nothing is. Throws `Unavailable` when that never
 * comes about.
 */
export async function changed<T>(
  redis: Pick<Commands, 'get' | 'run'>,
  key: string,
  step: (text: string | null) => { readonly result: T; readonly write?: Write },
): Promise<T> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const text = await redis.get(key)
    const { result, write } = step(text)
    if (text === null || write === undefined) return result
    const keys = [key, ...(write.indexes ?? [])]
    const values = [text, write.text, write.member ?? '', write.score ?? 0]
    if ((await redis.run('leasegateSwap', keys.length, ...keys, ...values)) === 1) return result
  }
  throw new Unavailable('others keep changing the same record')
}

/** Used ids, at most `maxIds`. One that has expired is refused: it could no longer be remembered. */
export function keyedReplay(redis: Commands, key: KeyName, maxIds: number): Replay {
  return {
    async use(id, expiresAt, now) {
      if (!(expiresAt > now)) return false
      const until = expiresAt + replayKeepSeconds
      const ttlMs = lifetimeMs(until, now)
      const used = await redis.run('leasegateReplay', key('replay'), id, until, now, maxIds, ttlMs)
      if (used === -1) throw new Unavailable('no more single-use ids can be remembered')
      return used === 1
    },
  }
}

/** Whole milliseconds from `now` to `until` (both seconds). */
export function lifetimeMs(until: number, now: number): number {
  return Math.ceil((until - now) * 1000)
}
