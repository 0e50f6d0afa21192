// In: the machine. Out: a real Chromium for the tests of the console, in this order: the one CHROMIUM_PATH names, a
// chromium or google-chrome on PATH, Debian's, installed with apt-get together with fonts. `node scripts/chromium.ts`
// prints what it found, or one line naming what to install and exits 1. It starts no browser.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** What to tell a person whose machine has none. */
export const missingChromium =
  'no chromium: install chromium or google-chrome, set CHROMIUM_PATH to it, or run "node scripts/chromium.ts" as root on Debian'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
/** Without fonts a headless browser draws boxes; Noto has the scripts that look-alike characters come from. */
const packages = ['chromium', 'fonts-dejavu-core', 'fonts-noto-core']

/** Absolute path of a browser's binary; undefined: there is none. */
export function chromiumPath(): string | undefined {
  const named = process.env.CHROMIUM_PATH
  if (named !== undefined) return isExecutable(named) ? named : undefined
  const directories = (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '')
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Installs the distribution's browser; only root on a Debian-like system gets that far. */
function install(): void {
  if (process.getuid?.() !== 0 || !isExecutable('/usr/bin/apt-get')) return
  const aptGet = (...args: string[]) =>
    spawnSync('/usr/bin/apt-get', args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0
  const browser = ['install', '-y', '--no-install-recommends', ...packages]
  if (!aptGet(...browser) && aptGet('update')) aptGet(...browser)
}

function main(): number {
  if (chromiumPath() === undefined && process.env.CHROMIUM_PATH === undefined) {
    console.log(`installing ${packages.join(', ')} if this machine lets me`)
    install()
  }
  const path = chromiumPath()
  if (path === undefined) console.error(missingChromium)
  else console.log(path)
  return path === undefined ? 1 : 0
}

if (import.meta.main) process.exitCode = main()
