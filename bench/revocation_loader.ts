// In: the place of a store with many revocations. Out: what this process pays to open it. Started with
// --expose-gc, by bench/revocation_load.ts.
import { setTimeout as sleep } from 'node:timers/promises'
import { open, type Place } from './revocation_store.ts'

/** What one process says. */
export interface Loaded {
  readonly entries: number
  readonly load_ms: number
  /** Processor time of it, all threads: what `load_ms` comes to when nothing else runs. */
  readonly cpu_ms: number
  /** Growth of the resident set, 10^6 bytes, once everything that is not in use was given back. */
  readonly rss_mb: number
  /** The same right after loading, with what the garbage collector keeps for itself. */
  readonly rss_before_gc_mb: number
  /** Longest time between two turns of the event loop while loading. */
  readonly longest_turn_ms: number
}

const place = JSON.parse(process.argv[2]!) as Place
const collect = async () => {
  for (let i = 0; i < 5; i++) {
    await globalThis.gc?.({ type: 'major', execution: 'async', flavor: 'last-resort' })
    await sleep(50)
  }
  return process.memoryUsage().rss
}
const before = await collect()
const millions = (bytes: number) => Math.round((bytes - before) / 1e6)
let longestMs = 0
let turn = performance.now()
let isLoading = true
const watch = () => {
  const now = performance.now()
  longestMs = Math.max(longestMs, now - turn)
  turn = now
  if (isLoading) setImmediate(watch)
}
setImmediate(watch)
const used = process.cpuUsage()
const began = performance.now()
const store = await open(place)
const tookMs = performance.now() - began
const { user, system } = process.cpuUsage(used)
isLoading = false
const rssBefore = process.memoryUsage().rss
const loaded: Loaded = {
  entries: store.revocations.size(),
  load_ms: Math.round(tookMs),
  cpu_ms: Math.round((user + system) / 1000),
  rss_mb: millions(await collect()),
  rss_before_gc_mb: millions(rssBefore),
  longest_turn_ms: Math.round(longestMs * 10) / 10,
}
process.send?.(loaded)
await store.close()
process.disconnect?.()
