// In: the machine. Out: a real Redis for the tests, in this order: the server REDIS_URL names, a
// redis-server or valkey-server on PATH, one installed with apt-get. `node scripts/redis.ts` prints what it
// found, or one line naming what to install and exits 1. It never starts a server.
import { installByApt, programOnPath } from './programs.ts'

/** What to tell a person whose machine has no server. */
export const missingRedis =
  'no redis-server: install redis-server or valkey-server (7 or newer), or run "node scripts/redis.ts" as root on Debian'

/** Absolute path of a server binary on PATH; undefined: there is none. */
export function redisServerPath(): string | undefined {
  return programOnPath(['redis-server', 'valkey-server'])
}

function main(): number {
  if (process.env.REDIS_URL !== undefined) console.log('REDIS_URL is set: most tests use that server')
  if (redisServerPath() === undefined) installByApt(['redis-server'])
  const path = redisServerPath()
  if (path !== undefined) console.log(path)
  else if (process.env.REDIS_URL !== undefined)
    console.log('tests that freeze and kill a server need a binary too')
  else console.error(missingRedis)
  return path === undefined && process.env.REDIS_URL === undefined ? 1 : 0
}

if (import.meta.main) process.exitCode = main()
