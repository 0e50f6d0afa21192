// The console's pages, as files. In: src/console and the three libraries it uses. Out: one endpoint for each file,
// answered from memory; a path that is not in the list is no endpoint, so there is nothing to climb out of. Never: a
// file that somebody names, anything about a caller.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../../version.ts'
import type { ControlCall, Endpoint } from '../control.ts'

/** Files of src/console, by name. A file that is not here is not served. */
export const pages = [
  'action.css',
  'action.js',
  'agents.js',
  'api.js',
  'before.js',
  'bytes.js',
  'call.js',
  'chart.js',
  'confirm.js',
  'controls.css',
  'countdown.js',
  'decision.js',
  'decision_filter.js',
  'decisions.js',
  'diff.js',
  'explanation.js',
  'frame.css',
  'health.js',
  'icon.svg',
  'inbox.js',
  'json.js',
  'keys.js',
  'lease.js',
  'leases.js',
  'list.css',
  'live.js',
  'long_lists.css',
  'main.js',
  'passkey.js',
  'person.js',
  'route.js',
  'sign_in.js',
  'small.css',
  'steady.js',
  'theme.css',
  'theme.js',
  'ui.js',
  'virtual.js',
  'visible.js',
] as const

/** Where browsers find what modules call by the name of its package. */
const libraries: Readonly<Record<string, string>> = {
  preact: '/console/lib/preact.js',
  'preact/hooks': '/console/lib/hooks.js',
  htm: '/console/lib/htm.js',
  'htm/preact': '/console/lib/htm_preact.js',
  uplot: '/console/lib/uplot.js',
}

/** The module of a package that browsers take, where that is not the one that Node takes. */
const modules: Readonly<Record<string, string>> = { uplot: 'uplot/dist/uPlot.esm.js' }

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

interface Asset {
  /** As the browser asks for it. */
  readonly path: string
  readonly type: string
  readonly text: string
  readonly etag: string
}

/** `GET /console` and one endpoint for each file, sent with `headers`. Reads all once; throws when one is missing. */
export function assetEndpoints(headers: Readonly<Record<string, string>>): Endpoint[] {
  const files = [
    asset('/console', inPackage('index.html')),
    ...pages.map((name) => asset(`/console/${name}`, inPackage(name))),
    ...Object.entries(libraries).map(([name, path]) => asset(path, moduleFile(name))),
    asset('/console/lib/uplot.css', join(moduleFile('uplot'), '../uPlot.min.css')),
  ]
  return files.map((file) => ({
    method: 'GET',
    path: file.path,
    access: 'open',
    takes: 'nothing',
    errors: 'problem',
    headers: () => headers,
    serve: (call) => answer(file, call),
  }))
}

function answer({ type, text, etag }: Asset, { header }: ControlCall) {
  const headers = { 'content-type': type, 'cache-control': 'no-cache', etag }
  const known = header('if-none-match')?.split(/\s*,\s*/) ?? []
  // RFC 9110 §13.1.2: compared weakly, so `W/` says nothing.
  const unchanged = known.some((each) => each === '*' || each.replace(/^W\//, '') === etag)
  return unchanged ? { status: 304, headers } : { status: 200, headers, body: text }
}

function asset(path: string, file: string): Asset {
  const text = withPlaces(readFileSync(file, 'utf8'), file)
  const digest = createHash('sha256').update(text).digest('base64url').slice(0, 22)
  return { path, type: types[extname(file) === '.mjs' ? '.js' : extname(file)]!, text, etag: `"${digest}"` }
}

/** Packages by name become paths: there is no import map without an inline script. */
function withPlaces(text: string, file: string): string {
  if (!/\.m?js$/.test(file)) return text
  return text
    .replace(/\bfrom\s*(["'])([a-z/]+)\1/g, (whole, quote: string, name: string) =>
      libraries[name] === undefined ? whole : `from${quote}${libraries[name]}${quote}`,
    )
    .replace(/^\/\/# sourceMappingURL=.*$/m, '')
}

/** Beside the program, in a checkout as in an installed package. */
function inPackage(name: string): string {
  return join(packageRoot, 'src/console', name)
}

function moduleFile(name: string): string {
  return fileURLToPath(import.meta.resolve(modules[name] ?? name))
}
