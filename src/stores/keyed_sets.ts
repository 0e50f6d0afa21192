// In: a few Redis commands. Out: the port of published policies on them; redis.ts lists the keys. What has to
// be one step is one script. It never looks into a set, and never sees a connection: redis.ts does.
import { historyLength } from '../policy/rollout.ts'
import { type Activation, type PolicySets, Unavailable } from '../ports.ts'
import {
  decodeActivation,
  decodePublished,
  encodeActivation,
  historyLimit,
  newestFirst,
  spareSets,
} from './kept_sets.ts'
import type { Commands, KeyName } from './keyed.ts'

/** What this port asks of Redis beside `Commands`. Every call settles in time or throws `Unavailable`. */
export interface SetCommands extends Pick<Commands, 'run' | 'hash'> {
  /** Members of a list, both places included. */
  range(key: string, start: number, stop: number): Promise<string[]>
}

/** What moves a whole set. Settles in seconds, on a connection that nothing else waits for. */
export interface SetTransfers {
  read(key: string): Promise<Uint8Array | undefined>
  /** The script `leasegatePublish`. */
  publish(set: string, sets: string, digest: string, published: string, packed: Buffer): Promise<unknown>
}

/** Published policies and the history of their activations. */
export function keyedPolicySets(redis: SetCommands, transfers: SetTransfers, key: KeyName): PolicySets {
  const [sets, log] = [key('policy', 'sets'), key('policy', 'history')]
  const setKey = (digest: string) => key('policy', 'set', digest)
  const history = async (limit: number): Promise<Activation[]> =>
    limit === 0 ? [] : (await redis.range(log, 0, limit - 1)).map(decodeEntry)
  const list = async () =>
    newestFirst(
      Object.entries(await redis.hash(sets)).map(([digest, published]) => decodePublished(digest, published)),
    )
  const forget = async (except: string): Promise<void> => {
    try {
      const known = await history(historyLength)
      for (const digest of spareSets(await list(), known)) {
        if (digest === except) continue
        await redis.run('leasegateForgetSet', log, setKey(digest), sets, known[0]?.number ?? 0, digest)
      }
    } catch (error) {
      // What was asked for is done; the next write forgets what this one could not.
      if (!(error instanceof Unavailable)) throw error
    }
  }
  return {
    async put({ digest, packed, publishedAt, by }) {
      const published = JSON.stringify({ publishedAt, by })
      const isNew = await transfers.publish(setKey(digest), sets, digest, published, Buffer.from(packed))
      await forget(digest)
      return isNew === 1
    },
    get: (digest) => transfers.read(setKey(digest)),
    list,
    async activate({ expected = '', ...asked }) {
      const { digest } = asked
      const entry = encodeActivation(asked)
      const keys = [log, setKey(digest)]
      const reply = await redis.run('leasegateActivate', ...keys, digest, expected, entry, historyLength)
      const [outcome, head] = reply as [string, string]
      if (outcome === 'not_stored') return { outcome }
      if (outcome === 'not_expected') {
        return { outcome, active: head === '' ? undefined : decodeEntry(head) }
      }
      if (outcome === 'unchanged') return { outcome, activation: decodeEntry(head) }
      await forget(digest)
      return { outcome: 'activated', activation: decodeEntry(head) }
    },
    active: async () => (await history(1))[0],
    history: (limit) => history(historyLimit(limit)),
  }
}

function decodeEntry(entry: string): Activation {
  const [, number, , text] = /^(\d+) (\S+) (.*)$/s.exec(entry) ?? []
  if (text === undefined) throw new Unavailable('a stored activation is malformed')
  return decodeActivation(Number(number), text)
}
