// How many calls a lease and an agent made in the last minute: a ring of 10-second buckets per key. A
// signal for policy, kept per process; exact limits are budgets (ports.ts). No clock: `now` comes in.
const bucketSeconds = 10
// One more than a minute has: what counts is never less than the last 60 seconds.
const buckets = 7

interface Ring {
  readonly counts: Uint32Array
  /** The newest bucket's number since 1970. */
  newest: number
}

/** Counts calls by key over a sliding minute; above `maxKeys` the idlest key is forgotten. */
export class RecentCallCounter {
  readonly #rings = new Map<string, Ring>()
  readonly #maxKeys: number

  constructor(maxKeys = 50_000) {
    this.#maxKeys = maxKeys
  }

  /** Adds this call under `key` and returns how many came before it within the last minute. */
  countBefore(key: string, now: number): number {
    const bucket = Math.floor(now / bucketSeconds)
    let ring = this.#rings.get(key)
    if (ring === undefined) {
      ring = { counts: new Uint32Array(buckets), newest: bucket }
      this.#rings.set(key, ring)
      this.#forget()
    } else if (bucket > ring.newest) {
      // Again at the end: the map stays in order of the newest bucket.
      this.#rings.delete(key)
      this.#rings.set(key, ring)
      advance(ring, bucket)
    }
    let before = 0
    for (const count of ring.counts) before += count
    ring.counts[ring.newest % buckets]!++
    return before
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
