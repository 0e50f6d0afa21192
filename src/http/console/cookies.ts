// Cookies of the console. In: where the console is, a Cookie header. Out: values, and lines for Set-Cookie. Never: a
// cookie that a script can read, or that another site's form brings along.

/** One cookie of the console. */
export interface Cookie {
  readonly name: string
  /** Every value under its name in a `Cookie` header: more than one is nobody's. */
  readonly valuesIn: (header: string | undefined) => readonly string[]
  /** The line that sets it, for `seconds`. */
  readonly set: (value: string, seconds: number) => string
  /** The line that takes it away. */
  readonly clear: string
}

/**
 * The cookie `leasegate` + `suffix` of the console at `url`. Over https with the prefix `__Host-`, so that nothing but
 * this very host can set it (RFC 6265bis §4.1.3.2); plain http is of this machine alone, and browsers disagree on whether
 * it may have Secure cookies there. `Lax` lets a link lead to the console, and a form of another site bring nothing.
 */
export function cookieOf(url: string, suffix = ''): Cookie {
  const isSecure = url.startsWith('https:')
  const name = `${isSecure ? '__Host-' : ''}leasegate${suffix}`
  const attributes = `; Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`
  return {
    name,
    valuesIn(header) {
      const pairs = (header ?? '').split(';').map((pair) => pair.trim())
      return pairs.flatMap((pair) => (pair.startsWith(`${name}=`) ? [pair.slice(name.length + 1)] : []))
    },
    set: (value, seconds) => `${name}=${value}${attributes}; Max-Age=${Math.floor(seconds)}`,
    clear: `${name}=${attributes}; Max-Age=0`,
  }
}

/** Whether people may have cookies at a URL: over https, or on this machine. */
export function isTrustworthy(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(hostname)
}
