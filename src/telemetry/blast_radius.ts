// In: a way to learn what each agent could do. Out: the same for a metric, looked at again once a minute. Never: a
// label that the configuration does not name, a look that holds up a scrape.
import type { Logger } from './log.ts'

export interface RadiusWatchOptions {
  /** Points by agent, as it is now. May throw. */
  readonly look: () => Promise<ReadonlyMap<string, number>>
  /** Agents that may be named; the others are told as one. */
  readonly isKnown: (agent: string) => boolean
  readonly log: Pick<Logger, 'warn'>
  /** Milliseconds between two looks. */
  readonly everyMs?: number
}

/** What the newest look has found. */
export interface RadiusWatch {
  points(): ReadonlyMap<string, number>
  /** Looks now; one that fails leaves what was found before. */
  look(): Promise<void>
  close(): void
}

/** The label of agents without a file. */
const other = 'other'

/** Looks once at the start, and then once a minute. */
export function watchRadius({ look, isKnown, log, everyMs = 60_000 }: RadiusWatchOptions): RadiusWatch {
  let found: ReadonlyMap<string, number> = new Map()
  const again = async () => {
    try {
      found = summed(await look(), isKnown)
    } catch (error) {
      log.warn({ err: error }, 'the blast radius of agents is not up to date')
    }
  }
  const timer = setInterval(() => void again(), everyMs).unref()
  void again()
  return { points: () => found, look: again, close: () => clearInterval(timer) }
}

function summed(points: ReadonlyMap<string, number>, isKnown: (agent: string) => boolean) {
  const sums = new Map<string, number>()
  for (const [agent, each] of points) {
    const label = isKnown(agent) ? agent : other
    sums.set(label, (sums.get(label) ?? 0) + each)
  }
  return sums
}
