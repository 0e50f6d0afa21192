// In: the machine. Out: a real Chromium for the tests of the console, in this order: the one CHROMIUM_PATH names, a
// chromium or google-chrome on PATH, Debian's, installed with apt-get together with fonts. `node scripts/chromium.ts`
// prints what it found, or one line naming what to install and exits 1. It starts no browser.
import { installByApt, isExecutable, programOnPath } from './programs.ts'

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
  return programOnPath(names)
}

function main(): number {
  if (chromiumPath() === undefined && process.env.CHROMIUM_PATH === undefined) {
    console.log(`installing ${packages.join(', ')} if this machine lets me`)
    installByApt(packages)
  }
  const path = chromiumPath()
  if (path === undefined) console.error(missingChromium)
  else console.log(path)
  return path === undefined ? 1 : 0
}

if (import.meta.main) process.exitCode = main()
