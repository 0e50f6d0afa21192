// In: the plain values of the file. Out: the listeners with their defaults, and the URLs made of them.
// Never: a listener that could not be parsed.
import type { Listen } from '../config.ts'
import type { ConfigPath } from './problems.ts'
import { parseListen } from './scalars.ts'
import { textAt } from './select.ts'

/** The three listeners that can be parsed, as written or by default. */
export function listeners(root: unknown): (Listen & { readonly path: ConfigPath })[] {
  const defaults = { proxy: '127.0.0.1:8080', control: '127.0.0.1:8081', metrics: '127.0.0.1:9464' }
  return Object.entries(defaults).flatMap(([name, fallback]) => {
    const path = ['listen', name]
    const outcome = parseListen(textAt(root, path) ?? fallback)
    return 'value' in outcome ? [{ path, ...outcome.value }] : []
  })
}

/** `http://host:port` of a listener, or `https://…` when it speaks TLS. */
export function listenerUrl({ host, port }: Listen, tls = false): string {
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
