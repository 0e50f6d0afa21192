// Where a command finds the control listener of a running gate, and the token that it shows there. In: the configuration.
// Out: a URL, a token. Never: a token that is made here; a gate makes it on its first start.
import { readFileSync } from 'node:fs'
import { listenerUrl } from '../config/listeners.ts'
import type { Config } from '../config.ts'
import { isObject } from '../lease/text.ts'
import { UsageError } from './terminal.ts'

/** Where a process on this machine reaches it; over TLS under the name that its certificate has. */
export function controlUrl({ tls, listen: { control }, broker }: Config): string {
  if (tls.control !== undefined) return broker.issuer
  const loopback = { '0.0.0.0': '127.0.0.1', '::': '::1' }[control.host]
  return listenerUrl({ ...control, host: loopback ?? control.host })
}

/** What is asked of the control listener of a gate that runs. */
export interface ControlOrder {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: object
  /** Whose token is shown. */
  readonly tokenFile: string
  /** Another listener than that of the configuration. */
  readonly control: string | undefined
}

const timeoutMs = 5_000

/** Its answer. Throws where there is no token, nobody answers, or `--control` is no URL. */
export async function askControl(
  config: Config,
  { method, path, body, tokenFile, control }: ControlOrder,
): Promise<{ readonly url: string; readonly status: number; readonly answer: Record<string, unknown> }> {
  const token = readToken(tokenFile)
  if (token === undefined) {
    throw new Error(`${tokenFile}: no operator token here; a gate makes it on its first start`)
  }
  const url = `${(control ?? controlUrl(config)).replace(/\/$/, '')}${path}`
  if (!URL.canParse(url)) {
    throw new UsageError(`--control ${control}: write a URL such as http://127.0.0.1:8081`)
  }
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error) => {
    throw new Error(`${url} cannot be reached: ${causeOf(error)}; is the gate running?`)
  })
  const answer: unknown = await response.json().catch(() => undefined)
  return { url, status: response.status, answer: isObject(answer) ? answer : {} }
}

/** The operator token; undefined where there is none. */
export function readOperatorToken({ control: { tokenFile } }: Config): string | undefined {
  return readToken(tokenFile)
}

function readToken(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Why `fetch` failed, which it hides behind "fetch failed". */
export function causeOf(error: unknown): string {
  const { cause, message } = error as Error
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? message
}
