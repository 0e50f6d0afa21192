// Whether a request that comes with a session was sent by the console itself. In: its method and headers. Out: nothing,
// or `cross_site`. Cookies travel with whatever a page of another site makes a browser send, so they prove no intent.
import { timingSafeEqual } from 'node:crypto'
import { type Refusal, refuse } from '../../refusals.ts'

/** Where a request shows the value that only pages of the console can read. */
export const csrfHeader = 'leasegate-csrf'

/** What of a request says where it comes from. */
export interface Origins {
  readonly method?: string | undefined
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/**
 * Refuses with `cross_site`, in order: a fetch that the browser marks as another site's or another page's
 * (`Sec-Fetch-Site`; typed into the address bar, reads alone), an `Origin` that is not the console's, and anything but
 * a read without the session's own value in `leasegate-csrf`.
 */
export function refuseCrossSite(
  { method, headers }: Origins,
  { origin, csrf }: { readonly origin: string; readonly csrf: string },
): Refusal | undefined {
  const reads = method === 'GET' || method === 'HEAD'
  return refuseForeign({ method, headers }, origin) ?? (reads || shows(headers, csrf) ? undefined : without())
}

/** The part of it that needs no session: for the form that begins one. */
export function refuseForeign({ method, headers }: Origins, origin: string): Refusal | undefined {
  const reads = method === 'GET' || method === 'HEAD'
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && !(reads && site === 'none')) return foreign(origin)
  return headers.origin === undefined || headers.origin === origin ? undefined : foreign(origin)
}

function shows(headers: Origins['headers'], csrf: string): boolean {
  const given = headers[csrfHeader]
  if (typeof given !== 'string' || given.length !== csrf.length) return false
  const [a, b] = [Buffer.from(given), Buffer.from(csrf)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function foreign(origin: string): Refusal {
  return refuse('cross_site', { detail: `a session is good for requests of ${origin} alone` })
}

function without(): Refusal {
  return refuse('cross_site', { detail: `send the csrf value of GET /me as ${csrfHeader}` })
}
