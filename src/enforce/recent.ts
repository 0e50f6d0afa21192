// How many calls a lease and an agent made in the last minute: a ring of 10-second buckets per key. A
// signal for policy, kept per worker, which tells the others now and then; exact limits are budgets (ports.ts).
// No clock: `now` comes in.
import type { Lease } from '../lease/lease.ts'
import type { RecentCalls } from './stages.ts'

const bucketSeconds = 10
// One more than a minute has: what counts is never less than the last 60 seconds.
const buckets = 7

/** Calls of one lease or agent in one bucket, as one worker tells the others. */
export type CountedCalls = readonly [key: string, bucket: number, calls: number]

interface Keys {
  readonly lease: string
  readonly agent: string
}

interface Ring {
  readonly counts: Uint32Array
  /** The newest bucket's number since 1970. */
  newest: number
}

/**
 * Counts the calls that were let through, by lease and by agent, over a sliding minute; above `maxKeys` the
 * idlest key is forgotten. Refused calls do not count: they could lock out other leases of the agent.
 */
export class RecentCallCounter {
  readonly #rings = new Map<string, Ring>()
  readonly #keys = new WeakMap<Lease, Keys>()
  readonly #maxKeys: number
  /** By bucket and key, what the other workers have not been told; undefined where there are none. */
  #untold: Map<number, Map<string, number>> | undefined

  constructor({ maxKeys = 50_000, shared = false }: { maxKeys?: number; shared?: boolean } = {}) {
    this.#maxKeys = maxKeys
    if (shared) this.#untold = new Map()
  }

  /** Calls of this lease, and of its agent, within the last minute. `now` in seconds. */
  seen(lease: Lease, now: number): RecentCalls {
    const keys = this.#keysOf(lease)
    return { lease: this.#sum(keys.lease, now), agent: this.#sum(keys.agent, now) }
  }

  /** Adds a call that is let through. */
  add(lease: Lease, now: number): void {
    const keys = this.#keysOf(lease)
    const bucket = Math.floor(now / bucketSeconds)
    for (const key of [keys.lease, keys.agent]) {
      this.#count(key, bucket, 1)
      this.#note(key, bucket)
    }
  }

  /** What was added here since it was last asked; empty unless `shared`. */
  take(): CountedCalls[] {
    if (this.#untold === undefined) return []
    const taken = [...this.#untold].flatMap(([bucket, calls]) =>
      [...calls].map(([key, count]) => [key, bucket, count] as const),
    )
    this.#untold.clear()
    return taken
  }

  /** Adds what other workers let through. */
  absorb(counted: readonly CountedCalls[]): void {
    for (const [key, bucket, calls] of counted) this.#count(key, bucket, calls)
  }

  /** Everything it counts, for a worker that begins. */
  known(): CountedCalls[] {
    return [...this.#rings].flatMap(([key, { counts, newest }]) =>
      Array.from(counts, (_, back) => newest - back)
        .map((bucket) => [key, bucket, counts[bucket % buckets]!] as const)
        .filter(([, , calls]) => calls > 0)
        .reverse(),
    )
  }

  #note(key: string, bucket: number): void {
    if (this.#untold === undefined) return
    let calls = this.#untold.get(bucket)
    if (calls === undefined) {
      calls = new Map()
      this.#untold.set(bucket, calls)
    }
    calls.set(key, (calls.get(key) ?? 0) + 1)
  }

  #sum(key: string, now: number): number {
    const ring = this.#rings.get(key)
    const bucket = Math.floor(now / bucketSeconds)
    if (ring === undefined || bucket - ring.newest >= buckets) return 0
    if (bucket > ring.newest) this.#advance(key, ring, bucket)
    let sum = 0
    for (const count of ring.counts) sum += count
    return sum
  }

  #count(key: string, bucket: number, calls: number): void {
    let ring = this.#rings.get(key)
    if (ring === undefined) {
      ring = { counts: new Uint32Array(buckets), newest: bucket }
      this.#rings.set(key, ring)
      this.#forget()
    } else if (bucket > ring.newest) {
      this.#advance(key, ring, bucket)
    }
    // A clock that was set back: counting too much is the stricter.
    const at = ring.newest - bucket < buckets ? bucket : ring.newest
    ring.counts[at % buckets]! += calls
  }

  /** To the end as well: the map stays in order of the newest bucket. */
  #advance(key: string, ring: Ring, bucket: number): void {
    this.#rings.delete(key)
    this.#rings.set(key, ring)
    advance(ring, bucket)
  }

  #keysOf(lease: Lease): Keys {
    let keys = this.#keys.get(lease)
    if (keys === undefined) {
      keys = {
        lease: `lease\n${lease.issuer}\n${lease.id}`,
        agent: `agent\n${lease.issuer}\n${lease.agent.id}`,
      }
      this.#keys.set(lease, keys)
    }
    return keys
  }

  #forget(): void {
    for (const key of this.#rings.keys()) {
      if (this.#rings.size <= this.#maxKeys) return
      this.#rings.delete(key)
    }
  }
}

function advance(ring: Ring, bucket: number): void {
  if (bucket - ring.newest >= buckets) ring.counts.fill(0)
  else for (let passed = ring.newest + 1; passed <= bucket; passed++) ring.counts[passed % buckets] = 0
  ring.newest = bucket
}
