// In: the published policies of the state store, and a directory to start with. Out: the policy that was
// activated last, verified against its digest. Never lets the store take the live policy away: what cannot
// be had, or is not what its digest says, is a rejection, and the one before stays.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Activation, type PolicySets, Unavailable } from '../ports.ts'
import { fileError, PolicyError } from './diagnostic.ts'
import type { Following } from './rollout.ts'
import { unpackSet } from './set.ts'
import { type PolicySource, type Reading, unreadable } from './source.ts'

/** A source that follows what is activated, and what it last heard. */
export interface ActivatedSource extends PolicySource {
  following(): Following
}

/** Milliseconds; the defaults are for a gate. */
export interface ActivatedTimes {
  /** How often the store is asked what is active: one small read. */
  readonly pollMs?: number
  /** How soon a set that could not be had is tried again. */
  readonly retryMs?: number
}

/**
 * Follows `sets`; `directory` is read while nothing has been activated, and never again after. Without one a
 * store that has lost its history keeps a gate from starting.
 */
export function activatedSource(
  sets: PolicySets,
  directory: PolicySource | undefined,
  { pollMs = 500, retryMs = 10_000 }: ActivatedTimes = {},
): ActivatedSource {
  let following: Following = {}
  /** The digest that was last read, and since when it could not be had. */
  let seen: { readonly digest: string; readonly failedAt?: number } | undefined

  const ask = async (): Promise<void> => {
    const { active: known } = following
    const found = await available(() => sets.active())
    if (found instanceof Unavailable) following = { ...following, fault: found.message }
    else if (known !== undefined && (found === undefined || isOlder(found, known)))
      following = { active: known, fault: 'the state store has lost it' }
    else following = found === undefined ? {} : { active: found }
  }

  const readSet = async (active: Activation): Promise<Reading> => {
    const reading = await readingOf(sets, active)
    const failedAt = reading.activation === undefined ? performance.now() : undefined
    seen = { digest: active.digest, ...(failedAt === undefined ? {} : { failedAt }) }
    return reading
  }

  const isWorthReading = async (active: Activation): Promise<boolean> => {
    if (active.digest !== seen?.digest) return true
    const { failedAt } = seen
    if (failedAt === undefined || performance.now() - failedAt < retryMs) return false
    // Asked quietly: one rejection is on record already.
    return (await readSet(active)).activation !== undefined
  }

  const isUnheard = () => following.active === undefined && following.fault !== undefined

  return {
    async changed(signal) {
      for (;;) {
        await sleep(pollMs, undefined, { ref: false, signal })
        await ask()
        const { active, fault } = following
        if (active !== undefined && fault === undefined && (await isWorthReading(active))) return
      }
    },
    async read(signal) {
      await ask()
      // Nothing heard yet, so there is no policy to keep: a store that missed one read is worth some more.
      for (let more = 4; more > 0 && isUnheard(); more--) {
        await sleep(pollMs, undefined, { signal })
        await ask()
      }
      const { active, fault } = following
      if (active !== undefined) return readSet(active)
      if (fault !== undefined) return unreadable(fault, unavailable(fault))
      return directory?.read(signal) ?? unreadable('nothing', notActivated)
    },
    following: () => following,
  }
}

/**
 * Whether the store went back in time: a failover or a restored file has the activation before, and nobody
 * asked for that one. What somebody activates after the loss is later, whatever its number.
 */
function isOlder(found: Activation, known: Activation): boolean {
  return found.number < known.number && found.at <= known.at
}

/** The set that `active` names; a reading without an activation says why there is none. */
async function readingOf(sets: PolicySets, active: Activation): Promise<Reading> {
  const { digest } = active
  const packed = await available(() => sets.get(digest))
  if (packed instanceof Unavailable) return unreadable(digest, unavailable(packed.message))
  if (packed === undefined) {
    return unreadable(digest, fileError('', 'policy_set_missing', `the state store has no policy ${digest}`))
  }
  try {
    const policy = await unpackSet(digest, packed)
    return { version: digest, activation: active, sources: () => policy }
  } catch (thrown) {
    if (thrown instanceof PolicyError) return unreadable(digest, thrown)
    throw thrown
  }
}

const notActivated = fileError(
  '',
  'policy_not_activated',
  'nothing is activated in the state store, and policy.dir names no policy to start with',
)

function unavailable(why: string): PolicyError {
  return fileError(
    '',
    'policy_store_unavailable',
    `the state store cannot say which policy is active: ${why}`,
  )
}

/** Whatever goes wrong is a fault that shows: following that has ended would look like having followed. */
async function available<T>(ask: () => Promise<T>): Promise<T | Unavailable> {
  try {
    return await ask()
  } catch (thrown) {
    return thrown instanceof Unavailable ? thrown : new Unavailable('the state store failed')
  }
}
