// In: a way to dial the primary. Out: policy sets, read and published whole. It never lets megabytes stand in the way
// of what is asked on a connection that others share.
import type { SetTransfers } from './keyed_sets.ts'
import { answer } from './redis_answer.ts'
import type { Connection, Dialler } from './redis_connect.ts'

/** Most that reading or writing one policy set takes. */
const transferMs = 5000
/** Above what a set may have, even one that does not compress. What is longer is cut, so it will not verify. */
const maxTransferBytes = 33 * 1024 * 1024

/**
 * Policy sets travel on a connection of their own, made for the one transfer: megabytes take longer than a
 * command may, and what waits behind them on a shared connection would time out.
 */
export function transfers(dialler: Dialler, commands: Connection): SetTransfers {
  const over = async <T>(work: (redis: Connection) => Promise<T>): Promise<T> => {
    // A store that is closed or out of reach fails here, within the time of a command.
    await answer(commands.ping())
    const redis = dialler.dial({ commandTimeout: transferMs, socketTimeout: transferMs })
    redis.on('error', () => {})
    try {
      await answer(redis.connect())
      return await answer(work(redis))
    } finally {
      redis.disconnect()
    }
  }
  return {
    async read(key) {
      const found = await over((redis) => redis.getrangeBuffer(key, 0, maxTransferBytes - 1))
      return found.byteLength === 0 ? undefined : found
    },
    publish: (...args) => over((redis) => redis.leasegatePublish(...args)),
  }
}
