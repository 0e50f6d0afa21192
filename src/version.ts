// The version of the package, from its package.json beside `src` or above `dist/src`.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Directory that holds package.json, policies and regoc: the checkout, or the installed package. */
export const packageRoot = findRoot(dirname(fileURLToPath(import.meta.url)))

/** As in package.json. */
export const version: string = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')).version

function findRoot(dir: string): string {
  if (existsSync(join(dir, 'package.json'))) return dir
  const above = dirname(dir)
  if (above === dir) throw new Error('no package.json above the program')
  return findRoot(above)
}
