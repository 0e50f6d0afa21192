// In: the machine. Out: a real Redis for the tests, in this order: the server REDIS_URL names, a
// redis-server or valkey-server on PATH, one installed with apt-get. `node scripts/redis.ts` prints what it
// found, or one line naming what to install and exits 1. It never starts a server.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** What to tell a person whose machine has no server. */
export const missingRedis =
  'no redis-server: install redis-server or valkey-server (7 or newer), or run "node scripts/redis.ts" as root on Debian'

/** Absolute path of a server binary on PATH; undefined: there is none. */
export function redisServerPath(): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '')
  return ['redis-server', 'valkey-server']
    .flatMap((name) => directories.map((directory) => join(directory, name)))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Installs the distribution's server; only root on a Debian-like system gets that far. */
function install(): void {
  if (process.getuid?.() !== 0 || !isExecutable('/usr/bin/apt-get')) return
  const aptGet = (...args: string[]) =>
    spawnSync('/usr/bin/apt-get', args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0
  const server = ['install', '-y', '--no-install-recommends', 'redis-server']
  if (!aptGet(...server) && aptGet('update')) aptGet(...server)
}

function main(): number {
  if (process.env.REDIS_URL !== undefined) console.log('REDIS_URL is set: most tests use that server')
  if (redisServerPath() === undefined) install()
  const path = redisServerPath()
  if (path !== undefined) console.log(path)
  else if (process.env.REDIS_URL !== undefined)
    console.log('tests that freeze and kill a server need a binary too')
  else console.error(missingRedis)
  return path === undefined && process.env.REDIS_URL === undefined ? 1 : 0
}

if (import.meta.main) process.exitCode = main()
