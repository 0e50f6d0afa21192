// The part of compose.ts that commands need as well: configuration in, the state store out.
import { readFileSync } from 'node:fs'
import type { RedisConfig, RedisTlsFiles } from './config/redis.ts'
import type { Config } from './config.ts'
import type { Store } from './ports.ts'
import { openEmbedded } from './stores/embedded.ts'
import { openRedis } from './stores/redis.ts'
import type { RedisServers, RedisTls } from './stores/redis_servers.ts'

/** The state store that the configuration names. */
export function openStore({ state }: Config, onError?: (error: Error) => void): Promise<Store> {
  const { maxStalenessMs, strict } = state
  const told = onError === undefined ? {} : { onError }
  if (state.store === 'embedded') return openEmbedded({ path: state.path, maxStalenessMs, strict, ...told })
  const { prefix, acknowledge } = state.redis
  return openRedis({
    ...serversOf(state.redis),
    prefix,
    maxStalenessMs,
    strict,
    ...(acknowledge.disk || acknowledge.replicas > 0 ? { acknowledge } : {}),
    ...told,
  })
}

/** Secrets are not enumerable in a configuration, so that no spread takes them along: they are named here. */
function serversOf(redis: RedisConfig): RedisServers {
  const { url, sentinel, cluster } = redis
  return {
    ...(url === undefined ? {} : { url }),
    ...(sentinel === undefined
      ? {}
      : { sentinel: { name: sentinel.name, nodes: sentinel.nodes, ...accessOf(sentinel) } }),
    ...(cluster === undefined ? {} : { cluster }),
    ...accessOf(redis),
  }
}

function accessOf({ username, password, tls }: Pick<RedisConfig, 'username' | 'password' | 'tls'>) {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls: pemOf(tls) }),
  }
}

/** Files are read once: a connection that is made anew later uses what was there at the start. */
function pemOf({ ca, cert, key, serverName }: RedisTlsFiles): RedisTls {
  return {
    ...(ca === undefined ? {} : { ca: readFileSync(ca, 'utf8') }),
    ...(cert === undefined ? {} : { cert: readFileSync(cert, 'utf8') }),
    ...(key === undefined ? {} : { key: readFileSync(key, 'utf8') }),
    ...(serverName === undefined ? {} : { serverName }),
  }
}
