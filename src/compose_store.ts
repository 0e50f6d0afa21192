// The part of compose.ts that commands need as well: configuration in, the state store out.
import type { Config } from './config.ts'
import type { Store } from './ports.ts'
import { openEmbedded } from './stores/embedded.ts'
import { openRedis } from './stores/redis.ts'

/** The state store that the configuration names. */
export function openStore(config: Config, onError?: (error: Error) => void): Promise<Store> {
  const { state } = config
  return state.store === 'embedded'
    ? openEmbedded({ path: state.path, maxStalenessMs: state.maxStalenessMs })
    : openRedis({
        url: state.url,
        prefix: state.prefix,
        maxStalenessMs: state.maxStalenessMs,
        ...(onError === undefined ? {} : { onError }),
      })
}
