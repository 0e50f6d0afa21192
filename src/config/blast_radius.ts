// In: the configuration. Out: what surrounds leases when their blast radius is told.
import type { Surroundings } from '../broker/blast_radius.ts'
import type { Config } from '../config.ts'

/** At `now`, seconds since 1970. */
export function surroundings({ backends, rates, blastRadius }: Config, now: number): Surroundings {
  const { detectionSeconds, assumedRate } = blastRadius
  return { backends, rates, assumedRate, detectionSeconds, now }
}
