// In: the text of an http(s) URL. Out: its normal form without query and fragment, or undefined when it is no
// URL that has one reading. Pure. Never resolves, never repairs: not the URL parser of browsers, which does.

// RFC 3986 §3: no user, a port of digits only, a path of pchars; what is left of a `%` is a triplet.
const form =
  /^(https?):\/\/([A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]*))?(\/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?(?:\?[!-~]*)?$/i
const defaultPorts: Readonly<Record<string, string>> = { http: '80', https: '443' }

/**
 * The form in which two equal URLs are the same text: RFC 3986 §6.2.2 (case, percent-encoding, dot segments)
 * and §6.2.3 (default port, empty path), without query and fragment as RFC 9449 §4.3 compares them.
 */
export function normalHtu(text: string): string | undefined {
  const hash = text.indexOf('#')
  const match = form.exec(hash < 0 ? text : text.slice(0, hash))
  if (match === null || !/^[!-~]*$/.test(text)) return undefined
  const scheme = match[1]!.toLowerCase()
  const port = match[3]
  const elided = port === undefined || port === '' || port === defaultPorts[scheme]
  const path = withoutDotSegments(withPlainTriplets(match[4] ?? '/'))
  return `${scheme}://${match[2]!.toLowerCase()}${elided ? '' : `:${port}`}${path}`
}

/** Unreserved characters decoded (§6.2.2.2), the other triplets in upper case (§6.2.2.1). */
function withPlainTriplets(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (triplet, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : triplet.toUpperCase()
  })
}

/** RFC 3986 §5.2.4 for a path that begins with a slash; empty segments stay. */
function withoutDotSegments(path: string): string {
  const segments = path.split('/').slice(1)
  const kept: string[] = []
  for (const [at, segment] of segments.entries()) {
    const isDot = segment === '.' || segment === '..'
    if (segment === '..') kept.pop()
    if (!isDot) kept.push(segment)
    // `/a/..` names the directory `/`, not the file `/`.
    else if (at === segments.length - 1) kept.push('')
  }
  return `/${kept.join('/')}`
}
