// Programs that the tests need beside Node. In: names. Out: where they are, or an attempt to install them. It never
// starts one of them.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Absolute path of the first of these names on PATH; undefined: there is none. */
export function programOnPath(names: readonly string[]): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '')
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable)
}

/** Whether somebody can start what is there. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Installs packages of the distribution; only root on a Debian-like system gets that far. */
export function installByApt(packages: readonly string[]): void {
  if (process.getuid?.() !== 0 || !isExecutable('/usr/bin/apt-get')) return
  const aptGet = (...args: string[]) =>
    spawnSync('/usr/bin/apt-get', args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0
  const wanted = ['install', '-y', '--no-install-recommends', ...packages]
  if (!aptGet(...wanted) && aptGet('update')) aptGet(...wanted)
}
