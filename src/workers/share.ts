// In: the configuration of a gate, and which of its workers asks. Out: that worker's part of what is promised to
// a backend for the whole gate. Pure.
import type { Config } from '../config.ts'

/**
 * The configuration for one worker: connections and calls under way to each backend are divided, so that all
 * workers together keep to what is configured; at least one each.
 */
export function shareOf(config: Config, worker: number): Config {
  const part = (whole: number) => partOf(whole, config.workers, worker)
  const backends = config.backends.map((backend) =>
    Object.freeze({
      ...backend,
      connections: part(backend.connections),
      maxInFlight: part(backend.maxInFlight),
    }),
  )
  return Object.freeze({ ...config, backends: Object.freeze(backends) })
}

/** `whole` in `workers` parts that differ by one at most: that of the `worker`th. */
function partOf(whole: number, workers: number, worker: number): number {
  return Math.max(1, Math.floor(whole / workers) + (worker <= whole % workers ? 1 : 0))
}
