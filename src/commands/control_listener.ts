// Where a command finds the control listener of a running gate, and the token that it shows there. In: the configuration.
// Out: a URL, a token. Never: a token that is made here; a gate makes it on its first start.
import { readFileSync } from 'node:fs'
import { listenerUrl } from '../config/listeners.ts'
import type { Config } from '../config.ts'

/** Where a process on this machine reaches it; over TLS under the name that its certificate has. */
export function controlUrl({ tls, listen: { control }, broker }: Config): string {
  if (tls.control !== undefined) return broker.issuer
  const loopback = { '0.0.0.0': '127.0.0.1', '::': '::1' }[control.host]
  return listenerUrl({ ...control, host: loopback ?? control.host })
}

/** The operator token; undefined where there is none. */
export function readOperatorToken({ control: { tokenFile } }: Config): string | undefined {
  try {
    return readFileSync(tokenFile, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Why `fetch` failed, which it hides behind "fetch failed". */
export function causeOf(error: unknown): string {
  const { cause, message } = error as Error
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? message
}
