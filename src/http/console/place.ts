// Where the console is, and where in it somebody may be sent. In: configuration, what a query says. Out: an origin, a
// path. Never: a path that leads elsewhere.
import type { Server } from 'node:http'

/** Where people reach the console. */
export interface Place {
  /** `console.url`: scheme and authority, without a slash at the end. */
  readonly url: string
}

/** The place as configured; where the control listener may take any port, with the one that it has. */
export function placeOf(url: string, server: () => Server | undefined): Place {
  const parsed = new URL(url)
  return {
    get url() {
      const address = parsed.port === '0' ? server()?.address() : undefined
      if (typeof address === 'object' && address !== null) parsed.port = String(address.port)
      return parsed.origin
    },
  }
}

/** Where people begin to sign in. */
export const signInPath = '/console/sign-in'
/** Where the provider sends them back to. */
export const callbackPath = '/console/callback'
/** Where a one-time link leads. */
export const linkPath = '/console/link'

const ownSteps: readonly string[] = [signInPath, callbackPath, linkPath]

/** `to` where it is a page of the console, in one spelling; its first page for everything else. */
export function pathWithin(to: string | undefined): string {
  const first = '/console'
  // Resolved as a browser would, so that no spelling of a way out is left to guess.
  const base = 'http://console.invalid'
  if (to === undefined || to.length > 2_000 || !to.startsWith('/') || !URL.canParse(to, base)) return first
  const { origin, pathname, search, hash } = new URL(to, base)
  const isPage = pathname === first || (pathname.startsWith(`${first}/`) && !ownSteps.includes(pathname))
  return origin === base && isPage ? `${pathname}${search}${hash}` : first
}
