// Headers that keep other sites away from what the control listener answers. In: nothing. Out: constants; no answer of
// the listener goes without them. Never: a source from elsewhere, an inline script.

/** Of every answer, data and refusals too: nothing of it is run, framed, sniffed or read from another site. */
export const answerHeaders: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  // Without any referrer, browsers would send `Origin: null` with a form (Fetch, "append a request Origin header").
  'referrer-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** Nothing inline, nothing from elsewhere, no markup from strings (CSP Level 3, Trusted Types). */
const pages: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': [
    'camera=(), geolocation=(), microphone=()',
    'publickey-credentials-get=(self), publickey-credentials-create=(self)',
  ].join(', '),
}

/** Of pages, beside `answerHeaders`; over https for a year of https alone (RFC 6797). `url`: `console.url`. */
export function pageHeaders(url: string): Readonly<Record<string, string>> {
  return url.startsWith('https:') ? { ...pages, 'strict-transport-security': 'max-age=31536000' } : pages
}
