// In: the place of a store with many revocations. Out: what a process pays to open it: the time, the memory it
// has grown by, and how long the event loop stood still at most. A process of its own, with --expose-gc.
import { setTimeout as sleep } from 'node:timers/promises'
import { open, type Place } from './revocation_store.ts'

/** What one process says. */
export interface Loaded {
  readonly entries: number
  readonly load_ms: number
  /** Growth of the resident set from before the store was opened, after a collection, in 10^6 bytes. */
  readonly rss_mb: number
  /** Longest time between two turns of the event loop while loading. */
  readonly longest_turn_ms: number
}

const place = JSON.parse(process.argv[2]!) as Place
const collect = async () => {
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.()
    await sleep(100)
  }
}
await collect()
const before = process.memoryUsage().rss
let longest = 0
let turn = performance.now()
let isLoading = true
const watch = () => {
  const now = performance.now()
  longest = Math.max(longest, now - turn)
  turn = now
  if (isLoading) setImmediate(watch)
}
setImmediate(watch)
const began = performance.now()
const store = await open(place)
const took = performance.now() - began
isLoading = false
await collect()
const loaded: Loaded = {
  entries: store.revocations.size(),
  load_ms: Math.round(took),
  rss_mb: Math.round((process.memoryUsage().rss - before) / 1e6),
  longest_turn_ms: Math.round(longest * 10) / 10,
}
process.send?.(loaded)
console.log(loaded, process.memoryUsage())
await store.close()
