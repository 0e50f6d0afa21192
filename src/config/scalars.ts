// In: one string of the configuration. Out: its meaning, or one sentence that says what to write instead.
// Never: the string itself in that sentence, because it may hold a resolved secret.
import type { Listen } from '../config.ts'
import { isKeyUrl } from '../lease/fetch.ts'

/** What a parser of one value answers. */
export type Outcome<T> = { readonly value: T } | { readonly fault: string }

const milliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const bytes: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** `300ms`, `2s`, `5m`, `1h` in milliseconds, within the bounds given in the same notation. */
export function parseDuration(text: string, min: string, max: string): Outcome<number> {
  const value = scaled(text, milliseconds)
  if (value === undefined) return { fault: 'write a duration such as 300ms, 2s or 5m' }
  if (value < scaled(min, milliseconds)! || value > scaled(max, milliseconds)!) {
    return { fault: `write a duration from ${min} to ${max}` }
  }
  return { value }
}

/** A duration in whole seconds. */
export function parseSeconds(text: string, min: string, max: string): Outcome<number> {
  const outcome = parseDuration(text, min, max)
  if ('fault' in outcome) return outcome
  return outcome.value % 1000 === 0
    ? { value: outcome.value / 1000 }
    : { fault: 'write whole seconds, such as 5s' }
}

/** `512B`, `16KiB`, `1MiB`, `2GiB` in bytes, within the bounds given in the same notation. */
export function parseSize(text: string, min: string, max: string): Outcome<number> {
  const value = scaled(text, bytes)
  if (value === undefined) return { fault: 'write a size such as 16KiB or 1MiB' }
  if (value < scaled(min, bytes)! || value > scaled(max, bytes)!) {
    return { fault: `write a size from ${min} to ${max}` }
  }
  return { value }
}

function scaled(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, amount, unit] = /^([0-9]{1,9})([A-Za-z]{1,3})$/.exec(text) ?? []
  if (amount === undefined || unit === undefined || !Object.hasOwn(units, unit)) return undefined
  return Number(amount) * units[unit]!
}

/** `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`; port 0 asks the system for a free one. */
export function parseListen(text: string): Outcome<Listen> {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) {
    return { fault: 'write host:port, such as 127.0.0.1:8080 or "[::1]:8080"' }
  }
  return { value: { host, port } }
}

/** Scheme and authority of an HTTP origin: lower case, no default port, nothing after it. */
export function parseOrigin(text: string): Outcome<string> {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === text
    ? { value: text }
    : {
        fault:
          'write scheme and authority only, in lower case and without a default port: https://gate.example',
      }
}

/** A literal path segment in canonical form: RFC 3986 `pchar` without `;` and without percent-encoding. */
export function isSegment(text: string): boolean {
  // A segment that ends in `..` is refused on every request (`/api../admin`), so it could never match.
  return /^[A-Za-z0-9\-._~!$&'()*+,=:@]+$/.test(text) && text !== '.' && !text.endsWith('..')
}

/** `/crm` or `/crm/v2`: segments in canonical form, no trailing slash. */
export function parsePathPrefix(text: string): Outcome<string> {
  return text.startsWith('/') && text.slice(1).split('/').every(isSegment)
    ? { value: text }
    : {
        fault: 'write /segment or /segment/segment: no trailing slash, no dots, no empty or encoded segments',
      }
}

/** The URL of a backend: its origin, and the path that every forwarded path is appended to. */
export function parseBackendUrl(text: string): Outcome<{ origin: string; basePath: string }> {
  const [, origin = '', basePath = ''] = /^(https?:\/\/[^/]*)(\/.*)?$/.exec(text) ?? []
  if (/[?#@]/.test(text) || 'fault' in parseOrigin(origin)) {
    return {
      fault: 'write http(s)://host[:port][/path] in lower case: no default port, user, query or fragment',
    }
  }
  if (basePath !== '' && 'fault' in parsePathPrefix(basePath)) {
    return { fault: 'write the path without trailing slash, dots, empty or encoded segments' }
  }
  return { value: { origin, basePath } }
}

/** A URL that keys are fetched from: https, or http on the loopback interface. No user, no fragment. */
export function parseKeyUrl(text: string): Outcome<string> {
  return isKeyUrl(text)
    ? { value: text }
    : {
        fault: 'write an https URL without user or fragment (http is accepted for a loopback address only)',
      }
}

/** A Redis URL. It may hold a password, so it is treated as a secret. */
export function parseRedisUrl(text: string): Outcome<string> {
  const url = URL.parse(text)
  return url !== null && /^rediss?:$/.test(url.protocol) && url.hostname !== '' && url.search === ''
    ? { value: text }
    : { fault: 'write redis://host:port or rediss://host:port, without a query' }
}

/** An authority as clients send it in Host: lower case, no trailing dot, `host` or `host:port`. */
export function parseAuthority(text: string): Outcome<string> {
  return /^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?$/.test(text)
    ? { value: text }
    : {
        fault:
          'write the authority as clients send it in Host: lower case, host or host:port, no trailing dot',
      }
}

/** A string that matches `pattern`; `fault` says what to write. */
export function parsePlain(pattern: RegExp, fault: string): (text: string) => Outcome<string> {
  return (text) => (pattern.test(text) ? { value: text } : { fault })
}
